// SPDX-License-Identifier: MIT
// Module "orrery.c.redis": Redis as straight code over the worker's own clients, one for each URL. Boxes: a handle (a URL), a
// session and a subscription (a connection of one's own each). Invariant: what has a connection is guarded by a wait of its attempt,
// so it is closed when the attempt ends, however it ends. Thin: names, options and loops are in lua/orrery/redis.lua.
#include "base/limits.h"
#include "io/redis_client.h"
#include "script/bind_redis.h"
#include "script/json_lua.h"
#include "script/worker_parts.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define HANDLE "orrery.redis"
#define SESSION "orrery.redis.session"
#define SUBSCRIPTION "orrery.redis.subscription"
#define BATCH "orrery.redis.batch"
#define ERROR "orrery.redis.error"
#define CLIENTS_MAX 64u // URLs of a worker; beyond them, one that nobody uses goes

// --- clients of a worker -----------------------------------------------------------------------------------------------------

struct client { // counted: boxes refer to it
  struct orr_list link; // least recently opened first
  struct orr_redis *redis; // NULL: the worker has closed it
  char *url;
  uint32_t refs;
};
struct orr__redis_set {
  struct orr_list clients;
  uint32_t len;
};

static void client_close(struct client *client) {
  orr_redis_free(client->redis);
  client->redis = NULL;
  orr_list_remove(&client->link);
  if (client->refs == 0) {
    free(client->url);
    free(client);
  }
}

static void client_unref(struct client *client) {
  if (--client->refs > 0 || client->redis != NULL) return;
  free(client->url);
  free(client);
}

static void set_trim(struct orr__redis_set *set) {
  struct orr_list *next;
  for (struct orr_list *at = set->clients.next; at != &set->clients && set->len > CLIENTS_MAX; at = next) {
    next = at->next;
    struct client *client = ORR_CONTAINER_OF(at, struct client, link);
    if (client->refs > 0) continue;
    client_close(client);
    set->len--;
  }
}

static struct client *client_of(struct orr_worker *worker, const struct orr_redis_url *url, const char *text) {
  if (worker->redis == NULL) {
    worker->redis = orr_alloc(sizeof(*worker->redis));
    orr_list_init(&worker->redis->clients);
  }
  struct orr__redis_set *set = worker->redis;
  for (struct orr_list *at = set->clients.prev; at != &set->clients; at = at->prev) {
    struct client *client = ORR_CONTAINER_OF(at, struct client, link);
    if (strcmp(client->url, text) != 0) continue;
    orr_list_remove(&client->link);
    orr_list_push_back(&set->clients, &client->link);
    return client;
  }
  struct client *client = orr_alloc(sizeof(*client));
  client->url = orr_strdup(text);
  client->redis = orr_redis_new(&worker->loop, url);
  orr_list_push_back(&set->clients, &client->link);
  set->len++;
  set_trim(set);
  return client;
}

void orr__redis_set_free(struct orr__redis_set *set) {
  if (set == NULL) return;
  while (!orr_list_empty(&set->clients)) client_close(ORR_CONTAINER_OF(set->clients.next, struct client, link));
  free(set);
}

// --- values --------------------------------------------------------------------------------------------------------------------

static void push_failure(lua_State *L, const struct orr_redis_failure *failure) {
  lua_createtable(L, 0, 3);
  lua_pushstring(L, failure->code);
  lua_setfield(L, -2, "code");
  lua_pushstring(L, failure->message);
  lua_setfield(L, -2, "message");
  lua_pushboolean(L, failure->retryable);
  lua_setfield(L, -2, "retryable");
  luaL_setmetatable(L, ERROR);
}

static int return_failure(lua_State *L, const struct orr_redis_failure *failure) {
  lua_pushnil(L);
  push_failure(L, failure);
  return 2;
}

static int return_message(lua_State *L, const char *code, const char *message, bool retryable) {
  struct orr_redis_failure failure = {.status = ORR_ERR_INVALID, .retryable = retryable};
  snprintf(failure.code, sizeof(failure.code), "%s", code);
  snprintf(failure.message, sizeof(failure.message), "%s", message);
  return return_failure(L, &failure);
}

static void push_scalar(lua_State *L, const struct orr_redis_node *node, bool in_list) {
  struct orr_redis_failure failure;
  switch (node->type) {
  case ORR_REDIS_STRING:
  case ORR_REDIS_STATUS:
    lua_pushlstring(L, node->text.len > 0 ? (const char *)node->text.data : "", node->text.len);
    return;
  case ORR_REDIS_INTEGER: lua_pushinteger(L, node->integer); return;
  case ORR_REDIS_NIL:
    if (in_list) orr_json_push_null(L); // a hole would shorten the list
    else lua_pushnil(L);
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
static void push_reply(lua_State *L, struct orr_reader *cursor, bool in_list) {
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
    push_scalar(L, &node, in_list || depth > 0);
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

// --- commands ------------------------------------------------------------------------------------------------------------------

struct batch_box { // collected with the Lua state when an argument is refused
  struct orr_redis_batch batch;
  struct orr_slice *args;
  size_t cap;
};

static struct batch_box *batch_new(lua_State *L) {
  struct batch_box *box = lua_newuserdatauv(L, sizeof(*box), 0);
  memset(box, 0, sizeof(*box));
  luaL_setmetatable(L, BATCH);
  return box;
}

static int batch_gc(lua_State *L) {
  struct batch_box *box = luaL_checkudata(L, 1, BATCH);
  orr_redis_batch_free(&box->batch);
  free(box->args);
  box->args = NULL;
  return 0;
}

static void args_reserve(lua_State *L, struct batch_box *box, size_t count) {
  if (count > ORR_REDIS_ARGS_MAX) luaL_error(L, "a Redis command takes at most %d arguments", (int)ORR_REDIS_ARGS_MAX);
  if (count <= box->cap) return;
  box->args = orr_realloc(box->args, count * sizeof(*box->args));
  box->cap = count;
}

// The value at `index` as an argument. A number becomes text in its place.
static struct orr_slice arg_of(lua_State *L, int index, int number) {
  size_t len;
  int type = lua_type(L, index);
  if (type != LUA_TSTRING && type != LUA_TNUMBER)
    luaL_error(L, "argument %d of a Redis command must be a string or a number, is a %s%s", number, luaL_typename(L, index),
               type == LUA_TTABLE ? " (o.json.encode makes text of it)" : "");
  const char *text = lua_tolstring(L, index, &len);
  return orr_slice_of(text, len);
}

static void add_stack(lua_State *L, struct batch_box *box, int first) { // the arguments from `first` to the top but one
  int count = lua_gettop(L) - first;
  luaL_argcheck(L, count > 0, first, "a Redis command expected");
  args_reserve(L, box, (size_t)count);
  for (int i = 0; i < count; i++) box->args[i] = arg_of(L, first + i, i);
  if (box->args[0].len == 0) luaL_error(L, "the name of a Redis command is empty");
  orr_redis_batch_add(&box->batch, box->args, (size_t)count);
}

static void add_table(lua_State *L, struct batch_box *box, int index) {
  size_t count = lua_rawlen(L, index);
  if (count == 0) luaL_error(L, "a Redis command is a list such as { \"SET\", key, value }, this one is empty");
  args_reserve(L, box, count);
  int top = lua_gettop(L);
  for (size_t i = 0; i < count; i++) {
    bool text = lua_rawgeti(L, index, (lua_Integer)i + 1) == LUA_TSTRING;
    box->args[i] = arg_of(L, -1, (int)i);
    if (text) lua_pop(L, 1); // the list keeps it; a number's text lives on the stack
    else luaL_checkstack(L, 4, "too many numbers in one Redis command");
  }
  orr_redis_batch_add(&box->batch, box->args, count);
  lua_settop(L, top);
}

static void add_word(struct batch_box *box, const char *word) {
  struct orr_slice arg = orr_slice_text(word);
  orr_redis_batch_add(&box->batch, &arg, 1);
}

static void add_list(lua_State *L, struct batch_box *box, int index) { // a list of commands
  size_t count = lua_rawlen(L, index);
  for (size_t i = 1; i <= count; i++) {
    if (lua_rawgeti(L, index, (lua_Integer)i) != LUA_TTABLE)
      luaL_error(L, "command %d must be a list such as { \"SET\", key, value }, is a %s", (int)i, luaL_typename(L, -1));
    add_table(L, box, lua_gettop(L));
    lua_pop(L, 1);
  }
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
    push_reply(L, cursor, true);
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
    return return_message(L, "conflict", "a watched key was changed: nothing of the transaction was carried out", true);
  if (node.type == ORR_REDIS_ERROR) lua_pushnil(L);
  push_reply(L, &exec, false);
  return node.type == ORR_REDIS_ERROR ? 2 : 1;
}

// The reply, or nil and an error table.
static int results(lua_State *L, int status, lua_KContext context) {
  (void)status;
  struct redis_wait *self = (struct redis_wait *)context;
  struct orr_reader cursor = orr_reader_of(orr_buf_slice(&self->result.replies));
  int count = 1;
  if (self->result.failure.status != ORR_OK) {
    count = return_failure(L, &self->result.failure);
  } else {
    switch (self->kind) {
    case ONE:
      if (cursor.at < cursor.end && *cursor.at == ORR_REDIS_ERROR) {
        lua_pushnil(L);
        count = 2;
      }
      push_reply(L, &cursor, false);
      break;
    case LIST: count = push_list(L, &cursor); break;
    case TRANSACTION: count = push_transaction(L, &cursor); break;
    }
  }
  redis_free(self);
  return count;
}

struct handle_box {
  struct client *client; // NULL: closed
};
struct guarded; // of a session or a subscription
struct session_box {
  struct client *client;
  struct orr_redis_session *session; // NULL: closed
  struct guarded *guard;
};

static struct orr_redis *check_client(lua_State *L, int index, struct orr_redis_session **session) {
  struct session_box *box = luaL_testudata(L, index, SESSION);
  *session = NULL;
  if (box != NULL) {
    *session = box->session;
    return box->session != NULL ? box->client->redis : NULL;
  }
  struct handle_box *handle = luaL_checkudata(L, index, HANDLE);
  return handle->client != NULL ? handle->client->redis : NULL;
}

static int start(lua_State *L, struct batch_box *box, enum answer_kind kind, lua_Integer timeout_ms) {
  struct orr_redis_session *session;
  struct orr_redis *client = check_client(L, 1, &session);
  luaL_argcheck(L, timeout_ms >= 0 && (uint64_t)timeout_ms <= ORR_DURATION_MS_MAX, 2, "timeout out of range");
  orr__wait_check(L);
  if (client == NULL) return return_message(L, "closed", "this Redis handle is closed", false);
  struct redis_wait *self = orr__wait_new(L, sizeof(*self), true, redis_cancel);
  struct orr_redis_options options = {.timeout_ms = (uint64_t)timeout_ms, .session = session};
  self->kind = kind;
  self->request = orr_redis_start(client, &box->batch, &options, on_done, self);
  free(box->args);
  box->args = NULL;
  box->cap = 0;
  return orr__wait_yield(L, &self->wait, results);
}

static int call(lua_State *L) { // call(handle or session, timeout ms, name, arguments ...)
  lua_Integer timeout_ms = luaL_checkinteger(L, 2);
  struct batch_box *box = batch_new(L);
  add_stack(L, box, 3);
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
  struct batch_box *box = batch_new(L);
  add_list(L, box, 3);
  return start(L, box, LIST, timeout_ms);
}

static int transaction(lua_State *L) { // transaction(handle or session, timeout ms, list of commands)
  lua_Integer timeout_ms = luaL_checkinteger(L, 2);
  luaL_checktype(L, 3, LUA_TTABLE);
  struct batch_box *box = batch_new(L);
  box->batch.atomic = true;
  add_word(box, "MULTI");
  add_list(L, box, 3);
  add_word(box, "EXEC");
  return start(L, box, TRANSACTION, timeout_ms);
}

// --- handles ---------------------------------------------------------------------------------------------------------------------

static int open_url(lua_State *L) { // open(url) -> handle, or nil and an error
  size_t len;
  const char *text = luaL_checklstring(L, 1, &len);
  char message[256];
  orr__wait_check(L);
  struct handle_box *box = lua_newuserdatauv(L, sizeof(*box), 0);
  box->client = NULL;
  luaL_setmetatable(L, HANDLE);
  struct orr_redis_url *url = orr_alloc(sizeof(*url));
  bool good = orr_redis_url_parse(orr_slice_of(text, len), url, message) == ORR_OK;
  if (good) box->client = client_of(orr_lua_of(L)->worker, url, text);
  free(url);
  if (!good) return return_message(L, "invalid_url", message, false);
  box->client->refs++;
  return 1;
}

static int handle_close(lua_State *L) {
  struct handle_box *box = luaL_checkudata(L, 1, HANDLE);
  if (box->client != NULL) client_unref(box->client);
  box->client = NULL;
  return 0;
}

// --- guards: what has a connection of its own ends with its attempt --------------------------------------------------------------

struct guarded {
  struct orr_wait wait;
  void *box;
  void (*close)(void *box, bool clean); // of a session or subscription
};

static void guard_cancel(struct orr_wait *wait) {
  struct guarded *self = (struct guarded *)wait;
  self->close(self->box, false); // takes the guard away
}

static void guard_end(struct guarded *guard) {
  if (guard == NULL) return;
  orr__wait_close(&guard->wait);
  free(guard);
}

static struct guarded *guard_new(lua_State *L, void *box, void (*close)(void *box, bool clean)) {
  struct guarded *guard = orr__wait_new(L, sizeof(*guard), false, guard_cancel);
  guard->box = box;
  guard->close = close;
  return guard;
}

// --- sessions --------------------------------------------------------------------------------------------------------------------

static void session_end(void *context, bool clean) {
  struct session_box *box = context;
  struct guarded *guard = box->guard;
  box->guard = NULL;
  orr_redis_session_close(box->session, clean);
  box->session = NULL;
  if (box->client != NULL) client_unref(box->client);
  box->client = NULL;
  guard_end(guard);
}

static int session_close(lua_State *L) { // session_close(session, clean)
  struct session_box *box = luaL_checkudata(L, 1, SESSION);
  session_end(box, lua_isboolean(L, 2) && lua_toboolean(L, 2));
  return 0;
}

struct session_wait {
  struct orr_wait wait;
  struct orr_redis_session *session;
  struct orr_redis_failure failure;
  bool called;
};

static void session_cancel(struct orr_wait *wait) {
  struct session_wait *self = (struct session_wait *)wait;
  if (self->session != NULL) orr_redis_session_close(self->session, true);
  orr__wait_close(wait);
  free(self);
}

static void on_session(void *context, struct orr_redis_session *session, const struct orr_redis_failure *failure) {
  struct session_wait *self = context;
  self->session = session;
  if (failure != NULL) self->failure = *failure;
  self->called = true;
  orr__wait_done(&self->wait);
}

static int session_opened(lua_State *L, int status, lua_KContext context) { // the new box is on top
  (void)status;
  struct session_wait *self = (struct session_wait *)context;
  struct session_box *box = luaL_checkudata(L, -1, SESSION);
  struct orr_redis_failure failure = self->failure;
  box->session = self->session;
  orr__wait_close(&self->wait);
  free(self);
  if (box->session == NULL) return return_failure(L, &failure);
  box->guard = guard_new(L, box, session_end);
  return 1;
}

static int session_open(lua_State *L) { // session(handle, key or nil) -> session, or nil and an error
  struct handle_box *handle = luaL_checkudata(L, 1, HANDLE);
  size_t len = 0;
  const char *key = luaL_optlstring(L, 2, NULL, &len);
  orr__wait_check(L);
  if (handle->client == NULL || handle->client->redis == NULL)
    return return_message(L, "closed", "this Redis handle is closed", false);
  struct session_box *box = lua_newuserdatauv(L, sizeof(*box), 0);
  memset(box, 0, sizeof(*box));
  luaL_setmetatable(L, SESSION);
  box->client = handle->client;
  box->client->refs++;
  struct session_wait *self = orr__wait_new(L, sizeof(*self), true, session_cancel);
  int32_t slot = key != NULL ? orr_redis_slot(orr_slice_of(key, len)) : ORR_REDIS_SLOT_NONE;
  self->session = orr_redis_session_open(handle->client->redis, slot, on_session, self);
  return orr__wait_yield(L, &self->wait, session_opened);
}

// --- subscriptions -----------------------------------------------------------------------------------------------------------------

struct subscription_wait;
struct subscription_box {
  struct client *client;
  struct orr_redis_subscription *subscription; // NULL: closed
  struct guarded *guard;
  struct subscription_wait *waiter;
};
struct subscription_wait {
  struct orr_wait wait;
  struct subscription_box *box; // NULL: it was closed meanwhile
  bool for_ready;
  uint64_t until_ms; // mono; 0: for ever
};

static void waiter_free(struct subscription_wait *self) {
  if (self->box != NULL) self->box->waiter = NULL;
  orr__wait_close(&self->wait);
  free(self);
}

static void waiter_cancel(struct orr_wait *wait) { waiter_free((struct subscription_wait *)wait); }

static void on_changed(void *context) {
  struct subscription_box *box = context;
  struct subscription_wait *waiter = box->waiter;
  if (waiter == NULL || waiter->wait.done) return;
  bool due = waiter->until_ms != 0 && orr_clock_now().mono_ms >= waiter->until_ms;
  if (orr_redis_subscription_pending(box->subscription) || due ||
      (waiter->for_ready && orr_redis_subscription_ready(box->subscription)))
    orr__wait_done(&waiter->wait);
}

static void subscription_end(void *context, bool clean) {
  (void)clean;
  struct subscription_box *box = context;
  struct guarded *guard = box->guard;
  box->guard = NULL;
  if (box->waiter != NULL) { // another strand waits for a message: it hears of the end
    struct subscription_wait *waiter = box->waiter;
    waiter->box = NULL;
    box->waiter = NULL;
    bool ends = guard != NULL && guard->wait.work->ended; // its strand is gone; its own cancel frees it
    if (!waiter->wait.done && !ends) orr__wait_done(&waiter->wait);
  }
  orr_redis_subscription_close(box->subscription);
  box->subscription = NULL;
  if (box->client != NULL) client_unref(box->client);
  box->client = NULL;
  guard_end(guard);
}

static int subscription_close(lua_State *L) {
  subscription_end(luaL_checkudata(L, 1, SUBSCRIPTION), false);
  return 0;
}

static int push_message(lua_State *L, struct orr_buf *message) { // channel, payload, pattern or nil
  struct orr_reader cursor = orr_reader_of(orr_buf_slice(message));
  struct orr_redis_node node, part[3] = {{0}};
  orr_redis_node_next(&cursor, &node);
  uint64_t parts = node.len - 1; // ["pmessage", pattern, channel, payload]: three after the word; else two
  orr_redis_node_next(&cursor, &node);
  bool fits = parts == 2 || parts == 3;
  for (uint64_t i = 0; fits && i < parts; i++) fits = orr_redis_node_next(&cursor, &part[i]) && part[i].type != ORR_REDIS_ARRAY;
  if (!fits) {
    orr_buf_free(message);
    return return_message(L, "protocol", "Redis sent a message of an unknown form", false);
  }
  push_scalar(L, &part[parts - 2], false);
  push_scalar(L, &part[parts - 1], false);
  if (parts == 3) push_scalar(L, &part[0], false);
  orr_buf_free(message);
  return parts == 3 ? 3 : 2;
}

static int return_next(lua_State *L, struct subscription_box *box) {
  struct orr_buf message = ORR_BUF_INIT;
  struct orr_redis_failure failure;
  enum orr_status status = orr_redis_subscription_next(box->subscription, &message, &failure);
  if (status == ORR_OK) return push_message(L, &message);
  if (status != ORR_ERR_NOT_FOUND) return return_failure(L, &failure);
  return return_message(L, "timeout", "no message came in time", true);
}

static int next_message(lua_State *L, int status, lua_KContext context) {
  (void)status;
  struct subscription_wait *self = (struct subscription_wait *)context;
  struct subscription_box *box = self->box;
  waiter_free(self);
  if (box == NULL) return return_message(L, "closed", "the subscription is closed", false);
  return return_next(L, box);
}

static int subscription_next(lua_State *L) { // next(subscription, timeout ms or nil) -> channel, payload, pattern; or nil, error
  struct subscription_box *box = luaL_checkudata(L, 1, SUBSCRIPTION);
  lua_Integer timeout_ms = luaL_optinteger(L, 2, -1);
  luaL_argcheck(L, timeout_ms <= (lua_Integer)ORR_DURATION_MS_MAX, 2, "timeout out of range");
  orr__wait_check(L);
  if (box->subscription == NULL) return return_message(L, "closed", "the subscription is closed", false);
  if (box->waiter != NULL) return luaL_error(L, "somebody else waits for this subscription's next message");
  if (timeout_ms == 0 || orr_redis_subscription_pending(box->subscription)) return return_next(L, box);
  struct subscription_wait *self = orr__wait_new(L, sizeof(*self), true, waiter_cancel);
  self->box = box;
  box->waiter = self;
  if (timeout_ms > 0) {
    self->until_ms = orr_clock_now().mono_ms + (uint64_t)timeout_ms;
    orr_redis_subscription_wake_in(box->subscription, (uint64_t)timeout_ms);
  }
  return orr__wait_yield(L, &self->wait, next_message);
}

static int subscribed(lua_State *L, int status, lua_KContext context) { // the new box is on top
  (void)status;
  struct subscription_wait *self = (struct subscription_wait *)context;
  struct subscription_box *box = luaL_checkudata(L, -1, SUBSCRIPTION);
  bool closed = self->box == NULL;
  waiter_free(self);
  if (closed) return return_message(L, "closed", "the subscription is closed", false);
  if (orr_redis_subscription_ready(box->subscription)) return 1;
  int count = return_next(L, box); // its failure
  subscription_end(box, false);
  return count;
}

static int subscribe(lua_State *L) { // subscribe(handle, kind, list of channels) -> subscription, or nil and an error
  static const char *const kinds[] = {"subscribe", "psubscribe", "ssubscribe", NULL};
  struct handle_box *handle = luaL_checkudata(L, 1, HANDLE);
  enum orr_redis_subscribe kind = (enum orr_redis_subscribe)luaL_checkoption(L, 2, NULL, kinds);
  luaL_checktype(L, 3, LUA_TTABLE);
  size_t count = lua_rawlen(L, 3);
  luaL_argcheck(L, count > 0 && count < ORR_REDIS_ARGS_MAX, 3, "a list of channels expected");
  struct orr_slice *channels = lua_newuserdatauv(L, count * sizeof(*channels), 0);
  for (size_t i = 0; i < count; i++) {
    luaL_argcheck(L, lua_rawgeti(L, 3, (lua_Integer)i + 1) == LUA_TSTRING, 3, "a channel's name is a string");
    channels[i] = arg_of(L, -1, (int)i + 1); // the list keeps it
    lua_pop(L, 1);
  }
  orr__wait_check(L);
  if (handle->client == NULL || handle->client->redis == NULL)
    return return_message(L, "closed", "this Redis handle is closed", false);
  struct subscription_box *box = lua_newuserdatauv(L, sizeof(*box), 0);
  memset(box, 0, sizeof(*box));
  luaL_setmetatable(L, SUBSCRIPTION);
  box->guard = guard_new(L, box, subscription_end);
  box->client = handle->client;
  box->client->refs++;
  box->subscription = orr_redis_subscribe_open(handle->client->redis, kind, channels, count, on_changed, box);
  struct subscription_wait *self = orr__wait_new(L, sizeof(*self), true, waiter_cancel);
  self->box = box;
  self->for_ready = true;
  box->waiter = self;
  return orr__wait_yield(L, &self->wait, subscribed);
}

// --- the module --------------------------------------------------------------------------------------------------------------------

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
                                       {"session", session_open},
                                       {"session_close", session_close},
                                       {"subscribe", subscribe},
                                       {"next", subscription_next},
                                       {"unsubscribe", subscription_close},
                                       {"parse", parse},
                                       {"slot", slot},
                                       {NULL, NULL}};
  new_type(L, HANDLE, "__gc", handle_close);
  new_type(L, SESSION, "__gc", session_close);
  new_type(L, SUBSCRIPTION, "__gc", subscription_close);
  new_type(L, BATCH, "__gc", batch_gc);
  new_type(L, ERROR, "__tostring", error_text);
  luaL_newlib(L, functions);
  return 1;
}
