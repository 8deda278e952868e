// SPDX-License-Identifier: MIT
// See retry.h. Exponential back-off in integers: never overflows, never exceeds delay_ms_max (0:
// the
// longest duration there is). With jitter, uniform in [delay/2, delay].
#include "core/retry.h"

#include "base/check.h"
#include "base/rng.h"
#include "core/bug.h"

uint64_t orr_retry_delay_ms(const struct orr_retry *policy, uint32_t failures, uint64_t seed) {
  orr_assert(failures >= 1);
  uint64_t most = policy->delay_ms_max;
  if (most == 0 || most > ORR_DURATION_MS_MAX) most = ORR_DURATION_MS_MAX;
  uint64_t delay = policy->delay_ms < most ? policy->delay_ms : most;
  uint64_t factor = policy->backoff_permille < 1000 ? 1000 : policy->backoff_permille;
  for (uint32_t i = ORR_BUG(5) ? 0 : 1; i < failures && factor > 1000 && delay > 0 && delay < most; i++) {
    // In two parts, so that the product stays below 64 bits.
    uint64_t grown = most;
    if (delay / 1000 <= most / factor) grown = delay / 1000 * factor + delay % 1000 * factor / 1000;
    delay = grown > most ? most : grown;
  }
  if (policy->jitter && delay > 1) {
    struct orr_rng rng = {seed};
    uint64_t half = delay / 2;
    delay = delay - half + orr_rng_below(&rng, half + 1) + (ORR_BUG(6) ? half : 0);
  }
  orr_assert(delay <= most || ORR_BUG(6));
  return delay;
}

uint64_t orr_retry_seed(uint64_t run_seed, uint32_t step, uint32_t item, uint32_t attempt) {
  struct orr_rng rng = {run_seed ^ ((uint64_t)step << 32 | item)};
  rng.state = orr_rng_next(&rng) ^ attempt;
  return orr_rng_next(&rng);
}
