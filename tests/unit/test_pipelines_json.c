// SPDX-License-Identifier: MIT
// Pipelines as the API shows them.
#include "server/pipelines_json.h"

#include "base/json.h"
#include "script/generation.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct orr_def *make_def(void) {
  static const char *const tags[] = {"nightly", "x.y"};
  struct orr_def_builder *builder = orr_def_builder_new();
  struct orr_def *head = orr_def_builder_head(builder), *def = NULL;
  struct orr_def_problem problem;
  head->name = "etl";
  head->description = "Loads \"all\".";
  head->script = "pipelines/etl.lua";
  head->input_schema = ORR_SLICE_LITERAL("{\"type\":\"object\"}");
  head->meta = ORR_SLICE_LITERAL("{\"tags\":[],\"output\":{\"ref\":\"b.c\"},\"steps\":{\"b.c\":{\"command\":[\"ls\"]},\"gone\":{}}}");
  head->tags = tags;
  head->tags_len = 2;
  struct orr_step_def step = {.name = "a", .kind = ORR_STEP_LUA, .retry = {.attempts = 1, .backoff_permille = 1000}, .priority = 5, .line = 3};
  orr_def_builder_step(builder, &step);
  step.name = "b.c";
  step.kind = ORR_STEP_SHELL;
  step.retry = (struct orr_retry){3, 1000, 1500, 60000, true};
  step.timeout_ms = 2500;
  step.flags = ORR_STEP_ONCE;
  uint32_t index = orr_def_builder_step(builder, &step);
  orr_def_builder_after(builder, index, ORR_SLICE_LITERAL("a"));
  if (orr_def_builder_finish(builder, &def, &problem) != ORR_OK) fail_msg("%s", problem.message);
  orr_def_builder_free(builder);
  return def;
}

static void member_is(struct orr_buf *json, const char *path, const char *expected) {
  struct orr_slice value = {0};
  if (orr_json_path(orr_buf_slice(json), orr_slice_text(path), &value) != ORR_OK) fail_msg("no %s in %s", path, orr_buf_cstr(json));
  char *text = orr_slice_strdup(value);
  assert_string_equal(text, expected);
  free(text);
}

static void one_pipeline_shows_its_steps_with_what_was_declared(void **state) {
  (void)state;
  struct orr_def *def = make_def();
  struct orr_buf json = ORR_BUF_INIT;
  orr_pipeline_json(def, &json);
  assert_int_equal(orr_json_check(orr_buf_slice(&json), NULL, NULL), ORR_OK);
  member_is(&json, "name", "\"etl\"");
  member_is(&json, "kind", "\"pipeline\"");
  member_is(&json, "description", "\"Loads \\\"all\\\".\"");
  member_is(&json, "tags", "[\"nightly\",\"x.y\"]");
  member_is(&json, "input", "{\"type\":\"object\"}");
  member_is(&json, "output", "{\"ref\":\"b.c\"}");
  member_is(&json, "concurrency", "null");
  member_is(&json, "steps_count", "2");
  member_is(&json, "steps.1.retry", "null");
  member_is(&json, "steps.1.timeout_ms", "null");
  member_is(&json, "steps.1.options", "null");
  member_is(&json, "steps.2.name", "\"b.c\"");
  member_is(&json, "steps.2.kind", "\"shell\"");
  member_is(&json, "steps.2.after", "[\"a\"]");
  member_is(&json, "steps.2.rule", "\"all_success\"");
  member_is(&json, "steps.2.retry.attempts", "3");
  member_is(&json, "steps.2.retry.backoff", "1.5");
  member_is(&json, "steps.2.retry.jitter", "true");
  member_is(&json, "steps.2.timeout_ms", "2500");
  member_is(&json, "steps.2.once", "true");
  member_is(&json, "steps.2.options", "{\"command\":[\"ls\"]}");
  orr_buf_free(&json);
  orr_def_unref(def);
}

static void the_list_counts_steps_and_shows_no_more(void **state) {
  (void)state;
  struct orr_def *defs[] = {make_def()};
  struct orr_generation generation = {.defs = defs, .defs_len = 1};
  struct orr_buf json = ORR_BUF_INIT;
  orr_pipelines_json(&generation, &json);
  assert_int_equal(orr_json_check(orr_buf_slice(&json), NULL, NULL), ORR_OK);
  member_is(&json, "1.name", "\"etl\"");
  member_is(&json, "1.steps_count", "2");
  assert_null(strstr(orr_buf_cstr(&json), "\"steps\""));
  orr_buf_clear(&json);
  orr_pipelines_json(NULL, &json);
  assert_string_equal(orr_buf_cstr(&json), "[]");
  orr_buf_free(&json);
  orr_def_unref(defs[0]);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(one_pipeline_shows_its_steps_with_what_was_declared),
      cmocka_unit_test(the_list_counts_steps_and_shows_no_more),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
