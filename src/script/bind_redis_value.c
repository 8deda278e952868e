// SPDX-License-Identifier: MIT
// Lua values to Redis commands and Redis replies to Lua values. Invariant: what is refused is
// refused before anything was sent; a batch under construction belongs to the Lua state, so a
// raised error leaks nothing. Knows no connection.
#include "script/bind_redis.h"
#include "script/json_lua.h"

#include <lauxlib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// --- values --------------------------------------------------------------------------------------

static void push_failure(lua_State *L, const struct orr_redis_failure *failure) {
  lua_createtable(L, 0, 3);
  lua_pushstring(L, failure->code);
  lua_setfield(L, -2, "code");
  lua_pushstring(L, failure->message);
  lua_setfield(L, -2, "message");
  lua_pushboolean(L, failure->retryable);
  lua_setfield(L, -2, "retryable");
  luaL_setmetatable(L, ORR__REDIS_ERROR);
}

int orr__redis_return_failure(lua_State *L, const struct orr_redis_failure *failure) {
  lua_pushnil(L);
  push_failure(L, failure);
  return 2;
}

int orr__redis_return_message(lua_State *L, const char *code, const char *message, bool retryable) {
  struct orr_redis_failure failure = {.status = ORR_ERR_INVALID, .retryable = retryable};
  snprintf(failure.code, sizeof(failure.code), "%s", code);
  snprintf(failure.message, sizeof(failure.message), "%s", message);
  return orr__redis_return_failure(L, &failure);
}

void orr__redis_push_scalar(lua_State *L, const struct orr_redis_node *node, bool in_list) {
  struct orr_redis_failure failure;
  switch (node->type) {
  case ORR_REDIS_STRING:
  case ORR_REDIS_STATUS:
    lua_pushlstring(L, node->text.len > 0 ? (const char *)node->text.data : "", node->text.len);
    return;
  case ORR_REDIS_INTEGER:
    lua_pushinteger(L, node->integer);
    return;
  case ORR_REDIS_NIL:
    if (in_list)
      orr_json_push_null(L); // a hole would shorten the list
    else
      lua_pushnil(L);
    return;
  case ORR_REDIS_ERROR:
    orr_redis_failure_of_reply(&failure, node->text);
    push_failure(L, &failure);
    return;
  case ORR_REDIS_ARRAY:
    lua_createtable(L, (int)(node->len < 100000 ? node->len : 100000), 0);
    orr_json_push_array_mt(L);
    lua_setmetatable(L, -2);
    return;
  }
}

// Pushes the next reply. Arrays nest at most eight deep (the codec sees to it).
void orr__redis_push_reply(lua_State *L, struct orr_reader *cursor, bool in_list) {
  struct {
    uint64_t left;
    lua_Integer next;
  } open[16];
  size_t depth = 0;
  struct orr_redis_node node;
  luaL_checkstack(L, 20, "reply");
  for (;;) {
    if (!orr_redis_node_next(cursor, &node)) {
      lua_pushnil(L); // fewer replies than commands: cannot be
      return;
    }
    orr__redis_push_scalar(L, &node, in_list || depth > 0);
    if (node.type == ORR_REDIS_ARRAY && node.len > 0) {
      open[depth].left = node.len;
      open[depth++].next = 1;
      continue;
    }
    while (depth > 0) {
      lua_rawseti(L, -2, open[depth - 1].next++);
      if (--open[depth - 1].left > 0) break;
      depth--;
    }
    if (depth == 0) return;
  }
}

// --- commands ------------------------------------------------------------------------------------

struct orr__redis_batch_box *orr__redis_batch_new(lua_State *L) {
  struct orr__redis_batch_box *box = lua_newuserdatauv(L, sizeof(*box), 0);
  memset(box, 0, sizeof(*box));
  luaL_setmetatable(L, ORR__REDIS_BATCH);
  return box;
}

int orr__redis_batch_gc(lua_State *L) {
  struct orr__redis_batch_box *box = luaL_checkudata(L, 1, ORR__REDIS_BATCH);
  orr_redis_batch_free(&box->batch);
  free(box->args);
  box->args = NULL;
  return 0;
}

static void args_reserve(lua_State *L, struct orr__redis_batch_box *box, size_t count) {
  if (count > ORR_REDIS_ARGS_MAX)
    luaL_error(L, "a Redis command takes at most %d arguments", (int)ORR_REDIS_ARGS_MAX);
  if (count <= box->cap) return;
  box->args = orr_realloc(box->args, count * sizeof(*box->args));
  box->cap = count;
}

// The value at `index` as an argument. A number becomes text in its place.
static struct orr_slice arg_of(lua_State *L, int index, int number) {
  size_t len;
  int type = lua_type(L, index);
  if (type != LUA_TSTRING && type != LUA_TNUMBER)
    luaL_error(L, "argument %d of a Redis command must be a string or a number, is a %s%s", number,
               luaL_typename(L, index),
               type == LUA_TTABLE ? " (o.json.encode makes text of it)" : "");
  const char *text = lua_tolstring(L, index, &len);
  return orr_slice_of(text, len);
}

void orr__redis_add_stack(lua_State *L, struct orr__redis_batch_box *box,
                          int first) { // the arguments from `first` to the top but one
  int count = lua_gettop(L) - first;
  luaL_argcheck(L, count > 0, first, "a Redis command expected");
  args_reserve(L, box, (size_t)count);
  for (int i = 0; i < count; i++) box->args[i] = arg_of(L, first + i, i);
  if (box->args[0].len == 0) luaL_error(L, "the name of a Redis command is empty");
  orr_redis_batch_add(&box->batch, box->args, (size_t)count);
}

static void add_table(lua_State *L, struct orr__redis_batch_box *box, int index) {
  size_t count = lua_rawlen(L, index);
  if (count == 0)
    luaL_error(L, "a Redis command is a list such as { \"SET\", key, value }, this one is empty");
  args_reserve(L, box, count);
  int top = lua_gettop(L);
  for (size_t i = 0; i < count; i++) {
    bool text = lua_rawgeti(L, index, (lua_Integer)i + 1) == LUA_TSTRING;
    box->args[i] = arg_of(L, -1, (int)i);
    if (text)
      lua_pop(L, 1); // the list keeps it; a number's text lives on the stack
    else
      luaL_checkstack(L, 4, "too many numbers in one Redis command");
  }
  orr_redis_batch_add(&box->batch, box->args, count);
  lua_settop(L, top);
}

void orr__redis_add_word(struct orr__redis_batch_box *box, const char *word) {
  struct orr_slice arg = orr_slice_text(word);
  orr_redis_batch_add(&box->batch, &arg, 1);
}

void orr__redis_add_list(lua_State *L, struct orr__redis_batch_box *box,
                         int index) { // a list of commands
  size_t count = lua_rawlen(L, index);
  for (size_t i = 1; i <= count; i++) {
    if (lua_rawgeti(L, index, (lua_Integer)i) != LUA_TTABLE)
      luaL_error(L, "command %d must be a list such as { \"SET\", key, value }, is a %s", (int)i,
                 luaL_typename(L, -1));
    add_table(L, box, lua_gettop(L));
    lua_pop(L, 1);
  }
}

void orr__redis_batch_done(struct orr__redis_batch_box *box) {
  free(box->args);
  box->args = NULL;
  box->cap = 0;
}
