// SPDX-License-Identifier: MIT
// Redis client on a worker's uv loop: pooled connections to one server, to the master that
// Sentinels name, or to a Cluster. A request has a connection of its own while it runs, so a slow
// or blocking one holds up nobody; requests wait in order when the pool is full. `done` is called
// exactly once unless the request is cancelled, never from inside the start; a cancelled request's
// connection is closed. A command that was sent and not answered is sent again only if it reads;
// else its outcome is unknown and said to be. RESP2, no TLS. Thread: the loop's.
#pragma once

#include "io/redis_codec.h"
#include "io/redis_command.h"
#include "io/redis_url.h"

#include <uv.h>

#define ORR_REDIS_BLOCKED_MAX                                                                      \
  2048u // blocked readers, sessions and subscriptions of a server, beside the pool
#define ORR_REDIS_WAITING_MAX 10000u // requests without a connection

struct orr_redis;
struct orr_redis *orr_redis_new(uv_loop_t *loop, const struct orr_redis_url *url);
// What is still open gets `done` with code "closed" from inside this call; then run the loop until
// it is empty.
void orr_redis_free(struct orr_redis *client);

struct orr_redis_failure {
  enum orr_status status; // ORR_OK: none
  // "connect", "timeout", "auth", "closed", "unknown_outcome", "protocol", "limit", "session",
  // "crossslot", "cancelled", or the first word of Redis' own error in lower case ("loading")
  char code[32];
  char message[256];
  bool retryable;
};
struct orr_redis_result {
  struct orr_redis_failure failure;
  struct orr_buf replies; // flat (redis_codec.h), one for each command, in order; the callback may
                          // take them over
};

struct orr_redis_request;
struct orr_redis_session;
struct orr_redis_options {
  uint64_t timeout_ms; // of an answer; 0: the URL's. Blocking commands get their block time on top
                       // of it.
  struct orr_redis_session *session; // runs on its connection; NULL: on one of the pool
};
typedef void (*orr_redis_done)(void *context, struct orr_redis_result *result);
// Takes the batch over (resets it). The request is gone once `done` returns.
struct orr_redis_request *orr_redis_start(struct orr_redis *client, struct orr_redis_batch *batch,
                                          const struct orr_redis_options *options,
                                          orr_redis_done done, void *context);
void orr_redis_cancel(struct orr_redis_request *request); // done is not called any more

// A connection of one's own, for WATCH, SELECT, MULTI by hand ... One request at a time. On a
// Cluster `slot` chooses the node. done(context, session, failure): session is NULL after a
// failure.
typedef void (*orr_redis_session_done)(void *context, struct orr_redis_session *session,
                                       const struct orr_redis_failure *failure);
struct orr_redis_session *orr_redis_session_open(struct orr_redis *client, int32_t slot,
                                                 orr_redis_session_done done, void *context);
// At any time; a request under way on it fails with code "closed". clean: its connection may serve
// others.
void orr_redis_session_close(struct orr_redis_session *session, bool clean);

// Messages of channels. After a lost connection it subscribes anew by itself; what was published
// meanwhile is lost, as always with publish and subscribe. Bounded: beyond
// ORR_REDIS_UNREAD_BYTES_MAX unread it stops reading from Redis.
#define ORR_REDIS_UNREAD_BYTES_MAX (16 * ORR_MIB)
struct orr_redis_subscription;
enum orr_redis_subscribe { ORR_REDIS_SUBSCRIBE, ORR_REDIS_PSUBSCRIBE, ORR_REDIS_SSUBSCRIBE };
// `changed` is called when a message has come, when all channels are subscribed for the first time,
// and after a failure; never from inside a call.
struct orr_redis_subscription *
orr_redis_subscribe_open(struct orr_redis *client, enum orr_redis_subscribe kind,
                         const struct orr_slice *channels, size_t count,
                         void (*changed)(void *context), void *context);
// ORR_OK: *message is a flat reply: the array that Redis sent ("message", channel, payload); free
// it. ORR_ERR_NOT_FOUND: none yet. Else: *failure, and no more comes.
enum orr_status orr_redis_subscription_next(struct orr_redis_subscription *subscription,
                                            struct orr_buf *message,
                                            struct orr_redis_failure *failure);
bool orr_redis_subscription_pending(
    const struct orr_redis_subscription *subscription); // next has something to tell
// `changed` is also called in so many ms, whether or not something has come; a later call replaces
// an earlier one.
void orr_redis_subscription_wake_in(struct orr_redis_subscription *subscription, uint64_t ms);
bool orr_redis_subscription_ready(
    const struct orr_redis_subscription *subscription); // subscribed to all, once
void orr_redis_subscription_close(struct orr_redis_subscription *subscription);

// The error of a Redis error reply ("WRONGTYPE Operation against ...").
void orr_redis_failure_of_reply(struct orr_redis_failure *failure, struct orr_slice text);

struct orr_redis_counts { // for tests and the bench
  uint32_t links, idle, waiting, requests;
};
struct orr_redis_counts orr_redis_count(const struct orr_redis *client);
