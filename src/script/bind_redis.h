// SPDX-License-Identifier: MIT
// The Redis clients of a worker, one for each URL that its scripts have opened. The worker's thread only.
#pragma once

#include <lua.h>

struct orr__redis_set;
// Closes them all: no work is open any more. Then the loop is to be run until it is empty. NULL is fine.
void orr__redis_set_free(struct orr__redis_set *set);
int orr_luaopen_c_redis(lua_State *L);
