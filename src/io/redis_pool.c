// SPDX-License-Identifier: MIT
// The links to one server, and the ops that wait for one. Invariant: an op is in `waiting`, or has
// a busy link, or is over; a link is opening, idle, or busy with one op (or taken by a session).
// While the server cannot be reached, one attempt after the other is made, further and further
// apart; an op waits for that as long as the connect timeout. Thread: the loop's.
#include "io/redis_internal.h"

#include "base/check.h"

#include <stdlib.h>

#define OPENING_MAX 64u      // connects under way, below every listen queue
#define IDLE_CLOSE_MS 60000u // an idle link is closed after that

enum { POOL, APART };

static void pump(struct orr__redis_pool *pool);
static void wait_fired(struct orr__redis_timer *timer);

static uint32_t class_of(const struct orr__redis_op *op) { return op->apart ? APART : POOL; }

static uint32_t class_max(const struct orr__redis_pool *pool, uint32_t class) {
  return class == POOL ? pool->client->url.pool_max : ORR_REDIS_BLOCKED_MAX;
}
static uint32_t class_len(const struct orr__redis_pool *pool,
                          uint32_t class) { // what counts against the maximum
  return pool->used_len[class] + pool->opening_len[class] + (class == POOL ? pool->idle_len : 0);
}

void orr__redis_pool_count(const struct orr__redis_pool *pool, struct orr_redis_counts *counts) {
  counts->links += class_len(pool, POOL) + class_len(pool, APART);
  counts->idle += pool->idle_len;
  counts->waiting += pool->waiting_len[POOL] + pool->waiting_len[APART];
}

// --- ops: ending ---------------------------------------------------------------------------------

bool orr__redis_op_open(const struct orr__redis_op *op) { return op->pool != NULL; }

static void op_leave_queue(struct orr__redis_op *op) {
  if (!orr_list_linked(&op->node)) return;
  orr_list_remove(&op->node);
  op->pool->waiting_len[class_of(op)]--;
}

static void op_over(struct orr__redis_op *op) {
  op_leave_queue(op);
  orr__redis_timer_stop(op->pool->client, &op->timer);
  op->pool = NULL;
  op->done(op);
}

static void op_fail(struct orr__redis_op *op, const struct orr_redis_failure *failure) {
  op->failure = *failure;
  orr_buf_free(&op->replies);
  op_over(op);
}

static void fail_waiting(struct orr__redis_pool *pool, const struct orr_redis_failure *failure) {
  for (uint32_t class = POOL; class <= APART; class ++) {
    struct orr_list failed;
    orr_list_init(&failed);
    orr_list_splice_back(&failed, &pool->waiting[class]);
    while (!orr_list_empty(&failed)) {
      struct orr__redis_op *op = ORR_CONTAINER_OF(failed.next, struct orr__redis_op, node);
      op_fail(op, failure);
    }
  }
}

// --- links ---------------------------------------------------------------------------------------

static void link_used(struct orr__redis_pool *pool, struct orr__redis_link *link,
                      struct orr__redis_op *op) {
  orr_list_remove(&link->node);
  pool->idle_len--;
  orr_list_push_back(&pool->busy, &link->node);
  pool->used_len[class_of(op)]++;
  link->apart = op->apart;
  link->owner = pool;
  link->op = op;
  op->link = link;
}

static void link_unused(struct orr__redis_pool *pool,
                        struct orr__redis_link *link) { // no longer busy
  orr_list_remove(&link->node);
  orr_assert(pool->used_len[link->apart ? APART : POOL] > 0);
  pool->used_len[link->apart ? APART : POOL]--;
  link->op = NULL;
}

static void sweep_fired(struct orr__redis_timer *timer) {
  struct orr__redis_pool *pool = ORR_CONTAINER_OF(timer, struct orr__redis_pool, sweep);
  uint64_t now_ms = orr__redis_now_ms();
  struct orr_list *next;
  for (struct orr_list *at = pool->idle.next; at != &pool->idle; at = next) {
    next = at->next;
    struct orr__redis_link *link = ORR_CONTAINER_OF(at, struct orr__redis_link, node);
    if (now_ms - link->idle_since_ms < IDLE_CLOSE_MS) continue;
    pool->idle_len--;
    orr__redis_link_close(link);
  }
  if (pool->idle_len > 0)
    orr__redis_timer_set(pool->client, &pool->sweep, now_ms + IDLE_CLOSE_MS / 2, sweep_fired);
}

static void link_idle(struct orr__redis_pool *pool, struct orr__redis_link *link) {
  if (class_len(pool, POOL) >= class_max(pool, POOL)) {
    orr__redis_link_close(link);
    return;
  }
  orr_list_push_front(&pool->idle, &link->node); // the warmest first
  pool->idle_len++;
  if (!orr_timer_pending(&pool->sweep.timer))
    orr__redis_timer_set(pool->client, &pool->sweep, orr__redis_now_ms() + IDLE_CLOSE_MS / 2,
                         sweep_fired);
}

static void link_opened(struct orr__redis_link *link) {
  struct orr__redis_pool *pool = link->owner;
  pool->failures = 0;
  pool->down_until_ms = 0;
  pool->last.status = ORR_OK;
  pool->opening_len[link->apart ? APART : POOL]--;
  orr_list_remove(&link->node);
  // Even over the maximum for a moment: the op that it was opened for takes it, or pump closes it.
  orr_list_push_front(&pool->idle, &link->node);
  pool->idle_len++;
  pump(pool);
  while (class_len(pool, POOL) > class_max(pool, POOL) && pool->idle_len > 0) {
    struct orr__redis_link *extra = ORR_CONTAINER_OF(pool->idle.prev, struct orr__redis_link, node);
    pool->idle_len--;
    orr__redis_link_close(extra);
  }
}

// Behind Sentinels a server that became a replica is left alone.
static bool is_demoted(const struct orr__redis_pool *pool, const struct orr_buf *replies) {
  struct orr_reader cursor = orr_reader_of(orr_buf_slice(replies));
  struct orr_redis_node node;
  if (pool->finder == NULL || !orr_redis_node_next(&cursor, &node)) return false;
  return node.type == ORR_REDIS_ERROR && node.text.len >= 8 &&
         memcmp(node.text.data, "READONLY", 8) == 0;
}

static void link_replied(struct orr__redis_link *link) {
  struct orr__redis_pool *pool = link->owner;
  struct orr__redis_op *op = link->op;
  orr_assert(op != NULL && op->link == link);
  op->replies = orr_redis_reader_take(link->reader);
  op->link = NULL;
  link_unused(pool, link);
  if (is_demoted(pool, &op->replies)) {
    pool->host_known = false;
    orr__redis_link_close(link);
  } else {
    link_idle(pool, link);
  }
  op_over(op);
  pump(pool);
}

static void link_pushed(struct orr__redis_link *link) {
  (void)link;
  orr_unreachable(); // whoever takes a link for that gives it events of its own
}

static void retry_fired(struct orr__redis_timer *timer) {
  struct orr__redis_pool *pool = ORR_CONTAINER_OF(timer, struct orr__redis_pool, retry);
  pump(pool);
}

void orr__redis_pool_failed(struct orr__redis_pool *pool, const struct orr_redis_failure *failure) {
  pool->last = *failure;
  if (pool->finder != NULL) pool->host_known = false;
  uint64_t now_ms = orr__redis_now_ms();
  if (now_ms >= pool->down_until_ms) { // the first of those that failed together
    pool->failures++;
    pool->down_until_ms = now_ms + orr__redis_backoff_ms(pool->client, pool->failures);
    orr__redis_timer_set(pool->client, &pool->retry, pool->down_until_ms, retry_fired);
  }
  if (pool->fail_fast || !failure->retryable) fail_waiting(pool, failure);
}

void orr__redis_lost_failure(struct orr_redis_failure *told,
                             const struct orr_redis_failure *failure, bool reads) {
  struct orr_redis_failure copy = *failure;
  *told = copy;
  if (copy.status == ORR_ERR_TIMEOUT) {
    orr__redis_fail(told, ORR_ERR_TIMEOUT, "timeout", reads, "%s", copy.message);
  } else if (strcmp(copy.code, "closed") != 0) {
    told->retryable = reads && copy.retryable;
  } else if (reads) {
    orr__redis_fail(told, ORR_ERR_IO, "connect", true, "%s", copy.message);
  } else {
    orr__redis_fail(told, ORR_ERR_IO, "unknown_outcome", false,
                    "%.180s after a command was sent; whether it ran is not known", copy.message);
  }
}

static void op_wait(struct orr__redis_pool *pool, struct orr__redis_op *op, bool first) {
  struct orr_list *queue = &pool->waiting[class_of(op)];
  op->begun_ms = orr__redis_now_ms();
  if (first)
    orr_list_push_front(queue, &op->node);
  else
    orr_list_push_back(queue, &op->node);
  pool->waiting_len[class_of(op)]++;
  orr__redis_timer_set(pool->client, &op->timer,
                       op->begun_ms + pool->client->url.connect_timeout_ms, wait_fired);
}

// An answer that will not come: sent again if that is harmless, else the outcome is unknown.
static void op_lost(struct orr__redis_pool *pool, struct orr__redis_op *op,
                    const struct orr_redis_failure *failure) {
  struct orr_redis_failure told;
  op->link = NULL;
  if (op->reads && strcmp(failure->code, "closed") == 0 && !op->again && !pool->fail_fast) {
    op->again = true;
    op_wait(pool, op, true);
    return;
  }
  orr__redis_lost_failure(&told, failure, op->reads);
  op_fail(op, &told);
}

static void link_lost(struct orr__redis_link *link, const struct orr_redis_failure *failure) {
  struct orr__redis_pool *pool = link->owner;
  struct orr__redis_op *op = link->op;
  if (link->state == ORR__LINK_OPENING || link->state == ORR__LINK_HANDSHAKE) {
    pool->opening_len[link->apart ? APART : POOL]--;
    orr_list_remove(&link->node);
    orr__redis_pool_failed(pool, failure);
    pump(pool);
    return;
  }
  if (pool->finder != NULL) pool->host_known = false; // perhaps another is the master now
  if (op == NULL) {
    orr_list_remove(&link->node);
    pool->idle_len--;
    return;
  }
  link_unused(pool, link);
  op_lost(pool, op, failure);
  pump(pool);
}

static const struct orr__redis_link_events events = {link_opened, link_replied, link_pushed,
                                                     link_lost};

// --- ops: beginning ------------------------------------------------------------------------------

static struct orr__redis_link *idle_take(struct orr__redis_pool *pool) { // a live one, or NULL
  while (!orr_list_empty(&pool->idle)) {
    struct orr__redis_link *link = ORR_CONTAINER_OF(pool->idle.next, struct orr__redis_link, node);
    if (orr__redis_link_alive(link)) return link;
    pool->idle_len--;
    orr__redis_link_close(link); // lost while nobody used it
    if (pool->finder != NULL) pool->host_known = false;
  }
  return NULL;
}

static void op_send(struct orr__redis_pool *pool, struct orr__redis_op *op,
                    struct orr__redis_link *link) {
  link_used(pool, link, op);
  orr__redis_timer_stop(pool->client, &op->timer);
  op->sent = true;
  orr__redis_link_send(link, op->bytes, op->count, op->timeout_ms);
}

static void hand_fired(struct orr__redis_timer *timer) { // a link was taken for it
  struct orr__redis_op *op = ORR_CONTAINER_OF(timer, struct orr__redis_op, timer);
  op->link->op = NULL;
  op_over(op);
}

static void op_begin(struct orr__redis_pool *pool, struct orr__redis_op *op,
                     struct orr__redis_link *link) {
  op_leave_queue(op);
  if (op->count > 0) {
    op_send(pool, op, link);
    return;
  }
  link_used(pool, link, op);
  orr__redis_timer_set(pool->client, &op->timer, 0, hand_fired); // never from inside the start
}

static void open_links(struct orr__redis_pool *pool, uint32_t class) {
  while (pool->opening_len[class] < pool->waiting_len[class] &&
         pool->opening_len[class] < OPENING_MAX &&
         class_len(pool, class) < class_max(pool, class)) {
    struct orr__redis_link *link = orr__redis_link_open(
        pool->client, &pool->host, false, pool->client->url.connect_timeout_ms, &events, pool);
    link->apart = class == APART;
    orr_list_push_back(&pool->opening[class], &link->node);
    pool->opening_len[class]++;
  }
}

static void pump(struct orr__redis_pool *pool) {
  for (uint32_t class = POOL; class <= APART; class ++) {
    while (!orr_list_empty(&pool->waiting[class])) {
      if (class == APART && pool->used_len[APART] >= class_max(pool, APART)) break;
      struct orr__redis_link *link = idle_take(pool);
      if (link == NULL) break;
      op_begin(pool, ORR_CONTAINER_OF(pool->waiting[class].next, struct orr__redis_op, node), link);
    }
  }
  if (pool->waiting_len[POOL] + pool->waiting_len[APART] == 0) return;
  if (orr__redis_now_ms() < pool->down_until_ms) {
    if (!orr_timer_pending(&pool->retry.timer))
      orr__redis_timer_set(pool->client, &pool->retry, pool->down_until_ms, retry_fired);
    return;
  }
  if (!pool->host_known) {
    orr__redis_finder_start(pool->finder);
    return;
  }
  open_links(pool, POOL);
  open_links(pool, APART);
}

void orr__redis_pool_found(struct orr__redis_pool *pool, const struct orr_redis_host *host) {
  pool->host = *host;
  pool->host_known = true;
  pump(pool);
}

// It waited for the connect timeout, and then for its own.
static void wait_fired(struct orr__redis_timer *timer) {
  struct orr__redis_op *op = ORR_CONTAINER_OF(timer, struct orr__redis_op, timer);
  struct orr__redis_pool *pool = op->pool;
  uint64_t connect_ms = pool->client->url.connect_timeout_ms, now_ms = orr__redis_now_ms();
  struct orr_redis_failure failure = pool->last;
  if (pool->used_len[POOL] + pool->used_len[APART] + pool->idle_len == 0) {
    if (failure.status == ORR_OK)
      orr__redis_fail(&failure, ORR_ERR_TIMEOUT, "connect", true, "no connection within %llu ms",
                      (unsigned long long)connect_ms);
    op_fail(op, &failure);
  } else if (now_ms < op->begun_ms + op->wait_ms) {
    orr__redis_timer_set(pool->client, &op->timer, op->begun_ms + op->wait_ms, wait_fired);
  } else {
    orr__redis_fail(&failure, ORR_ERR_TIMEOUT, "timeout", true,
                    "no connection of the pool became free within %llu ms",
                    (unsigned long long)op->wait_ms);
    op_fail(op, &failure);
  }
}

static void refused_fired(struct orr__redis_timer *timer) {
  struct orr__redis_op *op = ORR_CONTAINER_OF(timer, struct orr__redis_op, timer);
  struct orr_redis_failure failure;
  orr__redis_fail(&failure, ORR_ERR_LIMIT, "limit", true,
                  "%u requests wait for a Redis connection already", ORR_REDIS_WAITING_MAX);
  op_fail(op, &failure);
}

void orr__redis_op_start(struct orr__redis_pool *pool, struct orr__redis_op *op) {
  orr_list_init(&op->node);
  op->pool = pool;
  op->link = NULL;
  op->sent = op->again = false;
  op->failure.status = ORR_OK;
  if (pool->waiting_len[POOL] + pool->waiting_len[APART] >= ORR_REDIS_WAITING_MAX) {
    orr__redis_timer_set(pool->client, &op->timer, 0, refused_fired);
    return;
  }
  bool first = orr_list_empty(&pool->waiting[class_of(op)]);
  struct orr__redis_link *link = first ? idle_take(pool) : NULL;
  if (link != NULL && (!op->apart || pool->used_len[APART] < class_max(pool, APART))) {
    op_begin(pool, op, link);
    return;
  }
  op_wait(pool, op, false);
  pump(pool);
}

void orr__redis_op_cancel(struct orr__redis_op *op) {
  struct orr__redis_pool *pool = op->pool;
  if (pool != NULL) {
    op_leave_queue(op);
    orr__redis_timer_stop(pool->client, &op->timer);
    if (op->link != NULL) { // its answer would be taken for the next one's
      struct orr__redis_link *link = op->link;
      link_unused(pool, link);
      orr__redis_link_close(link);
      op->link = NULL;
      pump(pool);
    }
    op->pool = NULL;
  }
  orr_buf_free(&op->replies);
}

// --- links in other hands ------------------------------------------------------------------------

void orr__redis_pool_release(struct orr__redis_pool *pool, struct orr__redis_link *link,
                             bool clean) {
  link_unused(pool, link);
  link->events = &events;
  link->owner = pool;
  if (clean && link->state == ORR__LINK_IDLE) {
    link->idle_since_ms = orr__redis_now_ms();
    link_idle(pool, link);
  } else {
    orr__redis_link_close(link);
  }
  pump(pool);
}

void orr__redis_pool_gone(struct orr__redis_pool *pool, struct orr__redis_link *link) {
  link_unused(pool, link);
  if (pool->finder != NULL) pool->host_known = false;
}

// --- the pool ------------------------------------------------------------------------------------

struct orr__redis_pool *orr__redis_pool_new(struct orr_redis *client,
                                            const struct orr_redis_host *host, bool fail_fast) {
  struct orr__redis_pool *pool = orr_alloc(sizeof(*pool));
  pool->client = client;
  pool->fail_fast = fail_fast;
  if (host != NULL) {
    pool->host = *host;
    pool->host_known = true;
  } else {
    pool->finder = orr__redis_finder_new(pool);
  }
  orr_list_init(&pool->idle);
  orr_list_init(&pool->busy);
  for (uint32_t class = POOL; class <= APART; class ++) {
    orr_list_init(&pool->opening[class]);
    orr_list_init(&pool->waiting[class]);
  }
  return pool;
}

static void close_links(struct orr_list *links) {
  while (!orr_list_empty(links))
    orr__redis_link_close(ORR_CONTAINER_OF(links->next, struct orr__redis_link, node));
}

void orr__redis_pool_free(struct orr__redis_pool *pool) {
  if (pool == NULL) return;
  orr_assert(orr_list_empty(&pool->waiting[POOL]) && orr_list_empty(&pool->waiting[APART]));
  orr__redis_timer_stop(pool->client, &pool->retry);
  orr__redis_timer_stop(pool->client, &pool->sweep);
  close_links(&pool->idle);
  close_links(&pool->busy);
  close_links(&pool->opening[POOL]);
  close_links(&pool->opening[APART]);
  orr__redis_finder_free(pool->finder);
  free(pool);
}
