// SPDX-License-Identifier: MIT
// Requests on a Cluster: commands are sent to their slots' nodes, each node's in one go and in
// order, redirected ones again, and the answers joined in the order of the commands. A transaction
// goes to one node whole. Invariant: a command is sent again only if it was not carried out (MOVED,
// ASK, TRYAGAIN, CLUSTERDOWN, no connection), or only reads. Thread: the loop's.
#include "io/redis_cluster.h"

#include "base/check.h"

#include <stdio.h>
#include <stdlib.h>

#define ROUNDS_MAX 16u

struct part { // what goes to one node, in this round
  struct orr_redis_request *request;
  struct orr__redis_op op;
  struct orr__redis_pool *pool;
  bool asking; // one command, after ASK
  struct orr_buf bytes;
  uint32_t *commands; // indices
  uint32_t len, cap;
};
struct command {               // where one stands
  struct orr_buf answer;       // empty: none yet
  struct orr__redis_pool *ask; // after ASK: where, this once
};
struct orr__redis_cluster_work {
  struct orr_redis_request *request;
  struct orr__redis_hook hook;
  struct orr__redis_timer retry;
  struct command *commands;
  struct part **parts;
  uint32_t parts_len, parts_open, rounds;
  uint64_t begun_ms;
  bool wait; // before the next round
  struct orr_redis_failure failure, last;
};

static void round_begin(struct orr__redis_cluster_work *work);

static struct orr__redis_cluster *cluster_of(const struct orr__redis_cluster_work *work) {
  return work->request->client->cluster;
}

// --- ending --------------------------------------------------------------------------------------

static void parts_free(struct orr__redis_cluster_work *work) {
  for (uint32_t i = 0; i < work->parts_len; i++) {
    struct part *part = work->parts[i];
    orr__redis_op_cancel(&part->op);
    orr_buf_free(&part->bytes);
    free(part->commands);
    free(part);
  }
  free(work->parts);
  work->parts = NULL;
  work->parts_len = work->parts_open = 0;
}

void orr__redis_cluster_release(struct orr_redis_request *request) {
  struct orr__redis_cluster_work *work = request->work;
  request->work = NULL;
  orr_list_remove(&work->hook.node);
  orr__redis_timer_stop(request->client, &work->retry);
  parts_free(work);
  for (uint32_t i = 0; i < request->batch.len; i++) orr_buf_free(&work->commands[i].answer);
  free(work->commands);
  free(work);
}

static void finish(struct orr__redis_cluster_work *work) {
  struct orr_redis_request *request = work->request;
  struct orr_buf replies = ORR_BUF_INIT;
  if (work->failure.status != ORR_OK) {
    struct orr_redis_failure failure = work->failure;
    orr__redis_request_done(request, &failure, NULL);
    return;
  }
  if (request->batch.len == 1) {
    replies = work->commands[0].answer;
    work->commands[0].answer = ORR_BUF_INIT;
  } else {
    for (uint32_t i = 0; i < request->batch.len; i++)
      orr_buf_slice_append(&replies, orr_buf_slice(&work->commands[i].answer));
  }
  orr__redis_request_done(request, NULL, &replies);
}

// --- answers -------------------------------------------------------------------------------------

enum verdict { TAKE, AGAIN, AGAIN_LATER };

// "MOVED 3999 127.0.0.1:6381" and "ASK ..."
static struct orr__redis_cluster_node *target_of(struct orr__redis_cluster *cluster,
                                                 const struct part *part, struct orr_slice text,
                                                 int32_t *slot) {
  const uint8_t *at = text.data, *end = text.data + text.len;
  struct orr_redis_host host;
  while (at < end && *at != ' ') at++; // the word
  while (at < end && *at == ' ') at++;
  *slot = 0;
  for (; at < end && *at >= '0' && *at <= '9' && *slot < ORR_REDIS_SLOTS; at++)
    *slot = *slot * 10 + (*at - '0');
  if (*slot >= ORR_REDIS_SLOTS || at == end || *at++ != ' ') return NULL;
  struct orr_slice address = orr_slice_of(at, (size_t)(end - at));
  if (!orr__redis_cluster_address(address, &part->pool->host, &host)) return NULL;
  return orr__redis_cluster_node(cluster, &host);
}

static enum verdict judge(struct orr__redis_cluster_work *work, const struct part *part,
                          struct orr_slice reply, struct orr__redis_pool **ask) {
  struct orr_reader cursor = orr_reader_of(reply);
  struct orr_redis_node node;
  struct orr_redis_failure failure;
  if (!orr_redis_node_next(&cursor, &node) || node.type != ORR_REDIS_ERROR) return TAKE;
  orr_redis_failure_of_reply(&failure, node.text);
  bool moved = strcmp(failure.code, "moved") == 0, asked = strcmp(failure.code, "ask") == 0;
  if (moved || asked) {
    int32_t slot;
    struct orr__redis_cluster_node *target = target_of(cluster_of(work), part, node.text, &slot);
    if (target == NULL) return TAKE;
    work->last = failure;
    if (moved) {
      orr__redis_cluster_assign(cluster_of(work), slot, target);
      if (work->rounds > 1) orr__redis_cluster_stale(cluster_of(work)); // much has moved
    } else {
      *ask = target->pool;
    }
    return AGAIN;
  }
  if (strcmp(failure.code, "tryagain") != 0 && strcmp(failure.code, "clusterdown") != 0)
    return TAKE;
  if (strcmp(failure.code, "clusterdown") == 0) orr__redis_cluster_stale(cluster_of(work));
  work->last = failure;
  return AGAIN_LATER;
}

static void take_part(struct orr__redis_cluster_work *work, struct part *part) {
  struct orr_reader cursor = orr_reader_of(orr_buf_slice(&part->op.replies));
  struct orr_slice reply;
  if (part->asking) (void)orr_redis_reply_next(&cursor, &reply); // of ASKING
  for (uint32_t i = 0; i < part->len; i++) {
    struct command *command = &work->commands[part->commands[i]];
    bool found = orr_redis_reply_next(&cursor, &reply);
    orr_assert(found);
    command->ask = NULL;
    enum verdict verdict = judge(work, part, reply, &command->ask);
    if (verdict == AGAIN_LATER) work->wait = true;
    if (verdict == TAKE) orr_buf_slice_append(&command->answer, reply);
  }
}

// A transaction that was redirected was not carried out: EXEC says EXECABORT.
static void take_atomic(struct orr__redis_cluster_work *work, struct part *part) {
  struct orr_reader cursor = orr_reader_of(orr_buf_slice(&part->op.replies));
  struct orr__redis_pool *ask = NULL;
  struct orr_slice reply;
  bool again = false;
  while (orr_redis_reply_next(&cursor, &reply)) {
    enum verdict verdict = judge(work, part, reply, &ask);
    if (verdict != TAKE) again = true;
    if (verdict == AGAIN_LATER || ask != NULL)
      work->wait = true; // a slot on its way: when it has arrived
  }
  if (again) return;
  cursor = orr_reader_of(orr_buf_slice(&part->op.replies));
  for (uint32_t i = 0; i < part->len && orr_redis_reply_next(&cursor, &reply); i++)
    orr_buf_slice_append(&work->commands[i].answer, reply);
}

// --- rounds --------------------------------------------------------------------------------------

static void retry_fired(struct orr__redis_timer *timer) {
  round_begin(ORR_CONTAINER_OF(timer, struct orr__redis_cluster_work, retry));
}

static bool all_answered(const struct orr__redis_cluster_work *work) {
  for (uint32_t i = 0; i < work->request->batch.len; i++)
    if (work->commands[i].answer.len == 0) return false;
  return true;
}

static void round_end(struct orr__redis_cluster_work *work) {
  struct orr_redis *client = work->request->client;
  uint64_t now_ms = orr__redis_now_ms();
  parts_free(work);
  if (work->failure.status != ORR_OK || all_answered(work)) {
    finish(work);
  } else if (work->rounds >= ROUNDS_MAX ||
             now_ms - work->begun_ms > client->url.connect_timeout_ms) {
    work->failure = work->last;
    finish(work);
  } else if (work->wait) {
    orr__redis_timer_set(client, &work->retry,
                         now_ms + orr__redis_backoff_ms(client, work->rounds + 1), retry_fired);
  } else {
    round_begin(work);
  }
}

static void part_done(struct orr__redis_op *op) {
  struct part *part = op->owner;
  struct orr__redis_cluster_work *work = part->request->work;
  if (op->failure.status == ORR_OK) {
    if (part->request->batch.atomic)
      take_atomic(work, part);
    else
      take_part(work, part);
  } else if (op->failure.retryable && strcmp(op->failure.code, "connect") == 0) {
    work->last = op->failure; // not sent, or it only reads: perhaps another node has its slots now
    work->wait = true;
    orr__redis_cluster_stale(cluster_of(work));
  } else {
    work->failure = op->failure;
  }
  if (--work->parts_open == 0) round_end(work);
}

static struct part *part_for(struct orr__redis_cluster_work *work, struct orr__redis_pool *pool,
                             bool asking) {
  for (uint32_t i = 0; i < work->parts_len && !asking; i++)
    if (work->parts[i]->pool == pool && !work->parts[i]->asking) return work->parts[i];
  struct part *part = orr_alloc(sizeof(*part));
  part->request = work->request;
  part->pool = pool;
  part->asking = asking;
  work->parts = orr_realloc(work->parts, (work->parts_len + 1) * sizeof(*work->parts));
  work->parts[work->parts_len++] = part;
  if (asking) orr_redis_format(&part->bytes, &ORR_SLICE_LITERAL("ASKING"), 1);
  return part;
}

static void part_add(struct part *part, uint32_t index) {
  const struct orr_redis_batch *batch = &part->request->batch;
  const struct orr_redis_command *command = &batch->commands[index];
  if (part->len == part->cap) {
    part->cap = part->cap != 0 ? part->cap * 2 : 4;
    part->commands = orr_realloc(part->commands, part->cap * sizeof(*part->commands));
  }
  part->commands[part->len++] = index;
  orr_buf_append(&part->bytes, batch->bytes.data + command->offset, command->len);
}

// The slot of a transaction: that of its commands, which must agree. False: they do not.
static bool atomic_slot(const struct orr_redis_batch *batch, int32_t *slot) {
  *slot = ORR_REDIS_SLOT_NONE;
  for (uint32_t i = 0; i < batch->len; i++) {
    int32_t of = batch->commands[i].slot;
    if (of == ORR_REDIS_SLOT_NONE) continue;
    if (*slot != ORR_REDIS_SLOT_NONE && *slot != of) return false;
    *slot = of;
  }
  return true;
}

static bool distribute(struct orr__redis_cluster_work *work) { // false: the map is being loaded
  struct orr_redis_batch *batch = &work->request->batch;
  int32_t atomic = ORR_REDIS_SLOT_NONE;
  if (batch->atomic) (void)atomic_slot(batch, &atomic);
  struct orr__redis_pool *any = NULL; // one node for all commands without a key
  for (uint32_t i = 0; i < batch->len; i++) {
    if (work->commands[i].answer.len > 0) continue;
    if (work->commands[i].ask != NULL) {
      part_add(part_for(work, work->commands[i].ask, true), i);
      continue;
    }
    int32_t slot = batch->atomic ? atomic : batch->commands[i].slot;
    struct orr__redis_pool *pool = any;
    if (slot != ORR_REDIS_SLOT_NONE || any == NULL)
      pool = orr__redis_cluster_pool(cluster_of(work), slot, &work->hook);
    if (pool == NULL) return false;
    if (slot == ORR_REDIS_SLOT_NONE) any = pool;
    part_add(part_for(work, pool, false), i);
  }
  return true;
}

static void round_begin(struct orr__redis_cluster_work *work) {
  if (!distribute(work)) {
    parts_free(work);
    return;
  }
  work->rounds++;
  work->wait = false;
  work->parts_open = work->parts_len;
  for (uint32_t i = 0, count = work->parts_len; i < count; i++) {
    struct part *part = work->parts[i];
    orr__redis_request_op(work->request, &part->op);
    part->op.bytes = orr_buf_slice(&part->bytes);
    part->op.count = part->len + (part->asking ? 1 : 0);
    part->op.done = part_done;
    part->op.owner = part;
    orr__redis_op_start(part->pool, &part->op);
  }
}

static void loaded(struct orr__redis_hook *hook, const struct orr_redis_failure *failure) {
  struct orr__redis_cluster_work *work =
      ORR_CONTAINER_OF(hook, struct orr__redis_cluster_work, hook);
  if (failure == NULL) {
    round_begin(work);
    return;
  }
  work->last = *failure;
  work->wait = true;
  work->rounds++;
  if (!failure->retryable) work->failure = *failure;
  round_end(work);
}

void orr__redis_cluster_start(struct orr_redis_request *request) {
  int32_t slot;
  if (request->batch.atomic && !atomic_slot(&request->batch, &slot)) {
    orr__redis_fail(&request->failure, ORR_ERR_INVALID, "crossslot", false,
                    "the keys of a transaction must lie in one slot of the Cluster: give them a "
                    "common {hash tag}");
    orr__redis_request_fail_soon(request);
    return;
  }
  struct orr__redis_cluster_work *work = orr_alloc(sizeof(*work));
  request->work = work;
  work->request = request;
  work->hook.loaded = loaded;
  orr_list_init(&work->hook.node);
  work->commands = orr_alloc(request->batch.len * sizeof(*work->commands));
  work->begun_ms = orr__redis_now_ms();
  round_begin(work);
}
