// SPDX-License-Identifier: MIT
// Error values of Lua as error JSON: { message, code, traceback }. A table with a message keeps its code; a mistake of a
// declaration (orrery_problem) keeps its own; anything else becomes text.
#include "base/json.h"
#include "base/limits.h"
#include "script/worker_parts.h"

#include <string.h>

static int to_text(lua_State *L) { // calls __tostring, which may raise
  luaL_tolstring(L, 1, NULL);
  return 1;
}

static void append_text(struct orr_buf *out, const char *key, const char *text, size_t len) {
  orr_json_key(out, key);
  if (len > ORR_ERROR_BYTES_MAX / 2) len = ORR_ERROR_BYTES_MAX / 2;
  orr_json_string(out, orr_slice_of(text, len));
}

// Pushes the field as a string, or pops nothing and gives NULL.
static const char *text_field(lua_State *L, int index, const char *name, size_t *len) {
  lua_pushstring(L, name);
  if (lua_rawget(L, index) == LUA_TSTRING) return lua_tolstring(L, -1, len);
  lua_pop(L, 1);
  return NULL;
}

static void table_json(lua_State *L, int index, struct orr_buf *out, bool *retryable) {
  size_t len;
  lua_pushliteral(L, "orrery_problem");
  if (lua_rawget(L, index) == LUA_TTABLE) {
    *retryable = false;
    index = lua_gettop(L);
  } else {
    lua_pop(L, 1);
  }
  const char *text = text_field(L, index, "message", &len);
  append_text(out, "message", text != NULL ? text : "error without a message", text != NULL ? len : 23);
  text = text_field(L, index, "code", &len);
  append_text(out, "code", text != NULL ? text : "error", text != NULL ? len : 5);
  lua_pushliteral(L, "retryable");
  if (lua_rawget(L, index) == LUA_TBOOLEAN) *retryable = lua_toboolean(L, -1) != 0;
}

static bool has_message(lua_State *L, int index) {
  if (!lua_istable(L, index)) return false;
  lua_pushliteral(L, "message");
  bool found = lua_rawget(L, index) == LUA_TSTRING;
  lua_pushliteral(L, "orrery_problem");
  found = lua_rawget(L, index) == LUA_TTABLE || found;
  lua_pop(L, 2);
  return found;
}

void orr__lua_error_json(lua_State *L, struct orr_slice traceback, struct orr_buf *out, bool *retryable) {
  int value = lua_gettop(L);
  lua_checkstack(L, 10);
  orr_buf_u8(out, '{');
  if (has_message(L, value)) {
    table_json(L, value, out, retryable);
  } else {
    size_t len;
    const char *text;
    if (lua_type(L, value) == LUA_TTABLE || lua_type(L, value) == LUA_TUSERDATA) {
      // On the main thread: L may be a coroutine that has just died of an error.
      lua_State *main = orr_lua_of(L)->L;
      if (main != L) {
        lua_pushcfunction(main, to_text);
        lua_xmove(L, main, 1);
        if (lua_pcall(main, 1, 1, 0) != LUA_OK) {
          lua_pop(main, 1);
          lua_pushliteral(main, "an error value without text");
        }
        lua_xmove(main, L, 1);
      }
    }
    text = luaL_tolstring(L, value, &len);
    append_text(out, "message", text, len);
    append_text(out, "code", "error", 5);
  }
  if (traceback.len > 0) append_text(out, "traceback", (const char *)traceback.data, traceback.len);
  orr_buf_u8(out, '}');
  lua_settop(L, value - 1);
}

void orr__lua_error_text(struct orr_buf *out, const char *code, const char *message) {
  orr_buf_u8(out, '{');
  append_text(out, "message", message, strlen(message));
  append_text(out, "code", code, strlen(code));
  orr_buf_u8(out, '}');
}
