// SPDX-License-Identifier: MIT
// The journal codec: every fact comes back as it was written, and damaged records are refused.
#include "core/fact.h"
#include "base/rng.h"
#include "core/states.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static const enum orr_fact_type TYPES[] = {
#define X(name, value, text) ORR_FACT_##name,
    ORR_FACT_LIST(X)
#undef X
};
#define TYPES_LEN (sizeof TYPES / sizeof *TYPES)

static int64_t any_time(struct orr_rng *rng) {
  switch (orr_rng_below(rng, 4)) {
  case 0: return 0;
  case 1: return (int64_t)orr_rng_next(rng);
  case 2: return INT64_MIN;
  default: return 1790000000000 + (int64_t)orr_rng_below(rng, 100000);
  }
}

static struct orr_slice any_bytes(struct orr_rng *rng) {
  static uint8_t bytes[40000];
  static const size_t LENGTHS[] = {0, 0, 1, 20, 90, 127, 128, 300, 16300, 16384, 40000};
  return orr_slice_of(bytes, LENGTHS[orr_rng_below(rng, 11)]);
}

static struct orr_fact any_fact(struct orr_rng *rng, enum orr_fact_type type) {
  struct orr_fact fact = {.type = type, .at_ms = any_time(rng)};
  struct orr_unit_ref unit = {(uint32_t)orr_rng_next(rng), (uint32_t)orr_rng_below(rng, 3)};
  uint32_t attempt = (uint32_t)orr_rng_below(rng, 5);
  switch (type) {
  case ORR_FACT_CREATED:
    for (int i = 0; i < ORR_ID_BYTES; i++) fact.created.id.bytes[i] = (uint8_t)orr_rng_next(rng);
    fact.created.pipeline = any_bytes(rng);
    fact.created.version.bytes[31] = 5;
    fact.created.generation.bytes[0] = 6;
    fact.created.input = any_bytes(rng);
    if (orr_rng_below(rng, 2) == 0) {
      fact.created.parent.bytes[9] = 1;
      fact.created.parent_step = unit.step;
      fact.created.parent_item = unit.item;
    }
    fact.created.trigger = any_bytes(rng);
    fact.created.idempotency_key = any_bytes(rng);
    fact.created.concurrency_key = any_bytes(rng);
    fact.created.deadline_ms = any_time(rng);
    fact.created.seed = orr_rng_next(rng);
    fact.created.depth = attempt;
    break;
  case ORR_FACT_KEY: fact.key.key = any_bytes(rng); break;
  case ORR_FACT_ADMITTED: break;
  case ORR_FACT_STARTED:
    fact.started.unit = unit;
    fact.started.attempt = attempt;
    break;
  case ORR_FACT_FINISHED: case ORR_FACT_RETRY: case ORR_FACT_LATE: case ORR_FACT_UNDONE:
    fact.finished.unit = unit;
    fact.finished.attempt = attempt;
    fact.finished.status = ORR_STEP_STATUS_FAILED;
    fact.finished.flags = ORR_FINISHED_CACHED;
    fact.finished.started_ms = any_time(rng);
    fact.finished.finished_ms = any_time(rng);
    fact.finished.value = any_bytes(rng);
    fact.finished.state = any_bytes(rng);
    fact.finished.until_ms = any_time(rng);
    fact.finished.node = any_bytes(rng);
    break;
  case ORR_FACT_WAITING:
    fact.waiting.unit = unit;
    fact.waiting.attempt = attempt;
    fact.waiting.started_ms = any_time(rng);
    fact.waiting.until_ms = any_time(rng);
    fact.waiting.value = any_bytes(rng);
    break;
  case ORR_FACT_EXPANDED:
    fact.expanded.step = unit.step;
    fact.expanded.count = attempt;
    fact.expanded.attempt = attempt;
    fact.expanded.started_ms = any_time(rng);
    fact.expanded.items = any_bytes(rng);
    break;
  case ORR_FACT_CHILD:
    fact.child.unit = unit;
    fact.child.attempt = attempt;
    fact.child.started_ms = any_time(rng);
    fact.child.child.bytes[3] = 7;
    break;
  case ORR_FACT_RECOVERED:
    fact.recovered.count = attempt;
    fact.recovered.units = any_bytes(rng);
    break;
  case ORR_FACT_PAUSED: case ORR_FACT_RESUMED: case ORR_FACT_CANCEL:
    fact.paused.reason = any_bytes(rng);
    break;
  case ORR_FACT_OUTPUT:
    fact.output.status = ORR_STEP_STATUS_SUCCEEDED;
    fact.output.value = any_bytes(rng);
    break;
  case ORR_FACT_RUN_FINISHED:
    fact.run_finished.status = ORR_RUN_FAILED;
    fact.run_finished.output = any_bytes(rng);
    fact.run_finished.error = any_bytes(rng);
    break;
  }
  return fact;
}

static void every_fact_comes_back_as_it_was_written(void **state) {
  (void)state;
  struct orr_rng rng = {21};
  for (int round = 0; round < 60; round++) {
    struct orr_buf journal = ORR_BUF_INIT;
    for (size_t i = 0; i < TYPES_LEN; i++) {
      struct orr_fact fact = any_fact(&rng, TYPES[i]);
      orr_fact_encode(&fact, &journal);
    }
    struct orr_reader reader = orr_reader_of(orr_buf_slice(&journal));
    struct orr_buf again = ORR_BUF_INIT;
    struct orr_fact fact;
    for (size_t i = 0; i < TYPES_LEN; i++) {
      assert_int_equal(orr_fact_decode(&reader, &fact), ORR_OK);
      assert_int_equal(fact.type, TYPES[i]);
      orr_fact_encode(&fact, &again);
    }
    assert_int_equal(orr_fact_decode(&reader, &fact), ORR_ERR_NOT_FOUND);
    assert_true(orr_slice_equal(orr_buf_slice(&journal), orr_buf_slice(&again)));
    orr_buf_free(&journal);
    orr_buf_free(&again);
  }
}

static void fields_keep_their_values(void **state) {
  (void)state;
  struct orr_fact fact = {.type = ORR_FACT_RETRY, .at_ms = 1000}, back;
  fact.finished.unit = (struct orr_unit_ref){4, 2};
  fact.finished.attempt = 3;
  fact.finished.status = ORR_STEP_STATUS_FAILED;
  fact.finished.flags = ORR_FINISHED_WHEN_TRUE;
  fact.finished.started_ms = 900;
  fact.finished.finished_ms = 990;
  fact.finished.value = ORR_SLICE_LITERAL("{\"message\":\"no\"}");
  fact.finished.until_ms = 2000;
  fact.finished.node = ORR_SLICE_LITERAL("n1");
  struct orr_buf bytes = ORR_BUF_INIT;
  orr_fact_encode(&fact, &bytes);
  struct orr_reader reader = orr_reader_of(orr_buf_slice(&bytes));
  assert_int_equal(orr_fact_decode(&reader, &back), ORR_OK);
  assert_int_equal(back.at_ms, 1000);
  assert_int_equal(back.finished.unit.step, 4);
  assert_int_equal(back.finished.unit.item, 2);
  assert_int_equal(back.finished.attempt, 3);
  assert_int_equal(back.finished.status, ORR_STEP_STATUS_FAILED);
  assert_int_equal(back.finished.flags, ORR_FINISHED_WHEN_TRUE);
  assert_int_equal(back.finished.started_ms, 900);
  assert_int_equal(back.finished.finished_ms, 990);
  assert_true(orr_slice_equal(back.finished.value, fact.finished.value));
  assert_int_equal(back.finished.state.len, 0);
  assert_int_equal(back.finished.until_ms, 2000);
  assert_true(orr_slice_equal(back.finished.node, fact.finished.node));
  orr_buf_free(&bytes);
}

static void a_damaged_record_is_corrupt_and_the_reader_stays(void **state) {
  (void)state;
  struct orr_fact fact = {.type = ORR_FACT_PAUSED, .at_ms = 5}, back;
  fact.paused.reason = ORR_SLICE_LITERAL("by hand");
  struct orr_buf bytes = ORR_BUF_INIT;
  orr_fact_encode(&fact, &bytes);
  size_t first_len = bytes.len;
  orr_fact_encode(&fact, &bytes);
  for (size_t at = first_len; at < bytes.len; at++) {
    for (unsigned bit = 0; bit < 8; bit++) {
      bytes.data[at] ^= (uint8_t)(1u << bit);
      struct orr_reader reader = orr_reader_of(orr_buf_slice(&bytes));
      assert_int_equal(orr_fact_decode(&reader, &back), ORR_OK);
      assert_int_equal(orr_fact_decode(&reader, &back), ORR_ERR_CORRUPT);
      assert_ptr_equal(reader.at, bytes.data + first_len);
      assert_int_equal(orr_fact_decode(&reader, &back), ORR_ERR_CORRUPT);
      bytes.data[at] ^= (uint8_t)(1u << bit);
    }
  }
  for (size_t len = first_len + 1; len < bytes.len; len++) { // a torn tail
    struct orr_reader reader = orr_reader_of(orr_slice_of(bytes.data, len));
    assert_int_equal(orr_fact_decode(&reader, &back), ORR_OK);
    assert_int_equal(orr_fact_decode(&reader, &back), ORR_ERR_CORRUPT);
  }
  orr_buf_free(&bytes);
}

// Builds a record around a body of our own, with a right checksum.
static enum orr_status decode_body(struct orr_slice body, struct orr_fact *fact) {
  struct orr_buf record = ORR_BUF_INIT;
  orr_buf_bytes(&record, body);
  orr_buf_u32le(&record, orr_crc32c(0, body));
  struct orr_reader reader = orr_reader_of(orr_buf_slice(&record));
  enum orr_status status = orr_fact_decode(&reader, fact);
  orr_buf_free(&record);
  return status;
}

static void unknown_trailing_fields_are_ignored_and_missing_ones_are_not(void **state) {
  (void)state;
  struct orr_fact fact;
  assert_int_equal(decode_body(ORR_SLICE_LITERAL("\x01\x04\x02\x07\x00\x02"), &fact), ORR_OK);
  assert_int_equal(fact.started.unit.step, 7);
  assert_int_equal(fact.started.attempt, 2);
  assert_int_equal(decode_body(ORR_SLICE_LITERAL("\x01\x04\x02\x07\x00\x02new"), &fact), ORR_OK);
  assert_int_equal(decode_body(ORR_SLICE_LITERAL("\x01\x04\x02\x07\x00"), &fact), ORR_ERR_CORRUPT);
  assert_int_equal(decode_body(ORR_SLICE_LITERAL("\x02\x04\x02\x07\x00\x02"), &fact), ORR_ERR_CORRUPT);
  assert_int_equal(decode_body(ORR_SLICE_LITERAL("\x01\x00\x02"), &fact), ORR_ERR_CORRUPT);
  assert_int_equal(decode_body(ORR_SLICE_LITERAL("\x01\x12\x02"), &fact), ORR_ERR_CORRUPT);
  assert_int_equal(decode_body(ORR_SLICE_LITERAL(""), &fact), ORR_ERR_CORRUPT);
  // a step index beyond 32 bits
  assert_int_equal(decode_body(ORR_SLICE_LITERAL("\x01\x04\x02\x80\x80\x80\x80\x10\x00\x02"), &fact),
                   ORR_ERR_CORRUPT);
}

static void noise_never_decodes(void **state) {
  (void)state;
  struct orr_rng rng = {77};
  for (int i = 0; i < 20000; i++) {
    uint8_t bytes[64];
    for (size_t k = 0; k < sizeof bytes; k++) bytes[k] = (uint8_t)orr_rng_next(&rng);
    bytes[0] &= 63;
    struct orr_reader reader = orr_reader_of(orr_slice_of(bytes, 1 + orr_rng_below(&rng, 64)));
    struct orr_fact fact;
    assert_int_equal(orr_fact_decode(&reader, &fact), ORR_ERR_CORRUPT);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(every_fact_comes_back_as_it_was_written),
      cmocka_unit_test(fields_keep_their_values),
      cmocka_unit_test(a_damaged_record_is_corrupt_and_the_reader_stays),
      cmocka_unit_test(unknown_trailing_fields_are_ignored_and_missing_ones_are_not),
      cmocka_unit_test(noise_never_decodes),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
