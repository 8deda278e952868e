// SPDX-License-Identifier: MIT
// The Lua library inside the binary: bytecode made at build time by cmake/embed.lua. In development
// ORRERY_LUA=DIR loads the modules from a tree instead (script/lua_state.c).
#pragma once

#include <stddef.h>

struct orr_embedded {
  const char *module; // "orrery.json"
  const char *path;   // "orrery/json.lua"
  const unsigned char *code;
  size_t len;
};
extern const struct orr_embedded orr_embedded_lua[]; // ends with a NULL module
