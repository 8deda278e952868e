// SPDX-License-Identifier: MIT
// Child runs. Parent and child know each other by id only, so either may be recovered first. The
// fact
// of the child's end and the outcome of the parent's step are of one turn, hence of one commit.
#include "core/engine_internal.h"

#include <stdlib.h>

static void start_failed(struct orr_engine *engine, struct orr_unit *unit,
                         const struct orr_task *task, const char *code, const char *message) {
  struct orr_buf error = ORR_BUF_INIT;
  orr__error_make(&error, code, message);
  struct orr__attempt_end end = {.status = ORR_STEP_STATUS_FAILED,
                                 .started_ms = task->started_ms,
                                 .finished_ms = engine->now.wall_ms,
                                 .value = orr_buf_slice(&error)};
  orr__unit_fail(engine, unit, &end);
  orr_buf_free(&error);
}

// The step is done as soon as its child exists (wait = false).
static void start_succeeded(struct orr_engine *engine, struct orr_unit *unit,
                            const struct orr_task *task, const struct orr_id *id) {
  char text[ORR_ID_TEXT + 1], output[64];
  orr_id_text(id, text);
  struct orr_buf buf = ORR_BUF_INIT;
  orr_buf_printf(&buf, "{\"run\":\"%s\"}", text);
  orr_assert(buf.len < sizeof(output));
  memcpy(output, buf.data, buf.len);
  struct orr__attempt_end end = {.status = ORR_STEP_STATUS_SUCCEEDED,
                                 .started_ms = task->started_ms,
                                 .finished_ms = engine->now.wall_ms,
                                 .flags = task->when_true ? ORR_FINISHED_WHEN_TRUE : 0,
                                 .value = orr_slice_of(output, buf.len)};
  orr_buf_free(&buf);
  orr__unit_finish(engine, unit, &end);
}

void orr__child_start(struct orr_engine *engine, struct orr_unit *unit, struct orr_task *task) {
  struct orr_run *run = unit->run;
  if (task->child_def == NULL || unit->item > 0) {
    start_failed(engine, unit, task, "internal", "the worker gave no pipeline to run");
    return;
  }
  if (run->depth + 1 > ORR_CHILD_DEPTH_MAX) {
    start_failed(engine, unit, task, "depth", "child runs are nested too deeply");
    return;
  }
  bool wait = !(run->def->steps[unit->step].flags & ORR_STEP_NO_WAIT);
  struct orr_id id = orr_id_next(&engine->ids, engine->now.wall_ms);
  if (wait) {
    struct orr_fact fact = {.type = ORR_FACT_CHILD};
    fact.child.unit = (struct orr_unit_ref){unit->step, unit->item};
    fact.child.attempt = unit->attempts + 1;
    fact.child.started_ms = task->started_ms;
    fact.child.child = id;
    orr__record(engine, run, &fact);
    orr__notice(engine, run, unit);
  }
  struct orr_slice json = orr_buf_slice(&task->out);
  struct orr_blob *input = orr_blob_new(json.len > 0 ? json : ORR_SLICE_LITERAL("{}"));
  struct orr__create create = {.def = task->child_def, .input = input, .trigger = "parent",
                               .parent = run, .parent_step = unit->step,
                               .parent_item = unit->item, .id = &id, .watch = run->watched};
  orr__run_create(engine, &create);
  orr_blob_unref(input);
  if (!wait) start_succeeded(engine, unit, task, &id);
}

// {message, code: "child_failed", run, child: the child's own error}
static void child_error(const struct orr_run *child, struct orr_buf *out) {
  char id[ORR_ID_TEXT + 1];
  orr_id_text(&child->id, id);
  struct orr_slice error = orr_run_bytes(child, child->error), message;
  orr_buf_text(out, "{\"message\":");
  if (error.len > 0 &&
      orr_json_path(error, ORR_SLICE_LITERAL("message"), &message) == ORR_OK)
    orr_buf_slice_append(out, message);
  else
    orr_json_string(out, ORR_SLICE_LITERAL("the child run did not succeed"));
  orr_buf_printf(out, ",\"code\":\"child_failed\",\"run\":\"%s\"", id);
  if (error.len > 0 && error.len <= ORR_ERROR_BYTES_MAX) {
    orr_buf_text(out, ",\"child\":");
    orr_buf_slice_append(out, error);
  }
  orr_buf_u8(out, '}');
}

void orr__child_done(struct orr_engine *engine, struct orr_run *child) {
  struct orr_run *parent = orr_run_index_find(&engine->index, &child->parent);
  if (parent == NULL || orr_run_status_final(parent->status)) return;
  struct orr_unit *unit = orr_run_unit(parent, child->parent_step, child->parent_item);
  if (unit == NULL || unit->item > 0 || !(unit->flags & ORR_UNIT_CHILD) ||
      orr_id_compare(&parent->children[unit->step], &child->id) != 0)
    return;
  struct orr__attempt_end end = {.started_ms = unit->started_ms,
                                 .finished_ms = engine->now.wall_ms};
  orr__touch(engine, parent);
  if (child->status == ORR_RUN_SUCCEEDED) {
    end.status = ORR_STEP_STATUS_SUCCEEDED;
    end.value = orr_run_bytes(child, child->output);
    orr__unit_finish(engine, unit, &end);
    return;
  }
  struct orr_buf error = ORR_BUF_INIT;
  child_error(child, &error);
  end.value = orr_buf_slice(&error);
  end.status = parent->cancel_asked ? ORR_STEP_STATUS_CANCELLED : ORR_STEP_STATUS_FAILED;
  end.retryable = child->status == ORR_RUN_FAILED;
  if (parent->cancel_asked)
    orr__unit_finish(engine, unit, &end);
  else
    orr__unit_fail(engine, unit, &end);
  orr_buf_free(&error);
}

// A cancelled run waits for the end of the children it waits for; they are cancelled with it.
void orr__children_cancel(struct orr_engine *engine, struct orr_run *run) {
  for (uint32_t i = 0; i < run->def->steps_len && run->children_open > 0; i++) {
    if (!(run->units[i].flags & ORR_UNIT_CHILD)) continue;
    struct orr_run *child = orr_run_index_find(&engine->index, &run->children[i]);
    if (!ORR_BUG(39) && child != NULL && !child->cancel_asked && !orr_run_status_final(child->status))
      orr__run_cancel(engine, child, "its parent run was cancelled");
  }
}
