// SPDX-License-Identifier: MIT
// The engine's invariants, recomputed the slow way and compared with what is kept: for tests and
// the
// simulator, after every event. Names in comments are those of the design's list (I2 .. I17).
// Aborts.
#include "core/engine_internal.h"

struct tally {
  uint32_t open, active, waiting, children, attempts, items_total, items_done;
};

static bool unit_waits(const struct orr_unit *unit) {
  return unit->status == ORR_STEP_STATUS_WAITING || unit->status == ORR_STEP_STATUS_RETRYING;
}

static void check_unit(const struct orr_run *run, const struct orr_unit *unit,
                       struct tally *tally) {
  const struct orr_step_def *step = &run->def->steps[unit->step];
  bool final = orr_step_status_final(unit->status);
  orr_assert(unit->run == run);
  orr_assert(unit->failures <= unit->attempts);
  orr_assert(unit->failures <= (step->retry.attempts > 0 ? step->retry.attempts : 1)); // I11
  if (step->flags & ORR_STEP_ONCE) orr_assert(unit->failures <= 1); // I16
  if (final) {
    orr_assert(unit->task == NULL); // I12
    orr_assert(!orr_timer_pending(&unit->timer) && !orr_list_linked(&unit->ready));
    return;
  }
  orr_assert(!orr_run_status_final(run->status)); // I2, I17
  if (unit->task != NULL) {
    tally->attempts++;
    orr_assert(unit->pending == 0 && run->admitted); // I8
    orr_assert(unit->task->attempt == unit->attempts + 1); // I10, I11
    orr_assert(!orr_list_linked(&unit->ready));
  }
  if (unit_waits(unit)) {
    tally->waiting++;
    if (unit->flags & ORR_UNIT_CHILD) tally->children++;
  } else if (run->admitted && unit->pending == 0 && !(unit->flags & ORR_UNIT_EXPANDED)) {
    tally->active++;
  }
}

static void check_map(const struct orr_engine *engine, const struct orr_run *run,
                      const struct orr_map_items *map, struct tally *tally) {
  const struct orr_unit *unit = &run->units[map->step];
  uint32_t done = 0, open = 0;
  orr_assert(unit->flags & ORR_UNIT_EXPANDED);
  for (uint32_t i = 0; i < map->count; i++) {
    const struct orr_unit *item = &map->units[i];
    check_unit(run, item, tally);
    if (orr_step_status_final(item->status))
      done++;
    else if (item->task != NULL || orr_list_linked(&item->ready) || unit_waits(item))
      open++;
  }
  orr_assert(done == map->done); // I14
  tally->items_total += map->count;
  tally->items_done += done;
  if (orr_step_status_final(unit->status)) {
    orr_assert(done == map->count); // I17
  } else {
    // Stopping: an item whose worker gave it up is open, and nobody's until the next start.
    orr_assert(open == map->open || (engine->draining && open < map->open));
    orr_assert(map->open <= orr__map_window(run, map->step));
  }
}

static void check_dependencies(const struct orr_run *run, const struct orr_unit *unit) {
  const struct orr_step_def *step = &run->def->steps[unit->step];
  uint32_t pending = 0;
  bool cancelled_at_end = orr_run_status_final(run->status);
  for (uint32_t i = 0; i < step->after_len; i++)
    if (!orr_step_status_final(run->units[step->after[i]].status)) pending++;
  if (!cancelled_at_end) orr_assert(pending == unit->pending);
}

// Everything that is not final owns a timer, or somebody holds it (promise 9).
static bool held_by_someone(const struct orr_engine *engine, const struct orr_run *run) {
  const struct orr__extra *extra = run->children_live;
  if (run->tasks_open > 0 || run->paused || run->children_open > 0 || engine->draining) return true;
  if (!run->admitted) return run->gate_of != NULL;
  if (extra != NULL && orr_timer_pending(&extra->timer)) return true;
  for (uint32_t i = 0; i < run->def->steps_len; i++) {
    const struct orr_unit *unit = &run->units[i];
    if (orr_timer_pending(&unit->timer) || orr_list_linked(&unit->ready)) return true;
    const struct orr_map_items *map = run->maps != NULL ? run->maps[i] : NULL;
    if (map != NULL && map->open > 0) return true;
  }
  return false;
}

static void check_fold(const struct orr_run *run) {
  struct orr_run *replayed = orr_run_new(run->def);
  orr_assert(orr_run_load(replayed, orr_buf_slice(&run->journal)) == ORR_OK);
  orr_assert(orr_run_fingerprint(replayed) == orr_run_fingerprint(run)); // I3, I4
  orr_run_free(replayed);
}

static void check_run(struct orr_engine *engine, struct orr_run *run, uint32_t *attempts) {
  struct tally tally = {0};
  orr_assert(orr_run_index_get(&engine->index, run->handle) == run);
  orr_assert(orr_run_index_find(&engine->index, &run->id) == run);
  orr_assert(!orr_list_linked(&run->agenda));
  check_fold(run);
  for (uint32_t i = 0; i < run->def->steps_len; i++) {
    const struct orr_unit *unit = &run->units[i];
    check_unit(run, unit, &tally);
    check_dependencies(run, unit);
    if (!orr_step_status_final(unit->status)) tally.open++;
    if (run->maps != NULL && run->maps[i] != NULL) check_map(engine, run, run->maps[i], &tally);
  }
  orr_assert(tally.open == run->units_open);
  orr_assert(tally.active == run->active);
  orr_assert(tally.waiting == run->waiting);
  orr_assert(tally.children == run->children_open);
  orr_assert(tally.attempts == run->attempts_open);
  orr_assert(tally.attempts <= run->tasks_open);
  orr_assert(tally.items_total == run->items_total && tally.items_done == run->items_done);
  *attempts += tally.attempts;
  if (orr_run_status_final(run->status))
    orr_assert(run->attempts_open == 0 && run->gate_of == NULL && !orr_timer_pending(&run->timer));
  else
    orr_assert(held_by_someone(engine, run));
}

static void check_gates(const struct orr_engine *engine) {
  size_t cursor = 0;
  struct orr_slice key;
  void *value;
  while (orr_map_next(&engine->gates.map, &cursor, &key, &value)) {
    const struct orr_gate *gate = value;
    uint32_t limit = 0;
    bool active = false;
    for (const struct orr_list *at = gate->holders.next; at != &gate->holders; at = at->next) {
      const struct orr_run *run = ORR_CONTAINER_OF(at, struct orr_run, gate);
      orr_assert(run->admitted && run->gate_of == gate && !orr_run_status_final(run->status));
      if (run->def->concurrency > limit) limit = run->def->concurrency;
      active = active || run->def->concurrency_active;
    }
    // A run that only waited may wake up while another has its place: that is what "active" means.
    if (!active) orr_assert(orr_gate_used(gate, UINT32_MAX) <= limit); // I22
  }
}

void orr_engine_check(struct orr_engine *engine) {
  uint32_t attempts = 0, live = 0, ungathered = 0;
  orr_assert(orr_list_empty(&engine->agenda));
  for (struct orr_run *run = orr_engine_next_run(engine, NULL); run != NULL;
       run = orr_engine_next_run(engine, run)) {
    check_run(engine, run, &attempts);
    if (!orr_run_status_final(run->status))
      live++;
    else if (run->phase != ORR__PHASE_GATHERED)
      ungathered++;
  }
  orr_assert(live == engine->live && ungathered == engine->ungathered);
  orr_assert(attempts <= engine->in_flight);
  check_gates(engine);
}
