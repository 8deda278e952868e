// SPDX-License-Identifier: MIT
// Batches and what they cause. A batch is the outbox of one turn; its effects are performed here,
// after its rows are on disk, in the order of the turns. Also the choice of a worker for an
// attempt: the one whose results caused a small turn (its core is warm), else the least loaded.
// Engine thread.
#include "io/host_internal.h"

#include "base/check.h"

#include <stdio.h>
#include <stdlib.h>

#define POOL_BATCHES_MAX 64u
#define POOL_BYTES_MAX (1024u * 1024u)
#define STICKY_EFFECTS_MAX 4u

struct orr__batch *orr__batch_get(struct orr_host *host) {
  struct orr__batch *batch;
  if (host->pool == NULL) {
    batch = orr_alloc(sizeof *batch);
  } else {
    batch = ORR_CONTAINER_OF(host->pool, struct orr__batch, link);
    host->pool = host->pool->next;
    host->pool_len--;
  }
  batch->link.next = NULL;
  batch->origin = UINT32_MAX;
  return batch;
}

void orr__batch_free(struct orr__batch *batch) {
  if (batch == NULL) return;
  orr_outbox_free(&batch->outbox);
  free(batch->cleared);
  free(batch);
}

void orr__batch_put(struct orr_host *host, struct orr__batch *batch) {
  batch->outbox.rows_len = batch->outbox.effects_len = batch->cleared_len = 0;
  orr_buf_clear(&batch->outbox.bytes);
  if (host->pool_len >= POOL_BATCHES_MAX || batch->outbox.bytes.cap > POOL_BYTES_MAX) {
    orr__batch_free(batch);
    return;
  }
  batch->link.next = host->pool;
  host->pool = &batch->link;
  host->pool_len++;
}

// --- slots
// ----------------------------------------------------------------------------------------

void orr__host_slots_init(struct orr_host *host, uint32_t slots) {
  host->slots = orr_alloc(slots * sizeof *host->slots);
  host->slots_len = slots;
  for (uint32_t i = 0; i < slots; i++)
    host->slots[i].next = i + 1 < slots ? i + 1 : ORR_IN_FLIGHT_NONE;
  host->slots_free = 0;
}

static void slot_take(struct orr_host *host, struct orr_task *task) {
  uint32_t at = host->slots_free;
  task->slot = at;
  if (at != ORR_IN_FLIGHT_NONE) {
    host->slots_free = host->slots[at].next;
    host->slots[at].serial = task->serial;
    host->slots[at].worker = task->worker;
  }
  bool attempt = task->op == ORR_OP_STEP || task->op == ORR_OP_EXPAND;
  if (host->in_flight == NULL || !attempt) return;
  struct orr_in_flight_unit unit = {task->run_id, task->step, task->item};
  orr_in_flight_set(host->in_flight, at, &unit);
}

static void slot_release(struct orr_host *host, uint32_t at) {
  if (host->in_flight != NULL) orr_in_flight_clear(host->in_flight, at);
  host->slots[at].serial = 0;
  host->slots[at].next = host->slots_free;
  host->slots_free = at;
}

static const struct orr__slot *slot_find(const struct orr_host *host, uint64_t serial) {
  for (uint32_t i = 0; i < host->slots_len; i++) // aborts are rare, attempts in flight few
    if (host->slots[i].serial == serial) return &host->slots[i];
  return NULL;
}

// A slot is noted as free in the file only when the batch that records the result is on disk.
void orr__batch_note_results(struct orr_host *host, struct orr__batch *batch,
                             struct orr_link *tasks) {
  for (struct orr_link *link = tasks; link != NULL; link = link->next) {
    const struct orr_task *task = ORR_CONTAINER_OF(link, struct orr_task, link);
    orr_assert(task->worker < host->workers_len);
    orr_assert(host->workers[task->worker].open > 0);
    host->workers[task->worker].open--;
    batch->origin = task->worker;
    if (task->slot == ORR_IN_FLIGHT_NONE) continue;
    host->slots[task->slot].serial = 0;
    if (batch->cleared_len == batch->cleared_cap) {
      batch->cleared_cap = batch->cleared_cap == 0 ? ORR_RESULT_CHUNK : batch->cleared_cap * 2;
      batch->cleared = orr_realloc(batch->cleared, batch->cleared_cap * sizeof *batch->cleared);
    }
    batch->cleared[batch->cleared_len++] = task->slot;
  }
}

// --- effects
// --------------------------------------------------------------------------------------

static uint32_t choose_worker(struct orr_host *host, const struct orr__batch *batch) {
  uint32_t room = host->options.tasks_per_worker;
  if (batch->origin != UINT32_MAX && batch->outbox.effects_len <= STICKY_EFFECTS_MAX &&
      host->workers[batch->origin].open < room)
    return batch->origin;
  // Ties go round, so that equal workers fill evenly.
  uint32_t best = host->next_worker % host->workers_len;
  for (uint32_t i = 1; i < host->workers_len; i++) {
    uint32_t at = (host->next_worker + i) % host->workers_len;
    if (host->workers[at].open < host->workers[best].open) best = at;
  }
  host->next_worker = best + 1;
  return best;
}

static void dispatch(struct orr_host *host, const struct orr__batch *batch, struct orr_task *task) {
  orr_assert(host->workers_len > 0);
  task->worker = choose_worker(host, batch);
  slot_take(host, task);
  struct orr__worker *worker = &host->workers[task->worker];
  worker->open++;
  task->link.next = NULL;
  if (worker->first == NULL)
    worker->first = &task->link;
  else
    worker->last->next = &task->link;
  worker->last = &task->link;
}

void orr__host_flush(struct orr_host *host) {
  for (uint32_t i = 0; i < host->workers_len; i++) {
    struct orr__worker *worker = &host->workers[i];
    if (worker->first == NULL) continue;
    orr_inbox_push(worker->inbox, ORR_LANE_TASKS, worker->first, worker->last);
    worker->first = worker->last = NULL;
  }
}

// The core wrote the worker down when it decided, and that may have been before the attempt was
// placed; the slot knows. An attempt whose result is here already needs no abort.
static void abort_attempt(struct orr_host *host, const struct orr_effect *effect) {
  const struct orr__slot *slot = slot_find(host, effect->abort.serial);
  if (slot == NULL) return;
  struct orr_mail *mail = orr_alloc(sizeof *mail);
  mail->type = ORR_MAIL_ABORT;
  mail->serial = effect->abort.serial;
  mail->why = effect->abort.why;
  orr__host_flush(host); // its task must not come after it
  orr_inbox_push(host->workers[slot->worker].inbox, ORR_LANE_MAIL, &mail->link, &mail->link);
}

static void deliver(struct orr_reply *reply) {
  struct orr_port *port = reply->to.port;
  if (port == NULL)
    orr_reply_free(reply);
  else
    port->deliver(port, reply);
}

static void gather_later(struct orr_host *host, const struct orr_effect *effect) {
  if (host->gather_len == host->gather_cap) {
    size_t cap = host->gather_cap == 0 ? 1024 : host->gather_cap * 2;
    struct orr__gather_item *ring = orr_alloc(cap * sizeof *ring);
    for (size_t i = 0; i < host->gather_len; i++)
      ring[i] = host->gather[(host->gather_head + i) & (host->gather_cap - 1)];
    free(host->gather);
    host->gather = ring;
    host->gather_cap = cap;
    host->gather_head = 0;
  }
  size_t at = (host->gather_head + host->gather_len++) & (host->gather_cap - 1);
  host->gather[at] = (struct orr__gather_item){effect->gather.run, effect->gather.handle};
}

static void notice(struct orr_host *host, const struct orr_effect *effect) {
  if (host->options.notice == NULL) return;
  struct orr_notice copy = {.run = effect->notice.run,
                            .run_status = effect->notice.run_status,
                            .step_status = effect->notice.step_status,
                            .step = effect->notice.step,
                            .item = effect->notice.item,
                            .steps_done = effect->notice.steps_done,
                            .steps_total = effect->notice.steps_total};
  host->options.notice(host->options.notice_context, &copy);
}

void orr__batch_perform(struct orr_host *host, struct orr__batch *batch) {
  for (uint32_t i = 0; i < batch->cleared_len; i++) slot_release(host, batch->cleared[i]);
  for (uint32_t i = 0; i < batch->outbox.effects_len; i++) {
    struct orr_effect *effect = &batch->outbox.effects[i];
    switch (effect->type) {
    case ORR_EFFECT_DISPATCH:
      dispatch(host, batch, effect->dispatch);
      break;
    case ORR_EFFECT_ABORT:
      abort_attempt(host, effect);
      break;
    case ORR_EFFECT_REPLY:
      deliver(effect->reply);
      break;
    case ORR_EFFECT_GATHER:
      gather_later(host, effect);
      break;
    case ORR_EFFECT_NOTICE:
      notice(host, effect);
      break;
    }
  }
  orr__batch_put(host, batch);
}

// --- after a failure or the stop
// ------------------------------------------------------------------

static void refuse(struct orr_host *host, struct orr_reply_to to) {
  if (to.port == NULL) return;
  struct orr_reply *reply = orr_alloc(sizeof *reply);
  reply->to = to;
  reply->status = ORR_ERR_UNAVAILABLE;
  snprintf(reply->message, sizeof reply->message, "%.255s",
           host->failure[0] != 0 ? host->failure : "the engine is stopping");
  deliver(reply);
}

void orr__batch_refuse(struct orr_host *host, struct orr__batch *batch) {
  for (uint32_t i = 0; i < batch->outbox.effects_len; i++) {
    const struct orr_effect *effect = &batch->outbox.effects[i];
    if (effect->type == ORR_EFFECT_REPLY) refuse(host, effect->reply->to);
  }
  orr__batch_free(batch); // with the tasks and replies in it
}

void orr__host_refuse_event(struct orr_host *host, struct orr_event *event) {
  struct orr_reply_to to =
      event->type < ORR_EVENT_WATCH ? event->reply_to : (struct orr_reply_to){0};
  orr_event_free(event);
  refuse(host, to);
}
