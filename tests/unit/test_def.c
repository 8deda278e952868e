// SPDX-License-Identifier: MIT
// Definitions: what the builder refuses and how it says so, the order it finds, the stored form.
#include "core/def.h"
#include "base/rng.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static uint32_t add(struct orr_def_builder *builder, const char *name, const char *after) {
  struct orr_step_def step = {.name = name, .priority = 5, .line = 7};
  uint32_t index = orr_def_builder_step(builder, &step);
  for (const char *at = after; at != NULL && *at != '\0';) {
    size_t len = strcspn(at, " ");
    orr_def_builder_after(builder, index, orr_slice_of(at, len));
    at += len + (at[len] == ' ');
  }
  return index;
}

static struct orr_def_builder *begin(void) {
  struct orr_def_builder *builder = orr_def_builder_new();
  orr_def_builder_head(builder)->name = "etl";
  orr_def_builder_head(builder)->script = "pipelines/etl.lua";
  return builder;
}

static struct orr_def *finish(struct orr_def_builder *builder) {
  struct orr_def *def = NULL;
  struct orr_def_problem problem = {0};
  enum orr_status status = orr_def_builder_finish(builder, &def, &problem);
  if (status != ORR_OK) fail_msg("%s", problem.message);
  return def;
}

static void refused(struct orr_def_builder *builder, const char *code, const char *message,
                    const char *help) {
  struct orr_def *def = NULL;
  struct orr_def_problem problem = {0};
  assert_int_equal(orr_def_builder_finish(builder, &def, &problem), ORR_ERR_INVALID);
  assert_null(def);
  assert_string_equal(problem.message, message);
  assert_string_equal(problem.code, code);
  if (help != NULL) assert_string_equal(problem.help, help);
  else assert_null(problem.help);
  orr_def_builder_free(builder);
}

static void a_definition_knows_dependencies_and_dependants(void **state) {
  (void)state;
  struct orr_def_builder *builder = begin();
  add(builder, "load", "parse fetch parse");
  add(builder, "fetch", NULL);
  add(builder, "parse", "fetch");
  struct orr_def *def = finish(builder);
  uint32_t load = orr_def_step(def, ORR_SLICE_LITERAL("load"));
  uint32_t fetch = orr_def_step(def, ORR_SLICE_LITERAL("fetch"));
  uint32_t parse = orr_def_step(def, ORR_SLICE_LITERAL("parse"));
  assert_int_equal(load, 0);
  assert_int_equal(orr_def_step(def, ORR_SLICE_LITERAL("nobody")), UINT32_MAX);
  assert_int_equal(def->steps[load].after_len, 2); // the double counts once
  assert_int_equal(def->steps[load].after[0], parse);
  assert_int_equal(def->steps[load].after[1], fetch);
  assert_int_equal(def->steps[fetch].next_len, 2);
  assert_int_equal(def->steps[fetch].next[0], load);
  assert_int_equal(def->steps[fetch].next[1], parse);
  assert_int_equal(def->order[0], fetch);
  assert_int_equal(def->order[2], load);
  assert_true(orr_def_is_ancestor(def, fetch, load));
  assert_false(orr_def_is_ancestor(def, load, fetch));
  assert_false(orr_def_is_ancestor(def, load, load));
  assert_int_equal(def->steps[load].retry.attempts, 1);
  orr_def_unref(orr_def_ref(def));
  assert_string_equal(def->name, "etl");
  orr_def_unref(def);
  add(builder, "again", NULL); // the builder is empty again
  refused(builder, "E0201", "\"\" is not a valid name of a pipeline",
          "names are 1 to 64 letters, digits, '_', '-' or '.'");
}

static void the_order_of_declaration_stays_where_it_can(void **state) {
  (void)state;
  struct orr_def_builder *builder = begin();
  add(builder, "a", NULL);
  add(builder, "b", "a");
  add(builder, "c", "e");
  add(builder, "d", NULL);
  add(builder, "e", "a");
  struct orr_def *def = finish(builder);
  const uint32_t expected[] = {0, 1, 3, 4, 2};
  assert_memory_equal(def->order, expected, sizeof expected);
  orr_def_unref(def);
  orr_def_builder_free(builder);
}

static void names_are_checked(void **state) {
  (void)state;
  const char *help = "names are 1 to 64 letters, digits, '_', '-' or '.'";
  struct orr_def_builder *builder = begin();
  add(builder, "a b", NULL);
  refused(builder, "E0201", "\"a b\" is not a valid name of a step", help);
  builder = begin();
  add(builder, "\xff", NULL);
  refused(builder, "E0201", "\"\xef\xbf\xbd\" is not a valid name of a step", help);
  builder = begin();
  add(builder, "input", NULL);
  refused(builder, "E0206", "a step cannot be named \"input\"",
          "o.ref uses \"input\" and \"run\" for what the run brings along");
  builder = begin();
  add(builder, "x", NULL);
  add(builder, "x", NULL);
  refused(builder, "E0202", "step \"x\" is declared twice", "the first one is in line 7");
  refused(begin(), "E0205", "pipeline \"etl\" has no steps", NULL);
  char longest[ORR_NAME_BYTES_MAX + 2];
  memset(longest, 'n', sizeof longest);
  assert_true(orr_name_valid(orr_slice_of(longest, ORR_NAME_BYTES_MAX)));
  assert_false(orr_name_valid(orr_slice_of(longest, ORR_NAME_BYTES_MAX + 1)));
  assert_false(orr_name_valid(ORR_SLICE_LITERAL("")));
  assert_true(orr_name_valid(ORR_SLICE_LITERAL("A-z_0.9")));
}

static void unknown_dependencies_come_with_a_suggestion(void **state) {
  (void)state;
  struct orr_def_builder *builder = begin();
  add(builder, "fetch", NULL);
  add(builder, "load", "fetchh");
  refused(builder, "E0203", "step \"load\" depends on unknown step \"fetchh\"",
          "did you mean \"fetch\"?");
  builder = begin();
  add(builder, "fetch", NULL);
  add(builder, "load", "zebra");
  refused(builder, "E0203", "step \"load\" depends on unknown step \"zebra\"", NULL);
  builder = begin();
  add(builder, "load", "load");
  refused(builder, "E0208", "step \"load\" depends on itself", NULL);
}

static void a_cycle_is_reported_as_its_path(void **state) {
  (void)state;
  struct orr_def_builder *builder = begin();
  add(builder, "start", NULL);
  add(builder, "a", "start c");
  add(builder, "b", "a");
  add(builder, "c", "b");
  add(builder, "end", "c");
  refused(builder, "E0204", "steps wait for each other in a cycle: a -> b -> c -> a", NULL);
  builder = begin();
  add(builder, "b", "a");
  add(builder, "a", "b");
  refused(builder, "E0204", "steps wait for each other in a cycle: b -> a -> b", NULL);
}

static void numbers_have_bounds(void **state) {
  (void)state;
  struct orr_def_builder *builder = begin();
  struct orr_step_def step = {.name = "s", .priority = 10};
  orr_def_builder_step(builder, &step);
  refused(builder, "E0207", "step \"s\": priority must be from 0 to 9, not 10", NULL);
  builder = begin();
  step.priority = 5;
  step.retry.attempts = 1001;
  orr_def_builder_step(builder, &step);
  refused(builder, "E0207", "step \"s\": retry.attempts must be from 1 to 1000, not 1001", NULL);
  builder = begin();
  step.retry.attempts = 1;
  step.kind = ORR_STEP_RUN;
  orr_def_builder_step(builder, &step);
  refused(builder, "E0201", "step \"s\": \"\" is not a valid name of a pipeline",
          "names are 1 to 64 letters, digits, '_', '-' or '.'");
}

static struct orr_def *chain(uint32_t len, bool closed) {
  struct orr_def_builder *builder = begin();
  for (uint32_t i = 0; i < len; i++) {
    char name[16], before[16];
    snprintf(name, sizeof name, "s%u", i);
    snprintf(before, sizeof before, "s%u", i > 0 ? i - 1 : len - 1);
    add(builder, name, i > 0 || closed ? before : NULL);
  }
  struct orr_def *def = NULL;
  struct orr_def_problem problem;
  enum orr_status status = orr_def_builder_finish(builder, &def, &problem);
  assert_int_equal(status, closed ? ORR_ERR_INVALID : ORR_OK);
  if (closed) assert_string_equal(problem.code, "E0204");
  orr_def_builder_free(builder);
  return def;
}

static void a_hundred_thousand_steps_in_a_row_are_fine(void **state) {
  (void)state;
  struct orr_def *def = chain(100000, false);
  assert_true(orr_def_is_ancestor(def, 0, 99999));
  assert_int_equal(def->order[99999], 99999);
  orr_def_unref(def);
  assert_null(chain(100000, true));
}

// A random acyclic declaration, in shuffled order, compared with a naive closure.
static void ancestors_and_order_agree_with_a_naive_closure(void **state) {
  (void)state;
  struct orr_rng rng = {3};
  for (int round = 0; round < 300; round++) {
    enum { MAX = 12 };
    uint32_t len = 1 + (uint32_t)orr_rng_below(&rng, MAX), rank[MAX];
    bool reaches[MAX][MAX] = {{false}};
    for (uint32_t i = 0; i < len; i++) {
      uint32_t j = (uint32_t)orr_rng_below(&rng, i + 1);
      rank[i] = rank[j];
      rank[j] = i;
    }
    struct orr_def_builder *builder = begin();
    for (uint32_t i = 0; i < len; i++) {
      char name[16], dependency[16];
      snprintf(name, sizeof name, "s%u", i);
      add(builder, name, NULL);
      for (uint32_t j = 0; j < len; j++) {
        if (rank[j] >= rank[i] || orr_rng_below(&rng, 3) > 0) continue;
        snprintf(dependency, sizeof dependency, "s%u", j);
        orr_def_builder_after(builder, i, orr_slice_text(dependency));
        reaches[i][j] = true;
      }
    }
    for (uint32_t k = 0; k < len; k++)
      for (uint32_t i = 0; i < len; i++)
        for (uint32_t j = 0; j < len; j++) reaches[i][j] |= reaches[i][k] && reaches[k][j];
    struct orr_def *def = finish(builder);
    uint32_t position[MAX];
    for (uint32_t i = 0; i < len; i++) position[def->order[i]] = i;
    for (uint32_t i = 0; i < len; i++) {
      for (uint32_t j = 0; j < len; j++) {
        assert_int_equal(orr_def_is_ancestor(def, j, i), reaches[i][j]);
        if (reaches[i][j]) assert_true(position[j] < position[i]);
      }
    }
    orr_def_unref(def);
    orr_def_builder_free(builder);
  }
}

static struct orr_def *full_definition(void) {
  struct orr_def_builder *builder = begin();
  struct orr_def *head = orr_def_builder_head(builder);
  static const char *const TAGS[] = {"daily", "db"};
  head->description = "What it does.";
  head->version.bytes[3] = 9;
  head->input_schema = ORR_SLICE_LITERAL("{\"type\":\"object\"}");
  head->meta = ORR_SLICE_LITERAL("{}");
  head->tags = TAGS;
  head->tags_len = 2;
  head->timeout_ms = 1000;
  head->priority = 7;
  head->has_output = true;
  head->concurrency = 3;
  head->concurrency_active = true;
  head->when_full = ORR_WHEN_FULL_SKIP;
  head->concurrency_key_path = ORR_SLICE_LITERAL("customer.id");
  struct orr_step_def step = {.name = "a", .kind = ORR_STEP_MAP, .rule = ORR_RULE_ALL_DONE,
                              .flags = ORR_STEP_ONCE | ORR_STEP_HAS_WHEN, .priority = 9,
                              .retry = {3, 100, 2000, 5000, true}, .timeout_ms = 77, .parallel = 8,
                              .sleep_ms = 5, .line = 12};
  orr_def_builder_step(builder, &step);
  step = (struct orr_step_def){.name = "b", .kind = ORR_STEP_RUN, .child = "other"};
  orr_def_builder_after(builder, orr_def_builder_step(builder, &step), ORR_SLICE_LITERAL("a"));
  struct orr_def *def = finish(builder);
  orr_def_builder_free(builder);
  return def;
}

static void the_stored_form_gives_the_same_definition(void **state) {
  (void)state;
  struct orr_def *def = full_definition(), *back = NULL;
  struct orr_buf bytes = ORR_BUF_INIT, again = ORR_BUF_INIT;
  orr_def_encode(def, &bytes);
  assert_int_equal(orr_def_decode(orr_buf_slice(&bytes), &back), ORR_OK);
  orr_def_encode(back, &again);
  assert_true(orr_slice_equal(orr_buf_slice(&bytes), orr_buf_slice(&again)));
  assert_string_equal(back->description, "What it does.");
  assert_string_equal(back->script, "pipelines/etl.lua");
  assert_true(orr_digest_equal(&back->version, &def->version));
  assert_string_equal(back->tags[1], "db");
  assert_true(back->has_output && back->concurrency_active && !back->concurrency_key_function);
  assert_int_equal(back->when_full, ORR_WHEN_FULL_SKIP);
  assert_true(orr_slice_equal(back->concurrency_key_path, ORR_SLICE_LITERAL("customer.id")));
  assert_int_equal(back->steps[0].retry.delay_ms_max, 5000);
  assert_true(back->steps[0].retry.jitter);
  assert_int_equal(back->steps[0].parallel, 8);
  assert_string_equal(back->steps[1].child, "other");
  assert_int_equal(back->steps[1].after[0], 0);
  orr_buf_free(&bytes);
  orr_buf_free(&again);
  orr_def_unref(def);
  orr_def_unref(back);
}

static void damaged_bytes_never_decode_to_another_form(void **state) {
  (void)state;
  struct orr_def *def = full_definition();
  struct orr_buf bytes = ORR_BUF_INIT;
  orr_def_encode(def, &bytes);
  for (size_t len = 0; len < bytes.len; len++) {
    struct orr_def *cut = NULL;
    assert_int_equal(orr_def_decode(orr_slice_of(bytes.data, len), &cut), ORR_ERR_CORRUPT);
  }
  for (size_t at = 0; at < bytes.len; at++) {
    for (unsigned bit = 0; bit < 8; bit++) {
      struct orr_def *changed = NULL;
      struct orr_buf again = ORR_BUF_INIT;
      bytes.data[at] ^= (uint8_t)(1u << bit);
      if (orr_def_decode(orr_buf_slice(&bytes), &changed) == ORR_OK) {
        orr_def_encode(changed, &again);
        assert_true(orr_slice_equal(orr_buf_slice(&bytes), orr_buf_slice(&again)));
        orr_def_unref(changed);
        orr_buf_free(&again);
      }
      bytes.data[at] ^= (uint8_t)(1u << bit);
    }
  }
  orr_buf_free(&bytes);
  orr_def_unref(def);
}

static int unrefs;
static void count_unref(void *code) {
  assert_ptr_equal(code, &unrefs);
  unrefs++;
}

static void the_last_reference_lets_the_code_go(void **state) {
  (void)state;
  struct orr_def *def = full_definition();
  struct orr_digest generation = {{1}};
  orr_def_attach(def, &generation, &unrefs, count_unref);
  assert_true(orr_digest_equal(&def->generation, &generation));
  orr_def_unref(orr_def_ref(def));
  assert_int_equal(unrefs, 0);
  orr_def_unref(def);
  assert_int_equal(unrefs, 1);
}

static void suggestions_are_near_or_none(void **state) {
  (void)state;
  const char *const names[] = {"fetch", "parse", "Report", "x"};
  assert_string_equal(orr_suggest("fetchh", names, 4), "fetch");
  assert_string_equal(orr_suggest("prase", names, 4), "parse");
  assert_string_equal(orr_suggest("report", names, 4), "Report");
  assert_string_equal(orr_suggest("X", names, 4), "x");
  assert_null(orr_suggest("y", names, 4));
  assert_null(orr_suggest("elephant", names, 4));
  assert_null(orr_suggest("", names, 4));
  assert_null(orr_suggest("fetch", names, 0));
}

static void duration_is(const char *text, enum orr_status status, uint64_t expected) {
  uint64_t ms = 12345;
  assert_int_equal(orr_duration_parse(orr_slice_text(text), &ms), status);
  assert_true(ms == (status == ORR_OK ? expected : 12345));
}

static void durations_are_read(void **state) {
  (void)state;
  duration_is("1500ms", ORR_OK, 1500);
  duration_is("30s", ORR_OK, 30000);
  duration_is("1h30m", ORR_OK, 5400000);
  duration_is("7d", ORR_OK, 604800000);
  duration_is("1w2d3h4m5s6ms", ORR_OK, 788645006);
  duration_is("2.5", ORR_OK, 2500);
  duration_is("0", ORR_OK, 0);
  duration_is("0.0005", ORR_OK, 1);
  duration_is("0.33333333", ORR_OK, 333);
  duration_is("90m", ORR_OK, 5400000);
  duration_is("140737488355328ms", ORR_OK, ORR_DURATION_MS_MAX);
  duration_is("140737488355329ms", ORR_ERR_LIMIT, 0);
  duration_is("99999999999999999999999999999w", ORR_ERR_LIMIT, 0);
  duration_is("140737488355.329", ORR_ERR_LIMIT, 0);
  static const char *const BAD[] = {"", "s", "1x", "1m1h", "1s1s", "-1s", "+1s", " 1s", "1s ", "1.5h",
                                    "1h30", "1.", ".5", "1e3", "1 h", "99999999999999999999x", "1S"};
  for (size_t i = 0; i < sizeof BAD / sizeof *BAD; i++) duration_is(BAD[i], ORR_ERR_INVALID, 0);
}

static void names_of_enums_go_both_ways(void **state) {
  (void)state;
  enum orr_step_kind kind;
  enum orr_rule rule;
  enum orr_when_full when_full;
  assert_true(orr_step_kind_parse(ORR_SLICE_LITERAL("pipeline"), &kind) && kind == ORR_STEP_RUN);
  assert_string_equal(orr_step_kind_text(ORR_STEP_RUN), "pipeline");
  assert_true(orr_rule_parse(ORR_SLICE_LITERAL("none_failed"), &rule));
  assert_string_equal(orr_rule_text(rule), "none_failed");
  assert_true(orr_when_full_parse(ORR_SLICE_LITERAL("cancel_oldest"), &when_full));
  assert_false(orr_rule_parse(ORR_SLICE_LITERAL("none"), &rule));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_definition_knows_dependencies_and_dependants),
      cmocka_unit_test(the_order_of_declaration_stays_where_it_can),
      cmocka_unit_test(names_are_checked),
      cmocka_unit_test(unknown_dependencies_come_with_a_suggestion),
      cmocka_unit_test(a_cycle_is_reported_as_its_path),
      cmocka_unit_test(numbers_have_bounds),
      cmocka_unit_test(a_hundred_thousand_steps_in_a_row_are_fine),
      cmocka_unit_test(ancestors_and_order_agree_with_a_naive_closure),
      cmocka_unit_test(the_stored_form_gives_the_same_definition),
      cmocka_unit_test(damaged_bytes_never_decode_to_another_form),
      cmocka_unit_test(the_last_reference_lets_the_code_go),
      cmocka_unit_test(suggestions_are_near_or_none),
      cmocka_unit_test(durations_are_read),
      cmocka_unit_test(names_of_enums_go_both_ways),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
