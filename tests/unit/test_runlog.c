// SPDX-License-Identifier: MIT
// Logs of runs: what is appended is read back, in order, within the bounds.
// clang-format off
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
// clang-format on

#include "base/limits.h"
#include "host_world.h"
#include "io/runlog.h"

struct fixture {
  char *folder, *path;
  struct orr_runlog *log;
  struct orr_runlog_reader *reader;
};

static void open_log(struct fixture *fixture) {
  char message[256];
  assert_int_equal(orr_runlog_open(fixture->path, &fixture->log, message, sizeof message), ORR_OK);
}

static int setup(void **state) {
  struct fixture *fixture = orr_alloc(sizeof *fixture);
  fixture->folder = world_folder();
  fixture->path = world_path(fixture->folder, "logs.db");
  open_log(fixture);
  assert_int_equal(orr_runlog_reader_open(fixture->path, &fixture->reader), ORR_OK);
  *state = fixture;
  return 0;
}

static int teardown(void **state) {
  struct fixture *fixture = *state;
  orr_runlog_reader_close(fixture->reader);
  orr_runlog_close(fixture->log);
  world_remove(fixture->folder);
  free(fixture->path);
  free(fixture);
  return 0;
}

static const struct orr_id run_a = {{1}}, run_b = {{2}};

static struct orr_log_record record(const struct orr_id *run, const char *step, const char *text) {
  return (struct orr_log_record){.run = *run,
                                 .step = orr_slice_text(step),
                                 .item = 3,
                                 .attempt = 2,
                                 .at_ms = 1763000000123,
                                 .level = ORR_LOG_INFO,
                                 .stream = ORR_SLICE_LITERAL("print"),
                                 .text = orr_slice_text(text),
                                 .fields = ORR_SLICE_LITERAL("{\"a\":1}")};
}

struct seen {
  uint32_t count;
  uint64_t last_seq, bytes;
  struct orr_buf texts; // each and a newline
  struct orr_buf last_fields;
};

static void see(void *context, const struct orr_log_record *found) {
  struct seen *seen = context;
  seen->count++;
  assert_true(found->seq > seen->last_seq);
  seen->last_seq = found->seq;
  seen->bytes += found->text.len;
  if (found->text.len < 100) {
    orr_buf_slice_append(&seen->texts, found->text);
    orr_buf_text(&seen->texts, "\n");
  }
  orr_buf_clear(&seen->last_fields);
  orr_buf_slice_append(&seen->last_fields, found->fields);
}

static struct seen read_all(struct fixture *fixture, const struct orr_log_query *query) {
  struct seen seen = {0};
  assert_int_equal(orr_runlog_query(fixture->reader, query, see, &seen), ORR_OK);
  orr_buf_cstr(&seen.texts);
  orr_buf_cstr(&seen.last_fields);
  return seen;
}
static void forget(struct seen *seen) {
  orr_buf_free(&seen->texts);
  orr_buf_free(&seen->last_fields);
}

static void what_was_appended_is_read_back_after_a_flush(void **state) {
  struct fixture *fixture = *state;
  for (int i = 0; i < 3; i++) {
    struct orr_log_record line =
        record(i == 1 ? &run_b : &run_a, "fetch", i == 0 ? "first" : "later");
    orr_runlog_append(fixture->log, &line);
  }
  orr_runlog_flush(fixture->log);
  struct seen seen = read_all(fixture, &(struct orr_log_query){.run = run_a, .limit = 10});
  assert_int_equal(seen.count, 2);
  assert_string_equal((char *)seen.texts.data, "first\nlater\n");
  assert_string_equal((char *)seen.last_fields.data, "{\"a\":1}");
  forget(&seen);
}

static void a_query_filters_by_step_level_and_cursor(void **state) {
  struct fixture *fixture = *state;
  for (int i = 0; i < 10; i++) {
    char text[8];
    snprintf(text, sizeof text, "%d", i);
    struct orr_log_record line = record(&run_a, i % 2 == 0 ? "even" : "odd", text);
    line.level = i >= 6 ? ORR_LOG_ERROR : ORR_LOG_DEBUG;
    orr_runlog_append(fixture->log, &line);
  }
  orr_runlog_flush(fixture->log);
  struct seen seen = read_all(
      fixture,
      &(struct orr_log_query){.run = run_a, .limit = 10, .step = "odd", .level_min = ORR_LOG_WARN});
  assert_string_equal((char *)seen.texts.data, "7\n9\n");
  forget(&seen);
  struct seen page = read_all(fixture, &(struct orr_log_query){.run = run_a, .limit = 4});
  assert_string_equal((char *)page.texts.data, "0\n1\n2\n3\n");
  struct seen rest = read_all(
      fixture, &(struct orr_log_query){.run = run_a, .limit = 100, .after = page.last_seq});
  assert_string_equal((char *)rest.texts.data, "4\n5\n6\n7\n8\n9\n");
  forget(&page);
  forget(&rest);
}

static void records_survive_a_restart_and_positions_go_on(void **state) {
  struct fixture *fixture = *state;
  struct orr_log_record line = record(&run_a, NULL, "before");
  orr_runlog_append(fixture->log, &line);
  orr_runlog_close(fixture->log); // flushes
  open_log(fixture);
  line = record(&run_a, NULL, "after");
  orr_runlog_append(fixture->log, &line);
  orr_runlog_flush(fixture->log);
  struct seen seen = read_all(fixture, &(struct orr_log_query){.run = run_a, .limit = 10});
  assert_string_equal((char *)seen.texts.data, "before\nafter\n");
  forget(&seen);
}

static void invalid_utf8_is_repaired_and_flagged(void **state) {
  struct fixture *fixture = *state;
  struct orr_log_record line = record(&run_a, "s", "bad \xff byte");
  orr_runlog_append(fixture->log, &line);
  orr_runlog_flush(fixture->log);
  struct seen seen = read_all(fixture, &(struct orr_log_query){.run = run_a, .limit = 10});
  assert_string_equal((char *)seen.texts.data, "bad \xef\xbf\xbd byte\n");
  assert_string_equal((char *)seen.last_fields.data, "{\"a\":1,\"repaired\":true}");
  forget(&seen);
}

static void a_line_over_its_bound_is_cut_between_characters(void **state) {
  struct fixture *fixture = *state;
  size_t len = ORR_LOG_LINE_BYTES_MAX + 10;
  struct orr_buf text = ORR_BUF_INIT;
  orr_buf_text(&text, "x"); // so that the bound falls inside a two-byte character
  while (text.len < len) orr_buf_text(&text, "\xc3\xa4");
  struct orr_log_record line = record(&run_a, "s", "");
  line.text = orr_buf_slice(&text);
  line.fields = orr_slice_of(NULL, 0);
  orr_runlog_append(fixture->log, &line);
  orr_runlog_flush(fixture->log);
  struct seen seen = read_all(fixture, &(struct orr_log_query){.run = run_a, .limit = 10});
  assert_int_equal(seen.count, 1);
  assert_int_equal(seen.bytes, ORR_LOG_LINE_BYTES_MAX - 1);
  assert_string_equal((char *)seen.last_fields.data, "{\"cut\":true}");
  forget(&seen);
  orr_buf_free(&text);
}

static void a_run_over_its_bound_gets_one_last_record(void **state) {
  struct fixture *fixture = *state;
  struct orr_buf text = ORR_BUF_INIT;
  while (text.len < ORR_LOG_LINE_BYTES_MAX) orr_buf_text(&text, "0123456789abcdef");
  struct orr_log_record line = record(&run_a, NULL, "");
  line.text = orr_buf_slice(&text);
  size_t lines = ORR_LOG_RUN_BYTES_MAX / ORR_LOG_LINE_BYTES_MAX + 20;
  for (size_t i = 0; i < lines; i++) {
    orr_runlog_append(fixture->log, &line);
    if (i % 100 == 99) orr_runlog_flush(fixture->log); // never so far ahead that some are dropped
  }
  orr_runlog_flush(fixture->log);
  // The bound holds over a restart too.
  orr_runlog_close(fixture->log);
  open_log(fixture);
  orr_runlog_append(fixture->log, &line);
  struct orr_log_record other = record(&run_b, NULL, "room for others");
  orr_runlog_append(fixture->log, &other);
  orr_runlog_flush(fixture->log);
  struct seen seen = read_all(fixture, &(struct orr_log_query){.run = run_a, .limit = 5000});
  assert_true(seen.bytes <= ORR_LOG_RUN_BYTES_MAX + 100);
  assert_true(seen.count > 1000);
  assert_string_equal((char *)seen.texts.data,
                      "the logs of this run are full; what follows is not kept\n");
  forget(&seen);
  seen = read_all(fixture, &(struct orr_log_query){.run = run_b, .limit = 10});
  assert_int_equal(seen.count, 1);
  forget(&seen);
  orr_buf_free(&text);
}

struct writer {
  struct orr_runlog *log;
  pthread_t thread;
};
static void *append_many(void *context) {
  struct writer *writer = context;
  struct orr_log_record line = record(&run_a, "s", "line");
  for (int i = 0; i < 2000; i++) orr_runlog_append(writer->log, &line);
  return NULL;
}

static void many_threads_may_append(void **state) {
  struct fixture *fixture = *state;
  struct writer writers[4];
  for (int i = 0; i < 4; i++) {
    writers[i].log = fixture->log;
    assert_int_equal(pthread_create(&writers[i].thread, NULL, append_many, &writers[i]), 0);
  }
  for (int i = 0; i < 4; i++) pthread_join(writers[i].thread, NULL);
  orr_runlog_flush(fixture->log);
  struct seen seen = read_all(fixture, &(struct orr_log_query){.run = run_a, .limit = 100000});
  assert_int_equal(seen.count, 8000);
  forget(&seen);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(what_was_appended_is_read_back_after_a_flush, setup,
                                      teardown),
      cmocka_unit_test_setup_teardown(a_query_filters_by_step_level_and_cursor, setup, teardown),
      cmocka_unit_test_setup_teardown(records_survive_a_restart_and_positions_go_on, setup,
                                      teardown),
      cmocka_unit_test_setup_teardown(invalid_utf8_is_repaired_and_flagged, setup, teardown),
      cmocka_unit_test_setup_teardown(a_line_over_its_bound_is_cut_between_characters, setup,
                                      teardown),
      cmocka_unit_test_setup_teardown(a_run_over_its_bound_gets_one_last_record, setup, teardown),
      cmocka_unit_test_setup_teardown(many_threads_may_append, setup, teardown),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
