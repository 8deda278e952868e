// SPDX-License-Identifier: MIT
// Every bad script of tests/bad against tests/bad/expected: "== NAME" and the problems as people
// see them. With ORR_BAD_PRINT set, prints what it got in that form instead (to write the file
// anew, and read it).
#include "script/loader.h"

#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define FOLDER "tests/bad"

static char *names[256];
static size_t names_len;

static int by_name(const void *a, const void *b) {
  return strcmp(*(char *const *)a, *(char *const *)b);
}

static void find_names(void) {
  DIR *dir = opendir(FOLDER);
  assert_non_null(dir);
  for (struct dirent *entry; (entry = readdir(dir)) != NULL;) {
    if (entry->d_name[0] == '.' || strcmp(entry->d_name, "expected") == 0) continue;
    assert_true(names_len < sizeof(names) / sizeof(names[0]));
    names[names_len++] = orr_strdup(entry->d_name);
  }
  closedir(dir);
  qsort(names, names_len, sizeof(names[0]), by_name);
}

static void refused(const char *name, struct orr_buf *out) {
  struct orr_buf path = ORR_BUF_INIT;
  struct orr_project project;
  struct orr_problems problems = {0};
  struct orr_generation *generation = NULL;
  orr_buf_printf(&path, "%s/%s", FOLDER, name);
  assert_int_equal(orr_project_open(orr_buf_cstr(&path), &project, &problems), ORR_OK);
  struct orr_loader *loader = orr_loader_new(&project);
  assert_int_equal(orr_loader_build(loader, &generation, &problems), ORR_ERR_INVALID);
  assert_null(generation);
  assert_true(problems.len > 0);
  orr_buf_printf(out, "== %s\n", name);
  for (size_t i = 0; i < problems.len; i++) orr_problem_render(&problems.items[i], false, out);
  orr_loader_free(loader);
  orr_project_close(&project);
  orr_problems_free(&problems);
  orr_buf_free(&path);
}

static void read_expected(struct orr_buf *out) {
  FILE *file = fopen(FOLDER "/expected", "rb");
  char chunk[4096];
  assert_non_null(file);
  for (size_t got; (got = fread(chunk, 1, sizeof(chunk), file)) > 0;)
    orr_buf_append(out, chunk, got);
  fclose(file);
}

// The part of "expected" that begins with "== NAME".
static struct orr_slice section(struct orr_buf *expected, const char *name) {
  char head[128];
  snprintf(head, sizeof(head), "== %s\n", name);
  const char *start = strstr(orr_buf_cstr(expected), head);
  if (start == NULL) return orr_slice_of("", 0);
  const char *end = strstr(start + 1, "\n== ");
  return orr_slice_of(start, end != NULL ? (size_t)(end + 1 - start) : strlen(start));
}

static void every_bad_script_gets_its_message(void **state) {
  (void)state;
  struct orr_buf expected = ORR_BUF_INIT;
  bool print = getenv("ORR_BAD_PRINT") != NULL;
  uint32_t wrong = 0;
  find_names();
  assert_true(names_len >= 35);
  if (!print) read_expected(&expected);
  for (size_t i = 0; i < names_len; i++) {
    struct orr_buf out = ORR_BUF_INIT;
    refused(names[i], &out);
    struct orr_slice want = print ? orr_buf_slice(&out) : section(&expected, names[i]);
    if (print) {
      printf("%s", orr_buf_cstr(&out));
    } else if (!orr_slice_equal(want, orr_buf_slice(&out))) {
      print_error("%s: got\n%s\nexpected\n%.*s\n", names[i], orr_buf_cstr(&out), (int)want.len,
                  (const char *)want.data);
      wrong++;
    }
    orr_buf_free(&out);
    free(names[i]);
  }
  orr_buf_free(&expected);
  assert_int_equal(wrong, 0);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(every_bad_script_gets_its_message)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
