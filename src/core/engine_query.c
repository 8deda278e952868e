// SPDX-License-Identifier: MIT
// Questions: a run, lists, a step's result, and why something is not running. Changes nothing.
// Answers
// are effects, so they go out after the batch that holds what they show.
#include "core/engine_internal.h"

#include <stdlib.h>

// The folded status, made precise by what only the engine knows: attempts in flight.
enum orr_run_status orr__run_status(const struct orr_run *run) {
  if (run->status == ORR_RUN_WAITING && run->attempts_open > 0) return ORR_RUN_RUNNING;
  return run->status;
}

enum orr_step_status orr__unit_status(const struct orr_unit *unit) {
  if (orr_step_status_final(unit->status)) return unit->status;
  if (unit->task != NULL) return ORR_STEP_STATUS_RUNNING;
  if (unit->status == ORR_STEP_STATUS_PENDING && orr_list_linked(&unit->ready))
    return ORR_STEP_STATUS_QUEUED;
  return unit->status;
}

// --- one run -------------------------------------------------------------------------------------

static void attempt_add(struct orr_reply *reply, const struct orr_unit *unit) {
  const struct orr_task *task = unit->task;
  if (task == NULL) return;
  reply->attempts[reply->attempts_len++] =
      (struct orr_attempt_view){.step = unit->step, .item = unit->item, .attempt = task->attempt,
                                .worker = task->worker, .dispatched_ms = task->dispatched_ms};
}

static void attempts_fill(struct orr_reply *reply, struct orr_run *run) {
  if (run->attempts_open == 0) return;
  reply->attempts = orr_alloc(run->attempts_open * sizeof(*reply->attempts));
  for (uint32_t i = 0; i < run->def->steps_len; i++) {
    attempt_add(reply, &run->units[i]);
    struct orr_map_items *map = run->maps != NULL ? run->maps[i] : NULL;
    for (uint32_t k = 0; map != NULL && k < map->count; k++) attempt_add(reply, &map->units[k]);
  }
  orr_assert(reply->attempts_len == run->attempts_open);
}

static void reasons_fill(const struct orr_engine *engine, struct orr_reply *reply,
                         const struct orr_run *run) {
  struct orr__reasons reasons = {0};
  orr__run_explain(engine, run, &reasons);
  if (reasons.len == 0) return;
  reply->reasons = orr_alloc(reasons.len * sizeof(*reply->reasons));
  memcpy(reply->reasons, reasons.list, reasons.len * sizeof(*reply->reasons));
  reply->reasons_len = reasons.len;
}

void orr__query_get(struct orr_engine *engine, struct orr_event *event) {
  struct orr_run *run = orr_run_index_find(&engine->index, &event->get.id);
  if (run == NULL) {
    orr__reply(engine, event->reply_to, ORR_ERR_NOT_FOUND, "no such run");
    return;
  }
  struct orr_reply *reply = orr__reply(engine, event->reply_to, ORR_OK, NULL);
  reply->def = orr_def_ref(run->def);
  reply->journal = orr_blob_new(orr_buf_slice(&run->journal));
  reply->run_status = orr__run_status(run);
  attempts_fill(reply, run);
  reasons_fill(engine, reply, run);
}

// --- lists ---------------------------------------------------------------------------------------

static void summary_error(const struct orr_run *run, char *text, size_t size) {
  struct orr_slice message;
  struct orr_slice error = orr_run_bytes(run, run->error);
  if (error.len == 0 || !orr_run_status_final(run->status) ||
      orr_json_path(error, ORR_SLICE_LITERAL("message"), &message) != ORR_OK || message.len < 2 ||
      message.data[0] != '"')
    return;
  struct orr_buf plain = ORR_BUF_INIT;
  orr_json_unescape(&plain, orr_slice_of(message.data + 1, message.len - 2));
  size_t len = plain.len < size - 1 ? plain.len : size - 1;
  while (len > 0 && len < plain.len && (plain.data[len] & 0xc0) == 0x80) len--; // whole characters
  if (len > 0) memcpy(text, plain.data, len);
  orr_buf_free(&plain);
}

static void summary_fill(const struct orr_run *run, struct orr_run_summary *summary) {
  summary->id = run->id;
  summary->def = orr_def_ref(run->def);
  summary->status = (uint8_t)orr__run_status(run);
  summary->created_ms = run->created_ms;
  summary->started_ms = run->started_ms;
  summary->finished_ms = run->finished_ms;
  summary->parent = run->parent;
  struct orr_slice trigger = orr_run_bytes(run, run->trigger);
  size_t len = trigger.len < ORR_NAME_BYTES_MAX ? trigger.len : ORR_NAME_BYTES_MAX;
  if (len > 0) memcpy(summary->trigger, trigger.data, len);
  summary_error(run, summary->error, sizeof(summary->error));
}

// --- the end of a run ----------------------------------------------------------------------------------

static void end_answer(struct orr_engine *engine, const struct orr_run *run, struct orr_reply_to to) {
  struct orr_reply *reply = orr__reply(engine, to, ORR_OK, NULL);
  bool succeeded = run->status == ORR_RUN_SUCCEEDED;
  reply->run_status = (enum orr_run_status)run->status;
  reply->value = orr_blob_new(orr_run_bytes(run, succeeded ? run->output : run->error));
  reply->runs = orr_alloc(sizeof(*reply->runs));
  reply->runs_len = 1;
  summary_fill(run, &reply->runs[0]);
}

void orr__query_await(struct orr_engine *engine, struct orr_event *event) {
  struct orr_run *run = orr_run_index_find(&engine->index, &event->get.id);
  if (run == NULL) {
    orr__reply(engine, event->reply_to, ORR_ERR_NOT_FOUND, "no such run");
  } else if (orr_run_status_final(run->status)) {
    end_answer(engine, run, event->reply_to);
  } else {
    struct orr__extra *extra = orr__extra_of(run);
    extra->awaits =
        orr_realloc(extra->awaits, (extra->awaits_len + 1) * sizeof(*extra->awaits));
    extra->awaits[extra->awaits_len++] = event->reply_to;
  }
}

void orr__awaits_answer(struct orr_engine *engine, const struct orr_run *run) {
  struct orr__extra *extra = run->children_live;
  if (extra == NULL) return;
  for (uint32_t i = 0; i < extra->awaits_len; i++) end_answer(engine, run, extra->awaits[i]);
  extra->awaits_len = 0;
}

// --- lists ---------------------------------------------------------------------------------------------

// Where the walk from new to old begins: at the run before the cursor, found by id if it is live.
static struct orr_list *list_from(struct orr_engine *engine, const struct orr_id *before) {
  if (orr_id_is_zero(before)) return engine->by_age.prev;
  struct orr_run *run = orr_run_index_find(&engine->index, before);
  if (run != NULL) return run->by_age.prev;
  struct orr_list *at = engine->by_age.prev;
  while (at != &engine->by_age &&
         orr_id_compare(&ORR_CONTAINER_OF(at, struct orr_run, by_age)->id, before) >= 0)
    at = at->prev;
  return at;
}

void orr__query_list(struct orr_engine *engine, struct orr_event *event) {
  struct orr_reply *reply = orr__reply(engine, event->reply_to, ORR_OK, NULL);
  uint32_t limit = event->list.limit < ORR_LIST_LIMIT_MAX ? event->list.limit : ORR_LIST_LIMIT_MAX;
  if (limit == 0) return;
  reply->runs = orr_alloc(limit * sizeof(*reply->runs));
  const char *pipeline = event->list.pipeline;
  for (struct orr_list *at = list_from(engine, &event->list.before);
       at != &engine->by_age && reply->runs_len < limit; at = at->prev) {
    const struct orr_run *run = ORR_CONTAINER_OF(at, struct orr_run, by_age);
    if (event->list.status >= 0 && (int32_t)orr__run_status(run) != event->list.status) continue;
    if (pipeline[0] != '\0' && strcmp(pipeline, run->def->name) != 0) continue;
    summary_fill(run, &reply->runs[reply->runs_len++]);
  }
}

// --- results for steps that ask ------------------------------------------------------------------

void orr__query_fetch(struct orr_engine *engine, struct orr_event *event) {
  struct orr_run *run = orr_run_index_get(&engine->index, event->fetch.run_handle);
  if (run == NULL || orr_id_compare(&run->id, &event->fetch.run_id) != 0)
    run = orr_run_index_find(&engine->index, &event->fetch.run_id);
  struct orr_unit *unit = run != NULL ? orr_run_unit(run, event->fetch.step, 0) : NULL;
  if (unit == NULL) {
    orr__reply(engine, event->reply_to, ORR_ERR_NOT_FOUND, "no such run or step");
    return;
  }
  struct orr_reply *reply = orr__reply(engine, event->reply_to, ORR_OK, NULL);
  reply->step_status = (uint8_t)orr__unit_status(unit);
  if (orr_step_status_final(unit->status) && unit->value.len > 0)
    reply->value = orr_blob_new(orr_run_bytes(run, unit->value));
}
