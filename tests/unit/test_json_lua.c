// SPDX-License-Identifier: MIT
// The direct codec: round trips, refusals with their paths, and jansson as the judge of random documents.
#include "base/limits.h"
#include "base/rng.h"
#include "script/json_lua.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <jansson.h>
#include <lauxlib.h>
#include <lualib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static lua_State *open_state(void) {
  lua_State *L = luaL_newstate();
  luaL_openlibs(L);
  luaL_requiref(L, "json", orr_luaopen_json, 1);
  lua_settop(L, 0);
  return L;
}

static void assert_round_trip(lua_State *L, const char *text, const char *expected) {
  const char *error = NULL;
  size_t offset = 0;
  struct orr_buf out = ORR_BUF_INIT;
  struct orr_json_problem problem = {0};
  if (orr_json_decode(L, orr_slice_text(text), &error, &offset) != ORR_OK) fail_msg("%s: %s", text, error);
  if (orr_json_encode(L, -1, "value", SIZE_MAX, &out, &problem) != ORR_OK) fail_msg("%s: %s", text, problem.message);
  assert_string_equal(orr_buf_cstr(&out), expected);
  assert_int_equal(lua_gettop(L), 1);
  lua_settop(L, 0);
  orr_buf_free(&out);
}

static void values_survive_the_round_trip(void **state) {
  (void)state;
  lua_State *L = open_state();
  static const char *const same[] = {
      "9223372036854775807", "-9223372036854775808", "0", "-1", "1.5", "-0.0", "[]", "{}", "[[],{}]", "\"\"",
      "[null,1,null]", "null", "true", "[1,2,3]", "{\"a\":1,\"b\":{\"c\":[\"x\",false]}}", "\"\\\"\\\\\"",
      "\"\xc3\xa4\xe2\x82\xac\xf0\x9f\x8c\x8d\"", "\"\\u0000\\u001f\"", "{\"\":1}", "[1.0,2]"};
  for (size_t i = 0; i < sizeof(same) / sizeof(*same); i++) {
    assert_round_trip(L, same[i], same[i]);
  }
  assert_round_trip(L, " { \"b\" : 1 , \"a\" : null, \"c\" : \"\\u00e4\\ud83c\\udf0d\\n\" } ",
                    "{\"b\":1,\"c\":\"\xc3\xa4\xf0\x9f\x8c\x8d\\n\"}");
  lua_close(L);
}

static void assert_refused(lua_State *L, const char *code, const char *part) {
  struct orr_buf out = ORR_BUF_INIT;
  struct orr_json_problem problem = {0};
  if (luaL_dostring(L, code) != LUA_OK) fail_msg("%s", lua_tostring(L, -1));
  orr_buf_text(&out, "before");
  assert_int_not_equal(orr_json_encode(L, -1, "output", 1000, &out, &problem), ORR_OK);
  if (strstr(problem.message, part) == NULL) fail_msg("no \"%s\" in: %s", part, problem.message);
  assert_string_equal(orr_buf_cstr(&out), "before");
  lua_settop(L, 0);
  orr_buf_free(&out);
}

static void refusals_name_the_path(void **state) {
  (void)state;
  lua_State *L = open_state();
  assert_refused(L, "return { a = { 1, { b = print } } }", "output.a[2].b: a function");
  assert_refused(L, "return { 1, 2, x = 3 }", "mixed keys");
  assert_refused(L, "return { [1] = 1, [3] = 3 }", "holes");
  assert_refused(L, "return { [1.5] = 1 }", "mixed keys");
  assert_refused(L, "return { [true] = 1 }", "mixed keys");
  assert_refused(L, "return { 1 / 0 }", "output[1]: an infinity");
  assert_refused(L, "return { -(0 / 0) }", "NaN");
  assert_refused(L, "return { a = '\\xff' }", "output.a: a string that is not UTF-8");
  assert_refused(L, "return { ['\\xff'] = 1 }", "not UTF-8");
  assert_refused(L, "return '\\xed\\xa0\\x80'", "not UTF-8");
  assert_refused(L, "local t = {} t[1] = t return t", "deeper than 100");
  assert_refused(L, "return ('x'):rep(1000)", "larger than 1000 bytes");
  assert_refused(L, "return coroutine.create(print)", "a coroutine");
  assert_refused(L, "return io.stdout", "a userdata");
  assert_refused(L, "return setmetatable({ 1, a = 2 }, json.array_mt)", "mixed keys");
  lua_close(L);
}

static void bad_texts_are_refused_and_push_nothing(void **state) {
  (void)state;
  lua_State *L = open_state();
  static const char *const bad[] = {"", "{", "[1,]", "{\"a\":}", "01", "nul", "\"\x01\"", "\"\xff\"", "[1] 2", "1e999", "\"\\ud800\""};
  for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
    const char *error = NULL;
    size_t offset;
    assert_int_equal(orr_json_decode(L, orr_slice_text(bad[i]), &error, &offset), ORR_ERR_INVALID);
    assert_non_null(error);
    assert_int_equal(lua_gettop(L), 0);
  }
  char deep[300];
  memset(deep, '[', 101);
  memset(deep + 101, ']', 101);
  deep[202] = '\0';
  const char *error;
  size_t offset;
  assert_int_equal(orr_json_decode(L, orr_slice_text(deep), &error, &offset), ORR_ERR_INVALID);
  assert_int_equal(orr_json_decode(L, orr_slice_of(deep + 1, 200), &error, &offset), ORR_OK);
  lua_close(L);
}

static void arrays_stay_arrays_however_they_were_built(void **state) {
  (void)state;
  lua_State *L = open_state();
  assert_int_equal(luaL_dostring(L, "local t = json.decode('[1,2]') t[1], t[2] = nil, nil assert(json.encode(t) == '[]')\n"
                                    "local hash = {} for i = 20, 1, -1 do hash[i] = i end\n"
                                    "assert(json.encode(hash):sub(1, 8) == '[1,2,3,4')\n"
                                    "assert(json.encode { 1, 2, 3, nil } == '[1,2,3]')\n"
                                    "assert(json.encode { json.null } == '[null]')\n"
                                    "assert(json.encode(setmetatable({}, { __value = { 1 } })) == '[1]')\n"
                                    "local big = {} for i = 1, 40 do big['k' .. i] = i end\n"
                                    "assert(json.encode(big) == json.encode(json.decode(json.encode(big))))\n"
                                    "assert(json.encode { b = 1, a = 2, aa = 3 } == '{\"a\":2,\"aa\":3,\"b\":1}')\n"
                                    "local value, err, at = json.decode('[1,}') assert(value == nil and at == 4, at)"),
                   LUA_OK);
  lua_close(L);
}

// --- random documents, judged by jansson --------------------------------------------------------------------------------

static void random_value(struct orr_rng *rng, struct orr_buf *out, int depth) {
  switch (orr_rng_below(rng, depth > 5 ? 4 : 6)) {
  case 0: orr_buf_printf(out, "%lld", (long long)orr_rng_next(rng) >> orr_rng_below(rng, 64)); break;
  case 1: orr_buf_printf(out, "%.17g%s", (double)(int64_t)orr_rng_next(rng) / 1e10, "e0"); break;
  case 2: orr_buf_text(out, orr_rng_below(rng, 2) != 0 ? "true" : "false"); break;
  case 3: {
    static const char *const texts[] = {"\"\"", "\"a\\nb\"", "\"\\u20ac\"", "\"\\ud83c\\udf0d\"", "\"\xc3\xa4\"", "\"\\u0000\"", "\"/\\/\""};
    orr_buf_text(out, texts[orr_rng_below(rng, sizeof(texts) / sizeof(*texts))]);
    break;
  }
  case 4: {
    uint64_t len = orr_rng_below(rng, 5);
    orr_buf_u8(out, '[');
    for (uint64_t i = 0; i < len; i++) {
      if (i > 0) orr_buf_u8(out, ',');
      random_value(rng, out, depth + 1);
    }
    orr_buf_u8(out, ']');
    break;
  }
  default: {
    uint64_t len = orr_rng_below(rng, 5);
    orr_buf_u8(out, '{');
    for (uint64_t i = 0; i < len; i++) {
      orr_buf_printf(out, "%s\"k%llu\":", i > 0 ? "," : "", (unsigned long long)i);
      random_value(rng, out, depth + 1);
    }
    orr_buf_u8(out, '}');
  }
  }
}

static void random_documents_mean_the_same_to_jansson(void **state) {
  (void)state;
  lua_State *L = open_state();
  struct orr_rng rng = {.state = 42};
  for (int i = 0; i < 3000; i++) {
    struct orr_buf text = ORR_BUF_INIT, out = ORR_BUF_INIT;
    struct orr_json_problem problem;
    const char *error = "";
    size_t offset;
    random_value(&rng, &text, 0);
    if (orr_json_decode(L, orr_buf_slice(&text), &error, &offset) != ORR_OK)
      fail_msg("%s: %s at %zu", orr_buf_cstr(&text), error, offset);
    assert_int_equal(orr_json_encode(L, -1, "value", SIZE_MAX, &out, &problem), ORR_OK);
    lua_settop(L, 0);
    size_t flags = JSON_DECODE_ANY | JSON_ALLOW_NUL;
    json_t *before = json_loadb((const char *)text.data, text.len, flags, NULL);
    json_t *after = json_loadb((const char *)out.data, out.len, flags, NULL);
    assert_non_null(before);
    assert_non_null(after);
    if (!json_equal(before, after)) fail_msg("%s became %s", orr_buf_cstr(&text), orr_buf_cstr(&out));
    json_decref(before);
    json_decref(after);
    orr_buf_free(&text);
    orr_buf_free(&out);
  }
  lua_close(L);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(values_survive_the_round_trip),
      cmocka_unit_test(refusals_name_the_path),
      cmocka_unit_test(bad_texts_are_refused_and_push_nothing),
      cmocka_unit_test(arrays_stay_arrays_however_they_were_built),
      cmocka_unit_test(random_documents_mean_the_same_to_jansson),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
