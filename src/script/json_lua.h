// SPDX-License-Identifier: MIT
// Lua values <-> JSON text, directly. Integers keep 64 bits, floats always have a point or exponent, arrays are marked by
// a metatable, null is a light userdata (the same as cjson's). Objects are written in key order, so equal
// values give equal bytes. Errors name the path. Module "orrery.c.json".
#pragma once

#include "base/buf.h"
#include "base/status.h"

#include <lua.h>

#define ORR_JSON_ERROR_BYTES 512

struct orr_json_problem {
  const char *code;                   // "not_serialisable", "too_large"
  char message[ORR_JSON_ERROR_BYTES]; // names the path, "output.items[3]: a function"
};
// Appends the value at `index`. Never raises and runs no Lua code. `root` names the value in messages ("output").
// ORR_ERR_INVALID or ORR_ERR_LIMIT (over bytes_max): *problem is set and `out` as it was.
enum orr_status orr_json_encode(lua_State *L, int index, const char *root, size_t bytes_max, struct orr_buf *out,
                                struct orr_json_problem *problem);
// Pushes the value of `text`. ORR_ERR_INVALID: pushes nothing, *error is a static text. May raise when out of memory.
enum orr_status orr_json_decode(lua_State *L, struct orr_slice text, const char **error, size_t *offset);
// For text that we wrote ourselves: pushes nil if it is empty or damaged.
void orr_json_push(lua_State *L, struct orr_slice text);
void orr_json_push_null(lua_State *L);
void orr_json_push_array_mt(lua_State *L); // the metatable that marks arrays
int orr_luaopen_json(lua_State *L);
