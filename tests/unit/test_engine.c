// SPDX-License-Identifier: MIT
// Stories of the engine: a run's way from submission to its end. Every event is followed by a
// replay of
// the stored bytes and a check of all invariants (tests/support/engine_world.h).
#include "engine_world.h"

static void a_step_runs_and_its_output_is_the_runs_output(void **state) {
  (void)state;
  struct world w;
  world_open(&w, 10);
  struct orr_def *def = world_def("a");
  struct orr_id id = world_submit(&w, def);
  check_run(&w, id, "a:running | running");
  world_ok(&w, id, "a", "{\"n\":1}");
  check_run(&w, id, "a:succeeded | succeeded");
  check_output(&w, id, "{\"n\":1}");
  assert_int_equal(orr_engine_live(w.engine), 0);
  assert_int_equal(orr_engine_ungathered(w.engine), 1);
  world_gather(&w);
  assert_int_equal(orr_engine_ungathered(w.engine), 0);
  assert_null(orr_engine_next_run(w.engine, NULL));
  orr_def_unref(def);
  world_close(&w);
}

static void steps_wait_for_their_dependencies(void **state) {
  (void)state;
  struct world w;
  world_open(&w, 10);
  struct orr_def *def = world_def("a; b<a; c<a; d<b,c");
  struct orr_id id = world_submit(&w, def);
  world_ok(&w, id, "a", "1");
  check_run(&w, id, "a:succeeded b:running c:running | running");
  world_ok(&w, id, "c", "3");
  assert_null(world_find(&w, id, "d"));
  world_ok(&w, id, "b", "2");
  check_run(&w, id, "a:succeeded b:succeeded c:succeeded d:running | running");
  world_ok(&w, id, "d", "4");
  check_output(&w, id, "4");
  orr_def_unref(def);
  world_close(&w);
}

static void the_outputs_of_direct_dependencies_travel_with_a_step(void **state) {
  (void)state;
  struct world w;
  world_open(&w, 10);
  struct orr_def *def = world_def("a; b<a");
  struct orr_id id = world_submit(&w, def);
  world_ok(&w, id, "a", "\"value\"");
  struct orr_reader reader = orr_reader_of(orr_buf_slice(&world_find(&w, id, "b")->payload));
  assert_int_equal(orr_read_varint(&reader), 1);
  assert_int_equal(orr_read_varint(&reader), 0);
  assert_int_equal(orr_read_u8(&reader), ORR_STEP_STATUS_SUCCEEDED);
  check_text_at(orr_read_bytes(&reader), "\"value\"", __FILE__, __LINE__);
  orr_def_unref(def);
  world_close(&w);
}

static void a_failed_step_skips_its_dependants_and_fails_the_run_at_the_end(void **state) {
  (void)state;
  struct world w;
  world_open(&w, 10);
  struct orr_def *def = world_def("a; b<a; c<b; other");
  struct orr_id id = world_submit(&w, def);
  world_error(&w, id, "a");
  check_run(&w, id, "a:failed b:skipped c:skipped other:running | running");
  world_ok(&w, id, "other", "1");
  check_run(&w, id, "a:failed b:skipped c:skipped other:succeeded | failed");
  check_error(&w, id, "{\"step\":\"a\",\"message\":\"boom\",\"code\":\"boom\"}");
  orr_def_unref(def);
  world_close(&w);
}

static void several_sinks_give_an_object_without_the_skipped_ones(void **state) {
  (void)state;
  struct world w;
  world_open(&w, 10);
  struct orr_def *def = world_def("a; b<a; c<a; d<a");
  struct orr_id id = world_submit(&w, def);
  world_ok(&w, id, "a", "0");
  world_ok(&w, id, "b", "1");
  world_result(&w, world_take_task(&w, id, "c"), ORR_OUTCOME_SKIPPED, NULL);
  world_ok(&w, id, "d", "[2]");
  check_run(&w, id, "a:succeeded b:succeeded c:skipped d:succeeded | succeeded");
  check_output(&w, id, "{\"b\":1,\"d\":[2]}");
  orr_def_unref(def);
  world_close(&w);
}

static void an_output_function_is_a_task_with_the_whole_results(void **state) {
  (void)state;
  struct world w;
  world_open(&w, 10);
  struct orr_def *def = world_def("{output} a; b<a");
  struct orr_id id = world_submit(&w, def);
  world_ok(&w, id, "a", "1");
  world_ok(&w, id, "b", "2");
  struct orr_task *task = world_find(&w, id, "output!");
  assert_true(task->whole_results);
  assert_int_equal(task->payload.data[0], 2);
  world_ok(&w, id, "output!", "{\"sum\":3}");
  check_run(&w, id, "a:succeeded b:succeeded | succeeded");
  check_output(&w, id, "{\"sum\":3}");
  id = world_submit(&w, def);
  world_ok(&w, id, "a", "1");
  world_ok(&w, id, "b", "2");
  world_error(&w, id, "output!");
  check_run(&w, id, "a:succeeded b:succeeded | failed");
  check_error(&w, id, "{\"message\":\"boom\",\"code\":\"boom\"}");
  orr_def_unref(def);
  world_close(&w);
}

static void retries_follow_the_policy_and_the_delay_is_journalled(void **state) {
  (void)state;
  struct world w;
  world_open(&w, 10);
  struct orr_def *def = world_def("a [retry=3,delay=1000,backoff=2000]");
  struct orr_id id = world_submit(&w, def);
  world_error(&w, id, "a");
  check_run(&w, id, "a:retrying | waiting");
  assert_int_equal(world_run(&w, id)->units[0].until_ms, w.now.wall_ms + 1000);
  assert_true(world_reason(&w, id, ORR_REASON_RETRY));
  world_advance(&w, 999);
  assert_null(world_find(&w, id, "a"));
  world_advance(&w, 1);
  assert_int_equal(world_find(&w, id, "a")->attempt, 2);
  check_run(&w, id, "a:running | running");
  world_error(&w, id, "a");
  world_advance(&w, 1999);
  assert_null(world_find(&w, id, "a"));
  world_advance(&w, 1);
  world_error(&w, id, "a");
  check_run(&w, id, "a:failed | failed");
  assert_int_equal(world_run(&w, id)->units[0].attempts, 3);
  orr_def_unref(def);
  world_close(&w);
}

static void a_failure_may_ask_for_a_longer_delay_than_the_policys(void **state) {
  (void)state;
  struct world w;
  world_open(&w, 10);
  struct orr_def *def = world_def("a [retry=4,delay=1000]");
  struct orr_id id = world_submit(&w, def);
  const uint64_t asked_ms[] = {500, 7000, 1u << 30}, want_ms[] = {1000, 7000, ORR_RETRY_AFTER_MS_MAX};
  for (int i = 0; i < 3; i++) {
    struct orr_task *task = world_take_task(&w, id, "a");
    task->retryable = true;
    task->retry_after_ms = asked_ms[i];
    world_result(&w, task, ORR_OUTCOME_ERROR, "{\"message\":\"later\"}");
    check_run(&w, id, "a:retrying | waiting");
    assert_int_equal(world_run(&w, id)->units[0].until_ms, w.now.wall_ms + (int64_t)want_ms[i]);
    world_crash(&w, true, false);
    world_advance(&w, want_ms[i] - 1);
    assert_null(world_find(&w, id, "a"));
    world_advance(&w, 1);
  }
  orr_def_unref(def);
  world_close(&w);
}

static void jitter_is_drawn_once_and_survives_a_crash(void **state) {
  (void)state;
  struct world w;
  world_open(&w, 10);
  struct orr_def *def = world_def("a [retry=3,delay=10000,jitter]");
  struct orr_id id = world_submit(&w, def);
  world_error(&w, id, "a");
  int64_t until_ms = world_run(&w, id)->units[0].until_ms;
  assert_in_range(until_ms - w.now.wall_ms, 5000, 10000);
  world_crash(&w, true, false);
  assert_int_equal(world_run(&w, id)->units[0].until_ms, until_ms);
  world_advance(&w, (uint64_t)(until_ms - w.now.wall_ms) - 1);
  assert_null(world_find(&w, id, "a"));
  world_advance(&w, 1);
  assert_non_null(world_find(&w, id, "a"));
  orr_def_unref(def);
  world_close(&w);
}

static void an_error_that_is_not_retryable_is_final(void **state) {
  (void)state;
  struct world w;
  world_open(&w, 10);
  struct orr_def *def = world_def("a [retry=5]");
  struct orr_id id = world_submit(&w, def);
  world_result(&w, world_take_task(&w, id, "a"), ORR_OUTCOME_ERROR, "{\"message\":\"no\"}");
  check_run(&w, id, "a:failed | failed");
  orr_def_unref(def);
  world_close(&w);
}

static void a_slow_attempt_is_aborted_then_given_up_and_its_result_is_late(void **state) {
  (void)state;
  struct world w;
  world_open(&w, 10);
  struct orr_def *def = world_def("a [timeout=100,retry=2,delay=50]");
  struct orr_id id = world_submit(&w, def);
  world_advance(&w, 100);
  check_text_at(orr_buf_slice(&w.log), "abort:timeout ", __FILE__, __LINE__);
  check_run(&w, id, "a:running | running");
  struct orr_task *slow = world_take_task(&w, id, "a");
  world_advance(&w, 1000);
  check_run(&w, id, "a:retrying | waiting");
  assert_int_equal(orr_engine_in_flight(w.engine), 0);
  world_advance(&w, 50);
  check_run(&w, id, "a:running | running");
  uint32_t facts = world_run(&w, id)->facts;
  world_result(&w, slow, ORR_OUTCOME_OK, "1");
  assert_int_equal(world_run(&w, id)->facts, facts + 1);
  check_run(&w, id, "a:running | running");
  world_result(&w, world_take_task(&w, id, "a"), ORR_OUTCOME_TIMEOUT, NULL);
  check_run(&w, id, "a:failed | failed");
  orr_def_unref(def);
  world_close(&w);
}

static void slots_bound_what_is_in_flight_and_priority_goes_first(void **state) {
  (void)state;
  struct world w;
  world_open(&w, 1);
  struct orr_def *def = world_def("a; b; c [priority=9]");
  struct orr_id id = world_submit(&w, def);
  check_run(&w, id, "c:running | running");
  assert_true(world_reason(&w, id, ORR_REASON_WORKER_SLOTS));
  world_ok(&w, id, "c", "1");
  check_run(&w, id, "a:running c:succeeded | running");
  struct orr_event *event = orr_event_new(ORR_EVENT_SLOTS);
  event->slots.slots = 2;
  world_apply(&w, event);
  check_run(&w, id, "a:running b:running c:succeeded | running");
  orr_def_unref(def);
  world_close(&w);
}

static void a_constant_sleep_needs_no_worker(void **state) {
  (void)state;
  struct world w;
  world_open(&w, 10);
  struct orr_def *def = world_def("z [sleep=5000]; b<z");
  struct orr_id id = world_submit(&w, def);
  check_run(&w, id, "z:waiting | waiting");
  assert_int_equal(w.dispatched, 0);
  world_advance(&w, 4999);
  check_run(&w, id, "z:waiting | waiting");
  world_advance(&w, 1);
  check_run(&w, id, "z:succeeded b:running | running");
  world_ok(&w, id, "b", "1");
  check_run(&w, id, "z:succeeded b:succeeded | succeeded");
  orr_def_unref(def);
  world_close(&w);
}

static void a_sleep_with_a_condition_asks_the_worker_first(void **state) {
  (void)state;
  struct world w;
  world_open(&w, 10);
  struct orr_def *def = world_def("z [sleep=5000,when]");
  struct orr_id id = world_submit(&w, def);
  struct orr_task *task = world_take_task(&w, id, "z");
  task->until_ms = w.now.wall_ms + 70;
  task->when_true = true;
  world_result(&w, task, ORR_OUTCOME_SLEEP, NULL);
  check_run(&w, id, "z:waiting | waiting");
  world_advance(&w, 70);
  check_run(&w, id, "z:succeeded | succeeded");
  check_output(&w, id, "null");
  orr_def_unref(def);
  world_close(&w);
}

static void state_is_kept_of_succeeded_attempts_only(void **state) {
  (void)state;
  struct world w;
  world_open(&w, 10);
  struct orr_def *def = world_def("a [retry=2]; b<a");
  struct orr_id id = world_submit(&w, def);
  orr_buf_text(&world_find(&w, id, "a")->state, "{\"lost\":1}");
  world_error(&w, id, "a");
  world_advance(&w, 1);
  orr_buf_text(&world_find(&w, id, "a")->state, "{\"x\":1,\"y\":[2]}");
  world_ok(&w, id, "a", "1");
  orr_buf_text(&world_find(&w, id, "b")->state, "{\"x\":\"new\",\"y\":null,\"z\":3}");
  world_ok(&w, id, "b", "1");
  check_text_at(orr_buf_slice(&world_run(&w, id)->state), "{\"x\":\"new\",\"z\":3}", __FILE__,
                __LINE__);
  orr_def_unref(def);
  world_close(&w);
}

static void a_result_with_a_cache_key_gives_a_cache_row(void **state) {
  (void)state;
  struct world w;
  world_open(&w, 10);
  struct orr_def *def = world_def("a");
  struct orr_id id = world_submit(&w, def);
  struct orr_task *task = world_find(&w, id, "a");
  orr_buf_text(&task->cache_key, "k");
  task->cache_ttl_ms = 500;
  world_ok(&w, id, "a", "42");
  check_text_at(orr_buf_slice(&w.cached), "42", __FILE__, __LINE__);
  assert_int_equal(w.cache_row.expires_ms, w.now.wall_ms + 500);
  orr_def_unref(def);
  world_close(&w);
}

static void hooks_run_after_the_outcome_and_do_not_delay_the_end(void **state) {
  (void)state;
  struct world w;
  world_open(&w, 10);
  struct orr_def *def = world_def("a [on_success,on_retry,on_failure,retry=2]");
  struct orr_id id = world_submit(&w, def);
  world_error(&w, id, "a");
  assert_int_equal(world_find(&w, id, "hook:a")->hook, ORR_HOOK_RETRY);
  world_ok(&w, id, "hook:a", "null");
  world_advance(&w, 1);
  world_ok(&w, id, "a", "1");
  check_run(&w, id, "a:succeeded | succeeded");
  assert_int_equal(world_find(&w, id, "hook:a")->hook, ORR_HOOK_SUCCESS);
  world_gather(&w);
  assert_non_null(orr_engine_next_run(w.engine, NULL)); // stays until its hook is back
  world_error(&w, id, "hook:a");
  assert_null(orr_engine_next_run(w.engine, NULL));
  orr_def_unref(def);
  world_close(&w);
}

static void doubled_results_change_nothing(void **state) {
  (void)state;
  struct world w;
  world_open(&w, 10);
  struct orr_def *def = world_def("a; b<a");
  struct orr_id id = world_submit(&w, def);
  struct orr_task *twin = orr_task_new();
  struct orr_task *task = world_find(&w, id, "a");
  twin->serial = task->serial;
  twin->run_handle = task->run_handle;
  twin->attempt = task->attempt;
  world_ok(&w, id, "a", "1");
  world_result(&w, twin, ORR_OUTCOME_ERROR, "{}");
  check_run(&w, id, "a:succeeded b:running | running");
  orr_def_unref(def);
  world_close(&w);
}

static void a_notice_tells_watchers_of_every_change(void **state) {
  (void)state;
  struct world w;
  world_open(&w, 10);
  struct orr_def *def = world_def("a");
  struct orr_event *event = world_submit_event(def, "{}", 1);
  event->submit.watch = true;
  world_apply(&w, event);
  struct orr_id id = w.reply->ids[0];
  orr_buf_clear(&w.log);
  world_ok(&w, id, "a", "1");
  check_text_at(orr_buf_slice(&w.log), "notice:1/1 notice:1/1 ", __FILE__, __LINE__);
  orr_def_unref(def);
  world_close(&w);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_step_runs_and_its_output_is_the_runs_output),
      cmocka_unit_test(steps_wait_for_their_dependencies),
      cmocka_unit_test(the_outputs_of_direct_dependencies_travel_with_a_step),
      cmocka_unit_test(a_failed_step_skips_its_dependants_and_fails_the_run_at_the_end),
      cmocka_unit_test(several_sinks_give_an_object_without_the_skipped_ones),
      cmocka_unit_test(an_output_function_is_a_task_with_the_whole_results),
      cmocka_unit_test(retries_follow_the_policy_and_the_delay_is_journalled),
      cmocka_unit_test(a_failure_may_ask_for_a_longer_delay_than_the_policys),
      cmocka_unit_test(jitter_is_drawn_once_and_survives_a_crash),
      cmocka_unit_test(an_error_that_is_not_retryable_is_final),
      cmocka_unit_test(a_slow_attempt_is_aborted_then_given_up_and_its_result_is_late),
      cmocka_unit_test(slots_bound_what_is_in_flight_and_priority_goes_first),
      cmocka_unit_test(a_constant_sleep_needs_no_worker),
      cmocka_unit_test(a_sleep_with_a_condition_asks_the_worker_first),
      cmocka_unit_test(state_is_kept_of_succeeded_attempts_only),
      cmocka_unit_test(a_result_with_a_cache_key_gives_a_cache_row),
      cmocka_unit_test(hooks_run_after_the_outcome_and_do_not_delay_the_end),
      cmocka_unit_test(doubled_results_change_nothing),
      cmocka_unit_test(a_notice_tells_watchers_of_every_change),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
