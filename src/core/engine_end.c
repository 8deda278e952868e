// SPDX-License-Identifier: MIT
// What comes after the steps: the pipeline's output, undo, and the outcome of the run. Undo runs
// one
// step after the other, last finished first, under each step's own retry policy; only its outcome
// is
// journalled, so a recovery begins the step in turn anew.
#include "core/engine_internal.h"

#include <stdlib.h>

// --- errors as JSON ------------------------------------------------------------------------------

void orr__error_make(struct orr_buf *out, const char *code, const char *message) {
  orr_buf_text(out, "{\"message\":");
  orr_json_string(out, orr_slice_text(message));
  orr_buf_text(out, ",\"code\":");
  orr_json_string(out, orr_slice_text(code));
  orr_buf_u8(out, '}');
}

// The same error object with where it happened in front; `step` may be NULL, item 0: none.
void orr__error_step(struct orr_buf *out, const char *step, uint32_t item,
                     struct orr_slice error) {
  bool object = error.len >= 2 && error.data[0] == '{';
  orr_buf_u8(out, '{');
  if (step != NULL) {
    orr_buf_text(out, "\"step\":");
    orr_json_string(out, orr_slice_text(step));
  }
  if (item > 0) orr_buf_printf(out, "%s\"item\":%u", step != NULL ? "," : "", item);
  if (!object) {
    orr_buf_text(out, ",\"message\":\"failed\"}");
    return;
  }
  struct orr_slice rest = orr_slice_of(error.data + 1, error.len - 1);
  while (rest.len > 1 && (rest.data[0] == ' ' || rest.data[0] == '\n')) {
    rest.data++;
    rest.len--;
  }
  if (rest.data[0] != '}') orr_buf_u8(out, ',');
  orr_buf_slice_append(out, rest);
}

// --- what is still to do -------------------------------------------------------------------------

static bool run_failed(const struct orr_run *run) {
  return run->cancel_asked || run->failed_step != UINT32_MAX || run->output_failed;
}

static int newest_last(const void *a, const void *b, void *context) {
  const struct orr_run *run = context;
  uint64_t left = run->units[*(const uint32_t *)a].value.offset;
  uint64_t right = run->units[*(const uint32_t *)b].value.offset;
  if (ORR_BUG(27)) return left > right ? -1 : left < right;
  return left < right ? -1 : left > right; // outcomes lie in the journal in the order they came
}

static void undo_collect(struct orr_run *run) {
  run->phase = ORR__PHASE_UNDO;
  uint32_t count = 0;
  for (uint32_t pass = 0; pass < 2; pass++) {
    uint32_t at = 0;
    for (uint32_t i = 0; i < run->def->steps_len; i++) {
      const struct orr_unit *unit = &run->units[i];
      if (!(run->def->steps[i].flags & ORR_STEP_UNDO) || (unit->flags & ORR_UNIT_UNDONE) ||
          unit->status != ORR_STEP_STATUS_SUCCEEDED)
        continue;
      if (pass == 1) orr__extra_of(run)->undo[at] = i;
      at++;
    }
    count = at;
    if (count == 0) return;
    if (pass == 0) orr__extra_of(run)->undo = orr_alloc(count * sizeof(uint32_t));
  }
  struct orr__extra *extra = orr__extra_of(run);
  extra->undo_len = count;
  qsort_r(extra->undo, count, sizeof(uint32_t), newest_last, run);
}

static bool undo_busy(struct orr_engine *engine, struct orr_run *run) {
  if (run->phase != ORR__PHASE_UNDO) undo_collect(run);
  struct orr__extra *extra = run->children_live;
  if (extra == NULL || extra->undo_len == 0) return false;
  if (orr_timer_pending(&extra->timer)) return true; // between two attempts
  struct orr_unit *unit = &run->units[extra->undo[extra->undo_len - 1]];
  extra->job =
      orr__task_make(engine, run, ORR_OP_UNDO, unit, orr_run_bytes(run, unit->value));
  extra->job->attempt = extra->undo_attempt + 1;
  orr__job_queue(engine, run, extra->job);
  return true;
}

bool orr__end_busy(struct orr_engine *engine, struct orr_run *run) {
  struct orr__extra *extra = run->children_live;
  if (extra != NULL && extra->job != NULL) return true;
  if (ORR_BUG(28) && run->cancel_asked) return false;
  if (run_failed(run)) return undo_busy(engine, run);
  if (!run->def->has_output || run->output_decided) return false;
  extra = orr__extra_of(run);
  extra->job = orr__task_make(engine, run, ORR_OP_OUTPUT, NULL, orr_slice_of(NULL, 0));
  orr__job_queue(engine, run, extra->job);
  return true;
}

// --- results of output, key and undo -------------------------------------------------------------

static void undo_result(struct orr_engine *engine, struct orr_run *run, const struct orr_task *task,
                        bool succeeded, bool retryable) {
  struct orr__extra *extra = run->children_live;
  uint32_t step = extra->undo[extra->undo_len - 1];
  const struct orr_retry *policy = &run->def->steps[step].retry;
  uint32_t attempt = ++extra->undo_attempt;
  if (!succeeded && retryable && attempt < policy->attempts) {
    uint64_t seed = orr_retry_seed(~run->seed, step, 0, attempt);
    orr_wheel_add(&engine->jobs, &extra->timer,
                  engine->now.mono_ms + orr_retry_delay_ms(policy, attempt, seed));
    return;
  }
  struct orr_fact fact = {.type = ORR_FACT_UNDONE};
  fact.finished.unit.step = step;
  fact.finished.attempt = attempt;
  fact.finished.status = succeeded ? ORR_STEP_STATUS_SUCCEEDED : ORR_STEP_STATUS_FAILED;
  fact.finished.started_ms = task != NULL ? task->started_ms : engine->now.wall_ms;
  fact.finished.finished_ms = task != NULL ? task->finished_ms : engine->now.wall_ms;
  if (task != NULL && !succeeded) fact.finished.value = orr_buf_slice(&task->out);
  fact.finished.node = orr_slice_text(engine->node);
  orr__record(engine, run, &fact);
  extra->undo_attempt = 0;
  extra->undo_len--;
}

static void output_result(struct orr_engine *engine, struct orr_run *run, bool succeeded,
                          struct orr_slice value) {
  struct orr_fact fact = {.type = ORR_FACT_OUTPUT};
  fact.output.status = succeeded ? ORR_STEP_STATUS_SUCCEEDED : ORR_STEP_STATUS_FAILED;
  fact.output.value = value;
  orr__record(engine, run, &fact);
}

static void key_result(struct orr_engine *engine, struct orr_run *run, bool succeeded,
                       struct orr_slice value) {
  if (run->cancel_asked) return;
  if (!succeeded) {
    orr__run_finish(engine, run, ORR_RUN_FAILED, orr_slice_of(NULL, 0), value);
    return;
  }
  struct orr_fact fact = {.type = ORR_FACT_KEY};
  fact.key.key = value;
  orr__record(engine, run, &fact);
  orr__run_enter_gate(engine, run, true);
}

void orr__end_job_result(struct orr_engine *engine, struct orr_run *run, struct orr_task *task) {
  bool succeeded = task->outcome == ORR_OUTCOME_OK;
  // Stopping: what a worker gave up is neither failed nor done; the next start does it again.
  if (engine->draining && task->outcome == ORR_OUTCOME_CANCELLED) return;
  if (task->op == ORR_OP_UNDO) {
    bool retryable = task->outcome == ORR_OUTCOME_TIMEOUT || task->retryable;
    undo_result(engine, run, task, succeeded, retryable);
    return;
  }
  if (orr_run_status_final(run->status)) return;
  struct orr_buf made = ORR_BUF_INIT;
  struct orr_slice value = orr_buf_slice(&task->out);
  if (value.len == 0) {
    if (succeeded)
      orr_buf_text(&made, "null");
    else
      orr__error_make(&made, "failed", "the worker gave no reason");
    value = orr_buf_slice(&made);
  }
  if (task->op == ORR_OP_KEY)
    key_result(engine, run, succeeded, value);
  else if (!run->cancel_asked || succeeded)
    output_result(engine, run, succeeded, value);
  orr_buf_free(&made);
}

// Timeout of the job, end of its abort grace, or end of the delay before an undo is tried again.
void orr__end_job_timer(struct orr_engine *engine, struct orr__extra *extra) {
  struct orr_run *run = extra->run;
  orr__touch(engine, run);
  if (extra->job == NULL) return;
  if (!extra->job_aborted) {
    struct orr_effect *effect = orr__effect(engine, ORR_EFFECT_ABORT);
    effect->abort.serial = extra->job->serial;
    effect->abort.worker = extra->job->worker;
    effect->abort.why = ORR_ABORT_TIMEOUT;
    extra->job_aborted = true;
    orr_wheel_add(&engine->jobs, &extra->timer, engine->now.mono_ms + engine->abort_grace_ms);
    return;
  }
  uint8_t op = extra->job->op; // given up: its late result finds no job
  extra->job = NULL;
  extra->job_sent = extra->job_aborted = false;
  run->tasks_open--;
  engine->in_flight--;
  if (op == ORR_OP_UNDO) undo_result(engine, run, NULL, false, true);
}

// --- the outcome ---------------------------------------------------------------------------------

// The only sink's output, or an object of the sinks' outputs by name; skipped ones are left out.
static void sinks_output(const struct orr_run *run, struct orr_buf *out) {
  uint32_t sinks = 0;
  for (uint32_t i = 0; i < run->def->steps_len && sinks < 2; i++)
    if (run->def->steps[i].next_len == 0) sinks++;
  if (sinks != 1) orr_buf_u8(out, '{');
  for (uint32_t i = 0; i < run->def->steps_len; i++) {
    const struct orr_unit *unit = &run->units[i];
    if (run->def->steps[i].next_len != 0 || unit->status != ORR_STEP_STATUS_SUCCEEDED) continue;
    if (sinks != 1) orr_json_key(out, run->def->steps[i].name);
    orr_buf_slice_append(out, orr_run_bytes(run, unit->value));
  }
  if (sinks != 1) orr_buf_u8(out, '}');
  if (out->len == 0) orr_buf_text(out, "null");
}

static void failure_of(const struct orr_run *run, struct orr_buf *out) {
  if (run->timed_out) {
    orr__error_make(out, "timeout", "the run took longer than its timeout");
  } else if (run->cancel_asked) {
    char *reason = orr_slice_strdup(orr_run_bytes(run, run->cancel_reason));
    orr__error_make(out, "cancelled", reason[0] != '\0' ? reason : "cancelled");
    free(reason);
  } else if (run->failed_step != UINT32_MAX) {
    const struct orr_unit *unit =
        orr_run_unit((struct orr_run *)(uintptr_t)run, run->failed_step, run->failed_item);
    orr__error_step(out, run->def->steps[run->failed_step].name, run->failed_item,
                    orr_run_bytes(run, unit->value));
  } else {
    orr_buf_slice_append(out, orr_run_bytes(run, run->error));
  }
}

static enum orr_run_status outcome_of(const struct orr_run *run) {
  if (run->cancel_asked) return run->timed_out ? ORR_RUN_FAILED : ORR_RUN_CANCELLED;
  if (ORR_BUG(29) && run->output_failed && run->failed_step == UINT32_MAX) return ORR_RUN_SUCCEEDED;
  return run_failed(run) ? ORR_RUN_FAILED : ORR_RUN_SUCCEEDED;
}

void orr__end(struct orr_engine *engine, struct orr_run *run) {
  enum orr_run_status status = outcome_of(run);
  struct orr_buf *scratch = &engine->scratch; // facts must not point into the journal they extend
  orr_buf_clear(scratch);
  if (status == ORR_RUN_SUCCEEDED && run->def->has_output)
    orr_buf_slice_append(scratch, orr_run_bytes(run, run->output));
  else if (status == ORR_RUN_SUCCEEDED)
    sinks_output(run, scratch);
  else
    failure_of(run, scratch);
  struct orr_slice value = orr_buf_slice(scratch), none = {0};
  bool succeeded = status == ORR_RUN_SUCCEEDED;
  orr__run_finish(engine, run, status, succeeded ? value : none, succeeded ? none : value);
}
