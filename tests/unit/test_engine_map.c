// SPDX-License-Identifier: MIT
// Maps and child runs: expansion, windows, joins, failures; parents and children in every order.
#include "engine_world.h"

static void a_map_joins_its_outputs_in_the_order_of_the_items(void **state) {
  (void)state;
  struct world w;
  world_open(&w, 10);
  struct orr_def *def = world_def("a; m<a [map]; z<m");
  struct orr_id id = world_submit(&w, def);
  world_ok(&w, id, "a", "1");
  assert_int_equal(world_find(&w, id, "m")->op, ORR_OP_EXPAND);
  world_expand(&w, id, "m", 3);
  check_run(&w, id, "a:succeeded m:running | running");
  world_ok(&w, id, "m#3", "\"three\"");
  world_ok(&w, id, "m#1", "\"one\"");
  world_ok(&w, id, "m#2", "\"two\"");
  check_run(&w, id, "a:succeeded m:succeeded z:running | running");
  world_ok(&w, id, "z", "1");
  check_run(&w, id, "a:succeeded m:succeeded z:succeeded | succeeded");
  struct orr_run *run = world_run(&w, id);
  check_text_at(orr_run_bytes(run, run->units[1].value), "[\"one\",\"two\",\"three\"]", __FILE__,
                __LINE__);
  orr_def_unref(def);
  world_close(&w);
}

static void an_item_travels_with_small_results_only(void **state) {
  (void)state;
  struct world w;
  world_open(&w, 10);
  struct orr_def *def = world_def("a; b; m<a,b [map]");
  struct orr_id id = world_submit(&w, def);
  char big[400];
  memset(big, '1', sizeof(big) - 1);
  big[sizeof(big) - 1] = '\0';
  world_ok(&w, id, "a", big);
  world_ok(&w, id, "b", "2");
  assert_int_equal(world_find(&w, id, "m")->payload.data[0], 2);
  world_expand(&w, id, "m", 1);
  struct orr_reader reader = orr_reader_of(orr_buf_slice(&world_find(&w, id, "m#1")->payload));
  assert_int_equal(orr_read_varint(&reader), 1);
  assert_int_equal(orr_read_varint(&reader), 1); // b
  assert_int_equal(orr_read_u8(&reader), ORR_STEP_STATUS_SUCCEEDED);
  check_text_at(orr_read_bytes(&reader), "2", __FILE__, __LINE__);
  check_text_at(orr_read_bytes(&reader), "1", __FILE__, __LINE__); // the item
  orr_def_unref(def);
  world_close(&w);
}

static void a_map_over_nothing_gives_an_empty_list(void **state) {
  (void)state;
  struct world w;
  world_open(&w, 10);
  struct orr_def *def = world_def("m [map]");
  struct orr_id id = world_submit(&w, def);
  world_expand(&w, id, "m", 0);
  check_run(&w, id, "m:succeeded | succeeded");
  check_output(&w, id, "[]");
  orr_def_unref(def);
  world_close(&w);
}

static void parallel_bounds_the_open_items_and_items_retry_singly(void **state) {
  (void)state;
  struct world w;
  world_open(&w, 100);
  struct orr_def *def = world_def("m [map,parallel=2,retry=2,delay=10]");
  struct orr_id id = world_submit(&w, def);
  world_expand(&w, id, "m", 4);
  assert_non_null(world_find(&w, id, "m#2"));
  assert_null(world_find(&w, id, "m#3"));
  assert_true(world_reason(&w, id, ORR_REASON_PARALLEL));
  world_error(&w, id, "m#1"); // keeps its place while it waits
  assert_null(world_find(&w, id, "m#3"));
  world_ok(&w, id, "m#2", "2");
  world_ok(&w, id, "m#3", "3");
  world_ok(&w, id, "m#4", "4");
  check_run(&w, id, "m:running | waiting");
  world_advance(&w, 10);
  assert_int_equal(world_find(&w, id, "m#1")->attempt, 2);
  world_ok(&w, id, "m#1", "1");
  check_output(&w, id, "[1,2,3,4]");
  orr_def_unref(def);
  world_close(&w);
}

static void the_first_final_failure_starts_no_new_items(void **state) {
  (void)state;
  struct world w;
  world_open(&w, 100);
  struct orr_def *def = world_def("m [map,parallel=2]; z<m");
  struct orr_id id = world_submit(&w, def);
  world_expand(&w, id, "m", 5);
  world_error(&w, id, "m#2");
  check_run(&w, id, "m:running | running");
  assert_null(world_find(&w, id, "m#3"));
  world_ok(&w, id, "m#1", "1");
  check_run(&w, id, "m:failed z:skipped | failed");
  check_error(&w, id, "{\"step\":\"m\",\"item\":2,\"message\":\"boom\",\"code\":\"boom\"}");
  assert_int_equal(orr_run_unit(world_run(&w, id), 0, 5)->status, ORR_STEP_STATUS_SKIPPED);
  orr_def_unref(def);
  world_close(&w);
}

static void items_that_were_only_queued_do_not_start_after_a_failure(void **state) {
  (void)state;
  struct world w;
  world_open(&w, 2);
  struct orr_def *def = world_def("m [map]");
  struct orr_id id = world_submit(&w, def);
  world_expand(&w, id, "m", 5); // all are ready; two are in flight
  world_error(&w, id, "m#1");
  assert_null(world_find(&w, id, "m#3"));
  world_ok(&w, id, "m#2", "2");
  check_run(&w, id, "m:failed | failed");
  assert_int_equal(w.dispatched, 3);
  orr_def_unref(def);
  world_close(&w);
}

static void what_follows_a_failed_map_starts_in_the_same_turn(void **state) {
  (void)state;
  struct world w;
  world_open(&w, 1);
  struct orr_def *def = world_def("m [map]; z<m [rule=all_done]");
  struct orr_id id = world_submit(&w, def);
  world_expand(&w, id, "m", 3);
  world_error(&w, id, "m#1"); // the queued items are dropped, which ends the map
  check_run(&w, id, "m:failed z:running | running");
  orr_def_unref(def);
  world_close(&w);
}

static void cancel_and_pause_reach_items(void **state) {
  (void)state;
  struct world w;
  world_open(&w, 3);
  struct orr_def *def = world_def("m [map]");
  struct orr_id id = world_submit(&w, def);
  world_expand(&w, id, "m", 6);
  world_control(&w, ORR_EVENT_PAUSE, id);
  world_ok(&w, id, "m#1", "1");
  assert_null(world_find(&w, id, "m#4"));
  world_control(&w, ORR_EVENT_RESUME, id);
  assert_non_null(world_find(&w, id, "m#4"));
  world_control(&w, ORR_EVENT_CANCEL, id);
  world_ok(&w, id, "m#2", "2"); // it was faster than the abort
  world_result(&w, world_take_task(&w, id, "m#3"), ORR_OUTCOME_CANCELLED, NULL);
  world_result(&w, world_take_task(&w, id, "m#4"), ORR_OUTCOME_CANCELLED, NULL);
  check_run(&w, id, "m:cancelled | cancelled");
  assert_int_equal(orr_run_unit(world_run(&w, id), 0, 2)->status, ORR_STEP_STATUS_SUCCEEDED);
  assert_int_equal(orr_run_unit(world_run(&w, id), 0, 6)->status, ORR_STEP_STATUS_CANCELLED);
  orr_def_unref(def);
  world_close(&w);
}

static void a_map_in_its_middle_is_recovered(void **state) {
  (void)state;
  struct world w;
  world_open(&w, 100);
  struct orr_def *def = world_def("m [map,parallel=3,retry=2,delay=10]");
  struct orr_id id = world_submit(&w, def);
  world_expand(&w, id, "m", 5);
  world_ok(&w, id, "m#2", "2");
  world_error(&w, id, "m#3");
  world_crash(&w, true, false);
  assert_int_equal(world_find(&w, id, "m#1")->attempt, 2);
  assert_int_equal(world_find(&w, id, "m#4")->attempt, 2);
  assert_null(world_find(&w, id, "m#5")); // 1, 4 and the retrying 3 are open
  world_ok(&w, id, "m#1", "1");
  world_ok(&w, id, "m#4", "4");
  assert_int_equal(world_find(&w, id, "m#5")->attempt, 1);
  world_ok(&w, id, "m#5", "5");
  world_advance(&w, 10);
  world_ok(&w, id, "m#3", "3");
  check_output(&w, id, "[1,2,3,4,5]");
  orr_def_unref(def);
  world_close(&w);
}

static void a_wide_map_finishes(void **state) {
  (void)state;
  struct world w;
  world_open(&w, 500);
  w.unchecked = true;
  struct orr_def *def = world_def("m [map]");
  struct orr_id id = world_submit(&w, def);
  world_expand(&w, id, "m", 10000);
  while (w.tasks_len > 0) {
    assert_true(w.tasks_len <= 500);
    world_result(&w, w.tasks[--w.tasks_len], ORR_OUTCOME_OK, "1");
  }
  assert_int_equal(world_run(&w, id)->status, ORR_RUN_SUCCEEDED);
  assert_int_equal(world_run(&w, id)->output.len, 2 * 10000 + 1);
  orr_engine_check(w.engine);
  orr_def_unref(def);
  world_close(&w);
}

// --- children ------------------------------------------------------------------------------------

static struct orr_id start_child(struct world *w, struct orr_id parent, const char *step,
                                 struct orr_def *def) {
  struct orr_task *task = world_take_task(w, parent, step);
  task->child_def = orr_def_ref(def);
  world_result(w, task, ORR_OUTCOME_CHILD, "{\"n\":1}");
  for (struct orr_run *run = orr_engine_next_run(w->engine, NULL); run != NULL;
       run = orr_engine_next_run(w->engine, run))
    if (orr_id_compare(&run->parent, &parent) == 0 && !orr_run_status_final(run->status))
      return run->id;
  fail_msg("no child run");
  return parent;
}

static void the_output_of_a_child_is_the_steps_output(void **state) {
  (void)state;
  struct world w;
  world_open(&w, 10);
  struct orr_def *def = world_def("p [child]; z<p"), *child_def = world_def("c");
  struct orr_id id = world_submit(&w, def);
  struct orr_id child = start_child(&w, id, "p", child_def);
  check_run(&w, id, "p:waiting | waiting");
  assert_true(world_reason(&w, id, ORR_REASON_CHILD));
  check_text_at(orr_blob_slice(world_run(&w, child)->input), "{\"n\":1}", __FILE__, __LINE__);
  world_ok(&w, child, "c", "\"out\"");
  check_run(&w, id, "p:succeeded z:running | running");
  struct orr_run *run = world_run(&w, id);
  check_text_at(orr_run_bytes(run, run->units[0].value), "\"out\"", __FILE__, __LINE__);
  orr_def_unref(def);
  orr_def_unref(child_def);
  world_close(&w);
}

static void a_failed_child_is_retried_as_a_new_one(void **state) {
  (void)state;
  struct world w;
  world_open(&w, 10);
  struct orr_def *def = world_def("p [child,retry=2]"), *child_def = world_def("c");
  struct orr_id id = world_submit(&w, def);
  struct orr_id first = start_child(&w, id, "p", child_def);
  world_error(&w, first, "c");
  check_run(&w, id, "p:retrying | waiting");
  world_advance(&w, 1);
  struct orr_id second = start_child(&w, id, "p", child_def);
  assert_int_not_equal(orr_id_compare(&first, &second), 0);
  world_error(&w, second, "c");
  check_run(&w, id, "p:failed | failed");
  struct orr_slice code;
  struct orr_run *run = world_run(&w, id);
  assert_int_equal(
      orr_json_path(orr_run_bytes(run, run->error), ORR_SLICE_LITERAL("code"), &code), ORR_OK);
  check_text_at(code, "\"child_failed\"", __FILE__, __LINE__);
  orr_def_unref(def);
  orr_def_unref(child_def);
  world_close(&w);
}

static void a_child_without_wait_leaves_its_id(void **state) {
  (void)state;
  struct world w;
  world_open(&w, 10);
  struct orr_def *def = world_def("p [child,no_wait]"), *child_def = world_def("c");
  struct orr_id id = world_submit(&w, def);
  struct orr_id child = start_child(&w, id, "p", child_def);
  check_run(&w, id, "p:succeeded | succeeded");
  char text[ORR_ID_TEXT + 1], expected[64];
  orr_id_text(&child, text);
  snprintf(expected, sizeof(expected), "{\"run\":\"%s\"}", text);
  check_output(&w, id, expected);
  world_error(&w, child, "c");
  check_run(&w, id, "p:succeeded | succeeded");
  orr_def_unref(def);
  orr_def_unref(child_def);
  world_close(&w);
}

static void a_cancel_reaches_children_and_waits_for_them(void **state) {
  (void)state;
  struct world w;
  world_open(&w, 10);
  struct orr_def *def = world_def("p [child]"), *child_def = world_def("c");
  struct orr_id id = world_submit(&w, def);
  struct orr_id child = start_child(&w, id, "p", def);
  struct orr_id grandchild = start_child(&w, child, "p", child_def);
  world_control(&w, ORR_EVENT_CANCEL, id);
  check_run(&w, id, "p:waiting | waiting");
  check_run(&w, grandchild, "c:running | running");
  world_result(&w, world_take_task(&w, grandchild, "c"), ORR_OUTCOME_CANCELLED, NULL);
  check_run(&w, grandchild, "c:cancelled | cancelled");
  check_run(&w, child, "p:cancelled | cancelled");
  check_run(&w, id, "p:cancelled | cancelled");
  orr_def_unref(def);
  orr_def_unref(child_def);
  world_close(&w);
}

static void parent_and_child_find_each_other_in_any_order_of_recovery(void **state) {
  (void)state;
  for (int backwards = 0; backwards < 2; backwards++) {
    struct world w;
    world_open(&w, 10);
    struct orr_def *def = world_def("p [child]"), *child_def = world_def("c");
    struct orr_id id = world_submit(&w, def);
    struct orr_id child = start_child(&w, id, "p", child_def);
    world_crash(&w, true, backwards != 0);
    check_run(&w, id, "p:waiting | waiting");
    world_ok(&w, child, "c", "5");
    check_run(&w, id, "p:succeeded | succeeded");
    check_output(&w, id, "5");
    orr_def_unref(def);
    orr_def_unref(child_def);
    world_close(&w);
  }
}

static void children_nest_only_so_deep(void **state) {
  (void)state;
  struct world w;
  world_open(&w, 10);
  struct orr_def *def = world_def("p [child]");
  struct orr_id id = world_submit(&w, def), top = id;
  for (uint32_t i = 0; i < ORR_CHILD_DEPTH_MAX; i++) id = start_child(&w, id, "p", def);
  struct orr_task *task = world_take_task(&w, id, "p");
  task->child_def = orr_def_ref(def);
  world_result(&w, task, ORR_OUTCOME_CHILD, "{}");
  check_run(&w, id, "p:failed | failed");
  check_run(&w, top, "p:failed | failed");
  orr_def_unref(def);
  world_close(&w);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_map_joins_its_outputs_in_the_order_of_the_items),
      cmocka_unit_test(an_item_travels_with_small_results_only),
      cmocka_unit_test(a_map_over_nothing_gives_an_empty_list),
      cmocka_unit_test(parallel_bounds_the_open_items_and_items_retry_singly),
      cmocka_unit_test(the_first_final_failure_starts_no_new_items),
      cmocka_unit_test(items_that_were_only_queued_do_not_start_after_a_failure),
      cmocka_unit_test(what_follows_a_failed_map_starts_in_the_same_turn),
      cmocka_unit_test(cancel_and_pause_reach_items),
      cmocka_unit_test(a_map_in_its_middle_is_recovered),
      cmocka_unit_test(a_wide_map_finishes),
      cmocka_unit_test(the_output_of_a_child_is_the_steps_output),
      cmocka_unit_test(a_failed_child_is_retried_as_a_new_one),
      cmocka_unit_test(a_child_without_wait_leaves_its_id),
      cmocka_unit_test(a_cancel_reaches_children_and_waits_for_them),
      cmocka_unit_test(parent_and_child_find_each_other_in_any_order_of_recovery),
      cmocka_unit_test(children_nest_only_so_deep),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
