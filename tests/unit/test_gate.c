// SPDX-License-Identifier: MIT
// Concurrency keys: who is admitted, who waits, and what happens when a key is full.
#include "engine_world.h"

static void runs_beyond_the_limit_wait_in_order(void **state) {
  (void)state;
  struct world w;
  world_open(&w, 10);
  struct orr_def *def = world_def("{concurrency=1} a");
  struct orr_id first = world_submit(&w, def), second = world_submit(&w, def);
  struct orr_id third = world_submit(&w, def);
  check_run(&w, first, "a:running | running");
  check_run(&w, second, "| queued");
  assert_true(world_reason(&w, second, ORR_REASON_CONCURRENCY));
  world_ok(&w, first, "a", "1");
  check_run(&w, second, "a:running | running");
  check_run(&w, third, "| queued");
  world_error(&w, second, "a");
  check_run(&w, third, "a:running | running");
  orr_def_unref(def);
  world_close(&w);
}

static void each_key_has_its_own_limit(void **state) {
  (void)state;
  struct world w;
  world_open(&w, 10);
  struct orr_def *def = world_def("{concurrency=1,key=customer.id} a");
  struct orr_id one = world_submit_input(&w, def, "{\"customer\":{\"id\":1}}");
  struct orr_id again = world_submit_input(&w, def, "{\"customer\":{\"id\":1}}");
  struct orr_id two = world_submit_input(&w, def, "{\"customer\":{\"id\":2}}");
  struct orr_id none = world_submit_input(&w, def, "{}");
  check_run(&w, one, "a:running | running");
  check_run(&w, again, "| queued");
  check_run(&w, two, "a:running | running");
  check_run(&w, none, "a:running | running");
  orr_def_unref(def);
  world_close(&w);
}

static void a_key_function_is_asked_before_admission(void **state) {
  (void)state;
  struct world w;
  world_open(&w, 10);
  struct orr_def *def = world_def("{concurrency=1,key_function} a");
  struct orr_id first = world_submit(&w, def), second = world_submit(&w, def);
  struct orr_id third = world_submit(&w, def);
  assert_true(world_reason(&w, first, ORR_REASON_KEY));
  world_ok(&w, first, "key!", "\"x\"");
  world_ok(&w, second, "key!", "\"x\"");
  check_run(&w, first, "a:running | running");
  check_run(&w, second, "| queued");
  world_error(&w, third, "key!");
  check_run(&w, third, "a:cancelled | failed");
  world_crash(&w, true, false);
  check_run(&w, second, "| queued");
  world_ok(&w, first, "a", "1");
  check_run(&w, second, "a:running | running");
  orr_def_unref(def);
  world_close(&w);
}

static void a_run_is_cancelled_while_its_key_is_asked_for(void **state) {
  (void)state;
  struct world w;
  world_open(&w, 0);
  struct orr_def *def = world_def("{concurrency=1,key_function} a");
  struct orr_id queued = world_submit(&w, def);
  world_control(&w, ORR_EVENT_CANCEL, queued);
  check_run(&w, queued, "a:cancelled | cancelled");
  world_gather(&w);
  assert_non_null(orr_engine_next_run(w.engine, NULL)); // until its task has left the queue
  struct orr_event *event = orr_event_new(ORR_EVENT_SLOTS);
  event->slots.slots = 1;
  world_apply(&w, event);
  assert_null(orr_engine_next_run(w.engine, NULL));
  assert_int_equal(w.dispatched, 0);
  struct orr_id asked = world_submit(&w, def);
  world_control(&w, ORR_EVENT_CANCEL, asked);
  world_advance(&w, 1000); // the worker does not answer
  check_run(&w, asked, "a:cancelled | cancelled");
  orr_def_unref(def);
  world_close(&w);
}

static void when_full_skip_ends_the_new_run(void **state) {
  (void)state;
  struct world w;
  world_open(&w, 10);
  struct orr_def *def = world_def("{concurrency=1,when_full=skip} a");
  struct orr_id first = world_submit(&w, def), second = world_submit(&w, def);
  check_run(&w, second, "a:cancelled | cancelled");
  check_error(&w, second,
              "{\"message\":\"another run holds the concurrency key\",\"code\":\"skipped\"}");
  world_ok(&w, first, "a", "1");
  struct orr_id third = world_submit(&w, def);
  check_run(&w, third, "a:running | running");
  orr_def_unref(def);
  world_close(&w);
}

static void when_full_cancel_oldest_makes_room(void **state) {
  (void)state;
  struct world w;
  world_open(&w, 10);
  struct orr_def *def = world_def("{concurrency=1,when_full=cancel_oldest} a");
  struct orr_id first = world_submit(&w, def), second = world_submit(&w, def);
  check_run(&w, second, "| queued"); // until the slot is really free
  struct orr_id third = world_submit(&w, def);
  check_run(&w, second, "a:cancelled | cancelled");
  world_result(&w, world_take_task(&w, first, "a"), ORR_OUTCOME_CANCELLED, NULL);
  check_run(&w, first, "a:cancelled | cancelled");
  check_run(&w, third, "a:running | running");
  orr_def_unref(def);
  world_close(&w);
}

static void waiting_runs_count_unless_only_active_ones_do(void **state) {
  (void)state;
  struct world w;
  world_open(&w, 10);
  struct orr_def *all = world_def("{concurrency=1} z [sleep=100]");
  world_submit(&w, all);
  check_run(&w, world_submit(&w, all), "| queued");
  orr_def_unref(all);
  world_close(&w);
  world_open(&w, 10);
  struct orr_def *active = world_def("{concurrency=1,active} z [sleep=100]; a<z");
  struct orr_id first = world_submit(&w, active), second = world_submit(&w, active);
  check_run(&w, first, "z:waiting | waiting");
  check_run(&w, second, "z:waiting | waiting");
  orr_def_unref(active);
  world_close(&w);
}

static void a_paused_run_in_the_queue_lets_others_pass(void **state) {
  (void)state;
  struct world w;
  world_open(&w, 10);
  struct orr_def *def = world_def("{concurrency=1} a");
  struct orr_id first = world_submit(&w, def), second = world_submit(&w, def);
  struct orr_id third = world_submit(&w, def);
  world_control(&w, ORR_EVENT_PAUSE, second);
  world_ok(&w, first, "a", "1");
  check_run(&w, second, "| paused");
  check_run(&w, third, "a:running | running");
  world_ok(&w, third, "a", "1");
  world_control(&w, ORR_EVENT_RESUME, second);
  check_run(&w, second, "a:running | running");
  orr_def_unref(def);
  world_close(&w);
}

static void holders_and_queue_are_rebuilt_by_recovery_in_any_order(void **state) {
  (void)state;
  for (int backwards = 0; backwards < 2; backwards++) {
    struct world w;
    world_open(&w, 10);
    struct orr_def *def = world_def("{concurrency=1} a");
    struct orr_id first = world_submit(&w, def), second = world_submit(&w, def);
    world_crash(&w, true, backwards != 0);
    check_run(&w, first, "a:running | running");
    check_run(&w, second, "| queued");
    world_ok(&w, first, "a", "1");
    check_run(&w, second, "a:running | running");
    orr_def_unref(def);
    world_close(&w);
  }
}

static void a_child_that_would_wait_for_its_own_ancestor_fails(void **state) {
  (void)state;
  struct world w;
  world_open(&w, 10);
  struct orr_def *def = world_def("{concurrency=1} p [child]");
  struct orr_id id = world_submit(&w, def);
  struct orr_task *task = world_take_task(&w, id, "p");
  task->child_def = orr_def_ref(def);
  world_result(&w, task, ORR_OUTCOME_CHILD, "{}");
  check_run(&w, id, "p:failed | failed");
  struct orr_slice code, error = orr_run_bytes(world_run(&w, id), world_run(&w, id)->error);
  assert_int_equal(orr_json_path(error, ORR_SLICE_LITERAL("child.code"), &code), ORR_OK);
  check_text_at(code, "\"deadlock\"", __FILE__, __LINE__);
  orr_def_unref(def);
  world_close(&w);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(runs_beyond_the_limit_wait_in_order),
      cmocka_unit_test(each_key_has_its_own_limit),
      cmocka_unit_test(a_key_function_is_asked_before_admission),
      cmocka_unit_test(a_run_is_cancelled_while_its_key_is_asked_for),
      cmocka_unit_test(when_full_skip_ends_the_new_run),
      cmocka_unit_test(when_full_cancel_oldest_makes_room),
      cmocka_unit_test(waiting_runs_count_unless_only_active_ones_do),
      cmocka_unit_test(a_paused_run_in_the_queue_lets_others_pass),
      cmocka_unit_test(a_child_that_would_wait_for_its_own_ancestor_fails),
      cmocka_unit_test(holders_and_queue_are_rebuilt_by_recovery_in_any_order),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
