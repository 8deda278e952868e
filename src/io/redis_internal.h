// SPDX-License-Identifier: MIT
// The inside of the Redis client, from below: a link is one connection; a pool owns the links to
// one server and hands each to one op at a time; a route finds the pool (one server, Sentinel's
// master, the slot's node of a Cluster); a request is one op, or several on a Cluster. Owners are
// told of what happened from the loop only, never from inside a call.
#pragma once

#include "base/clock.h"
#include "base/list.h"
#include "base/map.h"
#include "base/rng.h"
#include "core/wheel.h"
#include "io/redis_client.h"

// --- client: loop, timers ------------------------------------------------------------------------

struct orr__redis_timer {
  struct orr_timer timer;
  void (*fired)(struct orr__redis_timer *timer);
};

struct orr__redis_pool;
struct orr__redis_cluster;
struct orr_redis {
  uv_loop_t *loop;
  struct orr_redis_url url;
  uv_timer_t timer;
  struct orr_wheel wheel;
  uint64_t armed_ms; // when uv's timer fires; ORR_WHEEL_NEVER: it is off
  struct orr_rng rng;
  struct orr__redis_pool *pool;       // single and Sentinel
  struct orr__redis_cluster *cluster; // Cluster
  struct orr_list requests, sessions, subscriptions;
  struct orr_list links; // all, closing ones included, by `all`
  uint32_t requests_len;
  bool closing, timer_closed;
  char *read_buffer; // shared by the links: one read at a time
};
#define ORR__REDIS_READ_BYTES (64u * 1024u)

uint64_t orr__redis_now_ms(void);
void orr__redis_timer_set(struct orr_redis *client, struct orr__redis_timer *timer,
                          uint64_t deadline_ms, void (*fired)(struct orr__redis_timer *timer));
void orr__redis_timer_stop(struct orr_redis *client, struct orr__redis_timer *timer);
uint64_t orr__redis_backoff_ms(struct orr_redis *client, uint32_t failures); // with jitter
void orr__redis_client_turn(
    struct orr_redis *client); // frees it when it is closing and nothing is left

void orr__redis_fail(struct orr_redis_failure *failure, enum orr_status status, const char *code,
                     bool retryable, const char *format, ...) __attribute__((format(printf, 5, 6)));

// --- link ----------------------------------------------------------------------------------------

enum orr__redis_link_state {
  ORR__LINK_OPENING,
  ORR__LINK_HANDSHAKE,
  ORR__LINK_IDLE,
  ORR__LINK_BUSY,
  ORR__LINK_PUSH,
  ORR__LINK_CLOSED,
};
struct orr__redis_link;
struct orr__redis_link_events {
  void (*opened)(struct orr__redis_link *link);
  void (*replied)(
      struct orr__redis_link *link); // all expected replies are in link->reader; it is idle again
  void (*pushed)(struct orr__redis_link *link); // PUSH only: whole replies are in link->reader
  // It is gone: could not be opened, was lost, timed out, or the stream makes no sense. Not after
  // orr__redis_link_close.
  void (*lost)(struct orr__redis_link *link, const struct orr_redis_failure *failure);
};
struct orr__redis_link {
  struct orr_list node; // owner's
  struct orr_list all;  // client's
  struct orr_redis *client;
  const struct orr__redis_link_events *events;
  void *owner;
  struct orr__redis_op *op; // of the pool, that it works for; NULL: idle, or taken
  bool apart;               // counted apart from the pool
  enum orr__redis_link_state state;
  char label[ORR_REDIS_HOST_BYTES + 8]; // host:port, for messages
  uv_tcp_t tcp;
  uv_getaddrinfo_t resolve;
  uv_connect_t connect;
  uv_write_t write;
  struct addrinfo *addresses, *address; // of the name; the one being tried
  uint16_t port;
  bool tcp_open, tcp_closing, resolving, writing, reading;
  bool told;                         // its owner is just hearing that it is lost
  const struct orr_redis_url *login; // handshake; borrowed from the client
  bool for_sentinel;                 // handshake with a Sentinel
  struct orr__redis_timer timer;     // deadline of what it does now
  struct orr_redis_reader *reader;
  struct orr_buf out;  // being written
  struct orr_buf next; // to be written after that
  uint32_t expected;   // replies that are still to come
  uint64_t idle_since_ms;
  struct orr_redis_failure failure; // told by the timer, when opening failed at once
};
// Connects and logs in, within timeout_ms.
struct orr__redis_link *
orr__redis_link_open(struct orr_redis *client, const struct orr_redis_host *host, bool for_sentinel,
                     uint64_t timeout_ms, const struct orr__redis_link_events *events, void *owner);
bool orr__redis_link_alive(struct orr__redis_link *link); // asks the kernel; an idle link only
// Idle link: sends and expects so many replies within timeout_ms (0: no bound).
void orr__redis_link_send(struct orr__redis_link *link, struct orr_slice bytes, uint32_t expected,
                          uint64_t timeout_ms);
void orr__redis_link_push(struct orr__redis_link *link); // from now on replies come unasked
void orr__redis_link_more(struct orr__redis_link *link,
                          struct orr_slice bytes); // PUSH: sends, expects nothing
void orr__redis_link_pause(struct orr__redis_link *link, bool pause); // reads no more, or again
void orr__redis_link_close(
    struct orr__redis_link *link); // any state; NULL is fine; frees itself later

// --- ops and pools -------------------------------------------------------------------------------

struct orr__redis_op {
  struct orr_list node; // pool->waiting
  struct orr__redis_pool *pool;
  struct orr__redis_link *link;
  struct orr_slice bytes; // borrowed from whoever started it
  uint32_t count;         // replies expected; 0: only takes a link
  bool reads;             // may be sent again
  bool apart;             // blocks, or keeps the link: counted apart from the pool
  bool sent, again;
  uint64_t timeout_ms; // for the answer; 0: none
  uint64_t wait_ms;    // for a connection, while there are some
  uint64_t begun_ms;
  struct orr__redis_timer timer;
  struct orr_redis_failure failure;
  struct orr_buf replies;
  void (*done)(struct orr__redis_op
                   *op); // op->link is set if count is 0 and it did not fail: the caller's now
  void *owner;
};
void orr__redis_op_start(struct orr__redis_pool *pool, struct orr__redis_op *op);
void orr__redis_op_cancel(struct orr__redis_op *op); // harmless when it is over; frees its replies
bool orr__redis_op_open(const struct orr__redis_op *op);

// What is told of an op whose answer will not come: whether it may be tried again depends on
// whether it only reads.
void orr__redis_lost_failure(struct orr_redis_failure *told,
                             const struct orr_redis_failure *failure, bool reads);

struct orr__redis_finder; // Sentinel: who is the master?
struct orr__redis_pool {
  struct orr_redis *client;
  struct orr_redis_host host;
  bool host_known;
  bool fail_fast; // Cluster: a failed connection fails the waiting ops at once, so that they can be
                  // routed anew
  struct orr__redis_finder *finder;
  struct orr_list idle, busy, opening[2]; // links; opening by class: 0 pool, 1 apart
  struct orr_list waiting[2];             // ops by class
  uint32_t waiting_len[2], opening_len[2];
  uint32_t idle_len, used_len[2]; // links of the class: busy
  uint32_t failures;
  uint64_t down_until_ms;
  struct orr_redis_failure last;
  struct orr__redis_timer retry, sweep;
};
struct orr__redis_pool *orr__redis_pool_new(struct orr_redis *client,
                                            const struct orr_redis_host *host, bool fail_fast);
void orr__redis_pool_free(struct orr__redis_pool *pool); // its ops must be over
// Gives back a link that an op took, or that a session held.
void orr__redis_pool_release(struct orr__redis_pool *pool, struct orr__redis_link *link,
                             bool clean);
void orr__redis_pool_gone(struct orr__redis_pool *pool,
                          struct orr__redis_link *link); // taken, and lost
void orr__redis_pool_found(struct orr__redis_pool *pool,
                           const struct orr_redis_host *host); // by the finder
void orr__redis_pool_failed(struct orr__redis_pool *pool, const struct orr_redis_failure *failure);

struct orr__redis_finder *orr__redis_finder_new(struct orr__redis_pool *pool);
void orr__redis_finder_start(struct orr__redis_finder *finder); // harmless while it looks
void orr__redis_finder_free(struct orr__redis_finder *finder);

// --- requests ------------------------------------------------------------------------------------

struct orr__redis_cluster_work; // what a request needs on a Cluster only
struct orr_redis_request {
  struct orr_list node; // client->requests
  struct orr_redis *client;
  struct orr_redis_session *session; // or NULL
  struct orr_redis_batch batch;
  struct orr_redis_options options;
  uint64_t answer_ms, wait_ms;
  bool blocks, reads, done_running;
  orr_redis_done done;
  void *context;
  struct orr__redis_op op;       // one server
  struct orr__redis_timer timer; // a failure at the start
  struct orr_redis_failure failure;
  struct orr__redis_cluster_work *work;
};
// Ends it: calls done and frees it. `replies` are taken over; NULL after a failure.
void orr__redis_request_done(struct orr_redis_request *request,
                             const struct orr_redis_failure *failure, struct orr_buf *replies);
// An op for commands of the request; bytes and count are set by the caller.
void orr__redis_request_op(const struct orr_redis_request *request, struct orr__redis_op *op);
void orr__redis_request_fail_soon(struct orr_redis_request *request); // its failure is set
struct orr__redis_hook { // called once, unless it is taken out of its list before
  struct orr_list node;
  void (*loaded)(struct orr__redis_hook *hook,
                 const struct orr_redis_failure *failure); // NULL: the map is loaded
};
// A link that somebody keeps: found by slot, taken from its pool, given back or lost.
struct orr__redis_keep {
  struct orr_redis *client;
  int32_t slot;
  struct orr__redis_pool *pool; // while an op or link of it is held
  struct orr__redis_op op;
  struct orr__redis_hook hook;
  struct orr__redis_link *link; // NULL: not there yet, or lost
  uint32_t tries;
  void (*taken)(struct orr__redis_keep *keep,
                const struct orr_redis_failure *failure); // NULL: link is there
};
void orr__redis_keep_start(struct orr__redis_keep *keep, struct orr_redis *client, int32_t slot,
                           void (*taken)(struct orr__redis_keep *keep,
                                         const struct orr_redis_failure *failure));
void orr__redis_keep_gone(struct orr__redis_keep *keep);             // its link is lost
void orr__redis_keep_stop(struct orr__redis_keep *keep, bool clean); // at any time
struct orr_redis_session {
  struct orr_list node;     // client->sessions
  struct orr_redis *client; // NULL: it is gone
  struct orr__redis_keep keep;
  struct orr_redis_request *request; // under way
  struct orr__redis_timer timer;     // tells a failure
  struct orr_redis_failure failure;
  orr_redis_session_done done;
  void *context;
};
struct orr_redis_subscription {
  struct orr_list node;     // client->subscriptions
  struct orr_redis *client; // NULL: it is gone
  struct orr__redis_keep keep;
  struct orr_buf command;     // SUBSCRIBE channel ...
  uint32_t channels, missing; // confirmations that are still to come
  uint32_t moves;             // of the slot, since it was subscribed last
  bool ready, paused;
  struct orr_list unread; // messages
  size_t unread_bytes;
  uint64_t lost_ms; // since when it has no connection; 0: it has one
  struct orr__redis_timer timer, nudge;
  struct orr_redis_failure failure;
  void (*changed)(void *context);
  void *context;
};
// On a session's link. False: it cannot now, the request's failure is set.
bool orr__redis_session_start(struct orr_redis_request *request);
void orr__redis_session_cancel(struct orr_redis_request *request);
void orr__redis_session_dead(struct orr_redis_session *session);                // the client goes
void orr__redis_subscription_dead(struct orr_redis_subscription *subscription); // the client goes

struct orr__redis_cluster *orr__redis_cluster_new(struct orr_redis *client);
void orr__redis_cluster_free(struct orr__redis_cluster *cluster);
void orr__redis_cluster_start(struct orr_redis_request *request);
void orr__redis_cluster_release(struct orr_redis_request *request); // frees its work, ends its ops
void orr__redis_cluster_count(const struct orr__redis_cluster *cluster,
                              struct orr_redis_counts *counts);
void orr__redis_pool_count(const struct orr__redis_pool *pool, struct orr_redis_counts *counts);
// The pool of the slot's master. NULL: the map is not loaded yet; the hook is called when it is or
// cannot be.
struct orr__redis_pool *orr__redis_cluster_pool(struct orr__redis_cluster *cluster, int32_t slot,
                                                struct orr__redis_hook *hook);
void orr__redis_cluster_stale(
    struct orr__redis_cluster *cluster); // loaded anew before the next use
