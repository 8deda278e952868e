// SPDX-License-Identifier: MIT
// What goes wrong in one seed. Swarm testing: every seed switches whole classes of faults off, so
// that rare combinations of the others get room. All figures are drawn once, from the seed.
#pragma once

#include "base/rng.h"

#include <stdbool.h>
#include <stdint.h>

struct sim_faults {
  // Engine and store
  uint32_t crash_every_ms; // mean time between crashes; 0: none
  uint32_t power_permille; // of crashes: the in-flight map is lost too
  uint32_t down_ms_max;    // how long the engine stays dead
  uint32_t commit_ms_max;  // commits take 0 .. this
  uint32_t slow_permille;  // of commits: a slow one,
  uint32_t slow_ms;        // which takes this long
  uint32_t turn_ms_max;    // mail waits this long for a turn
  uint32_t drain_every_ms; // orderly stop and restart; 0: none
  // Clock: wall steps
  uint32_t clock_every_ms;
  uint32_t clock_step_ms;
  // Workers, each of 1000 attempts
  uint32_t error_permille, fatal_permille; // fatal: an error that is not retryable
  uint32_t skip_permille;                  // `when` is false
  uint32_t hang_permille;                  // until aborted
  uint32_t deaf_permille;                  // ignores an abort and answers late
  uint32_t lost_permille;                  // never answers
  uint32_t doubled_permille;               // its result comes twice
  uint32_t huge_permille;                  // a large output
  uint32_t cached_permille;                // takes and leaves cached outputs
  uint32_t work_ms_max;
  // People
  uint32_t reload_every_ms, control_every_ms, query_every_ms, slots_every_ms;
};

void sim_faults_draw(struct sim_faults *faults, struct orr_rng *rng, bool on);
void sim_faults_heal(struct sim_faults *faults); // no new faults; what hangs is cured by the world
