// SPDX-License-Identifier: MIT
// The fold: which facts fit a run, and that a refused one changes nothing.
#include "engine_world.h"

static struct orr_run *created(const char *text) {
  struct orr_def *def = world_def(text);
  struct orr_run *run = orr_run_new(def);
  orr_def_unref(def);
  struct orr_fact fact = {.type = ORR_FACT_CREATED, .at_ms = 1000};
  fact.created.id.bytes[0] = 1;
  fact.created.input = ORR_SLICE_LITERAL("{\"x\":1}");
  assert_int_equal(orr_run_record(run, &fact), ORR_OK);
  return run;
}

static struct orr_fact finished(uint32_t step, uint32_t attempt, enum orr_step_status status) {
  struct orr_fact fact = {.type = ORR_FACT_FINISHED, .at_ms = 2000};
  fact.finished.unit.step = step;
  fact.finished.attempt = attempt;
  fact.finished.status = (uint8_t)status;
  fact.finished.value = ORR_SLICE_LITERAL("1");
  return fact;
}

static void refused(struct orr_run *run, const struct orr_fact *fact) {
  uint64_t before = orr_run_fingerprint(run);
  assert_int_equal(orr_run_record(run, fact), ORR_ERR_CORRUPT);
  assert_true(orr_run_fingerprint(run) == before);
}

static void the_first_fact_is_created_and_it_comes_once(void **state) {
  (void)state;
  struct orr_def *def = world_def("a");
  struct orr_run *run = orr_run_new(def);
  struct orr_fact fact = finished(0, 1, ORR_STEP_STATUS_SUCCEEDED);
  refused(run, &fact);
  orr_run_free(run);
  orr_def_unref(def);
  run = created("a");
  fact = (struct orr_fact){.type = ORR_FACT_CREATED};
  refused(run, &fact);
  orr_run_free(run);
}

static void an_outcome_is_recorded_exactly_once(void **state) {
  (void)state;
  struct orr_run *run = created("a; b<a");
  struct orr_fact fact = finished(0, 1, ORR_STEP_STATUS_SUCCEEDED);
  assert_int_equal(orr_run_record(run, &fact), ORR_OK);
  refused(run, &fact);
  fact = finished(0, 2, ORR_STEP_STATUS_FAILED);
  refused(run, &fact);
  orr_run_free(run);
}

static void facts_that_do_not_fit_are_refused(void **state) {
  (void)state;
  struct orr_run *run = created("a; b<a; m [map]");
  struct orr_fact fact = finished(1, 1, ORR_STEP_STATUS_SUCCEEDED); // its dependency is open
  refused(run, &fact);
  fact = finished(0, 2, ORR_STEP_STATUS_SUCCEEDED); // attempt 1 is missing
  refused(run, &fact);
  fact = finished(0, 1, ORR_STEP_STATUS_RUNNING); // no outcome
  refused(run, &fact);
  fact = finished(9, 1, ORR_STEP_STATUS_SUCCEEDED); // no such step
  refused(run, &fact);
  fact = (struct orr_fact){.type = ORR_FACT_RESUMED};
  refused(run, &fact);
  fact = (struct orr_fact){.type = ORR_FACT_EXPANDED};
  fact.expanded.step = 2;
  fact.expanded.attempt = 1;
  fact.expanded.count = 3;
  fact.expanded.items = ORR_SLICE_LITERAL("\x01" "1"); // one item, not three
  refused(run, &fact);
  fact = (struct orr_fact){.type = ORR_FACT_RUN_FINISHED};
  fact.run_finished.status = ORR_RUN_SUCCEEDED; // steps are open
  refused(run, &fact);
  orr_run_free(run);
}

static void nothing_follows_the_end(void **state) {
  (void)state;
  struct orr_run *run = created("a; b<a");
  struct orr_fact fact = {.type = ORR_FACT_RUN_FINISHED, .at_ms = 3000};
  fact.run_finished.status = ORR_RUN_CANCELLED;
  assert_int_equal(orr_run_record(run, &fact), ORR_OK);
  assert_int_equal(run->units[0].status, ORR_STEP_STATUS_CANCELLED);
  assert_int_equal(run->units[1].status, ORR_STEP_STATUS_CANCELLED);
  assert_int_equal(run->units_open, 0);
  refused(run, &fact);
  fact = (struct orr_fact){.type = ORR_FACT_CANCEL};
  refused(run, &fact);
  orr_run_free(run);
}

static void loading_in_pieces_gives_the_same_run(void **state) {
  (void)state;
  struct orr_run *run = created("a [retry=2]; b<a; c<a [rule=all_failed]");
  struct orr_fact retry = finished(0, 1, ORR_STEP_STATUS_FAILED);
  retry.type = ORR_FACT_RETRY;
  retry.finished.until_ms = 5000;
  assert_int_equal(orr_run_record(run, &retry), ORR_OK);
  struct orr_fact fact = finished(0, 2, ORR_STEP_STATUS_SUCCEEDED);
  fact.finished.state = ORR_SLICE_LITERAL("{\"k\":\"v\"}");
  assert_int_equal(orr_run_record(run, &fact), ORR_OK);
  assert_int_equal(run->units[2].status, ORR_STEP_STATUS_SKIPPED);
  struct orr_reader reader = orr_reader_of(orr_buf_slice(&run->journal));
  struct orr_run *other = orr_run_new(run->def);
  struct orr_fact next;
  for (const uint8_t *from = reader.at; orr_fact_decode(&reader, &next) == ORR_OK; from = reader.at)
    assert_int_equal(orr_run_load(other, orr_slice_of(from, (size_t)(reader.at - from))), ORR_OK);
  assert_true(orr_run_fingerprint(other) == orr_run_fingerprint(run));
  assert_int_equal(other->facts, 3);
  orr_run_free(other);
  orr_run_free(run);
}

static void a_torn_journal_gives_what_was_whole(void **state) {
  (void)state;
  struct orr_run *run = created("a; b<a");
  size_t whole = run->journal.len;
  uint64_t before = orr_run_fingerprint(run);
  struct orr_fact fact = finished(0, 1, ORR_STEP_STATUS_SUCCEEDED);
  assert_int_equal(orr_run_record(run, &fact), ORR_OK);
  for (size_t len = whole + 1; len < run->journal.len; len++) {
    struct orr_run *torn = orr_run_new(run->def);
    assert_int_equal(orr_run_load(torn, orr_slice_of(run->journal.data, len)), ORR_ERR_CORRUPT);
    assert_int_equal(torn->journal.len, whole);
    assert_true(orr_run_fingerprint(torn) == before);
    orr_run_free(torn);
  }
  orr_run_free(run);
}

static void a_rule_waits_until_every_dependency_is_final(void **state) {
  (void)state;
  struct orr_run *run = created("a; b; c<a,b [rule=one_success]");
  struct orr_fact fact = finished(0, 1, ORR_STEP_STATUS_SUCCEEDED);
  assert_int_equal(orr_run_record(run, &fact), ORR_OK);
  assert_int_equal(orr_rule_verdict(run, 2), ORR_VERDICT_WAIT);
  fact = finished(1, 1, ORR_STEP_STATUS_FAILED);
  assert_int_equal(orr_run_record(run, &fact), ORR_OK);
  assert_int_equal(orr_rule_verdict(run, 2), ORR_VERDICT_RUN);
  orr_run_free(run);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(the_first_fact_is_created_and_it_comes_once),
      cmocka_unit_test(an_outcome_is_recorded_exactly_once),
      cmocka_unit_test(facts_that_do_not_fit_are_refused),
      cmocka_unit_test(nothing_follows_the_end),
      cmocka_unit_test(loading_in_pieces_gives_the_same_run),
      cmocka_unit_test(a_torn_journal_gives_what_was_whole),
      cmocka_unit_test(a_rule_waits_until_every_dependency_is_final),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
