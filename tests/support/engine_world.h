// SPDX-License-Identifier: MIT
// A small world for the engine's tests: a definition from a line of text, a store that keeps rows,
// workers
// that wait until the test finishes their task by name, a clock that the test moves, and a crash.
// After
// every event the stored bytes of every touched run are folded and compared with the live run, and
// the
// engine's invariants are checked. One test, one world; not for use outside tests.
#pragma once

// clang-format off
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
// clang-format on

#include "base/json.h"
#include "core/engine.h"

#include <stdio.h>
#include <stdlib.h>

struct world_run { // what the store holds of a run
  struct orr_id id;
  struct orr_def *def;
  struct orr_buf bytes;
  uint64_t last_pos;
  bool final, gathered;
};

struct world {
  struct orr_engine *engine;
  struct orr_engine_config config;
  struct orr_now now;
  struct orr_outbox outbox;
  struct world_run *runs;
  uint32_t runs_len, runs_cap;
  struct orr_task **tasks; // at workers, in order of dispatch
  uint32_t tasks_len, tasks_cap;
  uint64_t dispatched; // ever
  struct orr_reply *reply; // the newest
  uint64_t *handles; // of runs whose GATHER effect came
  uint32_t handles_len;
  struct orr_buf log; // aborts, notices: one word each
  struct orr_row cache_row;
  struct orr_buf cached;
  uint32_t idempotency_rows;
  uint64_t last_pos;
  bool unchecked; // big runs: no invariants after every event
};

// --- definitions ---------------------------------------------------------------------------------

// "{concurrency=1,when_full=skip,output} a; b<a [once,retry=3]; c<a,b [map,parallel=2]"
static inline uint64_t world__number(struct orr_slice text) {
  uint64_t value = 0;
  for (size_t i = 0; i < text.len && text.data[i] >= '0' && text.data[i] <= '9'; i++)
    value = value * 10 + (uint64_t)(text.data[i] - '0');
  return value;
}

static inline bool world__option(struct orr_slice *rest, struct orr_slice *name,
                                 struct orr_slice *value) {
  while (rest->len > 0 && (rest->data[0] == ' ' || rest->data[0] == ',')) {
    rest->data++;
    rest->len--;
  }
  if (rest->len == 0) return false;
  size_t end = 0;
  while (end < rest->len && rest->data[end] != ',') end++;
  size_t equals = 0;
  while (equals < end && rest->data[equals] != '=') equals++;
  *name = orr_slice_of(rest->data, equals);
  *value = equals < end ? orr_slice_of(rest->data + equals + 1, end - equals - 1)
                        : (struct orr_slice){0};
  rest->data += end;
  rest->len -= end;
  return true;
}

static inline bool world__is(struct orr_slice a, const char *text) {
  return orr_slice_equal(a, orr_slice_text(text));
}

static inline void world__step_options(struct orr_step_def *step, struct orr_slice options) {
  static const struct { const char *name; uint32_t flag; } FLAGS[] = {
      {"once", ORR_STEP_ONCE}, {"undo", ORR_STEP_UNDO}, {"on_success", ORR_STEP_ON_SUCCESS},
      {"on_failure", ORR_STEP_ON_FAILURE}, {"on_retry", ORR_STEP_ON_RETRY},
      {"no_wait", ORR_STEP_NO_WAIT}, {"when", ORR_STEP_HAS_WHEN}};
  struct orr_slice name, value;
  while (world__option(&options, &name, &value)) {
    bool known = true;
    if (world__is(name, "retry")) step->retry.attempts = (uint32_t)world__number(value);
    else if (world__is(name, "delay")) step->retry.delay_ms = world__number(value);
    else if (world__is(name, "backoff"))
      step->retry.backoff_permille = (uint32_t)world__number(value);
    else if (world__is(name, "jitter")) step->retry.jitter = true;
    else if (world__is(name, "timeout")) step->timeout_ms = world__number(value);
    else if (world__is(name, "priority")) step->priority = (uint8_t)world__number(value);
    else if (world__is(name, "parallel")) step->parallel = (uint32_t)world__number(value);
    else if (world__is(name, "map")) step->kind = ORR_STEP_MAP;
    else if (world__is(name, "rule")) assert_true(orr_rule_parse(value, &step->rule));
    else if (world__is(name, "sleep")) {
      step->kind = ORR_STEP_SLEEP;
      step->sleep_ms = world__number(value);
    } else if (world__is(name, "child")) {
      step->kind = ORR_STEP_RUN;
      step->child = "child";
    } else known = false;
    for (size_t i = 0; i < sizeof(FLAGS) / sizeof(FLAGS[0]); i++) {
      if (!world__is(name, FLAGS[i].name)) continue;
      step->flags |= FLAGS[i].flag;
      known = true;
    }
    if (!known) fail_msg("unknown step option %.*s", (int)name.len, (const char *)name.data);
  }
}

static inline void world__head_options(struct orr_def *head, struct orr_slice options) {
  struct orr_slice name, value;
  while (world__option(&options, &name, &value)) {
    if (world__is(name, "concurrency")) head->concurrency = (uint32_t)world__number(value);
    else if (world__is(name, "when_full"))
      assert_true(orr_when_full_parse(value, &head->when_full));
    else if (world__is(name, "key")) head->concurrency_key_path = value;
    else if (world__is(name, "key_function")) head->concurrency_key_function = true;
    else if (world__is(name, "active")) head->concurrency_active = true;
    else if (world__is(name, "output")) head->has_output = true;
    else if (world__is(name, "timeout")) head->timeout_ms = world__number(value);
    else if (world__is(name, "priority")) head->priority = (uint8_t)world__number(value);
    else fail_msg("unknown option %.*s", (int)name.len, (const char *)name.data);
  }
}

static inline struct orr_def *world_def(const char *text) {
  struct orr_def_builder *builder = orr_def_builder_new();
  struct orr_def *head = orr_def_builder_head(builder);
  head->name = "test";
  head->description = "";
  head->script = "pipelines/test.lua";
  head->priority = 5;
  if (*text == '{') {
    const char *end = strchr(text, '}');
    world__head_options(head, orr_slice_of(text + 1, (size_t)(end - text - 1)));
    text = end + 1;
  }
  while (*text != '\0') {
    while (*text == ' ' || *text == ';') text++;
    if (*text == '\0') break;
    const char *end = text + strcspn(text, ";");
    const char *options = memchr(text, '[', (size_t)(end - text));
    const char *names_end = options != NULL ? options : end;
    struct orr_step_def step = {.kind = ORR_STEP_LUA, .priority = 5,
                                .retry = {.attempts = 1, .backoff_permille = 1000}};
    char name[ORR_NAME_BYTES_MAX + 1] = {0};
    size_t len = strcspn(text, "<[; ");
    assert_true(len < sizeof(name));
    memcpy(name, text, len);
    step.name = name;
    if (options != NULL)
      world__step_options(&step, orr_slice_of(options + 1, (size_t)(end - options - 2)));
    uint32_t index = orr_def_builder_step(builder, &step);
    const char *at = text + len;
    while (at < names_end) {
      at += strspn(at, "<, ");
      size_t dependency = strcspn(at, ",[; ");
      if (at >= names_end || dependency == 0) break;
      orr_def_builder_after(builder, index, orr_slice_of(at, dependency));
      at += dependency;
    }
    text = end;
  }
  struct orr_def *def = NULL;
  struct orr_def_problem problem = {0};
  if (orr_def_builder_finish(builder, &def, &problem) != ORR_OK)
    fail_msg("definition refused: %s", problem.message);
  orr_def_builder_free(builder);
  return def;
}

// --- the world -----------------------------------------------------------------------------------

static inline void world_open(struct world *world, uint32_t slots) {
  memset(world, 0, sizeof(*world));
  world->now = (struct orr_now){.wall_ms = 1700000000000, .mono_ms = 5000};
  world->config = (struct orr_engine_config){
      .seed = 7, .next_pos = 1, .node = "n1", .slots = slots, .abort_grace_ms = 1000};
  world->engine = orr_engine_new(&world->config, &world->now);
}

static inline void world_close(struct world *world) {
  orr_engine_free(world->engine);
  orr_outbox_free(&world->outbox);
  for (uint32_t i = 0; i < world->tasks_len; i++) orr_task_free(world->tasks[i]);
  for (uint32_t i = 0; i < world->runs_len; i++) {
    orr_buf_free(&world->runs[i].bytes);
    orr_def_unref(world->runs[i].def);
  }
  orr_reply_free(world->reply);
  orr_buf_free(&world->log);
  orr_buf_free(&world->cached);
  free(world->runs);
  free(world->tasks);
  free(world->handles);
}

static inline struct world_run *world_stored(struct world *world, struct orr_id id) {
  for (uint32_t i = world->runs_len; i-- > 0;)
    if (orr_id_compare(&world->runs[i].id, &id) == 0) return &world->runs[i];
  return NULL;
}

static inline struct orr_run *world_run(struct world *world, struct orr_id id) {
  for (struct orr_run *run = orr_engine_next_run(world->engine, NULL); run != NULL;
       run = orr_engine_next_run(world->engine, run))
    if (orr_id_compare(&run->id, &id) == 0) return run;
  fail_msg("the run is not in the engine");
  return NULL;
}

static inline void world__store(struct world *world, const struct orr_row *row) {
  struct world_run *stored = world_stored(world, row->run);
  assert_int_equal(row->pos, world->last_pos + 1);
  world->last_pos = row->pos;
  if (stored == NULL) {
    if (world->runs_len == world->runs_cap) {
      world->runs_cap = world->runs_cap == 0 ? 16 : world->runs_cap * 2;
      world->runs = orr_realloc(world->runs, world->runs_cap * sizeof(*world->runs));
    }
    stored = &world->runs[world->runs_len++];
    *stored = (struct world_run){.id = row->run};
    stored->def = orr_def_ref(world_run(world, row->run)->def);
  }
  assert_int_equal(row->prev, stored->last_pos);
  assert_false(stored->final);
  stored->last_pos = row->pos;
  stored->final = row->final;
  orr_buf_append(&stored->bytes, world->outbox.bytes.data + row->offset, (size_t)row->len);
  if (world->unchecked) return;
  struct orr_run *replayed = orr_run_new(stored->def);
  assert_int_equal(orr_run_load(replayed, orr_buf_slice(&stored->bytes)), ORR_OK);
  assert_true(orr_run_fingerprint(replayed) == orr_run_fingerprint(world_run(world, row->run)));
  orr_run_free(replayed);
}

static inline void world__row(struct world *world, const struct orr_row *row) {
  switch (row->type) {
  case ORR_ROW_JOURNAL: world__store(world, row); break;
  case ORR_ROW_IDEMPOTENCY: world->idempotency_rows++; break;
  case ORR_ROW_CACHE:
    world->cache_row = *row;
    orr_buf_clear(&world->cached);
    orr_buf_append(&world->cached, world->outbox.bytes.data + row->offset, (size_t)row->len);
    break;
  }
}

static inline void world__effect(struct world *world, const struct orr_effect *effect) {
  switch (effect->type) {
  case ORR_EFFECT_DISPATCH:
    if (world->tasks_len == world->tasks_cap) {
      world->tasks_cap = world->tasks_cap == 0 ? 64 : world->tasks_cap * 2;
      world->tasks = orr_realloc(world->tasks, world->tasks_cap * sizeof(*world->tasks));
    }
    world->tasks[world->tasks_len++] = effect->dispatch;
    world->dispatched++;
    break;
  case ORR_EFFECT_ABORT:
    orr_buf_printf(&world->log, "abort:%s ",
                   effect->abort.why == ORR_ABORT_CANCEL ? "cancel" : "timeout");
    break;
  case ORR_EFFECT_REPLY:
    orr_reply_free(world->reply);
    world->reply = effect->reply;
    break;
  case ORR_EFFECT_GATHER:
    assert_true(orr_run_status_final(effect->gather.run->status));
    world->handles = orr_realloc(world->handles, (world->handles_len + 1) * sizeof(uint64_t));
    world->handles[world->handles_len++] = effect->gather.handle;
    break;
  case ORR_EFFECT_NOTICE:
    orr_buf_printf(&world->log, "notice:%u/%u ", effect->notice.steps_done,
                   effect->notice.steps_total);
    break;
  }
}

// Takes what the engine decided, stores it, performs it.
static inline void world_turn(struct world *world) {
  if (orr_engine_take(world->engine, &world->now, &world->outbox)) {
    for (uint32_t i = 0; i < world->outbox.rows_len; i++) world__row(world, &world->outbox.rows[i]);
    for (uint32_t i = 0; i < world->outbox.effects_len; i++)
      world__effect(world, &world->outbox.effects[i]);
    world->outbox.rows_len = world->outbox.effects_len = 0;
    world->outbox.bytes.len = 0;
  }
  if (!world->unchecked) orr_engine_check(world->engine);
}

static inline void world_apply(struct world *world, struct orr_event *event) {
  orr_engine_apply(world->engine, &world->now, event);
  world_turn(world);
}

// Moves the clock, stopping at every deadline of the engine on the way.
static inline void world_advance(struct world *world, uint64_t ms) {
  uint64_t end_ms = world->now.mono_ms + ms;
  while (world->now.mono_ms < end_ms) {
    uint64_t next_ms = orr_engine_next_deadline(world->engine);
    if (next_ms <= world->now.mono_ms) next_ms = world->now.mono_ms + 1;
    if (next_ms > end_ms) next_ms = end_ms;
    world->now.wall_ms += (int64_t)(next_ms - world->now.mono_ms);
    world->now.mono_ms = next_ms;
    orr_engine_tick(world->engine, &world->now);
    world_turn(world);
  }
}

// --- what a test does ----------------------------------------------------------------------------

static inline struct orr_event *world_submit_event(struct orr_def *def, const char *input,
                                                   uint32_t count) {
  struct orr_event *event = orr_event_new(ORR_EVENT_SUBMIT);
  event->submit.def = orr_def_ref(def);
  event->submit.inputs = orr_alloc(count * sizeof(struct orr_blob *));
  for (uint32_t i = 0; i < count; i++)
    event->submit.inputs[i] = orr_blob_new(orr_slice_text(input));
  event->submit.inputs_len = count;
  strcpy(event->submit.trigger, "api");
  return event;
}

static inline struct orr_id world_submit_input(struct world *world, struct orr_def *def,
                                               const char *input) {
  world_apply(world, world_submit_event(def, input, 1));
  assert_int_equal(world->reply->status, ORR_OK);
  assert_int_equal(world->reply->ids_len, 1);
  return world->reply->ids[0];
}

static inline struct orr_id world_submit(struct world *world, struct orr_def *def) {
  return world_submit_input(world, def, "{}");
}

static inline enum orr_status world_control(struct world *world, enum orr_event_type type,
                                            struct orr_id id) {
  struct orr_event *event = orr_event_new(type);
  event->control.id = id;
  strcpy(event->control.reason, "asked by a test");
  world_apply(world, event);
  return world->reply->status;
}

static inline bool world__task_is(const struct orr_task *task, const struct orr_id *id,
                                  const char *what) {
  static const char *const OPS[] = {"", "", "output!", "key!", "undo:", "hook:"};
  char text[128];
  if (id != NULL && orr_id_compare(&task->run_id, id) != 0) return false;
  const char *name = task->def->steps[task->step].name;
  if (task->op == ORR_OP_OUTPUT || task->op == ORR_OP_KEY)
    snprintf(text, sizeof(text), "%s", OPS[task->op]);
  else if (task->item > 0)
    snprintf(text, sizeof(text), "%s%s#%u", OPS[task->op], name, task->item);
  else
    snprintf(text, sizeof(text), "%s%s", OPS[task->op], name);
  return strcmp(text, what) == 0;
}

// The task of a run at a worker: "b", an item "m#3", "undo:b", "hook:b", "output!", "key!". NULL:
// none.
static inline struct orr_task *world_find(struct world *world, struct orr_id id, const char *what) {
  for (uint32_t i = 0; i < world->tasks_len; i++)
    if (world__task_is(world->tasks[i], &id, what)) return world->tasks[i];
  return NULL;
}

static inline struct orr_task *world_take_task(struct world *world, struct orr_id id,
                                               const char *what) {
  struct orr_task *task = world_find(world, id, what);
  if (task == NULL) fail_msg("no task %s is at a worker", what);
  for (uint32_t i = 0; i < world->tasks_len; i++) {
    if (world->tasks[i] != task) continue;
    memmove(&world->tasks[i], &world->tasks[i + 1],
            (world->tasks_len - i - 1) * sizeof(*world->tasks));
    world->tasks_len--;
    return task;
  }
  return NULL;
}

static inline void world_result(struct world *world, struct orr_task *task,
                                enum orr_outcome outcome, const char *json) {
  task->outcome = (uint8_t)outcome;
  task->started_ms = task->dispatched_ms;
  task->finished_ms = world->now.wall_ms;
  orr_buf_clear(&task->out);
  if (json != NULL) orr_buf_text(&task->out, json);
  struct orr_event *event = orr_event_new(ORR_EVENT_RESULT);
  event->result.task = task;
  world_apply(world, event);
}

static inline void world_ok(struct world *world, struct orr_id id, const char *what,
                            const char *json) {
  world_result(world, world_take_task(world, id, what), ORR_OUTCOME_OK, json);
}

static inline void world_error(struct world *world, struct orr_id id, const char *what) {
  struct orr_task *task = world_take_task(world, id, what);
  task->retryable = true;
  world_result(world, task, ORR_OUTCOME_ERROR, "{\"message\":\"boom\",\"code\":\"boom\"}");
}

static inline void world_expand(struct world *world, struct orr_id id, const char *what,
                                uint32_t count) {
  struct orr_task *task = world_take_task(world, id, what);
  struct orr_buf items = ORR_BUF_INIT, item = ORR_BUF_INIT;
  for (uint32_t i = 1; i <= count; i++) {
    orr_buf_clear(&item);
    orr_buf_printf(&item, "%u", i);
    orr_buf_bytes(&items, orr_buf_slice(&item));
  }
  task->outcome = ORR_OUTCOME_EXPANDED;
  task->started_ms = task->finished_ms = world->now.wall_ms;
  task->items_len = count;
  orr_buf_free(&task->out);
  task->out = items;
  orr_buf_free(&item);
  struct orr_event *event = orr_event_new(ORR_EVENT_RESULT);
  event->result.task = task;
  world_apply(world, event);
}

static inline void world_gather(struct world *world) {
  struct orr_event *event = orr_event_new(ORR_EVENT_GATHERED);
  event->gathered.handles = world->handles;
  event->gathered.len = world->handles_len;
  world->handles = NULL;
  world->handles_len = 0;
  world_apply(world, event);
}

// The engine dies: what is stored stays, attempts in flight are lost. Then a new one recovers.
static inline void world_recover_run(struct world *world, uint32_t index, bool known,
                                     struct orr_task **lost, uint32_t lost_len) {
  struct world_run *stored = &world->runs[index];
  struct orr_event *event = orr_event_new(ORR_EVENT_RECOVER);
  event->recover.def = orr_def_ref(stored->def);
  event->recover.journal = orr_blob_new(orr_buf_slice(&stored->bytes));
  event->recover.last_pos = stored->last_pos;
  event->recover.in_flight_known = known;
  event->recover.in_flight = orr_alloc((lost_len + 1) * sizeof(struct orr_unit_ref));
  for (uint32_t i = 0; known && i < lost_len; i++) {
    if (lost[i]->op > ORR_OP_EXPAND || orr_id_compare(&lost[i]->run_id, &stored->id) != 0) continue;
    event->recover.in_flight[event->recover.in_flight_len++] =
        (struct orr_unit_ref){lost[i]->step, lost[i]->item};
  }
  orr_engine_apply(world->engine, &world->now, event);
}

static inline void world_crash(struct world *world, bool known, bool backwards) {
  struct orr_task **lost = world->tasks;
  uint32_t lost_len = world->tasks_len;
  world->tasks = NULL;
  world->tasks_len = world->tasks_cap = 0;
  orr_engine_free(world->engine);
  world->now.mono_ms = 100; // the machine was restarted
  world->config.next_pos = world->last_pos + 1;
  world->config.seed++;
  world->engine = orr_engine_new(&world->config, &world->now);
  world->handles_len = 0;
  uint32_t stored = world->runs_len;
  for (uint32_t i = 0; i < stored; i++)
    world_recover_run(world, backwards ? stored - 1 - i : i, known, lost, lost_len);
  world_turn(world);
  if (stored > 0) assert_int_equal(world->reply->status, ORR_OK);
  for (uint32_t i = 0; i < lost_len; i++) orr_task_free(lost[i]);
  free(lost);
}

// --- what a test sees ----------------------------------------------------------------------------

static inline enum orr_step_status world__status(struct world *world, struct orr_id id,
                                                 const struct orr_unit *unit) {
  if (orr_step_status_final(unit->status)) return unit->status;
  for (uint32_t i = 0; i < world->tasks_len; i++) {
    const struct orr_task *task = world->tasks[i];
    if (task->op <= ORR_OP_EXPAND && task->step == unit->step && task->item == unit->item &&
        unit->task == task && orr_id_compare(&task->run_id, &id) == 0)
      return ORR_STEP_STATUS_RUNNING;
  }
  return unit->status;
}

// "a:succeeded b:running | running": the steps that are not pending, in order; then the run.
static inline void check_run_at(struct world *world, struct orr_id id, const char *expected,
                                const char *file, int line) {
  struct orr_buf seen = ORR_BUF_INIT;
  struct orr_run *run = world_run(world, id);
  for (uint32_t i = 0; i < run->def->steps_len; i++) {
    enum orr_step_status status = world__status(world, id, &run->units[i]);
    if (status == ORR_STEP_STATUS_PENDING) continue;
    orr_buf_printf(&seen, "%s:%s ", run->def->steps[i].name, orr_step_status_text(status));
  }
  struct orr_event *event = orr_event_new(ORR_EVENT_GET);
  event->get.id = id;
  world_apply(world, event);
  assert_int_equal(world->reply->status, ORR_OK);
  orr_buf_printf(&seen, "| %s", orr_run_status_text(world->reply->run_status));
  if (strcmp(orr_buf_cstr(&seen), expected) != 0) {
    print_error("%s:%d: expected: %s\n          seen: %s\n", file, line, expected,
                orr_buf_cstr(&seen));
    fail();
  }
  orr_buf_free(&seen);
}
#define check_run(world, id, expected) check_run_at(world, id, expected, __FILE__, __LINE__)

static inline void check_text_at(struct orr_slice seen, const char *expected, const char *file,
                                 int line) {
  if (orr_slice_equal(seen, orr_slice_text(expected))) return;
  print_error("%s:%d: expected: %s\n          seen: %.*s\n", file, line, expected, (int)seen.len,
              (const char *)seen.data);
  fail();
}
#define check_output(world, id, expected)                                                   \
  check_text_at(orr_run_bytes(world_run(world, id), world_run(world, id)->output), expected, \
                __FILE__, __LINE__)
#define check_error(world, id, expected)                                                   \
  check_text_at(orr_run_bytes(world_run(world, id), world_run(world, id)->error), expected, \
                __FILE__, __LINE__)

// True if the newest answer to GET names the reason.
static inline bool world_reason(struct world *world, struct orr_id id, enum orr_reason_code code) {
  struct orr_event *event = orr_event_new(ORR_EVENT_GET);
  event->get.id = id;
  world_apply(world, event);
  for (uint32_t i = 0; i < world->reply->reasons_len; i++)
    if (world->reply->reasons[i].code == code) return true;
  return false;
}
