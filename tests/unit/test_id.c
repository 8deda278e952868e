// SPDX-License-Identifier: MIT
// Ids, random numbers, hashes, clock texts, status and log: the small values of the base floor.
#include "base/clock.h"
#include "base/hash.h"
#include "base/id.h"
#include "base/log.h"
#include "base/status.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

static void ids_never_go_back_whatever_the_clock_does(void **state) {
  (void)state;
  struct orr_id_source source = {.rng = {1}};
  struct orr_rng clock = {2};
  struct orr_id last = {{0}};
  char last_text[ORR_ID_TEXT + 1] = "";
  for (int i = 0; i < 20000; i++) {
    int64_t now = 1700000000000 + (int64_t)orr_rng_below(&clock, 50) - 25 + i / 100;
    struct orr_id id = orr_id_next(&source, now);
    char text[ORR_ID_TEXT + 1];
    orr_id_text(&id, text);
    assert_true(orr_id_compare(&last, &id) < 0);
    assert_true(strcmp(last_text, text) < 0);
    assert_true(orr_id_ms(&id) >= now);
    last = id;
    memcpy(last_text, text, sizeof text);
  }
}

static void incrementing_carries_through_all_bytes(void **state) {
  (void)state;
  struct orr_id_source source = {.rng = {1}};
  memset(source.last.bytes, 0xff, ORR_ID_BYTES);
  source.last.bytes[0] = 0;
  struct orr_id id = orr_id_next(&source, 0);
  assert_int_equal(id.bytes[0], 1);
  for (int i = 1; i < ORR_ID_BYTES; i++) assert_int_equal(id.bytes[i], 0);
}

static void id_texts_are_ulids(void **state) {
  (void)state;
  struct orr_id id, back;
  char text[ORR_ID_TEXT + 1];
  assert_true(orr_id_parse(ORR_SLICE_LITERAL("01ARZ3NDEKTSV4RRFFQ69G5FAV"), &id));
  assert_int_equal(orr_id_ms(&id), 1469922850259);
  orr_id_text(&id, text);
  assert_string_equal(text, "01ARZ3NDEKTSV4RRFFQ69G5FAV");
  assert_true(orr_id_parse(ORR_SLICE_LITERAL("01arz3ndektsv4rrffq69g5fav"), &back));
  assert_int_equal(orr_id_compare(&id, &back), 0);
  assert_true(orr_id_parse(ORR_SLICE_LITERAL("7ZZZZZZZZZZZZZZZZZZZZZZZZZ"), &id));
  assert_false(orr_id_parse(ORR_SLICE_LITERAL("8ZZZZZZZZZZZZZZZZZZZZZZZZZ"), &id));
  assert_false(orr_id_parse(ORR_SLICE_LITERAL("01ARZ3NDEKTSV4RRFFQ69G5FA"), &id));
  assert_false(orr_id_parse(ORR_SLICE_LITERAL("01ARZ3NDEKTSV4RRFFQ69G5FAVX"), &id));
  assert_false(orr_id_parse(ORR_SLICE_LITERAL("01ARZ3NDEKTSV4RRFFQ69G5FAU"), &id));
  assert_false(orr_id_parse(ORR_SLICE_LITERAL("01ARZ3NDEKTSV4RRFFQ69G5FA/"), &id));
  struct orr_id zero = {{0}};
  assert_true(orr_id_is_zero(&zero));
  assert_false(orr_id_is_zero(&id));
}

static void random_numbers_repeat_and_stay_below_their_bound(void **state) {
  (void)state;
  struct orr_rng rng = {1234567};
  assert_true(orr_rng_next(&rng) == 6457827717110365317u); // reference values of splitmix64
  assert_true(orr_rng_next(&rng) == 3203168211198807973u);
  unsigned seen[7] = {0};
  for (int i = 0; i < 70000; i++) {
    uint64_t value = orr_rng_below(&rng, 7);
    assert_true(value < 7);
    seen[value]++;
  }
  for (int i = 0; i < 7; i++) assert_in_range(seen[i], 9000, 11000);
  assert_int_equal(orr_rng_below(&rng, 1), 0);
  for (int i = 0; i < 100; i++) assert_true(orr_rng_below(&rng, UINT64_MAX) < UINT64_MAX);
}

static void crc32c_gives_the_published_values_both_ways(void **state) {
  (void)state;
  assert_int_equal(orr_crc32c(0, ORR_SLICE_LITERAL("123456789")), 0xe3069283);
  assert_int_equal(orr_crc32c(0, orr_slice_of(NULL, 0)), 0);
  uint8_t bytes[300] = {0};
  assert_int_equal(orr_crc32c(0, orr_slice_of(bytes, 32)), 0x8a9136aa);
  struct orr_rng rng = {8};
  for (size_t i = 0; i < sizeof bytes; i++) bytes[i] = (uint8_t)orr_rng_next(&rng);
  for (size_t from = 0; from < 9; from++) {
    for (size_t len = 0; len < sizeof bytes - from; len++) {
      struct orr_slice part = orr_slice_of(bytes + from, len);
      uint32_t crc = orr_crc32c(7, part);
      assert_int_equal(crc, orr__crc32c_portable(7, part));
      uint32_t half = orr_crc32c(7, orr_slice_of(part.data, len / 2));
      assert_int_equal(crc, orr_crc32c(half, orr_slice_of(part.data + len / 2, len - len / 2)));
    }
  }
}

static void hashes_differ_for_length_seed_and_every_byte(void **state) {
  (void)state;
  uint8_t zeros[40] = {0};
  uint64_t seen[40 + 40 + 1];
  size_t len = 0;
  for (size_t i = 0; i <= 40; i++) seen[len++] = orr_hash64(0, orr_slice_of(zeros, i));
  for (size_t i = 0; i < 40; i++) {
    zeros[i] = 0x80;
    seen[len++] = orr_hash64(0, orr_slice_of(zeros, 40));
    zeros[i] = 0;
  }
  for (size_t i = 0; i < len; i++)
    for (size_t j = 0; j < i; j++) assert_true(seen[i] != seen[j]);
  assert_true(orr_hash64(1, ORR_SLICE_LITERAL("a")) != orr_hash64(2, ORR_SLICE_LITERAL("a")));
}

static void digests_go_to_text_and_back(void **state) {
  (void)state;
  struct orr_digest digest, back;
  char text[65];
  for (int i = 0; i < ORR_SHA256_BYTES; i++) digest.bytes[i] = (uint8_t)(i * 9);
  orr_digest_text(&digest, text);
  assert_int_equal(strlen(text), 64);
  assert_true(orr_digest_parse(orr_slice_text(text), &back) && orr_digest_equal(&digest, &back));
  text[5] = 'g';
  assert_false(orr_digest_parse(orr_slice_text(text), &back));
  assert_false(orr_digest_parse(orr_slice_of(text, 63), &back));
}

static void time_is(int64_t wall_ms, const char *expected) {
  char text[25];
  orr_time_text(wall_ms, text);
  assert_string_equal(text, expected);
}

static void instants_are_written_in_utc(void **state) {
  (void)state;
  time_is(0, "1970-01-01T00:00:00.000Z");
  time_is(-1, "1969-12-31T23:59:59.999Z");
  time_is(951782400000, "2000-02-29T00:00:00.000Z");
  time_is(1795210440123, "2026-11-20T21:34:00.123Z");
  time_is(INT64_MIN, "0000-01-01T00:00:00.000Z");
  time_is(INT64_MAX, "9999-12-31T23:59:59.999Z");
  time_is(-62167219200000 + 59ll * 86400000, "0000-02-29T00:00:00.000Z");
}

static void instants_agree_with_the_c_library(void **state) {
  (void)state;
  struct orr_rng rng = {6};
  for (int i = 0; i < 20000; i++) {
    int64_t seconds = (int64_t)orr_rng_below(&rng, 253402300800 + 62167219200) - 62167219200;
    time_t when = (time_t)seconds;
    struct tm tm;
    char expected[80];
    assert_non_null(gmtime_r(&when, &tm));
    snprintf(expected, sizeof expected, "%04d-%02d-%02dT%02d:%02d:%02d.007Z", tm.tm_year + 1900,
             tm.tm_mon + 1, tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec);
    time_is(seconds * 1000 + 7, expected);
  }
}

static void the_monotonic_clock_does_not_go_back(void **state) {
  (void)state;
  struct orr_now first = orr_clock_now();
  uint64_t us = orr_clock_mono_us();
  struct orr_now second = orr_clock_now();
  assert_true(first.mono_ms <= us / 1000 && us / 1000 <= second.mono_ms);
  assert_true(first.wall_ms > 1700000000000);
}

static void statuses_have_texts(void **state) {
  (void)state;
  assert_string_equal(orr_status_text(ORR_OK), "ok");
  assert_string_equal(orr_status_text(ORR_ERR_NOT_FOUND), "not_found");
}

static void a_log_line_is_one_line_of_the_chosen_level(void **state) {
  (void)state;
  int pipes[2], saved = dup(STDERR_FILENO);
  assert_true(saved >= 0 && pipe(pipes) == 0 && dup2(pipes[1], STDERR_FILENO) >= 0);
  orr_log(ORR_LOG_INFO, "test", "not shown");
  orr_log(ORR_LOG_ERROR, "test", "a\nb\x1b[31m %d", 7);
  dup2(saved, STDERR_FILENO);
  char line[256] = "";
  ssize_t len = read(pipes[0], line, sizeof line - 1);
  assert_true(len > 13);
  assert_string_equal(line + 13, "error test: a b [31m 7\n");
  close(pipes[0]);
  close(pipes[1]);
  close(saved);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(ids_never_go_back_whatever_the_clock_does),
      cmocka_unit_test(incrementing_carries_through_all_bytes),
      cmocka_unit_test(id_texts_are_ulids),
      cmocka_unit_test(random_numbers_repeat_and_stay_below_their_bound),
      cmocka_unit_test(crc32c_gives_the_published_values_both_ways),
      cmocka_unit_test(hashes_differ_for_length_seed_and_every_byte),
      cmocka_unit_test(digests_go_to_text_and_back),
      cmocka_unit_test(instants_are_written_in_utc),
      cmocka_unit_test(instants_agree_with_the_c_library),
      cmocka_unit_test(the_monotonic_clock_does_not_go_back),
      cmocka_unit_test(statuses_have_texts),
      cmocka_unit_test(a_log_line_is_one_line_of_the_chosen_level),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
