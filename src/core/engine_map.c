// SPDX-License-Identifier: MIT
// Maps: expansion, the window of items that are open at once, and the join. Invariant: map->open
// counts
// the items that are ready, in flight or waiting for a retry; items become ready only here.
#include "core/engine_internal.h"

#define WINDOW_ITEMS 1024u
#define JOIN_BYTES_MAX (4 * ORR_OUTPUT_BYTES_MAX) // of all outputs together

uint32_t orr__map_window(const struct orr_run *run, uint32_t step) {
  uint32_t parallel = run->def->steps[step].parallel;
  return parallel > 0 && parallel < WINDOW_ITEMS ? parallel : WINDOW_ITEMS;
}

void orr__map_fill(struct orr_engine *engine, struct orr_run *run, struct orr_map_items *map) {
  if (map->failed || run->paused || run->cancel_asked) return;
  uint32_t window = orr__map_window(run, map->step);
  while (map->open < window + (ORR_BUG(23) ? 1 : 0) && map->next <= map->count) {
    struct orr_unit *item = &map->units[map->next++ - 1];
    if (item->status != ORR_STEP_STATUS_PENDING) continue; // from before a recovery
    map->open++;
    orr__unit_ready(engine, item);
  }
}

// The list of outputs in the order of the items; null where there is none. False: too large.
static bool join_outputs(struct orr_run *run, const struct orr_map_items *map,
                         struct orr_buf *out) {
  size_t bytes = 2;
  for (uint32_t i = 0; i < map->count; i++) bytes += (size_t)map->units[i].value.len + 5;
  if (bytes > JOIN_BYTES_MAX) return false;
  orr_buf_reserve(out, bytes);
  orr_buf_u8(out, '[');
  for (uint32_t i = 0; i < map->count; i++) {
    const struct orr_unit *item = &map->units[ORR_BUG(22) ? map->count - 1 - i : i];
    if (i > 0) orr_buf_u8(out, ',');
    if (item->status == ORR_STEP_STATUS_SUCCEEDED)
      orr_buf_slice_append(out, orr_run_bytes(run, item->value));
    else
      orr_buf_text(out, "null");
  }
  orr_buf_u8(out, ']');
  return true;
}

static const struct orr_unit *first_with(const struct orr_map_items *map,
                                         enum orr_step_status status) {
  for (uint32_t i = 0; i < map->count; i++)
    if (map->units[i].status == status) return &map->units[i];
  return NULL;
}

static void map_finish(struct orr_engine *engine, struct orr_unit *unit,
                       const struct orr_map_items *map) {
  struct orr_run *run = unit->run;
  struct orr__attempt_end end = {.started_ms = unit->started_ms,
                                 .finished_ms = engine->now.wall_ms};
  struct orr_buf *scratch = &engine->scratch; // facts must not point into the journal they extend
  orr_buf_clear(scratch);
  const struct orr_unit *failed =
      map->failed ? first_with(map, ORR_STEP_STATUS_FAILED) : NULL;
  if (failed != NULL) {
    end.status = ORR_STEP_STATUS_FAILED;
    orr__error_step(scratch, NULL, failed->item, orr_run_bytes(run, failed->value));
  } else if (first_with(map, ORR_STEP_STATUS_CANCELLED) != NULL) {
    end.status = ORR_STEP_STATUS_CANCELLED;
    orr__error_make(scratch, "cancelled", "cancelled");
  } else if (join_outputs(run, map, scratch)) {
    end.status = ORR_STEP_STATUS_SUCCEEDED;
  } else {
    end.status = ORR_STEP_STATUS_FAILED;
    orr__error_make(scratch, "limit", "the outputs of a map are larger than 64 MiB together");
  }
  end.value = orr_buf_slice(scratch);
  orr__unit_finish(engine, unit, &end);
}

static bool map_over(const struct orr_map_items *map) {
  if (map->open > 0) return false;
  return map->failed || map->done == map->count;
}

static void map_go_on(struct orr_engine *engine, struct orr_unit *unit) {
  struct orr_map_items *map = unit->run->maps[unit->step];
  orr__map_fill(engine, unit->run, map);
  if (map_over(map)) map_finish(engine, unit, map);
}

void orr__map_item_done(struct orr_engine *engine, struct orr_unit *item) {
  struct orr_run *run = item->run;
  struct orr_map_items *map = run->maps[item->step];
  orr_assert(map->open > 0);
  map->open--;
  map_go_on(engine, &run->units[item->step]);
}

// An item that was ready when another failed finally: no new items start.
bool orr__map_item_moot(const struct orr_unit *item) {
  return !ORR_BUG(24) && item->item > 0 && item->attempts == 0 && item->run->maps[item->step]->failed;
}

void orr__map_item_drop(struct orr_engine *engine, struct orr_unit *item) {
  struct orr_map_items *map = item->run->maps[item->step];
  orr_assert(map->open > 0 && item->task == NULL);
  map->open--;
  map_go_on(engine, &item->run->units[item->step]);
  orr__touch(engine, item->run);
}

void orr__map_expanded(struct orr_engine *engine, struct orr_unit *unit, struct orr_task *task) {
  struct orr_fact fact = {.type = ORR_FACT_EXPANDED};
  fact.expanded.step = unit->step;
  fact.expanded.count = task->items_len;
  fact.expanded.attempt = unit->attempts + 1;
  fact.expanded.started_ms = task->started_ms;
  fact.expanded.items = orr_buf_slice(&task->out);
  orr__record(engine, unit->run, &fact);
  orr__notice(engine, unit->run, unit);
  map_go_on(engine, unit);
}

void orr__maps_resume(struct orr_engine *engine, struct orr_run *run) {
  for (uint32_t i = 0; run->maps != NULL && i < run->def->steps_len; i++) {
    if (run->maps[i] != NULL && !orr_step_status_final(run->units[i].status))
      map_go_on(engine, &run->units[i]);
  }
}
