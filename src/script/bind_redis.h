// SPDX-License-Identifier: MIT
// The Redis clients of a worker, one for each URL that its scripts have opened, and what
// bind_redis*.c share. Boxes: a handle (a URL), a session and a subscription (a connection of one's
// own each). The worker's thread only.
#pragma once

#include "io/redis_client.h"
#include "script/task.h"

#include <lua.h>

#define ORR__REDIS_HANDLE "orrery.redis"
#define ORR__REDIS_SESSION "orrery.redis.session"
#define ORR__REDIS_SUBSCRIPTION "orrery.redis.subscription"
#define ORR__REDIS_BATCH "orrery.redis.batch"
#define ORR__REDIS_ERROR "orrery.redis.error"

struct orr__redis_set;
// Closes them all: no work is open any more. Then the loop is to be run until it is empty. NULL is
// fine.
void orr__redis_set_free(struct orr__redis_set *set);
int orr_luaopen_c_redis(lua_State *L);

struct orr__redis_shared { // one URL's client, counted: boxes refer to it
  struct orr_list link;    // least recently opened first
  struct orr_redis *redis; // NULL: the worker has closed it
  char *url;
  uint32_t refs;
};
void orr__redis_unref(struct orr__redis_shared *shared);

struct orr__redis_handle_box {
  struct orr__redis_shared *shared; // NULL: closed
};
struct orr__redis_guard; // closes a box when its attempt ends
struct orr__redis_session_box {
  struct orr__redis_shared *shared;
  struct orr_redis_session *session; // NULL: closed
  struct orr__redis_guard *guard;
};

// Values (bind_redis_value.c)
void orr__redis_push_reply(lua_State *L, struct orr_reader *cursor, bool in_list); // the next one
void orr__redis_push_scalar(lua_State *L, const struct orr_redis_node *node, bool in_list);
int orr__redis_return_failure(lua_State *L,
                              const struct orr_redis_failure *failure); // nil, error table
int orr__redis_return_message(lua_State *L, const char *code, const char *message, bool retryable);

struct orr__redis_batch_box { // collected with the Lua state when an argument is refused
  struct orr_redis_batch batch;
  struct orr_slice *args;
  size_t cap;
};
struct orr__redis_batch_box *orr__redis_batch_new(lua_State *L); // on top of the stack
void orr__redis_batch_done(struct orr__redis_batch_box *box);    // its batch was taken over
int orr__redis_batch_gc(lua_State *L);
// The arguments from `first` to the top but one as a command; a list; a list of lists. They raise
// what is no argument.
void orr__redis_add_stack(lua_State *L, struct orr__redis_batch_box *box, int first);
void orr__redis_add_list(lua_State *L, struct orr__redis_batch_box *box, int index);
void orr__redis_add_word(struct orr__redis_batch_box *box, const char *word);

// Boxes with a connection (bind_redis_kept.c): functions of the module, and their __gc
int orr__redis_session_open(lua_State *L);
int orr__redis_session_close(lua_State *L);
int orr__redis_subscribe(lua_State *L);
int orr__redis_subscription_next(lua_State *L);
int orr__redis_subscription_close(lua_State *L);
