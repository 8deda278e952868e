// SPDX-License-Identifier: MIT
// The loader: from a project's files to definitions, whole and by keeping what did not change.
#include "project.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#define HEAD "local o = require 'orrery'\n"

static struct test_project p;

static int open_project(void **state) {
  (void)state;
  test_project_open(&p);
  return 0;
}
static int close_project(void **state) {
  (void)state;
  test_project_close(&p);
  return 0;
}

static struct orr_def *def_of(struct orr_generation *generation, const char *name) {
  assert_non_null(generation);
  return orr_generation_def(generation, orr_slice_text(name));
}

static void assert_slice(struct orr_slice slice, const char *text) {
  char *copy = orr_slice_strdup(slice);
  assert_string_equal(copy, text);
  free(copy);
}

static bool has_problem(const char *code, const char *file) {
  for (size_t i = 0; i < p.problems.len; i++) {
    const struct orr_problem *problem = &p.problems.items[i];
    if (strcmp(problem->code, code) == 0 &&
        (file == NULL || (problem->file != NULL && strcmp(problem->file, file) == 0)))
      return true;
  }
  return false;
}

static void a_script_becomes_a_definition(void **state) {
  (void)state;
  test_write(&p, "pipelines/etl.lua",
             HEAD "o.pipeline 'etl' { description = 'Loads.', tags = { 'a', 'b' }, timeout = '1h', "
                  "priority = 7,\n"
                  "  concurrency = { limit = 2, key = 'input.customer.id', when_full = 'skip', "
                  "hold = 'active' },\n"
                  "  input = { customer = o.record { id = o.string {} } }, output = o.ref 'load',\n"
                  "  o.step 'fetch' { run = print, timeout = '1500ms', priority = 1, once = true, "
                  "when = print, undo = print },\n"
                  "  o.map 'load' { after = 'fetch', over = 'fetch', parallel = 3, rule = "
                  "'all_done', run = print,\n"
                  "    retry = { attempts = 3, delay = '1s', backoff = 2, max_delay = '10s', "
                  "jitter = true } },\n"
                  "  o.sleep 'nap' { after = { 'fetch', 'load' }, duration = '2s' },\n"
                  "  o.run 'child' { pipeline = 'etl', wait = false },\n"
                  "}\n");
  struct orr_generation *generation = test_build(&p);
  struct orr_def *def = def_of(generation, "etl");
  assert_non_null(def);
  assert_string_equal(def->script, "pipelines/etl.lua");
  assert_string_equal(def->description, "Loads.");
  assert_int_equal(def->tags_len, 2);
  assert_int_equal(def->timeout_ms, 3600000);
  assert_int_equal(def->concurrency, 2);
  assert_true(def->concurrency_active && def->has_output && !def->concurrency_key_function);
  assert_int_equal(def->when_full, ORR_WHEN_FULL_SKIP);
  assert_slice(def->concurrency_key_path, "customer.id");
  assert_int_equal(def->steps_len, 4);
  const struct orr_step_def *fetch = &def->steps[0], *load = &def->steps[1], *nap = &def->steps[2],
                            *child = &def->steps[3];
  assert_int_equal(fetch->timeout_ms, 1500);
  assert_int_equal(fetch->priority, 1);
  assert_int_equal(fetch->flags, ORR_STEP_ONCE | ORR_STEP_HAS_WHEN | ORR_STEP_UNDO);
  assert_int_equal(fetch->line, 5);
  assert_int_equal(load->kind, ORR_STEP_MAP);
  assert_int_equal(load->rule, ORR_RULE_ALL_DONE);
  assert_int_equal(load->priority, 7);
  assert_int_equal(load->parallel, 3);
  assert_int_equal(load->retry.attempts, 3);
  assert_int_equal(load->retry.delay_ms, 1000);
  assert_int_equal(load->retry.backoff_permille, 2000);
  assert_int_equal(load->retry.delay_ms_max, 10000);
  assert_true(load->retry.jitter);
  assert_int_equal(nap->sleep_ms, 2000);
  assert_int_equal(nap->after_len, 2);
  assert_string_equal(child->child, "etl");
  assert_int_equal(child->flags, ORR_STEP_NO_WAIT);
  orr_generation_unref(generation);
}

static void inputs_become_json_schema(void **state) {
  (void)state;
  test_write(&p, "pipelines/a.lua",
             HEAD "o.pipeline 'a' { input = { n = o.integer { minimum = 1 }, s = o.enum { 'x', "
                  "'y', default = 'x' },\n"
                  " l = o.list { items = o.number, default = {} }, b = o.boolean { optional = true "
                  "} }, o.step 's' { run = print } }");
  struct orr_generation *generation = test_build(&p);
  assert_slice(def_of(generation, "a")->input_schema,
               "{\"additionalProperties\":false,\"properties\":{\"b\":{\"type\":\"boolean\"},"
               "\"l\":{\"default\":[],\"items\":{\"type\":\"number\"},\"type\":\"array\"},"
               "\"n\":{\"minimum\":1,\"type\":\"integer\"},\"s\":{\"default\":\"x\",\"enum\":["
               "\"x\",\"y\"]}},"
               "\"required\":[\"n\"],\"type\":\"object\"}");
  orr_generation_unref(generation);
}

static const char *const PLAIN =
    HEAD "local m = require 'm'\no.pipeline 'a' { o.step 's' { run = m.run } }";

static void a_version_covers_the_script_and_what_loading_it_required(void **state) {
  (void)state;
  test_write(&p, "pipelines/a.lua", PLAIN);
  test_write(&p, "pipelines/b.lua", HEAD "o.pipeline 'b' { o.step 's' { run = print } }");
  test_write(&p, "lib/m.lua", "local inner = require 'inner'\nreturn { run = inner.run }");
  test_write(&p, "lib/inner.lua", "return { run = print }");
  struct orr_generation *before = test_build(&p);
  assert_non_null(before);
  test_write(&p, "lib/inner.lua", "return { run = print } -- changed");
  struct orr_generation *after = test_build(&p);
  assert_non_null(after);
  assert_false(orr_digest_equal(&def_of(before, "a")->version, &def_of(after, "a")->version));
  assert_true(orr_digest_equal(&def_of(before, "b")->version, &def_of(after, "b")->version));
  assert_false(orr_digest_equal(&before->digest, &after->digest));
  orr_generation_unref(before);
  orr_generation_unref(after);
}

// What was built by keeping is what a loader that knows nothing builds.
static void check_like_fresh(struct orr_generation *generation) {
  struct orr_problems problems = {0};
  struct orr_generation *fresh = NULL;
  struct orr_loader *loader = orr_loader_new(&p.project);
  assert_int_equal(orr_loader_build(loader, &fresh, &problems), ORR_OK);
  assert_true(orr_digest_equal(&fresh->digest, &generation->digest));
  orr_generation_unref(fresh);
  orr_loader_free(loader);
}

static void keeping_gives_what_a_fresh_build_gives(void **state) {
  (void)state;
  setenv("ORRERY_TEST_COLOUR", "blue", 1);
  test_write(&p, "pipelines/a.lua", PLAIN);
  test_write(&p, "lib/m.lua", HEAD "local c = o.env('ORRERY_TEST_COLOUR')\nreturn { run = print }");
  test_write(&p, "pipelines/b.lua", HEAD "o.pipeline 'b' { o.step 's' { run = print } }");
  test_write(&p, "routes/r.lua",
             HEAD "o.get('/api/custom/r', print)\no.post('/api/custom/r', print)");
  orr_generation_unref(test_build(&p));
  static const char *const CHANGES[][2] = {
      {"pipelines/b.lua", HEAD "o.pipeline 'b' { o.step 'other' { run = print } }"},
      {"pipelines/c.lua", HEAD "o.pipeline 'c' { o.run 's' { pipeline = 'a' } }"},
      {"pipelines/a.lua", HEAD "o.pipeline 'a' { o.step 'new' { run = print } }"},
      {"routes/q.lua", HEAD "o.get('/api/custom/q', print)"},
      {"orrery.lua", "return { x = 1 }"},
      {"orrery.lua", "return { x = 2 }"},
      {"lib/m.lua", "return { run = print }"},
      {"lib/other.lua", "return {}"},
  };
  for (size_t i = 0; i < sizeof(CHANGES) / sizeof(CHANGES[0]); i++) {
    test_write(&p, CHANGES[i][0], CHANGES[i][1]);
    struct orr_generation *generation = test_build(&p);
    assert_non_null(generation);
    check_like_fresh(generation);
    orr_generation_unref(generation);
  }
  test_remove(&p, "routes/r.lua");
  struct orr_generation *generation = test_build(&p);
  assert_non_null(generation);
  assert_int_equal(generation->routes_len, 1);
  check_like_fresh(generation);
  orr_generation_unref(generation);
}

static void a_name_that_moves_away_is_missed_where_it_is_used(void **state) {
  (void)state;
  test_write(&p, "pipelines/a.lua", HEAD "o.pipeline 'a' { o.step 's' { run = print } }");
  test_write(&p, "pipelines/b.lua", HEAD "o.pipeline 'b' { o.run 's' { pipeline = 'a' } }");
  orr_generation_unref(test_build(&p));
  test_write(&p, "pipelines/a.lua", HEAD "o.pipeline 'renamed' { o.step 's' { run = print } }");
  assert_null(test_build(&p));
  assert_true(has_problem("E0220", "pipelines/b.lua"));
}

static void a_second_declaration_is_found_beside_kept_ones(void **state) {
  (void)state;
  test_write(&p, "pipelines/a.lua", HEAD "o.pipeline 'a' { o.step 's' { run = print } }");
  orr_generation_unref(test_build(&p));
  test_write(&p, "pipelines/b.lua", HEAD "o.pipeline 'a' { o.step 's' { run = print } }");
  assert_null(test_build(&p));
  assert_true(has_problem("E0130", "pipelines/b.lua"));
  assert_non_null(strstr(p.problems.items[0].message, "pipelines/a.lua:2"));
}

static void all_problems_of_all_files_are_told(void **state) {
  (void)state;
  test_write(&p, "pipelines/a.lua", HEAD "o.pipeline 'a' { o.step 's' { run = 1 } }");
  test_write(&p, "pipelines/b.lua", "local x = = 1");
  test_write(&p, "pipelines/c.lua",
             HEAD "o.pipeline 'c' { o.step 's' { after = 'x', run = print }, o.step 't' { after = "
                  "'y', run = print } }");
  assert_null(test_build(&p));
  assert_int_equal(p.problems.len, 4);
  test_write(&p, "pipelines/a.lua", HEAD "o.pipeline 'a' { o.step 's' { run = print } }");
  test_write(&p, "pipelines/b.lua", "local x = 1");
  test_write(&p, "pipelines/c.lua", HEAD "o.pipeline 'c' { o.step 's' { run = print } }");
  struct orr_generation *generation = test_build(&p);
  assert_non_null(generation);
  orr_generation_unref(generation);
}

static void config_and_environment_are_kept_with_the_generation(void **state) {
  (void)state;
  setenv("ORRERY_TEST_COLOUR", "blue", 1);
  test_write(&p, "orrery.lua", "return { limit = 3, list = { 'a' } }");
  test_write(&p, "pipelines/a.lua",
             HEAD "assert(o.config.limit == 3)\nassert(o.env('ORRERY_TEST_COLOUR') == 'blue')\n"
                  "assert(o.env('ORRERY_TEST_NONE', 'x') == 'x')\no.pipeline 'a' { o.step 's' { "
                  "run = print } }");
  struct orr_generation *generation = test_build(&p);
  assert_non_null(generation);
  assert_slice(orr_blob_slice(generation->config),
               "{\"config\":{\"limit\":3,\"list\":[\"a\"]},\"env\":{\"ORRERY_TEST_COLOUR\":"
               "\"blue\",\"ORRERY_TEST_NONE\":false}}");
  orr_generation_unref(generation);
}

static void scripts_share_no_globals_and_see_no_others(void **state) {
  (void)state;
  test_write(&p, "pipelines/a.lua", "leak = 1");
  test_write(
      &p, "pipelines/b.lua",
      "assert(leak == nil)\nassert(not pcall(load, string.char(27)) or not load(string.char(27)))\n"
      "assert(string.dump == nil and ('').dump == nil and debug.getinfo == nil and package == "
      "nil)\n"
      "assert(collectgarbage('count') == 0)");
  struct orr_generation *generation = test_build(&p);
  if (generation == NULL) print_error("%s\n", p.problems.items[0].message);
  assert_non_null(generation);
  orr_generation_unref(generation);
}

static void cjson_works_at_load_and_luv_shows_its_constants(void **state) {
  (void)state;
  test_write(&p, "pipelines/a.lua",
             "assert(require('cjson').encode { 1 } == '[1]')\nassert(require('luv').constants)\n"
             "assert(not pcall(require('luv').hrtime))");
  struct orr_generation *generation = test_build(&p);
  if (generation == NULL) print_error("%s\n", p.problems.items[0].message);
  assert_non_null(generation);
  orr_generation_unref(generation);
}

static void tests_hidden_files_and_other_folders_are_no_scripts(void **state) {
  (void)state;
  test_write(&p, "pipelines/a.lua", HEAD "o.pipeline 'a' { o.step 's' { run = print } }");
  test_write(&p, "pipelines/deep/er/b.lua", HEAD "o.pipeline 'b' { o.step 's' { run = print } }");
  test_write(&p, "pipelines/a_test.lua", "error 'no'");
  test_write(&p, "pipelines/.hidden.lua", "error 'no'");
  test_write(&p, "other/c.lua", "error 'no'");
  struct orr_generation *generation = test_build(&p);
  assert_non_null(generation);
  assert_int_equal(generation->defs_len, 2);
  assert_int_equal(generation->files_len, 2);
  orr_generation_unref(generation);
}

static void a_single_script_is_a_project_of_its_own(void **state) {
  (void)state;
  struct orr_project project;
  struct orr_problems problems = {0};
  struct orr_generation *generation = NULL;
  char path[256];
  test_write(&p, "one.lua", PLAIN);
  test_write(&p, "other.lua", "error 'no'");
  test_write(&p, "lib/m.lua", "return { run = print }");
  test_path(&p, "one.lua", path);
  assert_int_equal(orr_project_open(path, &project, &problems), ORR_OK);
  assert_string_equal(project.root, p.root);
  assert_string_equal(project.only, "one.lua");
  struct orr_loader *loader = orr_loader_new(&project);
  assert_int_equal(orr_loader_build(loader, &generation, &problems), ORR_OK);
  assert_int_equal(generation->defs_len, 1);
  orr_generation_unref(generation);
  orr_loader_free(loader);
  orr_project_close(&project);
}

static void a_script_inside_a_project_means_the_same_alone(void **state) {
  (void)state;
  struct orr_project project;
  struct orr_problems problems = {0};
  char path[256];
  test_write(&p, "pipelines/one.lua", PLAIN);
  test_write(&p, "lib/m.lua", "return { run = print }");
  test_path(&p, "pipelines/one.lua", path);
  assert_int_equal(orr_project_open(path, &project, &problems), ORR_OK);
  assert_string_equal(project.root, p.root);
  assert_string_equal(project.only, "pipelines/one.lua");
  orr_project_close(&project);
}

static void a_project_without_scripts_is_not_found(void **state) {
  (void)state;
  struct orr_generation *generation = NULL;
  assert_int_equal(orr_loader_build(p.loader, &generation, &p.problems), ORR_ERR_NOT_FOUND);
  assert_true(has_problem("E0110", NULL));
}

static void a_missing_path_is_not_found(void **state) {
  (void)state;
  struct orr_project project;
  assert_int_equal(orr_project_open("/nowhere/at/all", &project, &p.problems), ORR_ERR_NOT_FOUND);
  assert_true(has_problem("E0110", NULL));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, open_project, close_project)

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(a_script_becomes_a_definition),
      TEST(inputs_become_json_schema),
      TEST(a_version_covers_the_script_and_what_loading_it_required),
      TEST(keeping_gives_what_a_fresh_build_gives),
      TEST(a_name_that_moves_away_is_missed_where_it_is_used),
      TEST(a_second_declaration_is_found_beside_kept_ones),
      TEST(all_problems_of_all_files_are_told),
      TEST(config_and_environment_are_kept_with_the_generation),
      TEST(scripts_share_no_globals_and_see_no_others),
      TEST(cjson_works_at_load_and_luv_shows_its_constants),
      TEST(tests_hidden_files_and_other_folders_are_no_scripts),
      TEST(a_single_script_is_a_project_of_its_own),
      TEST(a_script_inside_a_project_means_the_same_alone),
      TEST(a_project_without_scripts_is_not_found),
      TEST(a_missing_path_is_not_found),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
