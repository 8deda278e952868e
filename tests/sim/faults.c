// SPDX-License-Identifier: MIT
// Draws the faults of a seed.
#include "faults.h"

#include <string.h>

static uint32_t draw(struct orr_rng *rng, uint32_t low, uint32_t high) {
  return low + (uint32_t)orr_rng_below(rng, high - low + 1);
}
// Off in half of all seeds.
static uint32_t maybe(struct orr_rng *rng, uint32_t low, uint32_t high) {
  uint32_t value = draw(rng, low, high);
  return orr_rng_below(rng, 2) == 0 ? value : 0;
}

void sim_faults_draw(struct sim_faults *faults, struct orr_rng *rng, bool on) {
  memset(faults, 0, sizeof(*faults));
  faults->work_ms_max = draw(rng, 1, 300);
  if (!on) return;
  faults->crash_every_ms = maybe(rng, 300, 20000);
  faults->power_permille = draw(rng, 0, 1000);
  faults->down_ms_max = draw(rng, 1, 5000);
  faults->commit_ms_max = maybe(rng, 1, 30);
  faults->slow_permille = maybe(rng, 1, 100);
  faults->slow_ms = draw(rng, 50, 3000);
  faults->turn_ms_max = maybe(rng, 1, 10);
  faults->drain_every_ms = orr_rng_below(rng, 4) == 0 ? draw(rng, 5000, 30000) : 0;
  faults->clock_every_ms = maybe(rng, 200, 10000);
  faults->clock_step_ms = draw(rng, 10, 20000);
  faults->error_permille = maybe(rng, 20, 400);
  faults->fatal_permille = maybe(rng, 5, 100);
  faults->skip_permille = maybe(rng, 20, 400);
  faults->hang_permille = maybe(rng, 5, 100);
  faults->deaf_permille = maybe(rng, 10, 500);
  faults->lost_permille = maybe(rng, 2, 60);
  faults->doubled_permille = maybe(rng, 10, 300);
  faults->huge_permille = maybe(rng, 1, 20);
  faults->cached_permille = maybe(rng, 10, 300);
  faults->reload_every_ms = maybe(rng, 200, 10000);
  faults->control_every_ms = maybe(rng, 20, 2000);
  faults->query_every_ms = maybe(rng, 20, 1000);
  faults->slots_every_ms = maybe(rng, 200, 5000);
}

void sim_faults_heal(struct sim_faults *faults) {
  uint32_t work_ms_max = faults->work_ms_max;
  memset(faults, 0, sizeof(*faults));
  faults->work_ms_max = work_ms_max;
}
