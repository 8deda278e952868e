// SPDX-License-Identifier: MIT
// Buffers and readers: what is written is read back, and bad bytes fail once and for good. Also the
// small owners of memory beside them: arena and blob.
#include "base/arena.h"
#include "base/blob.h"
#include "base/buf.h"
#include "base/rng.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

static void everything_written_is_read_back(void **state) {
  (void)state;
  struct orr_buf buf = ORR_BUF_INIT;
  const uint64_t numbers[] = {0, 1, 127, 128, 16383, 16384, UINT32_MAX, UINT64_MAX - 1, UINT64_MAX};
  const int64_t signeds[] = {0, -1, 1, -64, 64, INT64_MIN, INT64_MAX};
  for (size_t i = 0; i < 9; i++) orr_buf_varint(&buf, numbers[i]);
  for (size_t i = 0; i < 7; i++) orr_buf_svarint(&buf, signeds[i]);
  orr_buf_bytes(&buf, ORR_SLICE_LITERAL("text"));
  orr_buf_bytes(&buf, orr_slice_of(NULL, 0));
  orr_buf_u32le(&buf, 0xdeadbeef);
  orr_buf_u8(&buf, 7);
  struct orr_reader reader = orr_reader_of(orr_buf_slice(&buf));
  for (size_t i = 0; i < 9; i++) assert_true(orr_read_varint(&reader) == numbers[i]);
  for (size_t i = 0; i < 7; i++) assert_true(orr_read_svarint(&reader) == signeds[i]);
  assert_true(orr_slice_equal(orr_read_bytes(&reader), ORR_SLICE_LITERAL("text")));
  assert_int_equal(orr_read_bytes(&reader).len, 0);
  assert_int_equal(orr_read_u32le(&reader), 0xdeadbeef);
  assert_int_equal(orr_read_u8(&reader), 7);
  assert_true(reader.at == reader.end && !reader.failed);
  orr_buf_free(&buf);
}

static void a_failed_reader_stays_failed(void **state) {
  (void)state;
  struct orr_reader reader = orr_reader_of(ORR_SLICE_LITERAL("\x05" "abc\x01"));
  assert_int_equal(orr_read_bytes(&reader).len, 0);
  assert_true(reader.failed);
  assert_int_equal(orr_read_u8(&reader), 0);
  assert_int_equal(orr_read_varint(&reader), 0);
  assert_true(reader.failed);
  reader = orr_reader_of(orr_slice_of(NULL, 0));
  assert_int_equal(orr_read_u32le(&reader), 0);
  assert_true(reader.failed);
}

static void a_number_has_one_encoding_only(void **state) {
  (void)state;
  const struct orr_slice bad[] = {
      ORR_SLICE_LITERAL("\x80"), ORR_SLICE_LITERAL("\x80\x00"),
      ORR_SLICE_LITERAL("\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02"),
      ORR_SLICE_LITERAL("\xff\xff\xff\xff\xff\xff\xff\xff\xff\x81\x00")};
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    struct orr_reader reader = orr_reader_of(bad[i]);
    assert_int_equal(orr_read_varint(&reader), 0);
    assert_true(reader.failed);
  }
}

static void printf_grows_the_buffer_as_needed(void **state) {
  (void)state;
  struct orr_buf buf = ORR_BUF_INIT;
  for (int i = 0; i < 100; i++) orr_buf_printf(&buf, "%0200d", i);
  assert_int_equal(buf.len, 20000);
  assert_int_equal(strlen(orr_buf_cstr(&buf)), 20000);
  assert_memory_equal(buf.data + 200 * 42 + 198, "42", 2);
  orr_buf_clear(&buf);
  assert_string_equal(orr_buf_cstr(&buf), "");
  orr_buf_free(&buf);
  assert_true(buf.data == NULL && buf.cap == 0);
}

static void slices_and_copies_stand_for_themselves(void **state) {
  (void)state;
  assert_true(orr_slice_equal(orr_slice_text(NULL), orr_slice_text("")));
  assert_false(orr_slice_equal(ORR_SLICE_LITERAL("a"), ORR_SLICE_LITERAL("b")));
  char *copy = orr_slice_strdup(orr_slice_of("abcdef", 3)), *again = orr_strdup(copy);
  assert_string_equal(copy, "abc");
  assert_string_equal(again, "abc");
  free(copy);
  free(again);
}

static void an_arena_gives_aligned_zeroed_memory_of_any_size(void **state) {
  (void)state;
  struct orr_arena arena = ORR_ARENA_INIT;
  struct orr_rng rng = {4};
  static const uint8_t zeros[70000];
  for (int i = 0; i < 500; i++) {
    size_t bytes = (size_t)orr_rng_below(&rng, i % 10 == 0 ? sizeof zeros : 200);
    uint8_t *memory = orr_arena_alloc(&arena, bytes);
    assert_int_equal((uintptr_t)memory % 16, 0);
    assert_memory_equal(memory, zeros, bytes);
    memset(memory, 0xee, bytes); // a later object that overlapped would not be zero
  }
  assert_string_equal(orr_arena_text(&arena, orr_slice_of("abcdef", 3)), "abc");
  assert_true(orr_slice_equal(orr_arena_slice(&arena, ORR_SLICE_LITERAL("xyz")), ORR_SLICE_LITERAL("xyz")));
  orr_arena_free(&arena);
  assert_null(arena.blocks);
}

static void a_blob_lives_until_its_last_reference(void **state) {
  (void)state;
  struct orr_blob *blob = orr_blob_new(ORR_SLICE_LITERAL("bytes"));
  assert_ptr_equal(orr_blob_ref(blob), blob);
  orr_blob_unref(blob);
  assert_true(orr_slice_equal(orr_blob_slice(blob), ORR_SLICE_LITERAL("bytes")));
  orr_blob_unref(blob);
  assert_null(orr_blob_ref(NULL));
  orr_blob_unref(NULL);
  assert_int_equal(orr_blob_slice(NULL).len, 0);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(everything_written_is_read_back),
      cmocka_unit_test(a_failed_reader_stays_failed),
      cmocka_unit_test(a_number_has_one_encoding_only),
      cmocka_unit_test(printf_grows_the_buffer_as_needed),
      cmocka_unit_test(slices_and_copies_stand_for_themselves),
      cmocka_unit_test(an_arena_gives_aligned_zeroed_memory_of_any_size),
      cmocka_unit_test(a_blob_lives_until_its_last_reference),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
