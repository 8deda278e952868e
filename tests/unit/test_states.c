// SPDX-License-Identifier: MIT
// The two machines: every pair of statuses, legal or not, written out as a picture.
#include "core/states.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static void runs_move_as_drawn(void **state) {
  (void)state;
  // to:                    queued, running, waiting, paused, succeeded, failed, cancelled
  static const char *const LEGAL[ORR_RUN_STATUS_COUNT] = {
      [ORR_RUN_QUEUED] = "xxxx.xx",  [ORR_RUN_RUNNING] = ".xxxxxx", [ORR_RUN_WAITING] = ".xxxxxx",
      [ORR_RUN_PAUSED] = "xxxxxxx",  [ORR_RUN_SUCCEEDED] = ".......", [ORR_RUN_FAILED] = ".......",
      [ORR_RUN_CANCELLED] = "......."};
  for (int from = 0; from < ORR_RUN_STATUS_COUNT; from++) {
    for (int to = 0; to < ORR_RUN_STATUS_COUNT; to++)
      assert_int_equal(orr_run_transition_legal((enum orr_run_status)from, (enum orr_run_status)to),
                       LEGAL[from][to] == 'x');
  }
}

static void steps_move_as_drawn(void **state) {
  (void)state;
  // to: pending, queued, running, waiting, retrying, succeeded, failed, skipped, cancelled
  static const char *const LEGAL[ORR_STEP_STATUS_COUNT] = {
      [ORR_STEP_STATUS_PENDING] = "xxxxxxxxx",  [ORR_STEP_STATUS_QUEUED] = "xxxxxxxxx",
      [ORR_STEP_STATUS_RUNNING] = "xxxxxxxxx",  [ORR_STEP_STATUS_WAITING] = ".xxxxxxxx",
      [ORR_STEP_STATUS_RETRYING] = ".xxxxxxxx", [ORR_STEP_STATUS_SUCCEEDED] = ".........",
      [ORR_STEP_STATUS_FAILED] = ".........",   [ORR_STEP_STATUS_SKIPPED] = ".........",
      [ORR_STEP_STATUS_CANCELLED] = "........."};
  for (int from = 0; from < ORR_STEP_STATUS_COUNT; from++) {
    for (int to = 0; to < ORR_STEP_STATUS_COUNT; to++)
      assert_int_equal(orr_step_transition_legal((enum orr_step_status)from, (enum orr_step_status)to),
                       LEGAL[from][to] == 'x');
  }
}

static void names_go_both_ways_and_finals_are_final(void **state) {
  (void)state;
  for (int i = 0; i < ORR_RUN_STATUS_COUNT; i++) {
    enum orr_run_status status = (enum orr_run_status)i, back;
    assert_true(orr_run_status_parse(orr_slice_text(orr_run_status_text(status)), &back));
    assert_int_equal(back, status);
    assert_int_equal(orr_run_status_final(status), i >= ORR_RUN_SUCCEEDED);
  }
  for (int i = 0; i < ORR_STEP_STATUS_COUNT; i++)
    assert_int_equal(orr_step_status_final((enum orr_step_status)i), i >= ORR_STEP_STATUS_SUCCEEDED);
  enum orr_run_status status;
  assert_false(orr_run_status_parse(ORR_SLICE_LITERAL("Running"), &status));
  assert_string_equal(orr_step_status_text(ORR_STEP_STATUS_RETRYING), "retrying");
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(runs_move_as_drawn),
      cmocka_unit_test(steps_move_as_drawn),
      cmocka_unit_test(names_go_both_ways_and_finals_are_final),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
