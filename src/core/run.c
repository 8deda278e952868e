// SPDX-License-Identifier: MIT
// The life of a run object, its loading and recording, and the pure questions about it. What facts
// do
// to it is in run_apply.c. Invariant: every byte of run->journal has been applied exactly once, in
// order. Owner thread only; knows no clock, no engine.
#include "core/run_internal.h"

#include "base/check.h"

#include <stdlib.h>

static void unit_init(struct orr_unit *unit, struct orr_run *run, uint32_t step, uint32_t item) {
  unit->run = run;
  unit->step = step;
  unit->item = item;
  orr_list_init(&unit->ready);
  orr_timer_init(&unit->timer);
}

struct orr_run *orr_run_new(struct orr_def *def) {
  orr_assert(def != NULL && def->steps_len >= 1);
  // One allocation for the run and its steps: most runs are small, and there are many.
  struct orr_run *run = orr_alloc(sizeof(*run) + def->steps_len * sizeof(struct orr_unit));
  run->def = orr_def_ref(def);
  run->units = (struct orr_unit *)(void *)(run + 1);
  run->status = ORR_RUN_QUEUED;
  run->units_open = def->steps_len;
  run->failed_step = UINT32_MAX;
  for (uint32_t i = 0; i < def->steps_len; i++) {
    unit_init(&run->units[i], run, i, 0);
    run->units[i].pending = def->steps[i].after_len;
  }
  orr_list_init(&run->by_age);
  orr_list_init(&run->dirty);
  orr_list_init(&run->gate);
  orr_list_init(&run->fresh);
  orr_list_init(&run->agenda);
  orr_timer_init(&run->timer);
  return run;
}

void orr__run_map_free(struct orr_map_items *map) {
  if (map == NULL) return;
  free(map->units);
  free(map->values);
  free(map);
}

struct orr_map_items *orr__run_map_new(struct orr_run *run, uint32_t step, uint32_t count) {
  struct orr_map_items *map = orr_alloc(sizeof(*map));
  map->step = step;
  map->count = count;
  map->next = 1;
  map->units = orr_alloc((count > 0 ? count : 1) * sizeof(*map->units));
  map->values = orr_alloc((count > 0 ? count : 1) * sizeof(*map->values));
  for (uint32_t i = 0; i < count; i++) unit_init(&map->units[i], run, step, i + 1);
  return map;
}

void orr_run_free(struct orr_run *run) {
  if (run == NULL) return;
  if (run->maps != NULL) {
    for (uint32_t i = 0; i < run->def->steps_len; i++) orr__run_map_free(run->maps[i]);
    free(run->maps);
  }
  free(run->children);
  orr_buf_free(&run->journal);
  orr_buf_free(&run->state);
  orr_blob_unref(run->input);
  orr_def_unref(run->def);
  free(run);
}

enum orr_status orr_run_record(struct orr_run *run, const struct orr_fact *fact) {
  size_t before = run->journal.len;
  orr_fact_encode(fact, &run->journal);
  struct orr_reader reader = orr_reader_of(
      orr_slice_of(run->journal.data + before, run->journal.len - before));
  struct orr_fact stored; // read back: what is applied is what a replay will see
  enum orr_status status = orr_fact_decode(&reader, &stored);
  if (status == ORR_OK) status = orr__run_apply(run, &stored);
  if (status != ORR_OK) run->journal.len = before;
  return status;
}

enum orr_status orr_run_load(struct orr_run *run, struct orr_slice facts) {
  if (facts.len == 0) return ORR_OK; // no offset to a journal that has no memory yet
  size_t good = run->journal.len;
  orr_buf_slice_append(&run->journal, facts);
  struct orr_reader reader =
      orr_reader_of(orr_slice_of(run->journal.data + good, run->journal.len - good));
  enum orr_status status = ORR_OK;
  while (status == ORR_OK) {
    struct orr_fact fact;
    status = orr_fact_decode(&reader, &fact);
    if (status == ORR_OK) status = orr__run_apply(run, &fact);
    if (status == ORR_OK) good = (size_t)(reader.at - run->journal.data);
  }
  run->journal.len = good;
  return status == ORR_ERR_NOT_FOUND ? ORR_OK : status;
}

struct orr_unit *orr_run_unit(struct orr_run *run, uint32_t step, uint32_t item) {
  if (step >= run->def->steps_len) return NULL;
  if (item == 0) return &run->units[step];
  struct orr_map_items *map = run->maps != NULL ? run->maps[step] : NULL;
  if (map == NULL || item > map->count) return NULL;
  return &map->units[item - 1];
}

enum orr_verdict orr_rule_verdict(const struct orr_run *run, uint32_t step) {
  const struct orr_step_def *def = &run->def->steps[step];
  uint32_t succeeded = 0, failed = 0, other = 0;
  for (uint32_t i = 0; i < def->after_len; i++) {
    uint8_t status = run->units[def->after[i]].status;
    if (!orr_step_status_final(status)) return ORR_VERDICT_WAIT;
    if (status == ORR_STEP_STATUS_SUCCEEDED)
      succeeded++;
    else if (status == ORR_STEP_STATUS_FAILED)
      failed++;
    else
      other++;
  }
  if (def->after_len == 0) return ORR_VERDICT_RUN;
  bool runs = false;
  switch (def->rule) {
  case ORR_RULE_ALL_SUCCESS: runs = failed == 0 && other == 0; break;
  case ORR_RULE_ALL_DONE: runs = !ORR_BUG(33) || failed == 0; break;
  case ORR_RULE_ONE_SUCCESS: runs = succeeded > 0 || ORR_BUG(34); break;
  case ORR_RULE_ALL_FAILED: runs = succeeded == 0 && other == 0; break;
  case ORR_RULE_NONE_FAILED: runs = failed == 0 && (!ORR_BUG(32) || other == 0); break;
  }
  return runs ? ORR_VERDICT_RUN : ORR_VERDICT_SKIP;
}

// --- fingerprint ---------------------------------------------------------------------------------

static uint64_t mix(uint64_t hash, uint64_t value) {
  hash = (hash ^ value) * UINT64_C(0x9e3779b97f4a7c15);
  return hash ^ (hash >> 29);
}
static uint64_t mix_span(uint64_t hash, struct orr_span span) {
  return mix(mix(hash, span.len > 0 ? span.offset : 0), span.len);
}
static uint64_t mix_unit(uint64_t hash, const struct orr_unit *unit) {
  hash = mix(hash, (uint64_t)unit->step << 32 | unit->item);
  hash = mix(hash, (uint64_t)unit->status << 8 | (unit->flags & ~ORR_UNIT_ABORTING & 0xff));
  hash = mix(hash, (uint64_t)unit->attempts << 32 | unit->failures);
  hash = mix(hash, unit->pending);
  hash = mix(hash, (uint64_t)unit->started_ms);
  hash = mix(hash, (uint64_t)unit->finished_ms);
  hash = mix(hash, (uint64_t)unit->until_ms);
  return mix_span(hash, unit->value);
}

uint64_t orr_run_fingerprint(const struct orr_run *run) {
  uint64_t hash = orr_hash64(0, orr_id_slice(&run->id));
  hash = orr_hash64(hash, orr_id_slice(&run->parent));
  hash = orr_hash64(hash, orr_blob_slice(run->input));
  hash = orr_hash64(hash, orr_buf_slice(&run->state));
  hash = orr_hash64(hash, orr_buf_slice(&run->journal));
  const uint64_t words[] = {run->status, run->parent_step, run->parent_item, run->depth,
      run->key_decided, run->admitted, (uint64_t)run->created_ms, (uint64_t)run->started_ms,
      (uint64_t)run->finished_ms, (uint64_t)run->deadline_ms, run->seed, run->facts,
      run->units_open, run->recoveries, run->active, run->waiting, run->children_open,
      run->items_total, run->items_done, run->paused, run->cancel_asked, run->timed_out,
      run->output_decided, run->output_failed, run->failed_step, run->failed_item};
  for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) hash = mix(hash, words[i]);
  const struct orr_span spans[] = {run->trigger, run->concurrency_key, run->idempotency_key,
      run->pause_reason, run->cancel_reason, run->output, run->error};
  for (size_t i = 0; i < sizeof(spans) / sizeof(spans[0]); i++) hash = mix_span(hash, spans[i]);
  for (uint32_t i = 0; i < run->def->steps_len; i++) {
    hash = mix_unit(hash, &run->units[i]);
    if (run->children != NULL) hash = orr_hash64(hash, orr_id_slice(&run->children[i]));
    const struct orr_map_items *map = run->maps != NULL ? run->maps[i] : NULL;
    if (map == NULL) continue;
    hash = mix(mix(mix(hash, map->count), map->done), map->failed);
    for (uint32_t k = 0; k < map->count; k++)
      hash = mix_span(mix_unit(hash, &map->units[k]), map->values[k]);
  }
  return hash;
}
