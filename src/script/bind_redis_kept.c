// SPDX-License-Identifier: MIT
// Sessions and subscriptions in Lua. Invariant: each box with a connection is guarded by a wait of
// its attempt that nobody waits for, so it is closed when the attempt ends, however it ends;
// closing by hand takes the guard away.
#include "base/clock.h"
#include "base/limits.h"
#include "script/bind_redis.h"

#include <lauxlib.h>
#include <stdlib.h>
#include <string.h>

// --- guards: what has a connection of its own ends with its attempt ------------------------------

struct orr__redis_guard {
  struct orr_wait wait;
  void *box;
  void (*close)(void *box, bool clean); // of a session or subscription
};

static void guard_cancel(struct orr_wait *wait) {
  struct orr__redis_guard *self = (struct orr__redis_guard *)wait;
  self->close(self->box, false); // takes the guard away
}

static void guard_end(struct orr__redis_guard *guard) {
  if (guard == NULL) return;
  orr__wait_close(&guard->wait);
  free(guard);
}

static struct orr__redis_guard *guard_new(lua_State *L, void *box,
                                          void (*close)(void *box, bool clean)) {
  struct orr__redis_guard *guard = orr__wait_new(L, sizeof(*guard), false, guard_cancel);
  guard->box = box;
  guard->close = close;
  return guard;
}

// --- sessions ------------------------------------------------------------------------------------

static void session_end(void *context, bool clean) {
  struct orr__redis_session_box *box = context;
  struct orr__redis_guard *guard = box->guard;
  box->guard = NULL;
  orr_redis_session_close(box->session, clean);
  box->session = NULL;
  if (box->shared != NULL) orr__redis_unref(box->shared);
  box->shared = NULL;
  guard_end(guard);
}

int orr__redis_session_close(lua_State *L) { // session_close(session, clean)
  struct orr__redis_session_box *box = luaL_checkudata(L, 1, ORR__REDIS_SESSION);
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

static void on_session(void *context, struct orr_redis_session *session,
                       const struct orr_redis_failure *failure) {
  struct session_wait *self = context;
  self->session = session;
  if (failure != NULL) self->failure = *failure;
  self->called = true;
  orr__wait_done(&self->wait);
}

static int session_opened(lua_State *L, int status, lua_KContext context) { // the new box is on top
  (void)status;
  struct session_wait *self = (struct session_wait *)context;
  struct orr__redis_session_box *box = luaL_checkudata(L, -1, ORR__REDIS_SESSION);
  struct orr_redis_failure failure = self->failure;
  box->session = self->session;
  orr__wait_close(&self->wait);
  free(self);
  if (box->session == NULL) return orr__redis_return_failure(L, &failure);
  box->guard = guard_new(L, box, session_end);
  return 1;
}

int orr__redis_session_open(
    lua_State *L) { // session(handle, key or nil) -> session, or nil and an error
  struct orr__redis_handle_box *handle = luaL_checkudata(L, 1, ORR__REDIS_HANDLE);
  size_t len = 0;
  const char *key = luaL_optlstring(L, 2, NULL, &len);
  orr__wait_check(L);
  if (handle->shared == NULL || handle->shared->redis == NULL)
    return orr__redis_return_message(L, "closed", "this Redis handle is closed", false);
  struct orr__redis_session_box *box = lua_newuserdatauv(L, sizeof(*box), 0);
  memset(box, 0, sizeof(*box));
  luaL_setmetatable(L, ORR__REDIS_SESSION);
  box->shared = handle->shared;
  box->shared->refs++;
  struct session_wait *self = orr__wait_new(L, sizeof(*self), true, session_cancel);
  int32_t slot = key != NULL ? orr_redis_slot(orr_slice_of(key, len)) : ORR_REDIS_SLOT_NONE;
  self->session = orr_redis_session_open(handle->shared->redis, slot, on_session, self);
  return orr__wait_yield(L, &self->wait, session_opened);
}

// --- subscriptions -------------------------------------------------------------------------------

struct subscription_wait;
struct subscription_box {
  struct orr__redis_shared *shared;
  struct orr_redis_subscription *subscription; // NULL: closed
  struct orr__redis_guard *guard;
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
  struct orr__redis_guard *guard = box->guard;
  box->guard = NULL;
  if (box->waiter != NULL) { // another strand waits for a message: it hears of the end
    struct subscription_wait *waiter = box->waiter;
    waiter->box = NULL;
    box->waiter = NULL;
    bool ends =
        guard != NULL && guard->wait.work->ended; // its strand is gone; its own cancel frees it
    if (!waiter->wait.done && !ends) orr__wait_done(&waiter->wait);
  }
  orr_redis_subscription_close(box->subscription);
  box->subscription = NULL;
  if (box->shared != NULL) orr__redis_unref(box->shared);
  box->shared = NULL;
  guard_end(guard);
}

int orr__redis_subscription_close(lua_State *L) {
  subscription_end(luaL_checkudata(L, 1, ORR__REDIS_SUBSCRIPTION), false);
  return 0;
}

static int push_message(lua_State *L, struct orr_buf *message) { // channel, payload, pattern or nil
  struct orr_reader cursor = orr_reader_of(orr_buf_slice(message));
  struct orr_redis_node node, part[3] = {{0}};
  orr_redis_node_next(&cursor, &node);
  uint64_t parts =
      node.len - 1; // ["pmessage", pattern, channel, payload]: three after the word; else two
  orr_redis_node_next(&cursor, &node);
  bool fits = parts == 2 || parts == 3;
  for (uint64_t i = 0; fits && i < parts; i++)
    fits = orr_redis_node_next(&cursor, &part[i]) && part[i].type != ORR_REDIS_ARRAY;
  if (!fits) {
    orr_buf_free(message);
    return orr__redis_return_message(L, "protocol", "Redis sent a message of an unknown form",
                                     false);
  }
  orr__redis_push_scalar(L, &part[parts - 2], false);
  orr__redis_push_scalar(L, &part[parts - 1], false);
  if (parts == 3) orr__redis_push_scalar(L, &part[0], false);
  orr_buf_free(message);
  return parts == 3 ? 3 : 2;
}

static int return_next(lua_State *L, struct subscription_box *box) {
  struct orr_buf message = ORR_BUF_INIT;
  struct orr_redis_failure failure;
  enum orr_status status = orr_redis_subscription_next(box->subscription, &message, &failure);
  if (status == ORR_OK) return push_message(L, &message);
  if (status != ORR_ERR_NOT_FOUND) return orr__redis_return_failure(L, &failure);
  return orr__redis_return_message(L, "timeout", "no message came in time", true);
}

static int next_message(lua_State *L, int status, lua_KContext context) {
  (void)status;
  struct subscription_wait *self = (struct subscription_wait *)context;
  struct subscription_box *box = self->box;
  waiter_free(self);
  if (box == NULL)
    return orr__redis_return_message(L, "closed", "the subscription is closed", false);
  return return_next(L, box);
}

int orr__redis_subscription_next(lua_State *L) { // next(subscription, timeout ms or nil) ->
                                                 // channel, payload, pattern; or nil, error
  struct subscription_box *box = luaL_checkudata(L, 1, ORR__REDIS_SUBSCRIPTION);
  lua_Integer timeout_ms = luaL_optinteger(L, 2, -1);
  luaL_argcheck(L, timeout_ms <= (lua_Integer)ORR_DURATION_MS_MAX, 2, "timeout out of range");
  orr__wait_check(L);
  if (box->subscription == NULL)
    return orr__redis_return_message(L, "closed", "the subscription is closed", false);
  if (box->waiter != NULL)
    return luaL_error(L, "somebody else waits for this subscription's next message");
  if (timeout_ms == 0 || orr_redis_subscription_pending(box->subscription))
    return return_next(L, box);
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
  struct subscription_box *box = luaL_checkudata(L, -1, ORR__REDIS_SUBSCRIPTION);
  bool closed = self->box == NULL;
  waiter_free(self);
  if (closed) return orr__redis_return_message(L, "closed", "the subscription is closed", false);
  if (orr_redis_subscription_ready(box->subscription)) return 1;
  int count = return_next(L, box); // its failure
  subscription_end(box, false);
  return count;
}

int orr__redis_subscribe(lua_State *L) { // subscribe(handle, kind, list of channels) ->
                                         // subscription, or nil and an error
  static const char *const kinds[] = {"subscribe", "psubscribe", "ssubscribe", NULL};
  struct orr__redis_handle_box *handle = luaL_checkudata(L, 1, ORR__REDIS_HANDLE);
  enum orr_redis_subscribe kind = (enum orr_redis_subscribe)luaL_checkoption(L, 2, NULL, kinds);
  luaL_checktype(L, 3, LUA_TTABLE);
  size_t count = lua_rawlen(L, 3);
  luaL_argcheck(L, count > 0 && count < ORR_REDIS_ARGS_MAX, 3, "a list of channels expected");
  struct orr_slice *channels = lua_newuserdatauv(L, count * sizeof(*channels), 0);
  for (size_t i = 0; i < count; i++) {
    luaL_argcheck(L, lua_rawgeti(L, 3, (lua_Integer)i + 1) == LUA_TSTRING, 3,
                  "a channel's name is a string");
    size_t len;
    const char *text = lua_tolstring(L, -1, &len); // the list keeps it
    channels[i] = orr_slice_of(text, len);
    lua_pop(L, 1);
  }
  orr__wait_check(L);
  if (handle->shared == NULL || handle->shared->redis == NULL)
    return orr__redis_return_message(L, "closed", "this Redis handle is closed", false);
  struct subscription_box *box = lua_newuserdatauv(L, sizeof(*box), 0);
  memset(box, 0, sizeof(*box));
  luaL_setmetatable(L, ORR__REDIS_SUBSCRIPTION);
  box->guard = guard_new(L, box, subscription_end);
  box->shared = handle->shared;
  box->shared->refs++;
  box->subscription =
      orr_redis_subscribe_open(handle->shared->redis, kind, channels, count, on_changed, box);
  struct subscription_wait *self = orr__wait_new(L, sizeof(*self), true, waiter_cancel);
  self->box = box;
  self->for_ready = true;
  box->waiter = self;
  return orr__wait_yield(L, &self->wait, subscribed);
}
