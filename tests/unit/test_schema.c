// SPDX-License-Identifier: MIT
// Inputs against schemas: what fits, with its defaults, and what is said about the rest.
#include "io/schema.h"
#include "base/json.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static void fits(const char *schema, const char *input, const char *expected) {
  struct orr_buf out = ORR_BUF_INIT, problems = ORR_BUF_INIT;
  enum orr_status status =
      orr_schema_apply(orr_slice_text(schema), orr_slice_text(input), &out, &problems);
  assert_string_equal(orr_buf_cstr(&problems), "");
  assert_int_equal(status, ORR_OK);
  assert_string_equal(orr_buf_cstr(&out), expected);
  assert_int_equal(orr_json_check(orr_buf_slice(&out), NULL, NULL), ORR_OK);
  orr_buf_free(&out);
  orr_buf_free(&problems);
}

static void refused(const char *schema, const char *input, const char *path, const char *message) {
  struct orr_buf out = ORR_BUF_INIT, problems = ORR_BUF_INIT, expected = ORR_BUF_INIT;
  orr_buf_text(&out, "kept");
  enum orr_status status =
      orr_schema_apply(orr_slice_text(schema), orr_slice_text(input), &out, &problems);
  orr_buf_text(&expected, "[{\"path\":");
  orr_json_string(&expected, orr_slice_text(path));
  orr_buf_text(&expected, ",\"message\":");
  orr_json_string(&expected, orr_slice_text(message));
  orr_buf_text(&expected, "}]");
  assert_string_equal(orr_buf_cstr(&problems), orr_buf_cstr(&expected));
  assert_int_equal(status, ORR_ERR_INVALID);
  assert_string_equal(orr_buf_cstr(&out), "kept");
  orr_buf_free(&out);
  orr_buf_free(&problems);
  orr_buf_free(&expected);
}

static void an_empty_schema_accepts_any_json_and_nothing_at_all(void **state) {
  (void)state;
  fits("", "[1,2]", "[1,2]");
  fits("", "null", "null");
  fits("", "", "{}");
  fits("{}", " {\"a\":1} ", "{\"a\":1}");
  refused("", "{\"a\":}", "", "is not valid JSON: value expected at byte 6");
}

static void missing_members_get_their_defaults_in_schema_order(void **state) {
  (void)state;
  const char *schema = "{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"integer\",\"default\":1},"
                       "\"b\":{\"type\":\"string\",\"default\":\"x\"},\"c\":{\"type\":\"string\"}}}";
  fits(schema, "", "{\"a\":1,\"b\":\"x\"}");
  fits(schema, "null", "{\"a\":1,\"b\":\"x\"}");
  fits(schema, "{\"c\":\"y\",\"b\":\"z\"}", "{\"c\":\"y\",\"b\":\"z\",\"a\":1}");
  fits(schema, "{\"a\":null,\"c\":null}", "{\"a\":1,\"b\":\"x\"}");
  fits("{\"type\":\"object\",\"properties\":{\"o\":{\"type\":\"object\",\"default\":{},"
       "\"properties\":{\"n\":{\"default\":5}}}}}",
       "{}", "{\"o\":{\"n\":5}}");
}

static void required_members_are_named_by_their_path(void **state) {
  (void)state;
  const char *schema = "{\"type\":\"object\",\"required\":[\"a\",\"b\"],\"properties\":{\"a\":{}}}";
  refused(schema, "{\"a\":1}", "/b", "is required");
  fits(schema, "{\"a\":1,\"b\":null}", "{\"a\":1,\"b\":null}");
  refused("{\"type\":\"object\",\"required\":[\"a\"],\"properties\":{\"a\":{\"type\":\"string\"}}}",
          "{\"a\":null}", "/a", "is required");
}

static void members_that_nobody_declared_are_refused_with_a_suggestion(void **state) {
  (void)state;
  const char *schema = "{\"type\":\"object\",\"additionalProperties\":false,"
                       "\"properties\":{\"status_file\":{\"type\":\"string\"}}}";
  refused(schema, "{\"status_fil\":\"x\"}", "/status_fil",
          "is not known: did you mean \"status_file\"?");
  refused(schema, "{\"zzz/~\":1}", "/zzz~1~0", "is not known");
}

static void types_are_checked_and_named(void **state) {
  (void)state;
  refused("{\"type\":\"string\"}", "1", "", "must be a string");
  refused("{\"type\":[\"integer\",\"null\"]}", "\"x\"", "", "must be an integer or null");
  refused("{\"type\":\"integer\"}", "1.5", "", "must be an integer");
  refused("{\"type\":\"object\"}", "[]", "", "must be an object");
  refused("{\"type\":\"boolean\"}", "null", "", "must be a boolean");
  fits("{\"type\":\"integer\"}", "3.0", "3");
  fits("{\"type\":\"number\"}", "3.0", "3.0");
  fits("{\"type\":\"number\"}", "3", "3");
  fits("{\"type\":[\"string\",\"null\"]}", "null", "null");
}

static void numbers_keep_their_bounds(void **state) {
  (void)state;
  refused("{\"minimum\":0}", "-1", "", "must be at least 0");
  refused("{\"maximum\":9223372036854775806}", "9223372036854775807", "",
          "must be at most 9223372036854775806");
  refused("{\"exclusiveMinimum\":1.5}", "1.5", "", "must be above 1.5");
  refused("{\"exclusiveMaximum\":2}", "2", "", "must be below 2");
  refused("{\"multipleOf\":5}", "12", "", "must be a multiple of 5");
  fits("{\"multipleOf\":0.1}", "0.3", "0.3");
  fits("{\"minimum\":0,\"maximum\":1}", "1", "1");
}

static void strings_keep_their_length_in_code_points(void **state) {
  (void)state;
  fits("{\"maxLength\":2}", "\"\xc3\xa4\xc3\xb6\"", "\"\xc3\xa4\xc3\xb6\"");
  fits("{\"maxLength\":1}", "\"\\ud83d\\ude00\"", "\"\\ud83d\\ude00\"");
  refused("{\"maxLength\":1}", "\"ab\"", "", "must have at most 1 character");
  refused("{\"minLength\":2}", "\"\xc3\xa4\"", "", "must have at least 2 characters");
}

static void patterns_match_anywhere_and_cannot_run_for_ever(void **state) {
  (void)state;
  fits("{\"pattern\":\"b+\"}", "\"abc\"", "\"abc\"");
  refused("{\"pattern\":\"^b\"}", "\"abc\"", "", "must match the pattern ^b");
  refused("{\"pattern\":\"^(a+)+$\"}", "\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa!\"", "",
          "takes too long to match against the pattern ^(a+)+$");
}

static void formats_are_checked(void **state) {
  (void)state;
  const struct {
    const char *format, *good, *bad, *message;
  } cases[] = {
      {"date", "2024-02-29", "2023-02-29", "must be a date like 2026-11-20"},
      {"date-time", "2026-11-20T21:34:00.5+01:00", "2026-11-20T24:00:00Z",
       "must be a time like 2026-11-20T21:34:00Z"},
      {"email", "a@b.org", "a@@b", "must be an email address"},
      {"uri", "https://example.org/x?y", "no spaces: here", "must be a URI like https://example.org/"},
      {"uuid", "123e4567-e89b-12d3-a456-426614174000", "123e4567", "must be a UUID"},
      {"ipv4", "127.0.0.1", "256.0.0.1", "must be an IPv4 address"},
      {"duration", "1h30m", "soon", "must be a duration like 1h30m"},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    struct orr_buf schema = ORR_BUF_INIT, good = ORR_BUF_INIT, bad = ORR_BUF_INIT;
    orr_buf_printf(&schema, "{\"format\":\"%s\"}", cases[i].format);
    orr_buf_printf(&good, "\"%s\"", cases[i].good);
    orr_buf_printf(&bad, "\"%s\"", cases[i].bad);
    fits(orr_buf_cstr(&schema), orr_buf_cstr(&good), orr_buf_cstr(&good));
    refused(orr_buf_cstr(&schema), orr_buf_cstr(&bad), "", cases[i].message);
    orr_buf_free(&schema);
    orr_buf_free(&good);
    orr_buf_free(&bad);
  }
  refused("{\"format\":\"ipv4\"}", "\"1.2.3.4.\"", "", "must be an IPv4 address");
  refused("{\"format\":\"ipv4\"}", "\"1.2.3\"", "", "must be an IPv4 address");
  fits("{\"format\":\"unheard-of\"}", "\"x\"", "\"x\"");
}

static void enum_and_const_compare_values_not_texts(void **state) {
  (void)state;
  fits("{\"enum\":[\"a\",1,{\"x\":1,\"y\":[2]}]}", "{ \"y\":[2.0], \"x\":1 }", "{\"y\":[2.0],\"x\":1}");
  fits("{\"enum\":[\"\xc3\xa4\"]}", "\"\\u00e4\"", "\"\\u00e4\"");
  refused("{\"enum\":[\"a\",1]}", "\"b\"", "", "must be one of [\"a\",1]");
  refused("{\"const\":true}", "false", "", "must be true");
}

static void arrays_check_their_items_and_their_number(void **state) {
  (void)state;
  const char *schema = "{\"type\":\"array\",\"items\":{\"type\":\"object\",\"properties\":"
                       "{\"price\":{\"type\":\"number\",\"minimum\":0}}}}";
  refused(schema, "[{},{},{\"price\":-1}]", "/2/price", "must be at least 0");
  fits(schema, "[ {} , {\"price\":0} ]", "[{},{\"price\":0}]");
  refused("{\"minItems\":2}", "[1]", "", "must have at least 2 items");
  refused("{\"maxItems\":1}", "[1,2]", "", "must have at most 1 item");
  refused("{\"uniqueItems\":true}", "[{\"a\":1,\"b\":2},{\"b\":2.0,\"a\":1}]", "",
          "must not hold an item twice");
  fits("{\"uniqueItems\":true}", "[1,\"1\",[1]]", "[1,\"1\",[1]]");
}

static void at_most_twenty_problems_are_told(void **state) {
  (void)state;
  struct orr_buf input = ORR_BUF_INIT, out = ORR_BUF_INIT, problems = ORR_BUF_INIT;
  orr_buf_u8(&input, '[');
  for (int i = 0; i < 100; i++) orr_buf_text(&input, i > 0 ? ",1" : "1");
  orr_buf_u8(&input, ']');
  assert_int_equal(orr_schema_apply(ORR_SLICE_LITERAL("{\"items\":{\"type\":\"string\"}}"),
                                    orr_buf_slice(&input), &out, &problems),
                   ORR_ERR_INVALID);
  struct orr_slice value;
  assert_int_equal(orr_json_path(orr_buf_slice(&problems), ORR_SLICE_LITERAL("20.path"), &value), ORR_OK);
  assert_int_equal(orr_json_path(orr_buf_slice(&problems), ORR_SLICE_LITERAL("21"), &value),
                   ORR_ERR_NOT_FOUND);
  orr_buf_free(&input);
  orr_buf_free(&out);
  orr_buf_free(&problems);
}

static void a_broken_schema_is_not_the_fault_of_the_input(void **state) {
  (void)state;
  struct orr_buf out = ORR_BUF_INIT, problems = ORR_BUF_INIT;
  struct orr_slice input = ORR_SLICE_LITERAL("\"x\"");
  assert_int_equal(orr_schema_apply(ORR_SLICE_LITERAL("{"), input, &out, &problems), ORR_ERR_CORRUPT);
  assert_int_equal(orr_schema_apply(ORR_SLICE_LITERAL("{\"pattern\":\"(\"}"), input, &out, &problems),
                   ORR_ERR_CORRUPT);
  assert_int_equal(out.len + problems.len, 0);
  orr_buf_free(&out);
  orr_buf_free(&problems);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(an_empty_schema_accepts_any_json_and_nothing_at_all),
      cmocka_unit_test(missing_members_get_their_defaults_in_schema_order),
      cmocka_unit_test(required_members_are_named_by_their_path),
      cmocka_unit_test(members_that_nobody_declared_are_refused_with_a_suggestion),
      cmocka_unit_test(types_are_checked_and_named),
      cmocka_unit_test(numbers_keep_their_bounds),
      cmocka_unit_test(strings_keep_their_length_in_code_points),
      cmocka_unit_test(patterns_match_anywhere_and_cannot_run_for_ever),
      cmocka_unit_test(formats_are_checked),
      cmocka_unit_test(enum_and_const_compare_values_not_texts),
      cmocka_unit_test(arrays_check_their_items_and_their_number),
      cmocka_unit_test(at_most_twenty_problems_are_told),
      cmocka_unit_test(a_broken_schema_is_not_the_fault_of_the_input),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
