// SPDX-License-Identifier: MIT
// Problems: finding the word, rendering, JSON.
#include "base/json.h"
#include "script/problem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

static struct orr_problems problems;

static struct orr_problem *make(const char *source, uint32_t line, const char *word) {
  struct orr_problem *problem =
      orr_problems_add(&problems, "E0203", "step \"load\" depends on unknown step \"fetchh\"");
  problem->line = line;
  problem->file = orr_strdup("pipelines/etl.lua");
  orr_problem_locate(problem, orr_slice_text(source), word);
  return problem;
}

static int clean(void **state) {
  (void)state;
  orr_problems_free(&problems);
  return 0;
}

static void check_place(const char *source, uint32_t from, const char *word, uint32_t line,
                        uint32_t column, uint32_t width) {
  struct orr_problem *problem = make(source, from, word);
  assert_int_equal(problem->line, line);
  assert_int_equal(problem->column, column);
  assert_int_equal(problem->width, width);
}

static void a_word_is_found_as_a_whole_string_with_its_quotes(void **state) {
  (void)state;
  check_place("  o.step \"load\" { after = \"fetchh\" }", 1, "fetchh", 1, 27, 8);
}

static void a_word_is_found_as_a_name(void **state) {
  (void)state;
  check_place("x = { timout = 1 }", 1, "timout", 1, 7, 6);
}

static void comments_and_longer_names_do_not_count(void **state) {
  (void)state;
  check_place("-- load\nloader = 1 --[[ load\n load ]] load = 2", 1, "load", 3, 10, 4);
}

static void long_brackets_are_strings(void **state) {
  (void)state;
  check_place("a = [==[fetch]==]", 1, "fetch", 1, 5, 13);
}

static void a_word_below_the_declaration_moves_the_line(void **state) {
  (void)state;
  check_place("o.step \"x\" {\n  run = f,\n  after = \"y\",\n}", 1, "y", 3, 11, 3);
}

static void columns_count_characters_and_not_bytes(void **state) {
  (void)state;
  check_place("x = \"\xc3\xa4\xc3\xb6\", timout = 1", 1, "timout", 1, 11, 6);
}

static void an_unknown_word_gives_column_1(void **state) {
  (void)state;
  check_place("a = 1", 1, "nothing", 1, 1, 1);
  check_place("a = 1", 1, NULL, 1, 1, 1);
}

static void a_line_beyond_the_file_has_no_excerpt(void **state) {
  (void)state;
  struct orr_problem *problem = make("a = 1\n", 9, "a");
  assert_null(problem->excerpt);
}

static void broken_text_does_not_confuse_the_search(void **state) {
  (void)state;
  check_place("a = \"unfinished\nb = [[never closed", 1, "b", 2, 1, 1);
  check_place("\"", 1, "x", 1, 1, 1);
}

static void it_renders_as_people_know_it(void **state) {
  (void)state;
  struct orr_buf out = ORR_BUF_INIT;
  struct orr_problem *problem =
      make("\n\n  o.step \"load\" { after = \"fetchh\", run = load },\n", 3, "fetchh");
  problem->help = orr_strdup("did you mean \"fetch\"?");
  orr_problem_render(problem, false, &out);
  assert_string_equal(orr_buf_cstr(&out),
                      "error[E0203]: step \"load\" depends on unknown step \"fetchh\"\n"
                      "  --> pipelines/etl.lua:3:27\n"
                      "   |\n"
                      " 3 |   o.step \"load\" { after = \"fetchh\", run = load },\n"
                      "   |                           ^^^^^^^^\n"
                      "  help: did you mean \"fetch\"?\n");
  orr_buf_free(&out);
}

static void colours_come_only_when_asked_for(void **state) {
  (void)state;
  struct orr_buf out = ORR_BUF_INIT;
  struct orr_problem *problem = make("a = b", 1, "b");
  orr_problem_render(problem, false, &out);
  assert_null(strchr(orr_buf_cstr(&out), '\033'));
  orr_problem_render(problem, true, &out);
  assert_non_null(strchr(orr_buf_cstr(&out), '\033'));
  orr_buf_free(&out);
}

static void tabs_stay_under_the_caret(void **state) {
  (void)state;
  struct orr_buf out = ORR_BUF_INIT;
  orr_problem_render(make("\t\tx = timout", 1, "timout"), false, &out);
  assert_non_null(strstr(orr_buf_cstr(&out), "   | \t\t    ^^^^^^\n"));
  orr_buf_free(&out);
}

static void its_json_is_valid_and_says_the_same(void **state) {
  (void)state;
  struct orr_buf out = ORR_BUF_INIT;
  struct orr_slice value;
  orr_problem_json(make("a = \"fe\ttch\"", 1, "a"), &out);
  assert_int_equal(orr_json_check(orr_buf_slice(&out), NULL, NULL), ORR_OK);
  assert_int_equal(orr_json_path(orr_buf_slice(&out), ORR_SLICE_LITERAL("code"), &value), ORR_OK);
  assert_memory_equal(value.data, "\"E0203\"", 7);
  assert_int_equal(orr_json_path(orr_buf_slice(&out), ORR_SLICE_LITERAL("column"), &value), ORR_OK);
  assert_memory_equal(value.data, "1", 1);
  orr_buf_free(&out);
}

static void a_long_line_is_cut_between_characters(void **state) {
  (void)state;
  struct orr_buf source = ORR_BUF_INIT;
  for (int i = 0; i < 200; i++) orr_buf_text(&source, "\xc3\xa4");
  struct orr_problem *problem = make(orr_buf_cstr(&source), 1, NULL);
  assert_true(orr_utf8_valid(orr_slice_text(problem->excerpt)));
  assert_true(strlen(problem->excerpt) < 200);
  orr_buf_free(&source);
}

#define TEST(name) cmocka_unit_test_teardown(name, clean)

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(a_word_is_found_as_a_whole_string_with_its_quotes),
      TEST(a_word_is_found_as_a_name),
      TEST(comments_and_longer_names_do_not_count),
      TEST(long_brackets_are_strings),
      TEST(a_word_below_the_declaration_moves_the_line),
      TEST(columns_count_characters_and_not_bytes),
      TEST(an_unknown_word_gives_column_1),
      TEST(a_line_beyond_the_file_has_no_excerpt),
      TEST(broken_text_does_not_confuse_the_search),
      TEST(it_renders_as_people_know_it),
      TEST(colours_come_only_when_asked_for),
      TEST(tabs_stay_under_the_caret),
      TEST(its_json_is_valid_and_says_the_same),
      TEST(a_long_line_is_cut_between_characters),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
