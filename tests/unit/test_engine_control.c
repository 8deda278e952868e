// SPDX-License-Identifier: MIT
// Cancel, pause, resume, undo, timeouts of runs, idempotency, back-pressure, lists.
#include "engine_world.h"

static void after_a_cancel_nothing_new_starts(void **state) {
  (void)state;
  struct world w;
  world_open(&w, 1);
  struct orr_def *def = world_def("a; b; c<a");
  struct orr_id id = world_submit(&w, def);
  assert_int_equal(world_control(&w, ORR_EVENT_CANCEL, id), ORR_OK);
  check_text_at(orr_buf_slice(&w.log), "abort:cancel ", __FILE__, __LINE__);
  check_run(&w, id, "a:running | running");
  assert_true(world_reason(&w, id, ORR_REASON_CANCELLING));
  world_result(&w, world_take_task(&w, id, "a"), ORR_OUTCOME_CANCELLED, NULL);
  check_run(&w, id, "a:cancelled b:cancelled c:cancelled | cancelled");
  check_error(&w, id, "{\"message\":\"asked by a test\",\"code\":\"cancelled\"}");
  assert_int_equal(w.dispatched, 1);
  assert_int_equal(world_control(&w, ORR_EVENT_CANCEL, id), ORR_ERR_CONFLICT);
  struct orr_id unknown = {{1}};
  assert_int_equal(world_control(&w, ORR_EVENT_CANCEL, unknown), ORR_ERR_NOT_FOUND);
  orr_def_unref(def);
  world_close(&w);
}

static void an_attempt_that_ignores_a_cancel_is_given_up_after_its_grace(void **state) {
  (void)state;
  struct world w;
  world_open(&w, 10);
  struct orr_def *def = world_def("a [retry=5]");
  struct orr_id id = world_submit(&w, def);
  world_control(&w, ORR_EVENT_CANCEL, id);
  world_advance(&w, 999);
  check_run(&w, id, "a:running | running");
  world_advance(&w, 1);
  check_run(&w, id, "a:cancelled | cancelled");
  world_gather(&w);
  world_ok(&w, id, "a", "1"); // the run is gone: dropped
  orr_def_unref(def);
  world_close(&w);
}

static void a_cancel_ends_waits_at_once(void **state) {
  (void)state;
  struct world w;
  world_open(&w, 10);
  struct orr_def *def = world_def("z [sleep=100000]; b<z");
  struct orr_id id = world_submit(&w, def);
  world_control(&w, ORR_EVENT_CANCEL, id);
  check_run(&w, id, "z:cancelled b:cancelled | cancelled");
  assert_true(orr_engine_next_deadline(w.engine) == ORR_WHEEL_NEVER);
  orr_def_unref(def);
  world_close(&w);
}

static void undo_runs_the_last_finished_first_and_retries(void **state) {
  (void)state;
  struct world w;
  world_open(&w, 10);
  struct orr_def *def = world_def("a [undo,retry=2,delay=10]; b [undo]; c [undo]; d<a,b");
  struct orr_id id = world_submit(&w, def);
  world_ok(&w, id, "b", "\"B\"");
  world_ok(&w, id, "a", "\"A\"");
  world_error(&w, id, "d");
  assert_null(world_find(&w, id, "undo:a")); // c still runs
  world_error(&w, id, "c");
  assert_null(world_find(&w, id, "undo:b"));
  assert_true(world_reason(&w, id, ORR_REASON_UNDOING));
  struct orr_slice payload = orr_buf_slice(&world_find(&w, id, "undo:a")->payload);
  assert_memory_equal(payload.data + payload.len - 3, "\"A\"", 3);
  world_error(&w, id, "undo:a");
  assert_null(world_find(&w, id, "undo:a"));
  world_advance(&w, 10);
  assert_int_equal(world_find(&w, id, "undo:a")->attempt, 2);
  world_ok(&w, id, "undo:a", "null");
  world_error(&w, id, "undo:b"); // recorded, and the end comes
  check_run(&w, id, "a:succeeded b:succeeded c:failed d:failed | failed");
  assert_true(world_run(&w, id)->units[0].flags & ORR_UNIT_UNDONE);
  orr_def_unref(def);
  world_close(&w);
}

static void a_crash_during_undo_begins_the_step_in_turn_anew(void **state) {
  (void)state;
  struct world w;
  world_open(&w, 10);
  struct orr_def *def = world_def("a [undo]; b<a [undo]; c<b");
  struct orr_id id = world_submit(&w, def);
  world_ok(&w, id, "a", "1");
  world_ok(&w, id, "b", "1");
  world_control(&w, ORR_EVENT_CANCEL, id);
  world_result(&w, world_take_task(&w, id, "c"), ORR_OUTCOME_CANCELLED, NULL);
  world_ok(&w, id, "undo:b", "null");
  world_crash(&w, true, false);
  assert_null(world_find(&w, id, "undo:b"));
  world_ok(&w, id, "undo:a", "null");
  check_run(&w, id, "a:succeeded b:succeeded c:cancelled | cancelled");
  orr_def_unref(def);
  world_close(&w);
}

static void a_run_past_its_timeout_fails_with_that_code(void **state) {
  (void)state;
  struct world w;
  world_open(&w, 10);
  struct orr_def *def = world_def("{timeout=1000} a; z [sleep=5000]");
  struct orr_id id = world_submit(&w, def);
  world_advance(&w, 1000);
  world_result(&w, world_take_task(&w, id, "a"), ORR_OUTCOME_CANCELLED, NULL);
  check_run(&w, id, "a:cancelled z:cancelled | failed");
  check_error(&w, id,
              "{\"message\":\"the run took longer than its timeout\",\"code\":\"timeout\"}");
  orr_def_unref(def);
  world_close(&w);
}

static void a_paused_run_records_results_and_starts_nothing(void **state) {
  (void)state;
  struct world w;
  world_open(&w, 10);
  struct orr_def *def = world_def("a; b<a; z [sleep=100]; c<z; r [retry=2,delay=50]");
  struct orr_id id = world_submit(&w, def);
  world_error(&w, id, "r");
  assert_int_equal(world_control(&w, ORR_EVENT_PAUSE, id), ORR_OK);
  uint32_t facts = world_run(&w, id)->facts;
  assert_int_equal(world_control(&w, ORR_EVENT_PAUSE, id), ORR_OK);
  assert_int_equal(world_run(&w, id)->facts, facts);
  world_ok(&w, id, "a", "1");
  world_advance(&w, 200);
  check_run(&w, id, "a:succeeded z:waiting r:retrying | paused");
  assert_int_equal(w.tasks_len, 0);
  assert_true(world_reason(&w, id, ORR_REASON_PAUSED));
  world_control(&w, ORR_EVENT_RESUME, id);
  check_run(&w, id, "a:succeeded b:running z:succeeded c:running r:running | running");
  world_ok(&w, id, "b", "1");
  world_ok(&w, id, "c", "1");
  world_ok(&w, id, "r", "1");
  assert_int_equal(world_control(&w, ORR_EVENT_PAUSE, id), ORR_ERR_CONFLICT);
  orr_def_unref(def);
  world_close(&w);
}

static void a_unit_that_was_ready_when_its_run_was_paused_waits_for_the_resume(void **state) {
  (void)state;
  struct world w;
  world_open(&w, 1);
  struct orr_def *def = world_def("a; b");
  struct orr_id id = world_submit(&w, def);
  world_control(&w, ORR_EVENT_PAUSE, id);
  world_ok(&w, id, "a", "1");
  check_run(&w, id, "a:succeeded | paused");
  world_control(&w, ORR_EVENT_RESUME, id);
  check_run(&w, id, "a:succeeded b:running | running");
  world_ok(&w, id, "b", "1");
  check_run(&w, id, "a:succeeded b:succeeded | succeeded");
  orr_def_unref(def);
  world_close(&w);
}

static struct orr_event *keyed(struct orr_def *def, const char *key, uint8_t request) {
  struct orr_event *event = world_submit_event(def, "{}", 1);
  event->submit.idempotency_key = orr_blob_new(orr_slice_text(key));
  event->submit.request.bytes[0] = request;
  return event;
}

static void the_same_key_and_request_give_the_same_run(void **state) {
  (void)state;
  struct world w;
  world_open(&w, 10);
  struct orr_def *def = world_def("a");
  world_apply(&w, keyed(def, "k", 1));
  struct orr_id id = w.reply->ids[0];
  assert_int_equal(w.idempotency_rows, 1);
  world_apply(&w, keyed(def, "k", 1));
  assert_true(w.reply->existing);
  assert_int_equal(orr_id_compare(&w.reply->ids[0], &id), 0);
  world_apply(&w, keyed(def, "k", 2));
  assert_int_equal(w.reply->status, ORR_ERR_CONFLICT);
  world_apply(&w, keyed(def, "other", 2));
  assert_false(w.reply->existing);
  w.now.wall_ms += ORR_IDEMPOTENCY_MS;
  world_apply(&w, keyed(def, "k", 2));
  assert_int_equal(w.reply->status, ORR_OK);
  assert_false(w.reply->existing);
  orr_def_unref(def);
  world_close(&w);
}

static void a_stopping_engine_starts_nothing_and_keeps_what_was_given_up_open(void **state) {
  (void)state;
  struct world w;
  world_open(&w, 10);
  struct orr_def *def = world_def("a; b<a");
  struct orr_id id = world_submit(&w, def);
  world_apply(&w, orr_event_new(ORR_EVENT_DRAIN));
  world_apply(&w, world_submit_event(def, "{}", 1));
  assert_int_equal(w.reply->status, ORR_ERR_UNAVAILABLE);
  world_result(&w, world_take_task(&w, id, "a"), ORR_OUTCOME_CANCELLED, NULL);
  check_run(&w, id, "| running");
  world_crash(&w, true, false);
  world_ok(&w, id, "a", "1");
  world_ok(&w, id, "b", "1");
  check_run(&w, id, "a:succeeded b:succeeded | succeeded");
  orr_def_unref(def);
  world_close(&w);
}

static void lists_are_newest_first_and_paged_by_id(void **state) {
  (void)state;
  struct world w;
  world_open(&w, 2);
  struct orr_def *def = world_def("a");
  world_apply(&w, world_submit_event(def, "{}", 5));
  struct orr_id ids[5];
  memcpy(ids, w.reply->ids, sizeof(ids));
  struct orr_event *event = orr_event_new(ORR_EVENT_LIST);
  event->list.limit = 2;
  event->list.status = -1;
  event->list.before = ids[4];
  world_apply(&w, event);
  assert_int_equal(w.reply->runs_len, 2);
  assert_int_equal(orr_id_compare(&w.reply->runs[0].id, &ids[3]), 0);
  assert_int_equal(orr_id_compare(&w.reply->runs[1].id, &ids[2]), 0);
  assert_string_equal(w.reply->runs[0].trigger, "api");
  world_error(&w, ids[0], "a");
  event = orr_event_new(ORR_EVENT_LIST);
  event->list.limit = 50;
  event->list.status = ORR_RUN_FAILED;
  strcpy(event->list.pipeline, "test");
  world_apply(&w, event);
  assert_int_equal(w.reply->runs_len, 1);
  assert_string_equal(w.reply->runs[0].error, "boom");
  orr_def_unref(def);
  world_close(&w);
}

static void a_step_can_fetch_what_did_not_travel(void **state) {
  (void)state;
  struct world w;
  world_open(&w, 2);
  struct orr_def *def = world_def("a; b<a; c<b");
  struct orr_id id = world_submit(&w, def);
  world_ok(&w, id, "a", "[1,2]");
  world_ok(&w, id, "b", "0");
  struct orr_event *event = orr_event_new(ORR_EVENT_FETCH);
  event->fetch.run_handle = world_find(&w, id, "c")->run_handle;
  event->fetch.run_id = id;
  world_apply(&w, event);
  assert_int_equal(w.reply->step_status, ORR_STEP_STATUS_SUCCEEDED);
  check_text_at(orr_blob_slice(w.reply->value), "[1,2]", __FILE__, __LINE__);
  orr_def_unref(def);
  world_close(&w);
}

static void who_awaits_a_run_is_answered_when_it_is_final_and_not_before(void **state) {
  (void)state;
  struct world w;
  world_open(&w, 2);
  struct orr_def *def = world_def("a; b<a");
  struct orr_id id = world_submit(&w, def);
  struct orr_reply *before = w.reply;
  struct orr_event *event = orr_event_new(ORR_EVENT_AWAIT);
  event->get.id = id;
  world_apply(&w, event);
  assert_ptr_equal(w.reply, before);
  world_ok(&w, id, "a", "1");
  assert_ptr_equal(w.reply, before);
  world_ok(&w, id, "b", "2");
  assert_ptr_not_equal(w.reply, before);
  assert_int_equal(w.reply->run_status, ORR_RUN_SUCCEEDED);
  event = orr_event_new(ORR_EVENT_AWAIT); // it is final now: answered at once
  event->get.id = id;
  world_apply(&w, event);
  assert_int_equal(w.reply->run_status, ORR_RUN_SUCCEEDED);
  orr_def_unref(def);
  world_close(&w);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(who_awaits_a_run_is_answered_when_it_is_final_and_not_before),
      cmocka_unit_test(after_a_cancel_nothing_new_starts),
      cmocka_unit_test(an_attempt_that_ignores_a_cancel_is_given_up_after_its_grace),
      cmocka_unit_test(a_cancel_ends_waits_at_once),
      cmocka_unit_test(undo_runs_the_last_finished_first_and_retries),
      cmocka_unit_test(a_crash_during_undo_begins_the_step_in_turn_anew),
      cmocka_unit_test(a_run_past_its_timeout_fails_with_that_code),
      cmocka_unit_test(a_paused_run_records_results_and_starts_nothing),
      cmocka_unit_test(a_unit_that_was_ready_when_its_run_was_paused_waits_for_the_resume),
      cmocka_unit_test(the_same_key_and_request_give_the_same_run),
      cmocka_unit_test(a_stopping_engine_starts_nothing_and_keeps_what_was_given_up_open),
      cmocka_unit_test(lists_are_newest_first_and_paged_by_id),
      cmocka_unit_test(a_step_can_fetch_what_did_not_travel),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
