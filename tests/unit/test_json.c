// SPDX-License-Identifier: MIT
// The JSON reader and writer: what is accepted, as which events, what is refused and where.
#include "base/json.h"
#include "base/limits.h"
#include "base/rng.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

// The events of a text as one string: "{k i ]" ...
static void events(const char *text, const char *expected) {
  static const char LETTERS[] = "nftidsa]o}k.!";
  struct orr_json_reader reader;
  struct orr_buf out = ORR_BUF_INIT;
  orr_json_reader_init(&reader, orr_slice_text(text));
  for (enum orr_json_type type = ORR_JSON_NULL; type != ORR_JSON_END && type != ORR_JSON_ERROR;) {
    type = orr_json_next(&reader);
    orr_buf_u8(&out, (uint8_t)LETTERS[type]);
  }
  assert_string_equal(orr_buf_cstr(&out), expected);
  orr_buf_free(&out);
}

static void refused(struct orr_slice text, const char *error, size_t offset) {
  const char *said = NULL;
  size_t at = 0;
  assert_int_equal(orr_json_check(text, &said, &at), ORR_ERR_INVALID);
  assert_string_equal(said, error);
  assert_int_equal(at, offset);
}
#define REFUSED(text, error, offset) refused(ORR_SLICE_LITERAL(text), error, offset)

static struct orr_json_reader first(const char *text, enum orr_json_type expected) {
  struct orr_json_reader reader;
  orr_json_reader_init(&reader, orr_slice_text(text));
  assert_int_equal(orr_json_next(&reader), expected);
  return reader;
}

static void values_come_as_events_in_order(void **state) {
  (void)state;
  events("null", "n.");
  events(" [true , false] ", "atf].");
  events("{\"a\":1,\"b\":[{}, 2.5, \"x\"]}", "okikao}ds]}.");
  events("[]", "a].");
  events("{\"a\":{\"b\":[]}}", "okoka]}}.");
}

static void grammar_is_strict(void **state) {
  (void)state;
  REFUSED("", "text ends too early", 0);
  REFUSED("  ", "text ends too early", 2);
  REFUSED("[1,]", "value expected", 3);
  REFUSED("[1 2]", "',' or ']' expected", 3);
  REFUSED("[1}", "',' or ']' expected", 2);
  REFUSED("{\"a\":1,}", "key expected", 7);
  REFUSED("{\"a\" 1}", "':' expected", 5);
  REFUSED("{\"a\":}", "value expected", 5);
  REFUSED("{a:1}", "key expected", 1);
  REFUSED("{\"a\":1]", "',' or '}' expected", 6);
  REFUSED("1 2", "text after the value", 2);
  REFUSED("nul", "value expected", 0);
  REFUSED("nulll", "text after the value", 4);
  REFUSED("'a'", "value expected", 0);
  REFUSED("[1] // x", "text after the value", 4);
  REFUSED("\xef\xbb\xbf{}", "value expected", 0);
  REFUSED("[", "text ends too early", 1);
  REFUSED("1\0", "text after the value", 1);
  REFUSED("NaN", "value expected", 0);
}

static void numbers_are_strict(void **state) {
  (void)state;
  REFUSED("01", "leading zero", 0);
  REFUSED("-01", "leading zero", 1);
  REFUSED("-", "digit expected", 1);
  REFUSED("1.", "digit expected", 2);
  REFUSED(".5", "value expected", 0);
  REFUSED("1e", "digit expected", 2);
  REFUSED("1e+", "digit expected", 3);
  REFUSED("+1", "value expected", 0);
  REFUSED("1e999", "number out of range", 0);
  REFUSED("0x10", "text after the value", 1);
}

static void integers_keep_64_bits_and_larger_ones_are_floats(void **state) {
  (void)state;
  assert_true(first("9223372036854775807", ORR_JSON_INTEGER).integer == INT64_MAX);
  assert_true(first("-9223372036854775808", ORR_JSON_INTEGER).integer == INT64_MIN);
  assert_true(first("9223372036854775808", ORR_JSON_FLOAT).number == 0x1p63);
  assert_true(first("-9223372036854775809", ORR_JSON_FLOAT).number == -0x1p63);
  assert_true(first("123456789012345678901234567890", ORR_JSON_FLOAT).number ==
              123456789012345678901234567890.0);
  assert_int_equal(first("-0", ORR_JSON_INTEGER).integer, 0);
  struct orr_json_reader zero = first("-0.0", ORR_JSON_FLOAT);
  assert_true(zero.number == 0 && signbit(zero.number));
  assert_true(first("7", ORR_JSON_INTEGER).number == 7.0);
}

static void floats_are_rounded_as_the_c_library_does(void **state) {
  (void)state;
  const char *texts[] = {"0.1", "1e22", "1e23", "123.456", "2.2250738585072014e-308", "5e-324",
                         "1.7976931348623157e308", "1e-400", "0.000001", "9007199254740993.0",
                         "2.2250738585072011e-308", "100000000000000000000000.5", "0e5",
                         "179769313486231580793728971405303415079934132710037826936173778980444968292764"
                         "7508664901797758720709633028641669288791094655554785194040263065748867150582068"
                         "0.5e150", "3.14159265358979323846264338327950288419716939937510582097494459"};
  for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
    assert_true(first(texts[i], ORR_JSON_FLOAT).number == strtod(texts[i], NULL));
  struct orr_rng rng = {5};
  for (int i = 0; i < 20000; i++) {
    char text[64];
    snprintf(text, sizeof text, "%llu.%llue%d", (unsigned long long)orr_rng_below(&rng, 1ull << (i % 60 + 1)),
             (unsigned long long)orr_rng_below(&rng, 1ull << (i % 50 + 1)),
             (int)orr_rng_below(&rng, 60) - 30);
    assert_true(first(text, ORR_JSON_FLOAT).number == strtod(text, NULL));
  }
}

static void half_way_digits_beyond_any_buffer_still_decide_the_rounding(void **state) {
  (void)state;
  struct orr_buf text = ORR_BUF_INIT;
  orr_buf_text(&text, "9007199254740993."); // half way between two doubles
  for (int i = 0; i < 3000; i++) orr_buf_u8(&text, '0');
  assert_true(first(orr_buf_cstr(&text), ORR_JSON_FLOAT).number == 9007199254740992.0);
  orr_buf_u8(&text, '1');
  assert_true(first(orr_buf_cstr(&text), ORR_JSON_FLOAT).number == 9007199254740994.0);
  orr_buf_free(&text);
}

static void strings_are_checked(void **state) {
  (void)state;
  REFUSED("\"abc", "string without an end", 0);
  REFUSED("\"ab\\", "invalid escape", 3);
  REFUSED("\"a\nb\"", "control character in a string", 2);
  REFUSED("\"abcdefghijk\x1f\"", "control character in a string", 12);
  REFUSED("\"\\x\"", "invalid escape", 1);
  REFUSED("\"\\u12g4\"", "invalid escape", 1);
  REFUSED("\"\\ud800\"", "lone surrogate", 1);
  REFUSED("\"\\ud800\\u0041\"", "lone surrogate", 1);
  REFUSED("\"\\udc00\\ud800\"", "lone surrogate", 1);
  REFUSED("\"\xc3\"", "invalid UTF-8", 1);
  REFUSED("\"\xc0\x80\"", "invalid UTF-8", 1);
  REFUSED("\"\xed\xa0\x80\"", "invalid UTF-8", 1);
  REFUSED("\"\xf4\x90\x80\x80\"", "invalid UTF-8", 1);
  REFUSED("\"abcdefgh\xff\"", "invalid UTF-8", 9);
  REFUSED("{\"\\q\":1}", "invalid escape", 2);
}

static void every_stop_is_found_at_every_place_of_a_word(void **state) {
  (void)state;
  for (unsigned place = 0; place < 20; place++) {
    for (unsigned byte = 0; byte < 256; byte++) {
      uint8_t text[32] = "\"";
      memset(text + 1, 'x', 24);
      text[1 + place] = (uint8_t)byte;
      text[25] = '"';
      bool good = byte >= 0x20 && byte < 0x80 && byte != '"' && byte != '\\';
      bool escapes = byte == '\\'; // "\x" is no escape
      assert_int_equal(orr_json_check(orr_slice_of(text, 26), NULL, NULL) == ORR_OK, good && !escapes);
    }
  }
}

static void unescaping_gives_the_bytes(void **state) {
  (void)state;
  struct orr_buf out = ORR_BUF_INIT;
  struct orr_json_reader reader =
      first("\"\\\"\\\\\\/\\b\\f\\n\\r\\t\\u0041\\u00e4\\u20ac\\ud83d\\ude00\\u0000z\"", ORR_JSON_STRING);
  assert_true(reader.escaped);
  orr_json_unescape(&out, reader.text);
  struct orr_slice expected =
      ORR_SLICE_LITERAL("\"\\/\b\f\n\r\tA\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80\0z");
  assert_true(orr_slice_equal(orr_buf_slice(&out), expected));
  orr_buf_free(&out);
}

static void strings_survive_writing_and_reading(void **state) {
  (void)state;
  struct orr_rng rng = {9};
  for (int i = 0; i < 2000; i++) {
    struct orr_buf plain = ORR_BUF_INIT, text = ORR_BUF_INIT, back = ORR_BUF_INIT;
    for (uint64_t n = orr_rng_below(&rng, 30); n > 0; n--) {
      static const char *const PIECES[] = {"\"", "\\", "\n", "\x01", "a", "\xc3\xa4", "\xf0\x9f\x98\x80",
                                           "/", "\x7f", "abcdefgh"};
      orr_buf_text(&plain, PIECES[orr_rng_below(&rng, 10)]);
    }
    orr_json_string(&text, orr_buf_slice(&plain));
    struct orr_json_reader reader = first(orr_buf_cstr(&text), ORR_JSON_STRING);
    orr_json_unescape(&back, reader.text);
    assert_true(orr_slice_equal(orr_buf_slice(&plain), orr_buf_slice(&back)));
    assert_int_equal(orr_json_next(&reader), ORR_JSON_END);
    orr_buf_free(&plain);
    orr_buf_free(&text);
    orr_buf_free(&back);
  }
}

static void bad_utf8_is_repaired_when_written(void **state) {
  (void)state;
  struct orr_buf out = ORR_BUF_INIT;
  orr_json_string(&out, ORR_SLICE_LITERAL("a\xff\xc3(\x80"));
  assert_string_equal(orr_buf_cstr(&out), "\"a\xef\xbf\xbd\xef\xbf\xbd(\xef\xbf\xbd\"");
  orr_buf_clear(&out);
  assert_false(orr_utf8_repair(&out, ORR_SLICE_LITERAL("gr\xc3\xbc\xc3\x9f" "e")));
  assert_true(orr_utf8_valid(orr_buf_slice(&out)));
  assert_false(orr_utf8_valid(ORR_SLICE_LITERAL("\xf0\x8f\xbf\xbf")));
  orr_buf_free(&out);
}

static void depth_ends_at_the_limit(void **state) {
  (void)state;
  struct orr_buf text = ORR_BUF_INIT;
  for (unsigned i = 0; i < ORR_JSON_DEPTH_MAX; i++) orr_buf_text(&text, i % 2 == 0 ? "[" : "{\"a\":");
  orr_buf_text(&text, "1");
  for (unsigned i = ORR_JSON_DEPTH_MAX; i-- > 0;) orr_buf_text(&text, i % 2 == 0 ? "]" : "}");
  assert_int_equal(orr_json_check(orr_buf_slice(&text), NULL, NULL), ORR_OK);
  orr_buf_clear(&text);
  for (unsigned i = 0; i <= ORR_JSON_DEPTH_MAX; i++) orr_buf_u8(&text, '[');
  refused(orr_buf_slice(&text), "nested too deeply", ORR_JSON_DEPTH_MAX);
  orr_buf_free(&text);
}

static void errors_repeat(void **state) {
  (void)state;
  struct orr_json_reader reader = first("x", ORR_JSON_ERROR);
  assert_int_equal(orr_json_next(&reader), ORR_JSON_ERROR);
  assert_int_equal(orr_json_skip(&reader, ORR_JSON_ERROR, NULL), ORR_ERR_INVALID);
}

static void skipping_gives_the_text_of_the_whole_value(void **state) {
  (void)state;
  struct orr_slice value;
  struct orr_json_reader reader = first("[ {\"a\": [1,2]} , 7 ]", ORR_JSON_ARRAY_BEGIN);
  assert_int_equal(orr_json_skip(&reader, orr_json_next(&reader), &value), ORR_OK);
  assert_true(orr_slice_equal(value, ORR_SLICE_LITERAL("{\"a\": [1,2]}")));
  assert_int_equal(orr_json_skip(&reader, orr_json_next(&reader), &value), ORR_OK);
  assert_true(orr_slice_equal(value, ORR_SLICE_LITERAL("7")));
  assert_int_equal(orr_json_next(&reader), ORR_JSON_ARRAY_END);
}

static void path_is(const char *text, const char *path, const char *expected) {
  struct orr_slice value = {0};
  enum orr_status status = orr_json_path(orr_slice_text(text), orr_slice_text(path), &value);
  assert_int_equal(status, expected != NULL ? ORR_OK : ORR_ERR_NOT_FOUND);
  if (expected != NULL) assert_true(orr_slice_equal(value, orr_slice_text(expected)));
}

static void paths_lead_to_values(void **state) {
  (void)state;
  const char *text = "{\"customer\":{\"id\": 42,\"tags\":[\"a\",{\"b\":null}]},\"\\u0061\":1,\"d\":1,\"d\":2}";
  path_is(text, "customer.id", "42");
  path_is(text, "customer.tags.2.b", "null");
  path_is(text, "customer.tags.1", "\"a\"");
  path_is(text, "a", "1");
  path_is(text, "d", "2"); // the last one counts
  path_is(text, "customer.tags.3", NULL);
  path_is(text, "customer.tags.0", NULL);
  path_is(text, "customer.tags.x", NULL);
  path_is(text, "customer.id.x", NULL);
  path_is(text, "nobody", NULL);
  path_is(text, "customer.", NULL);
  path_is("[1]", "", "[1]");
}

static void number_is(double value, const char *expected) {
  struct orr_buf out = ORR_BUF_INIT;
  orr_json_number(&out, value);
  assert_string_equal(orr_buf_cstr(&out), expected);
  orr_buf_free(&out);
}

static void numbers_are_written_short_and_stay_floats(void **state) {
  (void)state;
  number_is(1, "1.0");
  number_is(-0.0, "-0.0");
  number_is(0.1, "0.1");
  number_is(-12.34, "-12.34");
  number_is(1.0 / 3, "0.3333333333333333");
  number_is(1e15, "1e+15");
  number_is(123456789012345678.0, "1.2345678901234568e+17");
  number_is(5e-324, "4.94065645841247e-324");
  number_is(0.1 + 0.2, "0.30000000000000004");
  number_is(0.000001, "0.000001");
}

static void numbers_survive_writing_and_reading(void **state) {
  (void)state;
  struct orr_rng rng = {1};
  for (int i = 0; i < 20000; i++) {
    uint64_t bits = orr_rng_next(&rng);
    double value;
    memcpy(&value, &bits, sizeof value);
    if (i % 3 == 0) value = (double)(int64_t)orr_rng_below(&rng, 100000000) / 1000;
    if (!isfinite(value)) continue;
    struct orr_buf out = ORR_BUF_INIT;
    orr_json_number(&out, value);
    assert_true(first(orr_buf_cstr(&out), ORR_JSON_FLOAT).number == value);
    orr_buf_free(&out);
  }
}

static void the_writer_sets_commas(void **state) {
  (void)state;
  struct orr_buf out = ORR_BUF_INIT;
  orr_buf_u8(&out, '{');
  orr_json_key(&out, "a");
  orr_json_time(&out, 0);
  orr_json_key(&out, "b");
  orr_buf_u8(&out, '[');
  for (int i = 0; i < 2; i++) {
    orr_json_comma(&out);
    orr_json_time(&out, 1);
  }
  orr_buf_text(&out, "]}");
  assert_string_equal(orr_buf_cstr(&out),
                      "{\"a\":null,\"b\":[\"1970-01-01T00:00:00.001Z\",\"1970-01-01T00:00:00.001Z\"]}");
  orr_buf_free(&out);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(values_come_as_events_in_order),
      cmocka_unit_test(grammar_is_strict),
      cmocka_unit_test(numbers_are_strict),
      cmocka_unit_test(integers_keep_64_bits_and_larger_ones_are_floats),
      cmocka_unit_test(floats_are_rounded_as_the_c_library_does),
      cmocka_unit_test(half_way_digits_beyond_any_buffer_still_decide_the_rounding),
      cmocka_unit_test(strings_are_checked),
      cmocka_unit_test(every_stop_is_found_at_every_place_of_a_word),
      cmocka_unit_test(unescaping_gives_the_bytes),
      cmocka_unit_test(strings_survive_writing_and_reading),
      cmocka_unit_test(bad_utf8_is_repaired_when_written),
      cmocka_unit_test(depth_ends_at_the_limit),
      cmocka_unit_test(errors_repeat),
      cmocka_unit_test(skipping_gives_the_text_of_the_whole_value),
      cmocka_unit_test(paths_lead_to_values),
      cmocka_unit_test(numbers_are_written_short_and_stay_floats),
      cmocka_unit_test(numbers_survive_writing_and_reading),
      cmocka_unit_test(the_writer_sets_commas),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
