// SPDX-License-Identifier: MIT
// Module "orrery.c.app" of the CLI's Lua state: serve, run, validate, version, doctor. See app_lua.c for shapes.
#pragma once

struct lua_State;
int orr_luaopen_app(struct lua_State *L);
