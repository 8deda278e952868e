// SPDX-License-Identifier: MIT
// luv in a Lua state, on a loop of its own that is embedded in the worker's: so what a script leaves open is found and
// closed, and uv.* can't reach the worker's own handles. Every function of luv is wrapped once: a Lua function given as callback
// runs in a strand of the step that gave it, handles belong to the step that made them.
#pragma once

#include "script/lua_state.h"

#include <uv.h>

int orr_luaopen_luv(lua_State *L); // opens the state's loop at the first call
// Runs what is due, without blocking. Also registers new descriptors with the kernel (libuv defers that).
void orr_luv_turn(struct orr_luv_loop *luv);
bool orr_luv_alive(struct orr_luv_loop *luv);     // something of the user's is open
int orr_luv_timeout_ms(struct orr_luv_loop *luv); // until its next timer; -1: none
void orr_luv_free(struct orr_luv_loop *luv);      // after lua_close, drained; NULL is fine
// Closes the handles that `work` made.
struct orr_work;
void orr_luv_close_handles(struct orr_work *work);
// The embedding's own handle on the worker's loop closes in the loop's next turns.
void orr_luv_detach(struct orr_luv_loop *luv);
bool orr_luv_detached(const struct orr_luv_loop *luv);
