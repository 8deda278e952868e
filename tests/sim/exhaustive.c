// SPDX-License-Identifier: MIT
// Each scenario is a seed of a small world (a few runs, no random faults). It runs once to count
// its store calls; then once for every call, side and kind of death; and for the smallest worlds
// for pairs of calls, so that the engine also dies while it recovers. Every world must come to its
// end.
#include "exhaustive.h"

#include "world.h"

#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

#define SCENARIOS 40u
#define CALLS_MAX 300u
#define PAIR_CALLS_MAX 14u

static bool run(uint64_t seed, struct sim_crash_plan plan, uint32_t *calls, uint64_t *failed) {
  struct sim_options options = {.seed = seed, .small = true, .plan = plan};
  struct sim_report report;
  char message[640];
  alarm(60);
  bool good = sim_run(&options, &report, message, sizeof(message));
  alarm(0);
  if (good) {
    *calls = (uint32_t)report.store_calls;
    return true;
  }
  ++*failed;
  printf("scenario %" PRIu64 ", death at store calls %u and %u, side %u, %s: %s\n"
         "  repeat: orrery_sim --exhaustive\n",
         seed, plan.call[0], plan.call[1], plan.side, plan.power ? "power" : "kill", message);
  return false;
}

static uint64_t scenario(uint64_t seed, uint64_t *failed) {
  uint32_t calls = 0, unused = 0;
  uint64_t passed = 0;
  if (!run(seed, (struct sim_crash_plan){{0, 0}, 0, false}, &calls, failed)) return 0;
  passed++;
  if (calls > CALLS_MAX) calls = CALLS_MAX;
  for (uint32_t k = 1; k <= calls && *failed == 0; k++) {
    for (uint8_t variant = 0; variant < 6; variant++) {
      struct sim_crash_plan plan = {{k, 0}, variant % 3, variant >= 3};
      passed += run(seed, plan, &unused, failed);
    }
    for (uint32_t m = k + 1; calls <= PAIR_CALLS_MAX && m <= k + 6; m++) {
      for (uint8_t variant = 0; variant < 6; variant++) {
        struct sim_crash_plan plan = {{k, m}, variant % 3, variant >= 3};
        passed += run(seed, plan, &unused, failed);
      }
    }
  }
  return passed;
}

uint64_t exhaustive_run(volatile uint64_t *seed, uint64_t *failed) {
  uint64_t passed = 0;
  for (uint64_t i = 0; i < SCENARIOS && *failed == 0; i++) {
    *seed = 1000000 + i;
    passed += scenario(*seed, failed);
  }
  return passed;
}
