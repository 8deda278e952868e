// SPDX-License-Identifier: MIT
// The direct codec. Encoding recurses over tables, at most ORR_JSON_DEPTH_MAX deep (the bound is what makes the
// exception from "no recursion" safe); decoding is driven by the checked pull reader and keeps its place on the Lua stack.
#include "script/json_lua.h"

#include "base/json.h"
#include "base/limits.h"

#include <lauxlib.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#define KEYS_INLINE 16

static const char array_key = 0; // registry key of the arrays' metatable

struct place { // one step of the path, for messages only
  const struct place *up;
  const char *key; // NULL: index
  size_t key_len;
  lua_Integer index;
};
struct encoder {
  lua_State *L;
  struct orr_buf *out;
  size_t len_max, bytes_max;
  const char *root;
  const void *array_mt;
  struct orr_json_problem *problem;
  uint32_t depth;
};
struct key {
  const char *text;
  size_t len;
};

void orr_json_push_null(lua_State *L) { lua_pushlightuserdata(L, NULL); }

void orr_json_push_array_mt(lua_State *L) {
  if (lua_rawgetp(L, LUA_REGISTRYINDEX, &array_key) == LUA_TTABLE) return;
  lua_pop(L, 1);
  lua_createtable(L, 0, 1);
  lua_pushliteral(L, "json array");
  lua_setfield(L, -2, "orrery_name");
  lua_pushvalue(L, -1);
  lua_rawsetp(L, LUA_REGISTRYINDEX, &array_key);
}

// --- errors ---------------------------------------------------------------------------------------------------

static void write_path(const struct place *place, struct orr_buf *out) {
  const struct place *list[ORR_JSON_DEPTH_MAX + 2];
  uint32_t len = 0;
  for (; place != NULL; place = place->up) list[len++] = place;
  while (len > 0) {
    const struct place *at = list[--len];
    if (at->key == NULL) orr_buf_printf(out, "[%lld]", (long long)at->index);
    else orr_buf_printf(out, ".%.*s", (int)(at->key_len < 64 ? at->key_len : 64), at->key);
  }
}

static bool fail(struct encoder *e, const struct place *place, const char *code, const char *text) {
  struct orr_buf path = ORR_BUF_INIT, clean = ORR_BUF_INIT;
  orr_buf_text(&path, e->root);
  write_path(place, &path);
  if (path.len > 300) path.len = 300;
  orr_utf8_repair(&clean, orr_buf_slice(&path));
  snprintf(e->problem->message, sizeof(e->problem->message), "%s: %s", orr_buf_cstr(&clean), text);
  e->problem->code = code;
  orr_buf_free(&path);
  orr_buf_free(&clean);
  return false;
}

static bool refuse(struct encoder *e, const struct place *place, const char *text) {
  return fail(e, place, "not_serialisable", text);
}

// --- encoding ---------------------------------------------------------------------------------------------------

static bool room(struct encoder *e, const struct place *place) {
  if (e->out->len <= e->len_max) return true;
  char text[96];
  snprintf(text, sizeof(text), "the value is larger than %zu bytes of JSON", e->bytes_max);
  return fail(e, place, "too_large", text);
}

static bool plain(uint8_t byte) { return byte >= 0x20 && byte < 0x80 && byte != '"' && byte != '\\'; }

static bool encode_string(struct encoder *e, const char *text, size_t len, const struct place *place) {
  size_t i = 0;
  while (i < len && plain((uint8_t)text[i])) i++;
  if (i == len) {
    orr_buf_reserve(e->out, len + 2);
    uint8_t *at = e->out->data + e->out->len;
    *at = '"';
    if (len > 0) memcpy(at + 1, text, len);
    at[len + 1] = '"';
    e->out->len += len + 2;
    return room(e, place);
  }
  if (!orr_utf8_valid(orr_slice_of(text, len)))
    return refuse(e, place, "a string that is not UTF-8; encode it with o.base64.encode");
  orr_json_string(e->out, orr_slice_of(text, len));
  return room(e, place);
}

static bool encode_number(struct encoder *e, int index, const struct place *place) {
  if (lua_isinteger(e->L, index)) {
    char digits[24];
    uint32_t at = sizeof(digits);
    lua_Integer value = lua_tointeger(e->L, index);
    uint64_t rest = value < 0 ? 0 - (uint64_t)value : (uint64_t)value;
    do digits[--at] = (char)('0' + rest % 10);
    while ((rest /= 10) != 0);
    if (value < 0) digits[--at] = '-';
    orr_buf_append(e->out, digits + at, sizeof(digits) - at);
    return true;
  }
  lua_Number value = lua_tonumber(e->L, index);
  if (isnan(value)) return refuse(e, place, "NaN has no JSON form");
  if (isinf(value)) return refuse(e, place, "an infinity has no JSON form");
  orr_json_number(e->out, value);
  return true;
}

static bool encode_value(struct encoder *e, int index, const struct place *place);

// Pairs arrive in order 1..n for a sequence that lives in the table's array part: one pass, and it is known
// that there is nothing else in it. *done = false: not that simple, nothing is written.
static bool encode_sequence(struct encoder *e, int index, const struct place *place, bool *done) {
  size_t begin = e->out->len;
  lua_Integer next = 1;
  orr_buf_u8(e->out, '[');
  while (lua_next(e->L, index) != 0) {
    if (!lua_isinteger(e->L, -2) || lua_tointeger(e->L, -2) != next) {
      lua_pop(e->L, 2);
      e->out->len = begin;
      *done = false;
      return true;
    }
    struct place here = {.up = place, .index = next};
    if (next > 1) orr_buf_u8(e->out, ',');
    if (!encode_value(e, lua_gettop(e->L), &here)) return false;
    lua_pop(e->L, 1);
    next++;
  }
  orr_buf_u8(e->out, ']');
  *done = true;
  return true;
}

static bool encode_array(struct encoder *e, int index, const struct place *place) {
  bool done = false;
  if (!encode_sequence(e, index, place, &done)) return false;
  if (done) return true;
  lua_Integer len = 0, count = 0; // keys out of order, or holes
  for (lua_pushnil(e->L); lua_next(e->L, index) != 0; lua_pop(e->L, 1), count++) {
    if (!lua_isinteger(e->L, -2) || lua_tointeger(e->L, -2) < 1) {
      lua_pop(e->L, 2);
      return refuse(e, place, "a list with keys other than 1..n (mixed keys)");
    }
    if (lua_tointeger(e->L, -2) > len) len = lua_tointeger(e->L, -2);
  }
  if (count < len) return refuse(e, place, "a list with holes; put o.json.null into them");
  orr_buf_u8(e->out, '[');
  for (lua_Integer i = 1; i <= len; i++) {
    struct place here = {.up = place, .index = i};
    if (i > 1) orr_buf_u8(e->out, ',');
    lua_rawgeti(e->L, index, i);
    if (!encode_value(e, lua_gettop(e->L), &here)) return false;
    lua_pop(e->L, 1);
  }
  orr_buf_u8(e->out, ']');
  return true;
}

static int compare_keys(const void *a, const void *b) {
  const struct key *left = a, *right = b;
  size_t len = left->len < right->len ? left->len : right->len;
  int order = memcmp(left->text, right->text, len);
  if (order != 0) return order;
  return left->len < right->len ? -1 : left->len > right->len;
}

static void sort_keys(struct key *keys, size_t len) {
  if (len > 12) {
    qsort(keys, len, sizeof(*keys), compare_keys);
    return;
  }
  for (size_t i = 1; i < len; i++) {
    struct key moving = keys[i];
    size_t at = i;
    for (; at > 0 && compare_keys(&keys[at - 1], &moving) > 0; at--) keys[at] = keys[at - 1];
    keys[at] = moving;
  }
}

static bool collect_keys(struct encoder *e, int index, const struct place *place, struct key **keys, size_t *len) {
  size_t cap = KEYS_INLINE;
  for (lua_pushnil(e->L); lua_next(e->L, index) != 0; lua_pop(e->L, 1)) {
    if (lua_type(e->L, -2) != LUA_TSTRING) {
      lua_pop(e->L, 2);
      return refuse(e, place, "a table with mixed keys: either names, or 1..n");
    }
    if (*len == cap) {
      struct key *old = *keys;
      *keys = orr_realloc(cap == KEYS_INLINE ? NULL : old, cap * 2 * sizeof(**keys));
      if (cap == KEYS_INLINE) memcpy(*keys, old, cap * sizeof(*old));
      cap *= 2;
    }
    struct key *key = &(*keys)[(*len)++];
    key->text = lua_tolstring(e->L, -2, &key->len); // a string already: not converted in place
  }
  return true;
}

static bool encode_object(struct encoder *e, int index, const struct place *place) {
  struct key inline_keys[KEYS_INLINE], *keys = inline_keys;
  size_t len = 0;
  bool good = collect_keys(e, index, place, &keys, &len);
  if (good) sort_keys(keys, len);
  if (good) orr_buf_u8(e->out, '{');
  for (size_t i = 0; good && i < len; i++) {
    struct place here = {.up = place, .key = keys[i].text, .key_len = keys[i].len};
    if (i > 0) orr_buf_u8(e->out, ',');
    good = encode_string(e, keys[i].text, keys[i].len, &here);
    if (!good) break;
    orr_buf_u8(e->out, ':');
    lua_pushlstring(e->L, keys[i].text, keys[i].len);
    lua_rawget(e->L, index);
    good = encode_value(e, lua_gettop(e->L), &here);
    lua_pop(e->L, 1);
  }
  if (good) orr_buf_u8(e->out, '}');
  if (keys != inline_keys) free(keys);
  return good;
}

// A proxy (ctx.state.x, ctx.results.y) stands for the plain table in its metatable's __value.
static bool encode_table(struct encoder *e, int index, const struct place *place) {
  if (e->depth == ORR_JSON_DEPTH_MAX) return refuse(e, place, "nested deeper than 100 levels (a cycle?)");
  if (!lua_checkstack(e->L, 8)) return refuse(e, place, "nested too deeply");
  bool marked = false;
  if (lua_getmetatable(e->L, index)) {
    marked = lua_topointer(e->L, -1) == e->array_mt;
    if (!marked) {
      lua_pushliteral(e->L, "__value");
      if (lua_rawget(e->L, -2) == LUA_TTABLE) {
        e->depth++;
        bool good = encode_value(e, lua_gettop(e->L), place);
        e->depth--;
        lua_pop(e->L, 2);
        return good;
      }
      lua_pop(e->L, 1);
    }
    lua_pop(e->L, 1);
  }
  lua_pushnil(e->L);
  if (marked) {
    e->depth++;
    bool good = encode_array(e, index, place);
    e->depth--;
    return good;
  }
  if (lua_next(e->L, index) == 0) {
    orr_buf_append(e->out, "{}", 2);
    return room(e, place);
  }
  bool list = lua_type(e->L, -2) == LUA_TNUMBER;
  lua_pop(e->L, 2);
  if (list) lua_pushnil(e->L);
  e->depth++;
  bool good = list ? encode_array(e, index, place) : encode_object(e, index, place);
  e->depth--;
  return good && room(e, place);
}

static bool encode_value(struct encoder *e, int index, const struct place *place) {
  switch (lua_type(e->L, index)) {
  case LUA_TNIL: orr_buf_append(e->out, "null", 4); return true;
  case LUA_TBOOLEAN: orr_buf_text(e->out, lua_toboolean(e->L, index) ? "true" : "false"); return true;
  case LUA_TNUMBER: return encode_number(e, index, place);
  case LUA_TSTRING: {
    size_t len;
    const char *text = lua_tolstring(e->L, index, &len);
    return encode_string(e, text, len, place);
  }
  case LUA_TTABLE: return encode_table(e, index, place);
  case LUA_TLIGHTUSERDATA:
    if (lua_touserdata(e->L, index) != NULL) return refuse(e, place, "a light userdata has no JSON form");
    orr_buf_append(e->out, "null", 4);
    return true;
  case LUA_TFUNCTION: return refuse(e, place, "a function has no JSON form");
  case LUA_TTHREAD: return refuse(e, place, "a coroutine has no JSON form");
  default: return refuse(e, place, "a userdata has no JSON form");
  }
}

enum orr_status orr_json_encode(lua_State *L, int index, const char *root, size_t bytes_max, struct orr_buf *out,
                                struct orr_json_problem *problem) {
  size_t begin = out->len;
  int top = lua_gettop(L);
  index = lua_absindex(L, index);
  struct encoder e = {.L = L, .out = out, .root = root, .problem = problem, .bytes_max = bytes_max,
                      .len_max = bytes_max < SIZE_MAX - begin ? begin + bytes_max : SIZE_MAX};
  if (lua_type(L, index) == LUA_TTABLE && lua_checkstack(L, 8)) {
    orr_json_push_array_mt(L);
    e.array_mt = lua_topointer(L, -1);
    lua_pop(L, 1);
  }
  if (encode_value(&e, index, NULL) && room(&e, NULL)) return ORR_OK;
  lua_settop(L, top);
  out->len = begin;
  return strcmp(problem->code, "too_large") == 0 ? ORR_ERR_LIMIT : ORR_ERR_INVALID;
}

// --- decoding ---------------------------------------------------------------------------------------------------

static void push_text(lua_State *L, const struct orr_json_reader *reader) {
  if (!reader->escaped) {
    lua_pushlstring(L, (const char *)reader->text.data, reader->text.len);
    return;
  }
  // A Lua-owned buffer: an error of memory must not leak it.
  luaL_Buffer buffer;
  char *space = luaL_buffinitsize(L, &buffer, reader->text.len);
  struct orr_buf out = {.data = (uint8_t *)space, .len = 0, .cap = reader->text.len};
  orr_json_unescape(&out, reader->text); // never longer than its escaped form
  luaL_pushresultsize(&buffer, out.len);
}

// The value on top goes into the container below it (under its key, in an object).
static void store(lua_State *L, bool object, lua_Integer *count) {
  if (object) lua_rawset(L, -3);
  else lua_rawseti(L, -2, ++*count);
}

enum orr_status orr_json_decode(lua_State *L, struct orr_slice text, const char **error, size_t *offset) {
  struct orr_json_reader reader;
  lua_Integer counts[ORR_JSON_DEPTH_MAX + 1];
  bool objects[ORR_JSON_DEPTH_MAX + 1];
  uint32_t depth = 0;
  int top = lua_gettop(L);
  luaL_checkstack(L, (int)ORR_JSON_DEPTH_MAX * 2 + 8, "JSON");
  orr_json_push_array_mt(L);
  int array_mt = lua_gettop(L);
  orr_json_reader_init(&reader, text);
  for (;;) {
    enum orr_json_type type = orr_json_next(&reader);
    switch (type) {
    case ORR_JSON_NULL:
      if (depth > 0 && objects[depth]) { // absent
        lua_pop(L, 1);
        continue;
      }
      orr_json_push_null(L);
      break;
    case ORR_JSON_FALSE: lua_pushboolean(L, 0); break;
    case ORR_JSON_TRUE: lua_pushboolean(L, 1); break;
    case ORR_JSON_INTEGER: lua_pushinteger(L, reader.integer); break;
    case ORR_JSON_FLOAT: lua_pushnumber(L, reader.number); break;
    case ORR_JSON_STRING: push_text(L, &reader); break;
    case ORR_JSON_ARRAY_BEGIN:
    case ORR_JSON_OBJECT_BEGIN:
      depth++;
      counts[depth] = 0;
      objects[depth] = type == ORR_JSON_OBJECT_BEGIN;
      lua_newtable(L);
      if (!objects[depth]) {
        lua_pushvalue(L, array_mt);
        lua_setmetatable(L, -2);
      }
      continue;
    case ORR_JSON_KEY: push_text(L, &reader); continue;
    case ORR_JSON_ARRAY_END:
    case ORR_JSON_OBJECT_END: depth--; break;
    case ORR_JSON_END:
      lua_remove(L, array_mt);
      return ORR_OK;
    case ORR_JSON_ERROR:
      lua_settop(L, top);
      *error = reader.error;
      *offset = reader.offset;
      return ORR_ERR_INVALID;
    }
    if (depth > 0) store(L, objects[depth], &counts[depth]); // NOLINT: set when the level was opened
  }
}

void orr_json_push(lua_State *L, struct orr_slice text) {
  const char *error;
  size_t offset;
  if (text.len == 0 || orr_json_decode(L, text, &error, &offset) != ORR_OK) lua_pushnil(L);
}

// --- module "orrery.c.json" ---------------------------------------------------------------------------------------

static int free_buf(lua_State *L) {
  orr_buf_free(lua_touserdata(L, 1));
  return 0;
}

// encode(value, root) -> text, or nil, message
static int encode(lua_State *L) {
  luaL_checkany(L, 1);
  const char *root = luaL_optstring(L, 2, "value");
  struct orr_buf *out = lua_newuserdatauv(L, sizeof(*out), 0); // so that no error can leak it
  *out = ORR_BUF_INIT;
  if (luaL_newmetatable(L, "orrery.buf")) {
    lua_pushcfunction(L, free_buf);
    lua_setfield(L, -2, "__gc");
  }
  lua_setmetatable(L, -2);
  struct orr_json_problem problem;
  if (orr_json_encode(L, 1, root, ORR_OUTPUT_BYTES_MAX * 2, out, &problem) != ORR_OK) {
    orr_buf_free(out);
    lua_pushnil(L);
    lua_pushstring(L, problem.message);
    return 2;
  }
  lua_pushlstring(L, (const char *)out->data, out->len);
  orr_buf_free(out);
  return 1;
}

// decode(text) -> value, or nil, message, offset from 1
static int decode(lua_State *L) {
  size_t len, offset;
  const char *error, *text = luaL_checklstring(L, 1, &len);
  if (orr_json_decode(L, orr_slice_of(text, len), &error, &offset) == ORR_OK) return 1;
  lua_pushnil(L);
  lua_pushfstring(L, "%s at byte %I", error, (LUAI_UACINT)offset + 1);
  lua_pushinteger(L, (lua_Integer)offset + 1);
  return 3;
}

int orr_luaopen_json(lua_State *L) {
  static const luaL_Reg functions[] = {{"encode", encode}, {"decode", decode}, {NULL, NULL}};
  luaL_newlib(L, functions);
  orr_json_push_null(L);
  lua_setfield(L, -2, "null");
  orr_json_push_array_mt(L);
  lua_setfield(L, -2, "array_mt");
  return 1;
}
