// SPDX-License-Identifier: MIT
// What a new engine makes of the journals of a dead one.
#include "engine_world.h"

static void what_was_in_flight_starts_again_with_the_next_attempt_number(void **state) {
  (void)state;
  struct world w;
  world_open(&w, 10);
  struct orr_def *def = world_def("a; b<a [retry=2]; c<a");
  struct orr_id id = world_submit(&w, def);
  world_ok(&w, id, "a", "1");
  world_crash(&w, true, false);
  check_run(&w, id, "a:succeeded b:running c:running | running");
  assert_int_equal(world_find(&w, id, "b")->attempt, 2);
  world_error(&w, id, "b"); // an interrupted attempt does not use up a retry
  world_advance(&w, 1);
  assert_int_equal(world_find(&w, id, "b")->attempt, 3);
  world_ok(&w, id, "b", "1");
  world_ok(&w, id, "c", "1");
  check_run(&w, id, "a:succeeded b:succeeded c:succeeded | succeeded");
  orr_def_unref(def);
  world_close(&w);
}

static void what_was_not_in_flight_keeps_its_attempt_number(void **state) {
  (void)state;
  struct world w;
  world_open(&w, 1);
  struct orr_def *def = world_def("a; b");
  struct orr_id id = world_submit(&w, def);
  world_crash(&w, true, false);
  assert_int_equal(world_find(&w, id, "a")->attempt, 2);
  world_ok(&w, id, "a", "1");
  assert_int_equal(world_find(&w, id, "b")->attempt, 1);
  world_ok(&w, id, "b", "1");
  orr_def_unref(def);
  world_close(&w);
}

static void after_power_loss_everything_that_could_have_run_counts_as_run(void **state) {
  (void)state;
  struct world w;
  world_open(&w, 1);
  struct orr_def *def = world_def("a; b; c<a; z [sleep=10]");
  struct orr_id id = world_submit(&w, def);
  world_crash(&w, false, false);
  assert_int_equal(world_run(&w, id)->recoveries, 0);
  world_ok(&w, id, "a", "1");
  assert_int_equal(world_find(&w, id, "b")->attempt, 2);
  world_ok(&w, id, "b", "1");
  assert_int_equal(world_find(&w, id, "c")->attempt, 1);
  orr_def_unref(def);
  world_close(&w);
}

static void three_recoveries_without_progress_pause_the_run(void **state) {
  (void)state;
  struct world w;
  world_open(&w, 10);
  struct orr_def *def = world_def("a; b<a");
  struct orr_id id = world_submit(&w, def);
  world_crash(&w, true, false);
  world_crash(&w, true, false);
  world_ok(&w, id, "a", "1"); // progress
  world_crash(&w, true, false);
  world_crash(&w, true, false);
  check_run(&w, id, "a:succeeded b:running | running");
  world_crash(&w, true, false);
  check_run(&w, id, "a:succeeded | paused");
  struct orr_run *run = world_run(&w, id);
  check_text_at(orr_run_bytes(run, run->pause_reason), "recovered three times without progress",
                __FILE__, __LINE__);
  world_crash(&w, true, false);
  check_run(&w, id, "a:succeeded | paused");
  world_control(&w, ORR_EVENT_RESUME, id);
  world_ok(&w, id, "b", "1");
  check_run(&w, id, "a:succeeded b:succeeded | succeeded");
  orr_def_unref(def);
  world_close(&w);
}

static void a_once_step_that_may_have_run_fails_as_interrupted(void **state) {
  (void)state;
  struct world w;
  world_open(&w, 10);
  struct orr_def *def = world_def("a [once,retry=5]; b<a [rule=all_done]");
  struct orr_id id = world_submit(&w, def);
  world_crash(&w, true, false);
  check_run(&w, id, "a:failed b:running | running");
  assert_true(world_run(&w, id)->units[0].flags & ORR_UNIT_INTERRUPTED);
  world_ok(&w, id, "b", "1");
  check_run(&w, id, "a:failed b:succeeded | failed");
  orr_def_unref(def);
  world_close(&w);
}

static void a_once_step_that_was_not_started_starts_after_recovery(void **state) {
  (void)state;
  struct world w;
  world_open(&w, 1);
  struct orr_def *def = world_def("a; o [once]");
  struct orr_id id = world_submit(&w, def);
  world_crash(&w, true, false);
  world_ok(&w, id, "a", "1");
  check_run(&w, id, "a:succeeded o:running | running");
  assert_int_equal(world_find(&w, id, "o")->attempt, 1);
  world_error(&w, id, "o"); // and is never retried
  check_run(&w, id, "a:succeeded o:failed | failed");
  orr_def_unref(def);
  world_close(&w);
}

static void a_sleep_goes_on_where_it_was(void **state) {
  (void)state;
  struct world w;
  world_open(&w, 10);
  struct orr_def *def = world_def("z [sleep=1000]; y [sleep=100000]");
  struct orr_id id = world_submit(&w, def);
  world_advance(&w, 400);
  w.now.wall_ms += 200; // down for a while
  world_crash(&w, true, false);
  world_advance(&w, 399);
  check_run(&w, id, "z:waiting y:waiting | waiting");
  world_advance(&w, 1);
  check_run(&w, id, "z:succeeded y:waiting | waiting");
  w.now.wall_ms += 1000000;
  world_crash(&w, true, false);
  world_advance(&w, 1);
  check_run(&w, id, "z:succeeded y:succeeded | succeeded");
  orr_def_unref(def);
  world_close(&w);
}

static void a_retry_in_flight_at_the_crash_is_tried_again_at_once(void **state) {
  (void)state;
  struct world w;
  world_open(&w, 10);
  struct orr_def *def = world_def("a [retry=2,delay=100]");
  struct orr_id id = world_submit(&w, def);
  world_error(&w, id, "a");
  world_advance(&w, 100);
  assert_int_equal(world_find(&w, id, "a")->attempt, 2);
  world_crash(&w, true, false);
  world_advance(&w, 1);
  assert_int_equal(world_find(&w, id, "a")->attempt, 3);
  world_error(&w, id, "a");
  check_run(&w, id, "a:failed | failed");
  orr_def_unref(def);
  world_close(&w);
}

static void a_final_run_is_handed_to_the_gatherer_again(void **state) {
  (void)state;
  struct world w;
  world_open(&w, 10);
  struct orr_def *def = world_def("a");
  struct orr_id id = world_submit(&w, def);
  world_ok(&w, id, "a", "1");
  world_crash(&w, true, false);
  assert_int_equal(w.handles_len, 1);
  assert_int_equal(orr_engine_ungathered(w.engine), 1);
  check_run(&w, id, "a:succeeded | succeeded");
  world_gather(&w);
  assert_null(orr_engine_next_run(w.engine, NULL));
  orr_def_unref(def);
  world_close(&w);
}

static void a_cancel_that_was_asked_before_the_crash_is_carried_out(void **state) {
  (void)state;
  struct world w;
  world_open(&w, 10);
  struct orr_def *def = world_def("a; b<a");
  struct orr_id id = world_submit(&w, def);
  world_control(&w, ORR_EVENT_CANCEL, id);
  world_crash(&w, true, false);
  check_run(&w, id, "a:cancelled b:cancelled | cancelled");
  assert_int_equal(w.tasks_len, 0);
  orr_def_unref(def);
  world_close(&w);
}

static void a_damaged_journal_is_refused(void **state) {
  (void)state;
  struct world w;
  world_open(&w, 10);
  struct orr_event *event = orr_event_new(ORR_EVENT_RECOVER);
  event->recover.def = world_def("a");
  event->recover.journal = orr_blob_new(ORR_SLICE_LITERAL("\x05garbage!!"));
  world_apply(&w, event);
  assert_int_equal(w.reply->status, ORR_ERR_CORRUPT);
  assert_null(orr_engine_next_run(w.engine, NULL));
  world_close(&w);
}

static void a_run_can_crash_after_every_event_and_still_end_right(void **state) {
  (void)state;
  static const char *const TEXT = "a; b<a [retry=2]; m<a [map,parallel=1]; c<b,m; z<a [sleep=5]";
  for (uint32_t crash_at = 0; crash_at < 9; crash_at++) {
    struct world w;
    world_open(&w, 10);
    struct orr_def *def = world_def(TEXT);
    struct orr_id id = world_submit(&w, def);
    static const char *const ORDER[] = {"a", "m", "b!", "m#1", "b", "m#2", "c"};
    for (uint32_t i = 0; i < sizeof(ORDER) / sizeof(ORDER[0]); i++) {
      if (i == crash_at) world_crash(&w, (crash_at & 1) != 0, false);
      world_advance(&w, 2);
      if (strcmp(ORDER[i], "m") == 0)
        world_expand(&w, id, "m", 2);
      else if (strcmp(ORDER[i], "b!") == 0)
        world_error(&w, id, "b");
      else
        world_ok(&w, id, ORDER[i], "1");
    }
    world_advance(&w, 5);
    check_run(&w, id,
              "a:succeeded b:succeeded m:succeeded c:succeeded z:succeeded | succeeded");
    check_output(&w, id, "{\"c\":1,\"z\":null}");
    orr_def_unref(def);
    world_close(&w);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(what_was_in_flight_starts_again_with_the_next_attempt_number),
      cmocka_unit_test(what_was_not_in_flight_keeps_its_attempt_number),
      cmocka_unit_test(after_power_loss_everything_that_could_have_run_counts_as_run),
      cmocka_unit_test(three_recoveries_without_progress_pause_the_run),
      cmocka_unit_test(a_once_step_that_may_have_run_fails_as_interrupted),
      cmocka_unit_test(a_once_step_that_was_not_started_starts_after_recovery),
      cmocka_unit_test(a_sleep_goes_on_where_it_was),
      cmocka_unit_test(a_retry_in_flight_at_the_crash_is_tried_again_at_once),
      cmocka_unit_test(a_final_run_is_handed_to_the_gatherer_again),
      cmocka_unit_test(a_cancel_that_was_asked_before_the_crash_is_carried_out),
      cmocka_unit_test(a_damaged_journal_is_refused),
      cmocka_unit_test(a_run_can_crash_after_every_event_and_still_end_right),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
