// SPDX-License-Identifier: MIT
// Retry delays: growth, bounds, jitter.
#include "engine_world.h"

#include "core/retry.h"

static void delays_grow_by_the_factor_up_to_the_most(void **state) {
  (void)state;
  struct orr_retry policy = {.attempts = 9, .delay_ms = 100, .backoff_permille = 2500,
                             .delay_ms_max = 1000};
  assert_int_equal(orr_retry_delay_ms(&policy, 1, 0), 100);
  assert_int_equal(orr_retry_delay_ms(&policy, 2, 0), 250);
  assert_int_equal(orr_retry_delay_ms(&policy, 3, 0), 625);
  assert_int_equal(orr_retry_delay_ms(&policy, 4, 0), 1000);
  assert_int_equal(orr_retry_delay_ms(&policy, 1000, 0), 1000);
}

static void a_factor_below_one_keeps_the_delay(void **state) {
  (void)state;
  struct orr_retry policy = {.attempts = 9, .delay_ms = 100, .backoff_permille = 0};
  assert_int_equal(orr_retry_delay_ms(&policy, 50, 0), 100);
}

static void nothing_overflows(void **state) {
  (void)state;
  struct orr_retry policy = {.attempts = 1000, .delay_ms = ORR_DURATION_MS_MAX - 1,
                             .backoff_permille = UINT32_MAX};
  assert_true(orr_retry_delay_ms(&policy, 2, 0) == ORR_DURATION_MS_MAX);
  policy.delay_ms = 1;
  assert_true(orr_retry_delay_ms(&policy, 1000, 0) == ORR_DURATION_MS_MAX);
  policy.delay_ms = UINT64_MAX;
  assert_true(orr_retry_delay_ms(&policy, 1, 0) == ORR_DURATION_MS_MAX);
}

static void jitter_lies_between_half_and_whole_and_repeats_with_the_seed(void **state) {
  (void)state;
  struct orr_retry policy = {.attempts = 9, .delay_ms = 1000, .jitter = true};
  uint64_t least = UINT64_MAX, most = 0;
  for (uint64_t i = 0; i < 2000; i++) {
    uint64_t seed = orr_retry_seed(i, 1, 2, 3);
    uint64_t delay = orr_retry_delay_ms(&policy, 1, seed);
    assert_in_range(delay, 500, 1000);
    assert_true(delay == orr_retry_delay_ms(&policy, 1, seed));
    if (delay < least) least = delay;
    if (delay > most) most = delay;
  }
  assert_true(least < 520 && most > 980);
}

static void every_run_unit_and_attempt_draws_for_itself(void **state) {
  (void)state;
  uint64_t seed = orr_retry_seed(1, 1, 1, 1);
  assert_true(seed != orr_retry_seed(2, 1, 1, 1));
  assert_true(seed != orr_retry_seed(1, 2, 1, 1));
  assert_true(seed != orr_retry_seed(1, 1, 2, 1));
  assert_true(seed != orr_retry_seed(1, 1, 1, 2));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(delays_grow_by_the_factor_up_to_the_most),
      cmocka_unit_test(a_factor_below_one_keeps_the_delay),
      cmocka_unit_test(nothing_overflows),
      cmocka_unit_test(jitter_lies_between_half_and_whole_and_repeats_with_the_seed),
      cmocka_unit_test(every_run_unit_and_attempt_draws_for_itself),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
