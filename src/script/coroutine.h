// SPDX-License-Identifier: MIT
// Our own coroutine.*: as the manual says, but a yield of the engine (time slice, wait) inside a user's coroutine passes
// outward through every level to the worker, and resuming the outermost resumes the same innermost one. Results
// never travel that way: whoever waited fetches them itself.
#pragma once

#include <lua.h>

// Replaces the global `coroutine`. Main thread of a fresh state.
void orr_coroutine_install(lua_State *L);
