// SPDX-License-Identifier: MIT
// Generations: look-up, life beside their definitions, the way into the store and back.
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
  test_write(&p, "pipelines/a.lua", HEAD "o.pipeline 'a' { o.step 's' { run = print } }");
  test_write(&p, "pipelines/b.lua", HEAD "o.pipeline 'b' { o.step 's' { run = print } }");
  test_write(&p, "routes/r.lua",
             HEAD "o.get('/api/custom/{x}', print)\no.put('/api/custom/{x}', print)");
  test_write(&p, "orrery.lua", "return { a = 1 }");
  return 0;
}
static int close_project(void **state) {
  (void)state;
  test_project_close(&p);
  return 0;
}

static struct orr_def *def_of(struct orr_generation *generation, const char *name) {
  return orr_generation_def(generation, orr_slice_text(name));
}

// Builds with a loader of its own, so that nobody else holds the generation.
static struct orr_generation *build_alone(void) {
  struct orr_generation *generation = test_build(&p);
  orr_loader_free(p.loader);
  p.loader = orr_loader_new(&p.project);
  return generation;
}

static void files_and_definitions_are_found_by_name(void **state) {
  (void)state;
  struct orr_generation *generation = build_alone();
  assert_non_null(generation);
  assert_int_equal(generation->files_len, 4);
  assert_non_null(orr_generation_file(generation, "pipelines/b.lua"));
  assert_null(orr_generation_file(generation, "pipelines/c.lua"));
  assert_string_equal(def_of(generation, "b")->name, "b");
  assert_null(def_of(generation, "ab"));
  assert_null(orr_generation_def(generation, orr_slice_of(NULL, 0)));
  assert_ptr_equal(def_of(generation, "a")->code, generation);
  assert_true(orr_digest_equal(&def_of(generation, "a")->generation, &generation->digest));
  orr_generation_unref(generation);
}

static void a_definition_keeps_the_files_readable(void **state) {
  (void)state;
  struct orr_generation *generation = build_alone();
  struct orr_def *def = orr_def_ref(def_of(generation, "a"));
  orr_generation_unref(generation); // the last holder: only the run's definition is left
  struct orr_generation *again = orr_generation_ref(def->code);
  assert_non_null(orr_generation_file(again, "pipelines/b.lua"));
  assert_null(def_of(again, "a")); // names are resolved no more
  orr_generation_unref(again);
  assert_non_null(orr_generation_file(def->code, "pipelines/a.lua"));
  orr_def_unref(def); // frees all: the leak check sees it
}

static void several_definitions_go_in_any_order(void **state) {
  (void)state;
  struct orr_generation *generation = build_alone();
  struct orr_def *a = orr_def_ref(def_of(generation, "a")),
                 *b = orr_def_ref(def_of(generation, "b"));
  struct orr_def *twice = orr_def_ref(a);
  orr_def_unref(twice);
  orr_generation_unref(generation);
  orr_def_unref(b);
  assert_non_null(orr_generation_file(a->code, "pipelines/b.lua"));
  orr_def_unref(a);
}

static void the_same_files_give_the_same_generation(void **state) {
  (void)state;
  struct orr_generation *first = build_alone(), *second = build_alone();
  assert_true(orr_digest_equal(&first->digest, &second->digest));
  assert_ptr_not_equal(first, second);
  orr_generation_unref(first);
  orr_generation_unref(second);
}

static void current_and_old_code_are_found_by_digest(void **state) {
  (void)state;
  struct orr_code *code = orr_code_new(p.root, NULL);
  assert_null(orr_code_current(code));
  struct orr_generation *first = test_build(&p);
  orr_code_swap(code, first);
  uint64_t serial = orr_code_serial(code);
  struct orr_digest old = first->digest;
  orr_generation_unref(first);
  test_write(&p, "pipelines/a.lua", HEAD "o.pipeline 'a' { o.step 'new' { run = print } }");
  struct orr_generation *second = test_build(&p);
  orr_code_swap(code, second);
  assert_true(orr_code_serial(code) > serial);
  struct orr_generation *current = orr_code_current(code), *found = orr_code_find(code, &old);
  assert_ptr_equal(current, second);
  assert_non_null(found);
  assert_string_equal(def_of(found, "a")->steps[0].name, "s");
  struct orr_digest unknown = {{1}};
  assert_null(orr_code_find(code, &unknown));
  orr_generation_unref(found);
  orr_generation_unref(current);
  orr_generation_unref(second);
  orr_code_free(code);
}

static void a_generation_comes_back_from_the_store(void **state) {
  (void)state;
  char path[256], message[256];
  struct orr_store *store;
  test_path(&p, "test.db", path);
  struct orr_store_options options = {.path = path, .durability = ORR_DURABLE_NORMAL};
  assert_int_equal(orr_store_open(&options, &store, message, sizeof(message)), ORR_OK);
  struct orr_generation *generation = build_alone();
  struct orr_slice *blobs;
  size_t len = orr_generation_blobs(generation, &blobs);
  assert_int_equal(orr_store_put_generation(store, &generation->digest, blobs, len, 1), ORR_OK);
  free(blobs);
  struct orr_code *code = orr_code_new(p.root, path);
  struct orr_generation *read = orr_code_find(code, &generation->digest);
  assert_non_null(read);
  assert_true(orr_digest_equal(&read->digest, &generation->digest));
  assert_int_equal(read->files_len, generation->files_len);
  assert_int_equal(read->defs_len, 2);
  assert_int_equal(read->routes_len, 2);
  assert_string_equal(read->routes[1].method, "PUT");
  assert_int_equal(read->routes[1].index, 2);
  assert_true(orr_slice_equal(orr_blob_slice(read->config), orr_blob_slice(generation->config)));
  assert_string_equal(read->root, p.root);
  orr_generation_unref(read);
  orr_code_free(code);
  orr_generation_unref(generation);
  orr_store_close(store);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, open_project, close_project)

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(files_and_definitions_are_found_by_name),  TEST(a_definition_keeps_the_files_readable),
      TEST(several_definitions_go_in_any_order),      TEST(the_same_files_give_the_same_generation),
      TEST(current_and_old_code_are_found_by_digest), TEST(a_generation_comes_back_from_the_store),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
