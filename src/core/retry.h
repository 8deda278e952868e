// SPDX-License-Identifier: MIT
// How long to wait before another attempt. Pure: the random part is drawn from a seed that the
// caller
// makes from the run, the unit and the attempt, so that the same run draws the same delays again.
#pragma once

#include "core/def.h"

// Delay before the attempt that follows `failures` (>= 1) failed ones.
uint64_t orr_retry_delay_ms(const struct orr_retry *policy, uint32_t failures, uint64_t seed);
uint64_t orr_retry_seed(uint64_t run_seed, uint32_t step, uint32_t item, uint32_t attempt);
