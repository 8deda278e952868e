// SPDX-License-Identifier: MIT
// Workers that misbehave: they fail, hang, ignore aborts, answer late, twice or never. What an
// attempt will do is drawn when it arrives; `bodies` of the model counts how often a step's code
// really ran.
#include "world.h"

#include "base/check.h"

#include <stdio.h>
#include <stdlib.h>

// Variants of SIM_RESULT, above the attempt's index.
#define ARG_ABORTED (UINT64_C(1) << 32)
#define ARG_COPY (UINT64_C(2) << 32)
#define ARG_TIMEOUT (UINT64_C(4) << 32)

static bool is_unit(uint8_t op) { return op == ORR_OP_STEP || op == ORR_OP_EXPAND; }

static struct sim_attempt *by_serial(struct world *w, uint64_t serial) {
  if (serial >= w->by_serial_cap || w->by_serial[serial] == 0) return NULL;
  return &w->attempts[w->by_serial[serial] - 1];
}

static void push(uint32_t **list, uint32_t *len, uint32_t *cap, uint32_t value) {
  if (*len == *cap) {
    *cap = *cap == 0 ? 64 : *cap * 2;
    *list = orr_realloc(*list, *cap * sizeof(uint32_t));
  }
  (*list)[(*len)++] = value;
}

static void open_remove(struct world *w, uint32_t index) {
  for (uint32_t i = 0; i < w->open_len; i++) {
    if (w->open[i] != index) continue;
    memmove(&w->open[i], &w->open[i + 1], (--w->open_len - i) * sizeof(uint32_t));
    return;
  }
}

// --- given out, not yet performed
// -----------------------------------------------------------------------

void workers_dispatched(struct world *w, struct orr_task *task, uint32_t run, uint64_t batch) {
  sim_check(w, task->serial != 0 && task->serial < 1u << 24, "serial %llu of a task is odd",
            (unsigned long long)task->serial);
  sim_check(w, by_serial(w, task->serial) == NULL, "serial %llu is used twice",
            (unsigned long long)task->serial);
  if (w->attempts_len == w->attempts_cap) {
    w->attempts_cap = w->attempts_cap == 0 ? 256 : w->attempts_cap * 2;
    w->attempts = orr_realloc(w->attempts, w->attempts_cap * sizeof(*w->attempts));
  }
  uint32_t index = w->attempts_len++;
  w->attempts[index] = (struct sim_attempt){.serial = task->serial,
                                            .op = task->op,
                                            .run = run,
                                            .step = task->step,
                                            .item = task->item,
                                            .attempt = task->attempt,
                                            .batch = batch,
                                            .created_ms = w->now.mono_ms,
                                            .closing = UINT64_MAX,
                                            .timeout_ms = task->timeout_ms};
  if (task->serial >= w->by_serial_cap) {
    uint32_t cap = (uint32_t)task->serial * 2 + 256;
    w->by_serial = orr_realloc(w->by_serial, cap * sizeof(uint32_t));
    memset(w->by_serial + w->by_serial_cap, 0, (cap - w->by_serial_cap) * sizeof(uint32_t));
    w->by_serial_cap = cap;
  }
  w->by_serial[task->serial] = index + 1;
  push(&w->open, &w->open_len, &w->open_cap, index);
  if (is_unit(task->op)) {
    struct model_unit *unit = model_unit(w->oracle.runs[run], task->step, task->item);
    unit->attempt_index = index;
    unit->attempt_epoch = w->epoch;
  }
  sim_trace(w, task->serial << 32 ^ (uint64_t)task->step << 16 ^ task->item << 8 ^ task->op);
  sim_say(w, "give out #%llu op %u run %u step %u item %u attempt %u",
          (unsigned long long)task->serial, task->op, run, task->step, task->item, task->attempt);
}

struct sim_attempt *workers_open(struct world *w, uint32_t run, uint32_t step, uint32_t item,
                                 uint8_t op) {
  for (uint32_t i = w->open_len; i-- > 0;) {
    struct sim_attempt *attempt = &w->attempts[w->open[i]];
    if (attempt->run == run && attempt->step == step && attempt->item == item && attempt->op == op)
      return attempt;
  }
  return NULL;
}

bool workers_busy(const struct world *w, uint32_t run) {
  for (uint32_t i = 0; i < w->open_len; i++) {
    const struct sim_attempt *attempt = &w->attempts[w->open[i]];
    if (attempt->run == run && is_unit(attempt->op)) return true;
  }
  return false;
}

// A job may be given up without a fact, once its abort grace is over: then it holds no slot.
uint32_t workers_slots_used(const struct world *w) {
  uint32_t used = 0;
  for (uint32_t i = 0; i < w->open_len; i++) {
    const struct sim_attempt *attempt = &w->attempts[w->open[i]];
    used += is_unit(attempt->op) || !attempt->aborted ||
            w->now.mono_ms < attempt->abort_ms + w->abort_grace_ms;
  }
  return used;
}

void workers_give_up(struct world *w, struct sim_attempt *attempt) {
  sim_check(w, attempt->aborted && w->now.mono_ms >= attempt->abort_ms + w->abort_grace_ms,
            "I23: attempt #%llu is given up before its abort grace",
            (unsigned long long)attempt->serial);
  attempt->given_up = true;
  attempt->closing = w->batch_next;
  open_remove(w, (uint32_t)(attempt - w->attempts));
}

void workers_abort_asked(struct world *w, uint64_t serial, enum orr_abort_why why) {
  struct sim_attempt *attempt = by_serial(w, serial);
  sim_check(w, attempt != NULL, "abort of an unknown task %llu", (unsigned long long)serial);
  sim_check(w, !attempt->aborted, "a second abort of task %llu", (unsigned long long)serial);
  sim_check(w, attempt->closing == UINT64_MAX || attempt->closing == w->batch_next,
            "abort of task %llu, which is over", (unsigned long long)serial);
  if (why == ORR_ABORT_TIMEOUT)
    sim_check(
        w, attempt->timeout_ms > 0 && w->now.mono_ms >= attempt->created_ms + attempt->timeout_ms,
        "I23: task %llu timed out early", (unsigned long long)serial);
  else
    sim_check(w, w->oracle.runs[attempt->run]->cancelled, "task %llu aborted without a cancel",
              (unsigned long long)serial);
  attempt->aborted = true;
  attempt->abort_ms = w->now.mono_ms;
}

// --- what an attempt will do
// -------------------------------------------------------------------------------

static void error_out(struct world *w, struct orr_task *task) {
  task->outcome = ORR_OUTCOME_ERROR;
  task->retryable = !sim_chance(w, w->faults.fatal_permille);
  if (!sim_chance(w, 100))
    orr_buf_printf(&task->out, "{\"message\":\"boom %u\",\"code\":\"E\"}", sim_draw(w, 0, 999));
}

static void ok_out(struct world *w, struct orr_task *task) {
  task->outcome = ORR_OUTCOME_OK;
  orr_buf_printf(&task->out, "{\"s\":%u,\"i\":%u,\"a\":%u,\"u\":%llu", task->step, task->item,
                 task->attempt, (unsigned long long)++w->seq);
  if (sim_chance(w, w->faults.huge_permille)) {
    uint32_t len = sim_draw(w, 1000, 60000);
    orr_buf_text(&task->out, ",\"x\":\"");
    orr_buf_reserve(&task->out, len);
    for (uint32_t i = 0; i < len; i++) orr_buf_u8(&task->out, 'x');
    orr_buf_text(&task->out, "\"");
  }
  orr_buf_text(&task->out, "}");
  if (sim_chance(w, 300))
    orr_buf_printf(&task->state, "{\"s%u\":%u}", sim_draw(w, 0, MODEL_STATE_KEYS - 1),
                   sim_draw(w, 0, 9999));
}

// Takes a cached output if there is one, or leaves one behind.
static void cached_out(struct world *w, struct orr_task *task) {
  uint64_t key = (uint64_t)task->def->name[1] << 16 ^ task->step << 8 ^ sim_draw(w, 0, 1);
  for (uint32_t i = 0; i < w->oracle.cache_len; i++) {
    const struct model_cache *entry = &w->oracle.cache[i];
    if (entry->key != key || entry->batch > w->batch_heard) continue;
    orr_buf_clear(&task->out);
    orr_buf_clear(&task->state);
    orr_buf_slice_append(&task->out, orr_blob_slice(entry->output));
    task->cached = true;
    return;
  }
  orr_buf_append(&task->cache_key, &key, sizeof(key));
  task->cache_ttl_ms = 1000000;
}

static void child_out(struct world *w, struct orr_task *task) {
  struct orr_digest newest = {{0}};
  newest.bytes[0] = (uint8_t)w->generations;
  struct orr_def *def =
      workload_def(w, &newest, orr_slice_text(task->def->steps[task->step].child));
  orr_assert(def != NULL);
  task->outcome = ORR_OUTCOME_CHILD;
  task->child_def = orr_def_ref(def);
  orr_buf_printf(&task->out, "{\"k\":\"k%u\"}", sim_draw(w, 0, 2));
}

static void items_out(struct world *w, struct orr_task *task) {
  task->outcome = ORR_OUTCOME_EXPANDED;
  task->items_len = sim_draw(w, 0, MODEL_ITEMS_MAX - 1);
  char text[48];
  for (uint32_t i = 0; i < task->items_len; i++) {
    int len = snprintf(text, sizeof(text), "{\"item\":%u,\"u\":%u}", i + 1, sim_draw(w, 0, 999999));
    orr_buf_bytes(&task->out, orr_slice_of(text, (size_t)len));
  }
}

static void body(struct world *w, struct sim_attempt *attempt, struct orr_task *task) {
  const struct orr_step_def *step = &task->def->steps[task->step];
  struct model_run *run = w->oracle.runs[attempt->run];
  uint8_t *bodies = &run->bodies[task->step][task->item];
  if (*bodies < UINT8_MAX) ++*bodies;
  sim_check(w, !(step->flags & ORR_STEP_ONCE) || *bodies <= 1,
            "I16: the body of a once step ran %u times", *bodies);
  if (sim_chance(w, w->faults.error_permille)) {
    error_out(w, task);
    return;
  }
  switch (step->kind) {
  case ORR_STEP_LUA:
  case ORR_STEP_SHELL:
  case ORR_STEP_HTTP:
  case ORR_STEP_REDIS:
    ok_out(w, task);
    if (sim_chance(w, w->faults.cached_permille)) cached_out(w, task);
    break;
  case ORR_STEP_MAP:
    ok_out(w, task);
    break; // an item
  case ORR_STEP_SLEEP:
    task->outcome = ORR_OUTCOME_SLEEP;
    task->until_ms = w->now.wall_ms +
                     (step->sleep_ms > 0 ? (int64_t)step->sleep_ms : (int64_t)sim_draw(w, 0, 4000));
    break;
  case ORR_STEP_RUN:
    child_out(w, task);
    break;
  }
}

static void outcome(struct world *w, struct sim_attempt *attempt, struct orr_task *task) {
  bool has_when = is_unit(task->op) && (task->def->steps[task->step].flags & ORR_STEP_HAS_WHEN);
  if (has_when && !task->when_decided) {
    if (sim_chance(w, w->faults.skip_permille)) {
      task->outcome = ORR_OUTCOME_SKIPPED;
      return;
    }
    task->when_true = true;
  }
  switch ((enum orr_task_op)task->op) {
  case ORR_OP_STEP:
    body(w, attempt, task);
    break;
  case ORR_OP_EXPAND:
    if (sim_chance(w, w->faults.error_permille))
      error_out(w, task);
    else
      items_out(w, task);
    break;
  case ORR_OP_KEY:
    if (sim_chance(w, w->faults.error_permille / 4)) {
      error_out(w, task);
    } else {
      task->outcome = ORR_OUTCOME_OK;
      orr_buf_printf(&task->out, "\"f%u\"", sim_draw(w, 0, 1));
    }
    break;
  case ORR_OP_OUTPUT:
  case ORR_OP_UNDO:
  case ORR_OP_HOOK:
    if (sim_chance(w, w->faults.error_permille))
      error_out(w, task);
    else
      ok_out(w, task);
    orr_buf_clear(&task->state);
    break;
  }
}

void workers_perform(struct world *w, struct orr_task *task) {
  struct sim_attempt *attempt = by_serial(w, task->serial);
  orr_assert(attempt != NULL && !attempt->performed);
  uint32_t index = (uint32_t)(attempt - w->attempts);
  attempt->performed = true;
  attempt->task = task;
  attempt->worker = task->worker = sim_draw(w, 0, SIM_WORKERS_MAX - 1);
  task->started_ms = w->now.wall_ms;
  outcome(w, attempt, task);
  attempt->outcome = task->outcome;
  attempt->when_true = task->when_true;
  attempt->cached = task->cached;
  attempt->retryable = task->retryable;
  attempt->until_ms = task->until_ms;
  attempt->items = task->items_len;
  attempt->value_hash = orr_hash64(0, orr_buf_slice(&task->out));
  attempt->state_hash = orr_hash64(0, orr_buf_slice(&task->state));
  attempt->deaf = sim_chance(w, w->faults.deaf_permille);
  if (is_unit(task->op) || (task->op == ORR_OP_UNDO && task->timeout_ms > 0)) {
    attempt->hangs = sim_chance(w, w->faults.hang_permille);
    attempt->lost = sim_chance(w, w->faults.lost_permille);
  }
  if (attempt->hangs || attempt->lost) return;
  uint32_t most = w->faults.work_ms_max * (sim_chance(w, 50) ? 20 : 1);
  sim_at(w, sim_draw(w, 0, most), SIM_RESULT, w->epoch, index);
}

void workers_abort(struct world *w, uint64_t serial, enum orr_abort_why why) {
  struct sim_attempt *attempt = by_serial(w, serial);
  orr_assert(attempt != NULL && attempt->performed);
  if (attempt->task == NULL || attempt->lost) return;
  uint64_t index = (uint64_t)(attempt - w->attempts);
  if (attempt->deaf) {
    if (attempt->hangs)
      sim_at(w, sim_draw(w, 0, (uint32_t)w->abort_grace_ms * 2), SIM_RESULT, w->epoch, index);
    return;
  }
  if (!attempt->hangs && sim_chance(w, 300)) return; // its own end comes first
  sim_at(w, sim_draw(w, 0, 60), SIM_RESULT, w->epoch,
         index | ARG_ABORTED | (why == ORR_ABORT_TIMEOUT ? ARG_TIMEOUT : 0));
}

// --- results
// -------------------------------------------------------------------------------------------------

static struct orr_task *copy_task(const struct orr_task *task) {
  struct orr_task *copy = orr_task_new();
  struct orr_link link = copy->link;
  *copy = *task;
  copy->link = link;
  copy->def = orr_def_ref(task->def);
  copy->input = orr_blob_ref(task->input);
  copy->child_def = task->child_def != NULL ? orr_def_ref(task->child_def) : NULL;
  copy->payload = copy->out = copy->state = copy->cache_key = ORR_BUF_INIT;
  orr_buf_slice_append(&copy->out, orr_buf_slice(&task->out));
  orr_buf_slice_append(&copy->state, orr_buf_slice(&task->state));
  return copy;
}

static void send(struct world *w, struct orr_task *task) {
  task->link.next = NULL;
  *w->results_end = &task->link;
  w->results_end = &task->link.next;
  sim_turn_soon(w, w->faults.turn_ms_max == 0 ? 0 : sim_draw(w, 0, w->faults.turn_ms_max));
}

void workers_result(struct world *w, uint64_t arg) {
  uint32_t index = (uint32_t)arg;
  struct sim_attempt *attempt = &w->attempts[index];
  if (arg & ARG_COPY) {
    struct orr_task *copy = attempt->copy;
    attempt->copy = NULL;
    if (copy != NULL) send(w, copy);
    return;
  }
  struct orr_task *task = attempt->task;
  if (task == NULL) return; // it has answered already
  attempt->task = NULL;
  task->finished_ms = w->now.wall_ms;
  if (arg & ARG_ABORTED) {
    orr_buf_clear(&task->out);
    orr_buf_clear(&task->state);
    orr_buf_clear(&task->cache_key);
    task->cached = task->when_true = attempt->when_true = false;
    orr_def_unref(task->child_def);
    task->child_def = NULL;
    task->outcome = arg & ARG_TIMEOUT ? ORR_OUTCOME_TIMEOUT : ORR_OUTCOME_CANCELLED;
    attempt->outcome = task->outcome;
    attempt->value_hash = orr_hash64(0, orr_buf_slice(&task->out));
  }
  attempt->delivered = true;
  if (sim_chance(w, w->faults.doubled_permille)) {
    attempt->copy = copy_task(task);
    sim_at(w, sim_draw(w, 0, 2000), SIM_RESULT, w->epoch, index | ARG_COPY);
  }
  if (!attempt->given_up) push(&w->arriving, &w->arriving_len, &w->arriving_cap, index);
  send(w, task);
}

void workers_applied(struct world *w) {
  for (uint32_t i = 0; i < w->arriving_len; i++) {
    struct sim_attempt *attempt = &w->attempts[w->arriving[i]];
    if (attempt->given_up) continue; // while its answer was on the way
    attempt->closing = w->batch_next + 1;
    open_remove(w, w->arriving[i]);
  }
  w->arriving_len = 0;
}

// --- stopping, healing, dying
// ----------------------------------------------------------------------------------

void workers_drain(struct world *w) {
  for (uint32_t i = 0; i < w->open_len; i++) {
    struct sim_attempt *attempt = &w->attempts[w->open[i]];
    if (attempt->task != NULL && sim_chance(w, 500))
      sim_at(w, sim_draw(w, 0, 1000), SIM_RESULT, w->epoch, w->open[i] | ARG_ABORTED);
  }
}

void workers_heal(struct world *w) {
  for (uint32_t i = 0; i < w->open_len; i++) {
    struct sim_attempt *attempt = &w->attempts[w->open[i]];
    if (attempt->task != NULL && (attempt->hangs || attempt->lost) && attempt->timeout_ms == 0)
      sim_at(w, sim_draw(w, 0, 100), SIM_RESULT, w->epoch, w->open[i]);
  }
}

static void in_flight_note(struct world *w, const struct sim_attempt *attempt) {
  if (!attempt->performed || !is_unit(attempt->op) || attempt->closing <= w->batch_heard) return;
  if (w->in_flight_len == w->in_flight_cap) {
    w->in_flight_cap = w->in_flight_cap == 0 ? 64 : w->in_flight_cap * 2;
    w->in_flight = orr_realloc(w->in_flight, w->in_flight_cap * sizeof(*w->in_flight));
  }
  w->in_flight[w->in_flight_len++] =
      (struct sim_lost){attempt->run, {attempt->step, attempt->item}};
}

// The engine is dead, and its workers and their children with it.
void workers_die(struct world *w) {
  w->in_flight_len = 0;
  for (uint32_t i = 0; i < w->attempts_len; i++) {
    struct sim_attempt *attempt = &w->attempts[i];
    in_flight_note(w, attempt);
    orr_task_free(attempt->task);
    orr_task_free(attempt->copy);
  }
  while (w->results != NULL) {
    struct orr_link *link = w->results;
    w->results = link->next;
    orr_task_free(ORR_CONTAINER_OF(link, struct orr_task, link));
  }
  w->results_end = &w->results;
  w->attempts_len = w->open_len = w->arriving_len = 0;
  if (w->by_serial_cap > 0) memset(w->by_serial, 0, w->by_serial_cap * sizeof(uint32_t));
}
