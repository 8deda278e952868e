// SPDX-License-Identifier: MIT
// The oracle's memory: models of runs built from journal rows alone, and the checks of every fact
// as it is written. What leaves as a dispatch is judged in oracle_dispatch.c. See oracle.h.
#include "world.h"

#include "base/check.h"

#include <stdio.h>
#include <stdlib.h>

#define UNITS (MODEL_ITEMS_MAX + 1)

// --- finding runs
// --------------------------------------------------------------------------------------

static void index_put(struct oracle *o, uint32_t run) {
  uint64_t at = orr_hash64(1, orr_id_slice(&o->runs[run]->id));
  while (o->index[at & (o->index_cap - 1)] != 0) at++;
  o->index[at & (o->index_cap - 1)] = run + 1;
}

struct model_run *oracle_find(struct world *w, const struct orr_id *id, uint32_t *index) {
  struct oracle *o = &w->oracle;
  if (o->index_cap == 0) return NULL;
  uint64_t at = orr_hash64(1, orr_id_slice(id));
  uint32_t entry;
  while ((entry = o->index[at & (o->index_cap - 1)]) != 0) {
    if (orr_id_compare(&o->runs[entry - 1]->id, id) == 0) {
      if (index != NULL) *index = entry - 1;
      return o->runs[entry - 1];
    }
    at++;
  }
  return NULL;
}

static struct model_run *run_add(struct world *w, const struct orr_id *id, struct orr_def *def) {
  struct oracle *o = &w->oracle;
  if (o->runs_len == o->runs_cap) {
    o->runs_cap = o->runs_cap == 0 ? 64 : o->runs_cap * 2;
    o->runs = orr_realloc(o->runs, o->runs_cap * sizeof(struct model_run *));
  }
  if ((o->runs_len + 1) * 2 > o->index_cap) {
    o->index_cap = o->index_cap == 0 ? 128 : o->index_cap * 2;
    free(o->index);
    o->index = orr_alloc(o->index_cap * sizeof(uint32_t));
    for (uint32_t i = 0; i < o->runs_len; i++) index_put(o, i);
  }
  struct model_run *run = orr_alloc(sizeof(*run));
  run->id = *id;
  run->def = orr_def_ref(def);
  run->units = orr_alloc(def->steps_len * UNITS * sizeof(struct model_unit));
  for (uint32_t i = 0; i < MODEL_STATE_KEYS; i++) run->state[i] = -1;
  run->mirror = orr_run_new(def);
  o->runs[o->runs_len++] = run;
  index_put(o, o->runs_len - 1);
  return run;
}

static void run_free(struct model_run *run) {
  orr_def_unref(run->def);
  orr_buf_free(&run->journal);
  free(run->rows);
  free(run->units);
  orr_run_free(run->mirror);
  free(run);
}

void oracle_free(struct world *w) {
  struct oracle *o = &w->oracle;
  for (uint32_t i = 0; i < o->runs_len; i++) run_free(o->runs[i]);
  for (uint32_t i = 0; i < o->cache_len; i++) orr_blob_unref(o->cache[i].output);
  free(o->runs);
  free(o->index);
  free(o->keys);
  free(o->cache);
}

// --- naive questions
// -------------------------------------------------------------------------------------

static bool final_status(uint8_t status) {
  return status == ORR_STEP_STATUS_SUCCEEDED || status == ORR_STEP_STATUS_FAILED ||
         status == ORR_STEP_STATUS_SKIPPED || status == ORR_STEP_STATUS_CANCELLED;
}

// What the rule says about a step whose dependencies are in `s` (succeeded), `f`, `k` (skipped and
// else).
static bool rule_runs(enum orr_rule rule, uint32_t s, uint32_t f, uint32_t k) {
  switch (rule) {
  case ORR_RULE_ALL_SUCCESS:
    return f + k == 0;
  case ORR_RULE_ALL_DONE:
    return true;
  case ORR_RULE_ONE_SUCCESS:
    return s >= 1;
  case ORR_RULE_ALL_FAILED:
    return s + k == 0;
  case ORR_RULE_NONE_FAILED:
    return f == 0;
  }
  return false;
}

static int verdict(struct model_run *run, uint32_t step) { // -1 not yet, 0 skip, 1 run
  const struct orr_step_def *def = &run->def->steps[step];
  uint32_t s = 0, f = 0, k = 0;
  for (uint32_t i = 0; i < def->after_len; i++) {
    enum orr_step_status status = model_step_status(run, def->after[i]);
    if (!final_status((uint8_t)status)) return -1;
    s += status == ORR_STEP_STATUS_SUCCEEDED;
    f += status == ORR_STEP_STATUS_FAILED;
    k += status != ORR_STEP_STATUS_SUCCEEDED && status != ORR_STEP_STATUS_FAILED;
  }
  return def->after_len == 0 || rule_runs(def->rule, s, f, k);
}

enum orr_step_status model_step_status(struct model_run *run, uint32_t step) {
  const struct model_unit *unit = model_unit(run, step, 0);
  if (final_status(unit->outcome)) return (enum orr_step_status)unit->outcome;
  if (!run->admitted) return ORR_STEP_STATUS_PENDING;
  return verdict(run, step) == 0 ? ORR_STEP_STATUS_SKIPPED : ORR_STEP_STATUS_PENDING;
}

bool model_may_run(struct model_run *run, uint32_t step) {
  return run->admitted && !run->final && verdict(run, step) == 1;
}

bool model_active(struct model_run *run) {
  return run->mirror->status != ORR_RUN_WAITING && run->mirror->status != ORR_RUN_PAUSED;
}

// --- facts
// -----------------------------------------------------------------------------------------------

#define check_fact(expression, text)                                                               \
  sim_check(w, expression, text " (run %s step %u item %u attempt %u, fact %s)", run->def->name,   \
            unit_ref.step, unit_ref.item, attempt, orr_fact_type_text(fact->type))

struct context { // of one fact
  struct world *w;
  struct model_run *run;
  uint32_t index;
  uint64_t batch;
  bool fresh; // it is being written now; false: read again after a crash
};

static void span(struct model_run *run, struct orr_slice value, uint64_t *at, uint64_t *len) {
  *len = value.len;
  *at = value.len == 0 ? 0 : (uint64_t)(value.data - run->journal.data);
}

static void fact_created(struct context *c, const struct orr_fact *fact) {
  struct world *w = c->w;
  struct model_run *run = c->run;
  sim_check(w, !run->created, "I3: a run is created twice");
  run->created = true;
  run->created_ms = fact->at_ms;
  run->deadline_ms = fact->created.deadline_ms;
  run->deadline_due_ms = run->deadline_ms == 0 ? UINT64_MAX : w->now.mono_ms + run->def->timeout_ms;
  run->parent = fact->created.parent;
  run->parent_step = fact->created.parent_step;
  run->generation = fact->created.generation;
  run->key_decided = !run->def->concurrency_key_function;
  run->admitted = run->def->concurrency == 0;
  span(run, fact->created.concurrency_key, &run->key_at, &run->key_len);
  sim_say(w, "  run %u: generation %u, %u steps, concurrency %u%s", c->index,
          run->generation.bytes[0], run->def->steps_len, run->def->concurrency,
          run->def->concurrency_active ? " active" : "");
  sim_check(w, orr_digest_equal(&run->generation, &run->def->generation),
            "I33: a run is created on another generation than it was submitted with");
  sim_check(w, (run->def->timeout_ms > 0) == (run->deadline_ms != 0), "the deadline is wrong");
}

static void fact_started(struct context *c, const struct orr_fact *fact) {
  struct world *w = c->w;
  struct model_run *run = c->run;
  struct orr_unit_ref unit_ref = fact->started.unit;
  uint32_t attempt = fact->started.attempt;
  struct model_unit *unit = model_unit(run, unit_ref.step, unit_ref.item);
  check_fact(run->def->steps[unit_ref.step].flags & ORR_STEP_ONCE,
             "only once steps start by a fact");
  check_fact(!unit->started, "I16: a once step is started twice");
  check_fact(!final_status(unit->outcome), "I12: started after its outcome");
  check_fact(attempt == unit->attempts + 1, "I11: attempt numbers have a gap");
  if (c->fresh) check_fact(!run->cancelled && !run->paused, "I9: started after cancel or pause");
  unit->started = true;
}

static struct sim_attempt *attempt_of(struct context *c, const struct model_unit *unit) {
  if (unit->attempt_epoch != c->w->epoch) return NULL;
  return &c->w->attempts[unit->attempt_index];
}

// Did the worker really say so? Finds the attempt that the fact speaks of.
static void source_check(struct context *c, const struct orr_fact *fact, struct model_unit *unit) {
  struct world *w = c->w;
  struct model_run *run = c->run;
  struct orr_unit_ref unit_ref = fact->finished.unit;
  uint32_t attempt = fact->finished.attempt;
  struct sim_attempt *source = attempt_of(c, unit);
  uint8_t status = fact->finished.status;
  bool interrupted = (fact->finished.flags & ORR_FINISHED_INTERRUPTED) != 0;
  if (interrupted) {
    check_fact(unit->started && source == NULL && status == ORR_STEP_STATUS_FAILED,
               "only a once step that was in flight at a crash is interrupted");
    return;
  }
  if (source != NULL && source->closing == UINT64_MAX && !(unit->waiting || unit->expanded)) {
    check_fact(status != ORR_STEP_STATUS_SUCCEEDED && status != ORR_STEP_STATUS_SKIPPED,
               "an outcome without a result");
    workers_give_up(w, source);
    return;
  }
  if (unit->waiting || unit->expanded) return; // judged by kind
  check_fact(source != NULL && source->closing == c->batch, "an outcome without an attempt");
  check_fact(source->attempt == attempt, "an outcome of another attempt");
  uint64_t hash = orr_hash64(0, fact->finished.value);
  switch ((enum orr_outcome)source->outcome) {
  case ORR_OUTCOME_OK:
    check_fact(status == ORR_STEP_STATUS_SUCCEEDED && hash == source->value_hash,
               "I12: the outcome is not what the worker said");
    check_fact(orr_hash64(0, fact->finished.state) == source->state_hash,
               "the writes to ctx.state are not recorded with the outcome");
    check_fact(!source->cached == !(fact->finished.flags & ORR_FINISHED_CACHED), "cached flag");
    break;
  case ORR_OUTCOME_SKIPPED:
    check_fact(status == ORR_STEP_STATUS_SKIPPED, "a skip became something else");
    break;
  case ORR_OUTCOME_ERROR:
  case ORR_OUTCOME_TIMEOUT:
    check_fact(status == ORR_STEP_STATUS_FAILED, "an error became something else");
    break;
  case ORR_OUTCOME_CHILD:
    if (run->def->steps[unit_ref.step].flags & ORR_STEP_NO_WAIT) {
      check_fact(status == (run->cancelled ? ORR_STEP_STATUS_CANCELLED : ORR_STEP_STATUS_SUCCEEDED),
                 "a child that nobody waits for");
      break;
    }
    __attribute__((fallthrough));
  case ORR_OUTCOME_CANCELLED:
  case ORR_OUTCOME_SLEEP:
  case ORR_OUTCOME_EXPANDED:
  case ORR_OUTCOME_NONE:
    check_fact(status == ORR_STEP_STATUS_FAILED || status == ORR_STEP_STATUS_CANCELLED,
               "no success can come of this");
    break;
  }
  if (source->when_true)
    check_fact(fact->finished.flags & ORR_FINISHED_WHEN_TRUE,
               "I8: a decision of when is forgotten");
}

static void map_output_check(struct context *c, const struct orr_fact *fact,
                             struct model_unit *map) {
  struct world *w = c->w;
  struct model_run *run = c->run;
  struct orr_unit_ref unit_ref = fact->finished.unit;
  uint32_t attempt = fact->finished.attempt;
  bool failed = false;
  for (uint32_t i = 1; i <= map->items; i++) {
    const struct model_unit *item = model_unit(run, unit_ref.step, i);
    failed = failed || item->outcome == ORR_STEP_STATUS_FAILED;
    check_fact(workers_open(w, c->index, unit_ref.step, i, ORR_OP_STEP) == NULL,
               "I14: a map ends before its items");
  }
  if (run->cancelled && fact->finished.status == ORR_STEP_STATUS_CANCELLED) return;
  check_fact(failed == (fact->finished.status == ORR_STEP_STATUS_FAILED),
             "I14: a map's outcome differs from its items'");
  if (failed) return;
  struct orr_buf expected = ORR_BUF_INIT;
  orr_buf_u8(&expected, '[');
  for (uint32_t i = 1; i <= map->items; i++) {
    const struct model_unit *item = model_unit(run, unit_ref.step, i);
    check_fact(item->outcome == ORR_STEP_STATUS_SUCCEEDED, "I14: a map succeeds without an item");
    if (i > 1) orr_buf_u8(&expected, ',');
    orr_buf_slice_append(&expected, model_bytes(run, item->value_at, item->value_len));
  }
  orr_buf_u8(&expected, ']');
  bool equal = orr_slice_equal(orr_buf_slice(&expected), fact->finished.value);
  orr_buf_free(&expected);
  check_fact(equal, "I14: a map's output is not its items' in their order");
}

static void wait_end_check(struct context *c, const struct orr_fact *fact,
                           struct model_unit *unit) {
  struct world *w = c->w;
  struct model_run *run = c->run;
  struct orr_unit_ref unit_ref = fact->finished.unit;
  uint32_t attempt = fact->finished.attempt;
  if (fact->finished.status == ORR_STEP_STATUS_CANCELLED) {
    check_fact(run->cancelled, "a wait is cancelled without a cancel");
    return;
  }
  if (!unit->child) {
    check_fact(w->now.mono_ms >= unit->due_ms || w->now.wall_ms >= unit->until_ms,
               "I23: a sleep ends early");
    return;
  }
}

static void state_merge(struct model_run *run, struct orr_slice state) {
  char text[32]; // {"s3":17}
  if (state.len < 6 || state.len >= sizeof(text)) return;
  memcpy(text, state.data, state.len);
  text[state.len] = '\0';
  unsigned key, value;
  if (sscanf(text, "{\"s%u\":%u}", &key, &value) == 2 && key < MODEL_STATE_KEYS)
    run->state[key] = (int32_t)value;
}

static void attempt_end(struct context *c, const struct orr_fact *fact, struct model_unit *unit) {
  struct world *w = c->w;
  struct model_run *run = c->run;
  struct orr_unit_ref unit_ref = fact->finished.unit;
  uint32_t attempt = fact->finished.attempt;
  check_fact(run->admitted, "I8: an outcome before admission");
  check_fact(!final_status(unit->outcome), "I12: an outcome is recorded again");
  check_fact(attempt == unit->attempts + 1, "I11: attempt numbers have a gap");
  if (unit_ref.item == 0)
    check_fact(verdict(run, unit_ref.step) == 1, "I8: an outcome of a step that may not run");
  else
    check_fact(model_unit(run, unit_ref.step, 0)->expanded &&
                   unit_ref.item <= model_unit(run, unit_ref.step, 0)->items,
               "I14: an outcome of an item that is not there");
  if (c->fresh) source_check(c, fact, unit);
}

static void fact_finished(struct context *c, const struct orr_fact *fact) {
  struct world *w = c->w;
  struct model_run *run = c->run;
  struct orr_unit_ref unit_ref = fact->finished.unit;
  uint32_t attempt = fact->finished.attempt;
  struct model_unit *unit = model_unit(run, unit_ref.step, unit_ref.item);
  attempt_end(c, fact, unit);
  const struct orr_step_def *def = &run->def->steps[unit_ref.step];
  uint8_t status = fact->finished.status;
  check_fact(final_status(status), "I2: an outcome that is none");
  if (c->fresh && unit->waiting) wait_end_check(c, fact, unit);
  if (c->fresh && unit->expanded) map_output_check(c, fact, unit);
  check_fact(status != ORR_STEP_STATUS_CANCELLED || run->cancelled, "cancelled without a cancel");
  unit->outcome = status;
  unit->attempts++;
  if (status == ORR_STEP_STATUS_FAILED) {
    unit->failures++;
    if (!unit->expanded) // a map that failed by its items spent no attempt of its own
      check_fact(unit->failures <= def->retry.attempts, "I11: more attempts than allowed");
    run->any_failed = true;
  }
  unit->waiting = unit->retrying = false;
  unit->finish_order = ++run->finish_order;
  if (fact->finished.flags & ORR_FINISHED_WHEN_TRUE) unit->when_true = true;
  span(run, fact->finished.value, &unit->value_at, &unit->value_len);
  if (status == ORR_STEP_STATUS_SUCCEEDED) state_merge(run, fact->finished.state);
}

static void retry_delay_check(struct context *c, const struct orr_fact *fact,
                              const struct model_unit *unit) {
  struct world *w = c->w;
  struct model_run *run = c->run;
  struct orr_unit_ref unit_ref = fact->finished.unit;
  uint32_t attempt = fact->finished.attempt;
  const struct orr_retry *retry = &run->def->steps[unit_ref.step].retry;
  double most = retry->delay_ms_max > 0 ? (double)retry->delay_ms_max : 1e18;
  double delay = (double)retry->delay_ms;
  for (uint32_t i = 0; i < unit->failures; i++) delay = delay * retry->backoff_permille / 1000.0;
  if (delay > most) delay = most;
  double least = retry->jitter ? delay / 2 : delay;
  double got = (double)(fact->finished.until_ms - fact->at_ms);
  check_fact(got <= delay + 1 && got >= least - 8, "I13: the delay is not the policy's");
}

static void fact_retry(struct context *c, const struct orr_fact *fact) {
  struct world *w = c->w;
  struct model_run *run = c->run;
  struct orr_unit_ref unit_ref = fact->finished.unit;
  uint32_t attempt = fact->finished.attempt;
  struct model_unit *unit = model_unit(run, unit_ref.step, unit_ref.item);
  attempt_end(c, fact, unit);
  check_fact(!run->cancelled, "I9: a retry after cancel");
  check_fact(!unit->started, "I16: a once step is to run again");
  check_fact(unit->failures + 1 < run->def->steps[unit_ref.step].retry.attempts,
             "I11: a retry beyond the limit");
  if (c->fresh) {
    retry_delay_check(c, fact, unit);
    const struct sim_attempt *source = attempt_of(c, unit);
    check_fact(source == NULL || source->given_up || source->outcome != ORR_OUTCOME_ERROR ||
                   source->retryable,
               "an error that is not retryable is retried");
  }
  unit->attempts++;
  unit->failures++;
  unit->retrying = true;
  unit->waiting = unit->child = false;
  unit->until_ms = fact->finished.until_ms;
  unit->due_ms = w->now.mono_ms + (uint64_t)(fact->finished.until_ms - fact->at_ms);
  if (fact->finished.flags & ORR_FINISHED_WHEN_TRUE) unit->when_true = true;
  span(run, fact->finished.value, &unit->value_at, &unit->value_len);
}

static void fact_waiting(struct context *c, const struct orr_fact *fact) {
  struct world *w = c->w;
  struct model_run *run = c->run;
  struct orr_unit_ref unit_ref = fact->waiting.unit;
  uint32_t attempt = fact->waiting.attempt;
  struct model_unit *unit = model_unit(run, unit_ref.step, unit_ref.item);
  check_fact(!final_status(unit->outcome) && !unit->waiting, "I12: a wait that is out of place");
  check_fact(verdict(run, unit_ref.step) == 1, "I8: a wait of a step that may not run");
  check_fact(attempt == unit->attempts + 1, "I11: attempt numbers have a gap");
  check_fact(run->def->steps[unit_ref.step].kind == ORR_STEP_SLEEP, "only sleeps wait");
  if (c->fresh) check_fact(!run->cancelled, "I9: a wait begins after cancel");
  const struct sim_attempt *source = c->fresh ? attempt_of(c, unit) : NULL;
  if (source != NULL && source->attempt == attempt)
    check_fact(fact->waiting.until_ms == source->until_ms, "the sleep's end is not the worker's");
  else if (c->fresh)
    check_fact(fact->waiting.until_ms ==
                   fact->at_ms + (int64_t)run->def->steps[unit_ref.step].sleep_ms,
               "the sleep's end is not the definition's");
  unit->waiting = true;
  unit->until_ms = fact->waiting.until_ms;
  int64_t left = fact->waiting.until_ms - fact->at_ms;
  unit->due_ms = w->now.mono_ms + (uint64_t)(left > 0 ? left : 0);
}

static void fact_expanded(struct context *c, const struct orr_fact *fact) {
  struct world *w = c->w;
  struct model_run *run = c->run;
  struct orr_unit_ref unit_ref = {fact->expanded.step, 0};
  uint32_t attempt = fact->expanded.attempt;
  struct model_unit *unit = model_unit(run, unit_ref.step, 0);
  check_fact(!unit->expanded && !final_status(unit->outcome), "I14: a map expands twice");
  check_fact(verdict(run, unit_ref.step) == 1, "I8: a map that may not run expands");
  check_fact(fact->expanded.count <= MODEL_ITEMS_MAX, "I14: items from nowhere");
  if (c->fresh) {
    const struct sim_attempt *source = attempt_of(c, unit);
    check_fact(source != NULL && source->closing == c->batch && source->attempt == attempt &&
                   source->items == fact->expanded.count &&
                   source->value_hash == orr_hash64(0, fact->expanded.items),
               "I14: the items are not the worker's");
  }
  unit->expanded = true;
  unit->items = fact->expanded.count;
  struct orr_reader reader = orr_reader_of(fact->expanded.items);
  for (uint32_t i = 0; i < unit->items; i++)
    span(run, orr_read_bytes(&reader), &unit->item_at[i], &unit->item_len[i]);
  check_fact(!reader.failed && reader.at == reader.end, "I14: the items do not read back");
}

static void fact_child(struct context *c, const struct orr_fact *fact) {
  struct world *w = c->w;
  struct model_run *run = c->run;
  struct orr_unit_ref unit_ref = fact->child.unit;
  uint32_t attempt = fact->child.attempt;
  struct model_unit *unit = model_unit(run, unit_ref.step, unit_ref.item);
  check_fact(!final_status(unit->outcome) && !unit->waiting, "a child that is out of place");
  check_fact(verdict(run, unit_ref.step) == 1, "I8: a child of a step that may not run");
  check_fact(attempt == unit->attempts + 1, "I11: attempt numbers have a gap");
  unit->waiting = unit->child = true;
  if (run->def->steps[unit_ref.step].flags & ORR_STEP_HAS_WHEN) unit->when_true = true;
  unit->child_id = fact->child.child;
}

static void fact_recovered(struct context *c, const struct orr_fact *fact) {
  struct world *w = c->w;
  struct model_run *run = c->run;
  sim_check(w, !c->fresh || !run->recovered_now, "a run is recovered twice in one start");
  run->recovered_now = c->fresh;
  struct orr_reader reader = orr_reader_of(fact->recovered.units);
  for (uint32_t i = 0; i < fact->recovered.count; i++) {
    uint32_t step = (uint32_t)orr_read_varint(&reader), item = (uint32_t)orr_read_varint(&reader);
    sim_check(w, !reader.failed && step < run->def->steps_len && item < UNITS,
              "a recovered fact names no unit");
    struct model_unit *unit = model_unit(run, step, item);
    sim_check(w, !final_status(unit->outcome), "I12: a finished unit is recovered");
    unit->attempts++;
    unit->interruptions++;
  }
}

static void fact_undone(struct context *c, const struct orr_fact *fact) {
  struct world *w = c->w;
  struct model_run *run = c->run;
  struct orr_unit_ref unit_ref = fact->finished.unit;
  uint32_t attempt = fact->finished.attempt;
  struct model_unit *unit = model_unit(run, unit_ref.step, 0);
  check_fact(unit->outcome == ORR_STEP_STATUS_SUCCEEDED && !unit->undone, "an undo out of place");
  if (c->fresh) {
    struct sim_attempt *open = workers_open(w, c->index, unit_ref.step, 0, ORR_OP_UNDO);
    if (open != NULL) workers_give_up(w, open);
  }
  unit->undone = true;
}

static uint8_t expected_status(const struct model_run *run) {
  if (run->cancelled) return run->timed_out ? ORR_RUN_FAILED : ORR_RUN_CANCELLED;
  return run->any_failed || run->output_failed ? ORR_RUN_FAILED : ORR_RUN_SUCCEEDED;
}

static void fact_run_finished(struct context *c, const struct orr_fact *fact) {
  struct world *w = c->w;
  struct model_run *run = c->run;
  uint8_t status = fact->run_finished.status;
  if (run->admitted || run->cancelled) {
    sim_check(w, status == expected_status(run), "I2: run %s ends as %u, its facts say %u",
              run->def->name, status, expected_status(run));
  } else if (run->def->concurrency_key_function && !run->key_decided) {
    sim_check(w, status == ORR_RUN_FAILED, "a run without its key ends as %u", status);
  } else if (status == ORR_RUN_FAILED) { // its own parents hold the key
    sim_check(w, !orr_id_is_zero(&run->parent), "a run that was not admitted fails");
  } else {
    sim_check(w, status == ORR_RUN_CANCELLED && run->def->when_full == ORR_WHEN_FULL_SKIP,
              "a run that was not admitted ends as %u", status);
  }
  bool failing = status != ORR_RUN_SUCCEEDED;
  for (uint32_t i = 0; i < run->def->steps_len && run->admitted; i++) {
    const struct model_unit *unit = model_unit(run, i, 0);
    if (!run->cancelled)
      sim_check(w, final_status((uint8_t)model_step_status(run, i)),
                "I17: run %s ends with step %u open", run->def->name, i);
    sim_check(w,
              !failing || unit->undone || unit->outcome != ORR_STEP_STATUS_SUCCEEDED ||
                  !(run->def->steps[i].flags & ORR_STEP_UNDO),
              "run %s failed and step %u is not undone", run->def->name, i);
  }
  if (status == ORR_RUN_SUCCEEDED)
    sim_check(w, !run->def->has_output || run->output_decided, "a run ends without its output");
  if (c->fresh) sim_check(w, !workers_busy(w, c->index), "I9: a run ends with attempts in flight");
  run->final = true;
  run->status = status;
}

static void fact_apply(struct context *c, const struct orr_fact *fact) {
  struct world *w = c->w;
  struct model_run *run = c->run;
  sim_check(w, !run->final, "I2: a fact (%s) after the run's end", orr_fact_type_text(fact->type));
  sim_check(w, (run->facts == 0) == (fact->type == ORR_FACT_CREATED),
            "I3: created is the first fact");
  run->facts++;
  w->oracle.facts++;
  switch (fact->type) {
  case ORR_FACT_CREATED:
    fact_created(c, fact);
    break;
  case ORR_FACT_KEY:
    sim_check(w, !run->key_decided, "a concurrency key is decided twice");
    run->key_decided = true;
    span(run, fact->key.key, &run->key_at, &run->key_len);
    break;
  case ORR_FACT_ADMITTED:
    sim_check(w, !run->admitted && run->key_decided, "I22: admitted twice, or without a key");
    sim_check(w, !run->paused && !run->cancelled, "I22: a paused or cancelled run is admitted");
    run->admitted = true;
    if (c->fresh) run->admitted_batch = c->batch;
    break;
  case ORR_FACT_STARTED:
    fact_started(c, fact);
    break;
  case ORR_FACT_FINISHED:
    fact_finished(c, fact);
    break;
  case ORR_FACT_RETRY:
    fact_retry(c, fact);
    break;
  case ORR_FACT_WAITING:
    fact_waiting(c, fact);
    break;
  case ORR_FACT_EXPANDED:
    fact_expanded(c, fact);
    break;
  case ORR_FACT_CHILD:
    fact_child(c, fact);
    break;
  case ORR_FACT_RECOVERED:
    fact_recovered(c, fact);
    break;
  case ORR_FACT_PAUSED:
    sim_check(w, !run->paused, "paused twice");
    run->paused = run->ever_paused = true;
    break;
  case ORR_FACT_RESUMED:
    sim_check(w, run->paused, "resumed without a pause");
    run->paused = false;
    break;
  case ORR_FACT_CANCEL:
    sim_check(w, !run->cancelled, "cancelled twice");
    run->cancelled = true;
    if (orr_slice_equal(fact->paused.reason, ORR_SLICE_LITERAL(ORR_RUN_TIMEOUT_REASON))) {
      run->timed_out = true;
      if (c->fresh)
        sim_check(w, w->now.mono_ms >= run->deadline_due_ms || w->now.wall_ms >= run->deadline_ms,
                  "I23: a run times out early");
    }
    break;
  case ORR_FACT_UNDONE:
    fact_undone(c, fact);
    break;
  case ORR_FACT_OUTPUT:
    sim_check(w, !run->output_decided && run->def->has_output, "an output out of place");
    run->output_decided = true;
    run->output_failed = fact->output.status != ORR_STEP_STATUS_SUCCEEDED;
    break;
  case ORR_FACT_LATE:
    break;
  case ORR_FACT_RUN_FINISHED:
    fact_run_finished(c, fact);
    break;
  }
}

static void facts_read(struct context *c, size_t from) {
  struct world *w = c->w;
  struct model_run *run = c->run;
  struct orr_slice bytes = orr_slice_of(run->journal.data + from, run->journal.len - from);
  struct orr_reader reader = orr_reader_of(bytes);
  struct orr_fact fact;
  enum orr_status status;
  while ((status = orr_fact_decode(&reader, &fact)) == ORR_OK) {
    if (w->options.verbose && c->fresh)
      sim_say(w, "  run %u (%s): %s step %u item %u status %u", c->index, run->def->name,
              orr_fact_type_text(fact.type), fact.finished.unit.step, fact.finished.unit.item,
              fact.finished.status);
    fact_apply(c, &fact);
  }
  sim_check(w, status == ORR_ERR_NOT_FOUND, "I3: a journal row does not decode");
  status = orr_run_load(run->mirror, bytes);
  sim_check(w, status == ORR_OK, "I4: the fold refuses a fact that was written");
}

// --- rows
// --------------------------------------------------------------------------------------------------

static struct orr_def *created_def(struct world *w, struct orr_slice bytes, struct orr_fact *fact) {
  struct orr_reader reader = orr_reader_of(bytes);
  sim_check(w, orr_fact_decode(&reader, fact) == ORR_OK && fact->type == ORR_FACT_CREATED,
            "I3: the first row of a run does not begin with created");
  struct orr_def *def = workload_def(w, &fact->created.generation, fact->created.pipeline);
  sim_check(w, def != NULL, "I33: a run of an unknown pipeline or generation");
  return def;
}

static void row_journal(struct world *w, const struct orr_row *row, struct orr_slice bytes,
                        uint64_t batch) {
  struct oracle *o = &w->oracle;
  sim_check(w, row->pos == o->pos + 1, "I3: position %llu after %llu", (unsigned long long)row->pos,
            (unsigned long long)o->pos);
  o->pos = row->pos;
  uint32_t index;
  struct model_run *run = oracle_find(w, &row->run, &index);
  if (run == NULL) {
    struct orr_fact fact;
    struct orr_def *def = created_def(w, bytes, &fact);
    sim_check(w, orr_id_compare(&fact.created.id, &row->run) == 0, "a row names another run");
    run = run_add(w, &row->run, def);
    index = o->runs_len - 1;
  }
  sim_check(w, !run->gone, "a run that was lost in a crash goes on");
  uint64_t prev = run->rows_len > 0 ? run->rows[run->rows_len - 1].pos : 0;
  sim_check(w, row->prev == prev, "I3: a row of %s says %llu came before it, it was %llu",
            run->def->name, (unsigned long long)row->prev, (unsigned long long)prev);
  if (run->rows_len == run->rows_cap) {
    run->rows_cap = run->rows_cap == 0 ? 8 : run->rows_cap * 2;
    run->rows = orr_realloc(run->rows, run->rows_cap * sizeof(*run->rows));
  }
  run->rows[run->rows_len++] = (struct model_row){row->pos, batch, (uint32_t)bytes.len};
  sim_trace(w, orr_hash64(row->pos, bytes));
  size_t from = run->journal.len;
  orr_buf_slice_append(&run->journal, bytes);
  struct context context = {w, run, index, batch, true};
  facts_read(&context, from);
  sim_check(w, row->final == run->final, "a row's final flag is wrong");
}

static void row_idempotency(struct world *w, const struct orr_row *row, struct orr_slice key,
                            uint64_t batch) {
  struct oracle *o = &w->oracle;
  if (o->keys_len == o->keys_cap) {
    o->keys_cap = o->keys_cap == 0 ? 32 : o->keys_cap * 2;
    o->keys = orr_realloc(o->keys, o->keys_cap * sizeof(*o->keys));
  }
  struct model_key entry = {
      .run = row->run, .request = row->request, .expires_ms = row->expires_ms, .batch = batch};
  sim_check(w, key.len > 0 && key.len < sizeof(entry.text), "an idempotency key is odd");
  memcpy(entry.text, key.data, key.len);
  for (uint32_t i = 0; i < o->keys_len; i++)
    sim_check(w, strcmp(o->keys[i].text, entry.text) != 0, "I27: key %s makes a second run",
              entry.text);
  sim_check(w, row->expires_ms == w->now.wall_ms + (int64_t)ORR_IDEMPOTENCY_MS,
            "an idempotency key expires at another time");
  o->keys[o->keys_len++] = entry;
}

static void row_cache(struct world *w, struct orr_slice key, struct orr_slice value,
                      uint64_t batch) {
  struct oracle *o = &w->oracle;
  if (o->cache_len == o->cache_cap) {
    o->cache_cap = o->cache_cap == 0 ? 32 : o->cache_cap * 2;
    o->cache = orr_realloc(o->cache, o->cache_cap * sizeof(*o->cache));
  }
  struct model_cache entry = {.output = orr_blob_new(value), .batch = batch};
  sim_check(w, key.len == sizeof(entry.key), "a cache key is odd");
  memcpy(&entry.key, key.data, sizeof(entry.key));
  o->cache[o->cache_len++] = entry;
}

// What facts say of other runs, asked once all rows of the batch are read: their order is free.
static void children_check(struct world *w, struct model_run *run) {
  for (uint32_t i = 0; i < run->def->steps_len; i++) {
    const struct model_unit *unit = model_unit(run, i, 0);
    if (!unit->child) continue;
    const struct model_run *child = oracle_find(w, &unit->child_id, NULL);
    sim_check(w, child != NULL && !child->gone, "the child run of %s step %u is not there",
              run->def->name, i);
    if (!final_status(unit->outcome))
      sim_check(w, !run->cancelled || child->final || child->cancelled,
                "%s is cancelled, the child of its step %u is not", run->def->name, i);
    if (!final_status(unit->outcome) || unit->outcome == ORR_STEP_STATUS_CANCELLED) continue;
    sim_check(w,
              child->final && (child->status == ORR_RUN_SUCCEEDED) ==
                                  (unit->outcome == ORR_STEP_STATUS_SUCCEEDED),
              "%s step %u ends otherwise than its child", run->def->name, i);
  }
}

void oracle_rows(struct world *w, const struct orr_outbox *outbox, uint64_t batch) {
  for (uint32_t i = 0; i < outbox->rows_len; i++) {
    const struct orr_row *row = &outbox->rows[i];
    struct orr_slice bytes = orr_slice_of(outbox->bytes.data + row->offset, (size_t)row->len);
    struct orr_slice key = orr_slice_of(outbox->bytes.data + row->key_offset, (size_t)row->key_len);
    switch (row->type) {
    case ORR_ROW_JOURNAL:
      row_journal(w, row, bytes, batch);
      break;
    case ORR_ROW_IDEMPOTENCY:
      row_idempotency(w, row, key, batch);
      break;
    case ORR_ROW_CACHE:
      row_cache(w, key, bytes, batch);
      break;
    }
  }
  for (uint32_t i = 0; i < outbox->rows_len; i++)
    if (outbox->rows[i].type == ORR_ROW_JOURNAL)
      children_check(w, oracle_find(w, &outbox->rows[i].run, NULL));
}

// --- crashes
// -----------------------------------------------------------------------------------------------

static void model_reset(struct model_run *run) {
  memset(run->units, 0, run->def->steps_len * UNITS * sizeof(struct model_unit));
  for (uint32_t i = 0; i < MODEL_STATE_KEYS; i++) run->state[i] = -1;
  run->facts = run->finish_order = 0;
  run->admitted_batch = 0;
  run->created = run->key_decided = run->admitted = run->cancelled = run->timed_out = false;
  run->paused = run->ever_paused = run->output_decided = run->output_failed = false;
  run->final = run->any_failed = false;
  orr_run_free(run->mirror);
  run->mirror = orr_run_new(run->def);
}

static void run_cut(struct world *w, uint32_t index, uint64_t kept) {
  struct model_run *run = w->oracle.runs[index];
  uint32_t rows = run->rows_len;
  while (rows > 0 && run->rows[rows - 1].batch > kept) run->journal.len -= run->rows[--rows].len;
  run->live = NULL;
  run->gathering = false;
  run->recovered_now = false;
  if (rows == run->rows_len) return;
  run->rows_len = rows;
  model_reset(run);
  if (rows == 0) {
    sim_check(w, !run->acknowledged, "I1: an acknowledged run is lost");
    run->gone = true;
    return;
  }
  struct context context = {w, run, index, 0, false};
  facts_read(&context, 0);
  sim_check(w, !run->cancel_acknowledged || run->cancelled || run->final,
            "I1: an acknowledged cancel is lost");
}

void oracle_crash(struct world *w, uint64_t kept) {
  struct oracle *o = &w->oracle;
  uint64_t pos = 0;
  for (uint32_t i = 0; i < o->runs_len; i++) {
    struct model_run *run = o->runs[i];
    if (!run->gathered && !run->gone) run_cut(w, i, kept);
    if (run->rows_len > 0 && run->rows[run->rows_len - 1].pos > pos)
      pos = run->rows[run->rows_len - 1].pos;
  }
  o->pos = pos;
  while (o->keys_len > 0 && o->keys[o->keys_len - 1].batch > kept) o->keys_len--;
  while (o->cache_len > 0 && o->cache[o->cache_len - 1].batch > kept)
    orr_blob_unref(o->cache[--o->cache_len].output);
}

void oracle_recovered(struct world *w, struct model_run *run) {
  for (uint32_t i = 0; i < run->def->steps_len * UNITS; i++) {
    struct model_unit *unit = &run->units[i];
    int64_t left = unit->until_ms - w->now.wall_ms;
    unit->due_ms = w->now.mono_ms + (uint64_t)(left > 0 ? left : 0);
  }
  int64_t left = run->deadline_ms - w->now.wall_ms;
  run->deadline_due_ms =
      run->deadline_ms == 0 ? UINT64_MAX : w->now.mono_ms + (uint64_t)(left > 0 ? left : 0);
}
