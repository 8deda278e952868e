// SPDX-License-Identifier: MIT
// splitmix64 (Steele, Lea, Flood 2014): one word of state, seeded by the caller, so that everything
// random in the core repeats under simulation. Never for secrets.
#pragma once

#include <stdint.h>

struct orr_rng {
  uint64_t state;
};
uint64_t orr_rng_next(struct orr_rng *rng);
uint64_t orr_rng_below(struct orr_rng *rng, uint64_t bound); // 0 .. bound-1; bound >= 1
