// SPDX-License-Identifier: MIT
// What a script finds in its global environment: the standard libraries less what would harm the process or the
// worker, with text chunks only, an xpcall and a table.sort that can be interrupted, and require of embedded modules,
// of the generation's lib/ and of installed Lua modules. Scripts are trusted (a pattern match can't be interrupted):
// this protects against accidents.
#pragma once

#include "script/lua_state.h"

void orr_sandbox_install(struct orr_lua *lua); // right after luaL_openlibs; may raise
void orr_sandbox_finish(struct orr_lua *lua);  // after all preloads: parts written in Lua; may raise
