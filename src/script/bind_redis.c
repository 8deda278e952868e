// SPDX-License-Identifier: MIT
// Module "orrery.c.redis": Redis as straight code over the worker's own clients, one for each URL.
// Invariant: a client outlives every box that refers to it, or is gone (redis == NULL) and its
// boxes say "closed". Thin: names, options and loops are in lua/orrery/redis.lua.
#include "script/bind_redis.h"
#include "base/limits.h"
#include "io/redis_client.h"
#include "script/json_lua.h"
#include "script/worker_parts.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CLIENTS_MAX 64u // URLs of a worker; beyond them, one that nobody uses goes

// --- clients of a worker -------------------------------------------------------------------------

struct orr__redis_set {
  struct orr_list clients;
  uint32_t len;
};

static void client_close(struct orr__redis_shared *client) {
  orr_redis_free(client->redis);
  client->redis = NULL;
  orr_list_remove(&client->link);
  if (client->refs == 0) {
    free(client->url);
    free(client);
  }
}

void orr__redis_unref(struct orr__redis_shared *client) {
  if (--client->refs > 0 || client->redis != NULL) return;
  free(client->url);
  free(client);
}

static void set_trim(struct orr__redis_set *set) {
  struct orr_list *next;
  for (struct orr_list *at = set->clients.next; at != &set->clients && set->len > CLIENTS_MAX;
       at = next) {
    next = at->next;
    struct orr__redis_shared *client = ORR_CONTAINER_OF(at, struct orr__redis_shared, link);
    if (client->refs > 0) continue;
    client_close(client);
    set->len--;
  }
}

static struct orr__redis_shared *client_of(struct orr_worker *worker,
                                           const struct orr_redis_url *url, const char *text) {
  if (worker->redis == NULL) {
    worker->redis = orr_alloc(sizeof(*worker->redis));
    orr_list_init(&worker->redis->clients);
  }
  struct orr__redis_set *set = worker->redis;
  for (struct orr_list *at = set->clients.prev; at != &set->clients; at = at->prev) {
    struct orr__redis_shared *client = ORR_CONTAINER_OF(at, struct orr__redis_shared, link);
    if (strcmp(client->url, text) != 0) continue;
    orr_list_remove(&client->link);
    orr_list_push_back(&set->clients, &client->link);
    return client;
  }
  struct orr__redis_shared *client = orr_alloc(sizeof(*client));
  client->url = orr_strdup(text);
  client->redis = orr_redis_new(&worker->loop, url);
  orr_list_push_back(&set->clients, &client->link);
  set->len++;
  set_trim(set);
  return client;
}

void orr__redis_set_free(struct orr__redis_set *set) {
  if (set == NULL) return;
  while (!orr_list_empty(&set->clients))
    client_close(ORR_CONTAINER_OF(set->clients.next, struct orr__redis_shared, link));
  free(set);
}

enum answer_kind { ONE, LIST, TRANSACTION };
struct redis_wait {
  struct orr_wait wait;
  struct orr_redis_request *request;
  struct orr_redis_result result; // replies owned
  enum answer_kind kind;
};

static void redis_free(struct redis_wait *self) {
  if (self->wait.work != NULL) orr__wait_close(&self->wait);
  orr_buf_free(&self->result.replies);
  free(self);
}

static void redis_cancel(struct orr_wait *wait) {
  struct redis_wait *self = (struct redis_wait *)wait;
  if (!wait->done) orr_redis_cancel(self->request);
  redis_free(self);
}

static void on_done(void *context, struct orr_redis_result *result) {
  struct redis_wait *self = context;
  self->result = *result;
  result->replies = ORR_BUF_INIT; // taken over
  self->request = NULL;
  orr__wait_done(&self->wait);
}

static int push_list(lua_State *L, struct orr_reader *cursor) {
  lua_newtable(L);
  orr_json_push_array_mt(L);
  lua_setmetatable(L, -2);
  for (lua_Integer i = 1; cursor->at != cursor->end; i++) {
    orr__redis_push_reply(L, cursor, true);
    lua_rawseti(L, -2, i);
  }
  return 1;
}

// OK, QUEUED ..., and the reply of EXEC: a list, nil when a watched key has changed, or EXECABORT.
static int push_transaction(lua_State *L, struct orr_reader *cursor) {
  struct orr_redis_node node;
  struct orr_slice reply, last = {0}, refused = {0};
  while (orr_redis_reply_next(cursor, &reply)) {
    struct orr_reader peek = orr_reader_of(reply);
    orr_redis_node_next(&peek, &node);
    if (node.type == ORR_REDIS_ERROR && refused.len == 0) refused = reply;
    last = reply;
  }
  struct orr_reader exec = orr_reader_of(refused.len > 0 ? refused : last);
  struct orr_reader peek = exec;
  orr_redis_node_next(&peek, &node);
  if (node.type == ORR_REDIS_NIL)
    return orr__redis_return_message(
        L, "conflict", "a watched key was changed: nothing of the transaction was carried out",
        true);
  if (node.type == ORR_REDIS_ERROR) lua_pushnil(L);
  orr__redis_push_reply(L, &exec, false);
  return node.type == ORR_REDIS_ERROR ? 2 : 1;
}

// The reply, or nil and an error table.
static int results(lua_State *L, int status, lua_KContext context) {
  (void)status;
  struct redis_wait *self = (struct redis_wait *)context;
  struct orr_reader cursor = orr_reader_of(orr_buf_slice(&self->result.replies));
  int count = 1;
  if (self->result.failure.status != ORR_OK) {
    count = orr__redis_return_failure(L, &self->result.failure);
  } else {
    switch (self->kind) {
    case ONE:
      if (cursor.at < cursor.end && *cursor.at == ORR_REDIS_ERROR) {
        lua_pushnil(L);
        count = 2;
      }
      orr__redis_push_reply(L, &cursor, false);
      break;
    case LIST:
      count = push_list(L, &cursor);
      break;
    case TRANSACTION:
      count = push_transaction(L, &cursor);
      break;
    }
  }
  redis_free(self);
  return count;
}

static struct orr_redis *check_client(lua_State *L, int index, struct orr_redis_session **session) {
  struct orr__redis_session_box *box = luaL_testudata(L, index, ORR__REDIS_SESSION);
  *session = NULL;
  if (box != NULL) {
    *session = box->session;
    return box->session != NULL ? box->shared->redis : NULL;
  }
  struct orr__redis_handle_box *handle = luaL_checkudata(L, index, ORR__REDIS_HANDLE);
  return handle->shared != NULL ? handle->shared->redis : NULL;
}

static int start(lua_State *L, struct orr__redis_batch_box *box, enum answer_kind kind,
                 lua_Integer timeout_ms) {
  struct orr_redis_session *session;
  struct orr_redis *client = check_client(L, 1, &session);
  luaL_argcheck(L, timeout_ms >= 0 && (uint64_t)timeout_ms <= ORR_DURATION_MS_MAX, 2,
                "timeout out of range");
  orr__wait_check(L);
  if (client == NULL)
    return orr__redis_return_message(L, "closed", "this Redis handle is closed", false);
  struct redis_wait *self = orr__wait_new(L, sizeof(*self), true, redis_cancel);
  struct orr_redis_options options = {.timeout_ms = (uint64_t)timeout_ms, .session = session};
  self->kind = kind;
  self->request = orr_redis_start(client, &box->batch, &options, on_done, self);
  orr__redis_batch_done(box);
  return orr__wait_yield(L, &self->wait, results);
}

static int call(lua_State *L) { // call(handle or session, timeout ms, name, arguments ...)
  lua_Integer timeout_ms = luaL_checkinteger(L, 2);
  struct orr__redis_batch_box *box = orr__redis_batch_new(L);
  orr__redis_add_stack(L, box, 3);
  return start(L, box, ONE, timeout_ms);
}

static int pipeline(lua_State *L) { // pipeline(handle or session, timeout ms, list of commands)
  lua_Integer timeout_ms = luaL_checkinteger(L, 2);
  luaL_checktype(L, 3, LUA_TTABLE);
  if (lua_rawlen(L, 3) == 0) {
    lua_newtable(L);
    orr_json_push_array_mt(L);
    lua_setmetatable(L, -2);
    return 1;
  }
  struct orr__redis_batch_box *box = orr__redis_batch_new(L);
  orr__redis_add_list(L, box, 3);
  return start(L, box, LIST, timeout_ms);
}

static int
transaction(lua_State *L) { // transaction(handle or session, timeout ms, list of commands)
  lua_Integer timeout_ms = luaL_checkinteger(L, 2);
  luaL_checktype(L, 3, LUA_TTABLE);
  struct orr__redis_batch_box *box = orr__redis_batch_new(L);
  box->batch.atomic = true;
  orr__redis_add_word(box, "MULTI");
  orr__redis_add_list(L, box, 3);
  orr__redis_add_word(box, "EXEC");
  return start(L, box, TRANSACTION, timeout_ms);
}

// --- handles -------------------------------------------------------------------------------------

static int open_url(lua_State *L) { // open(url) -> handle, or nil and an error
  size_t len;
  const char *text = luaL_checklstring(L, 1, &len);
  char message[256];
  orr__wait_check(L);
  struct orr__redis_handle_box *box = lua_newuserdatauv(L, sizeof(*box), 0);
  box->shared = NULL;
  luaL_setmetatable(L, ORR__REDIS_HANDLE);
  struct orr_redis_url *url = orr_alloc(sizeof(*url));
  bool good = orr_redis_url_parse(orr_slice_of(text, len), url, message) == ORR_OK;
  if (good) box->shared = client_of(orr_lua_of(L)->worker, url, text);
  free(url);
  if (!good) return orr__redis_return_message(L, "invalid_url", message, false);
  box->shared->refs++;
  return 1;
}

static int handle_close(lua_State *L) {
  struct orr__redis_handle_box *box = luaL_checkudata(L, 1, ORR__REDIS_HANDLE);
  if (box->shared != NULL) orr__redis_unref(box->shared);
  box->shared = NULL;
  return 0;
}

// --- the module ----------------------------------------------------------------------------------

static int error_text(lua_State *L) { // __tostring
  lua_getfield(L, 1, "message");
  return 1;
}

static int parse(lua_State *L) { // parse(url) -> true, or nil and what is wrong; no I/O
  size_t len;
  const char *text = luaL_checklstring(L, 1, &len);
  char message[256];
  struct orr_redis_url *url = orr_alloc(sizeof(*url));
  bool good = orr_redis_url_parse(orr_slice_of(text, len), url, message) == ORR_OK;
  free(url);
  if (!good) {
    lua_pushnil(L);
    lua_pushstring(L, message);
    return 2;
  }
  lua_pushboolean(L, 1);
  return 1;
}

static int slot(lua_State *L) { // slot(key): of a Cluster
  size_t len;
  const char *key = luaL_checklstring(L, 1, &len);
  lua_pushinteger(L, orr_redis_slot(orr_slice_of(key, len)));
  return 1;
}

static void new_type(lua_State *L, const char *name, const char *method, lua_CFunction function) {
  luaL_newmetatable(L, name);
  lua_pushcfunction(L, function);
  lua_setfield(L, -2, method);
  lua_pop(L, 1);
}

int orr_luaopen_c_redis(lua_State *L) {
  static const luaL_Reg functions[] = {{"open", open_url},
                                       {"close", handle_close},
                                       {"call", call},
                                       {"pipeline", pipeline},
                                       {"transaction", transaction},
                                       {"session", orr__redis_session_open},
                                       {"session_close", orr__redis_session_close},
                                       {"subscribe", orr__redis_subscribe},
                                       {"next", orr__redis_subscription_next},
                                       {"unsubscribe", orr__redis_subscription_close},
                                       {"parse", parse},
                                       {"slot", slot},
                                       {NULL, NULL}};
  new_type(L, ORR__REDIS_HANDLE, "__gc", handle_close);
  new_type(L, ORR__REDIS_SESSION, "__gc", orr__redis_session_close);
  new_type(L, ORR__REDIS_SUBSCRIPTION, "__gc", orr__redis_subscription_close);
  new_type(L, ORR__REDIS_BATCH, "__gc", orr__redis_batch_gc);
  new_type(L, ORR__REDIS_ERROR, "__tostring", error_text);
  luaL_newlib(L, functions);
  return 1;
}
