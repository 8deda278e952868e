// SPDX-License-Identifier: MIT
// The store: what was committed comes back, lists agree with a naive model, old segments go without
// taking an open run along, one engine at a time, and a failed write is final.
// clang-format off
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
// clang-format on

#include "core/fact.h"
#include "core/run.h"
#include "host_world.h"
#include "io/store.h"

#include <signal.h>
#include <sqlite3.h>
#include <sys/resource.h>
#include <sys/wait.h>

struct fixture {
  char *folder, *path;
  struct orr_store *store;
  uint32_t segment_rows;
  enum orr_durability durability;
  uint64_t next_pos;
  struct orr_def *def, *other;
};

static void open_store(struct fixture *fixture) {
  char message[512] = "";
  // Thousands of commits: only where a kill is part of the test does each pay a sync.
  struct orr_store_options options = {.path = fixture->path,
                                      .segment_rows = fixture->segment_rows,
                                      .durability = fixture->durability};
  enum orr_status status = orr_store_open(&options, &fixture->store, message, sizeof message);
  if (status != ORR_OK) print_error("%s\n", message);
  assert_int_equal(status, ORR_OK);
}

static int setup(void **state) {
  struct fixture *fixture = orr_alloc(sizeof *fixture);
  fixture->folder = world_folder();
  fixture->path = world_path(fixture->folder, "orrery.db");
  fixture->segment_rows = 50;
  fixture->durability = ORR_DURABLE_NORMAL;
  fixture->def = world_def("etl", 2, false);
  fixture->other = world_def("other", 1, false);
  fixture->next_pos = 1;
  open_store(fixture);
  struct orr_store_recovered nothing = {0};
  assert_int_equal(orr_store_recover(fixture->store, &nothing, 0), ORR_OK);
  assert_int_equal(nothing.next_pos, 1);
  *state = fixture;
  return 0;
}

static int teardown(void **state) {
  struct fixture *fixture = *state;
  orr_store_close(fixture->store);
  world_remove(fixture->folder);
  orr_def_unref(fixture->def);
  orr_def_unref(fixture->other);
  free(fixture->path);
  free(fixture);
  return 0;
}

static uint8_t any_byte[1] = {'j'};
static const struct orr_buf any_journal = {any_byte, 1, 1};

// --- making runs
// ----------------------------------------------------------------------------------

static struct orr_id id_of(uint32_t number) {
  struct orr_id id = {{0}};
  id.bytes[0] = 1;
  for (int i = 0; i < 4; i++) id.bytes[15 - i] = (uint8_t)(number >> 8 * i);
  return id;
}
static uint32_t number_of(const struct orr_id *id) {
  return (uint32_t)id->bytes[12] << 24 | (uint32_t)id->bytes[13] << 16 |
         (uint32_t)id->bytes[14] << 8 | id->bytes[15];
}

static void created(struct orr_buf *out, uint32_t number, const char *pipeline) {
  struct orr_fact fact = {.type = ORR_FACT_CREATED, .at_ms = 1763000000000 + number};
  fact.created.id = id_of(number);
  fact.created.pipeline = orr_slice_text(pipeline);
  fact.created.input = ORR_SLICE_LITERAL("{}");
  fact.created.trigger = ORR_SLICE_LITERAL("api");
  orr_fact_encode(&fact, out);
}

static void step_finished(struct orr_buf *out, uint32_t step, const char *value) {
  struct orr_fact fact = {.type = ORR_FACT_FINISHED, .at_ms = 1763000001000};
  fact.finished.unit.step = step;
  fact.finished.attempt = 1;
  fact.finished.status = ORR_STEP_STATUS_SUCCEEDED;
  fact.finished.started_ms = fact.finished.finished_ms = fact.at_ms;
  fact.finished.value = orr_slice_text(value);
  fact.finished.node = ORR_SLICE_LITERAL("n");
  orr_fact_encode(&fact, out);
}

static void run_finished(struct orr_buf *out, enum orr_run_status status) {
  struct orr_fact fact = {.type = ORR_FACT_RUN_FINISHED, .at_ms = 1763000002000};
  fact.run_finished.status = (uint8_t)status;
  if (status == ORR_RUN_FAILED)
    fact.run_finished.error = ORR_SLICE_LITERAL("{\"message\":\"no \\\"luck\\\"\",\"code\":\"x\"}");
  else
    fact.run_finished.output = ORR_SLICE_LITERAL("1");
  orr_fact_encode(&fact, out);
}

static uint64_t add_row(struct orr_outbox *outbox, struct fixture *fixture, uint32_t number,
                        uint64_t prev, struct orr_buf *facts) {
  if (outbox->rows_len == outbox->rows_cap) {
    outbox->rows_cap = outbox->rows_cap * 2 + 8;
    outbox->rows = orr_realloc(outbox->rows, outbox->rows_cap * sizeof *outbox->rows);
  }
  outbox->rows[outbox->rows_len++] = (struct orr_row){.type = ORR_ROW_JOURNAL,
                                                      .run = id_of(number),
                                                      .pos = fixture->next_pos,
                                                      .prev = prev,
                                                      .offset = outbox->bytes.len,
                                                      .len = facts->len};
  orr_buf_slice_append(&outbox->bytes, orr_buf_slice(facts));
  orr_buf_clear(facts);
  return fixture->next_pos++;
}

static enum orr_status commit(struct fixture *fixture, struct orr_outbox *outbox) {
  uint64_t sync_us = 0;
  enum orr_status status = orr_store_commit(fixture->store, &outbox, 1, &sync_us);
  orr_outbox_free(outbox);
  return status;
}

// One row in a commit of its own.
static uint64_t write_row(struct fixture *fixture, uint32_t number, uint64_t prev,
                          struct orr_buf *facts) {
  struct orr_outbox outbox = {0};
  uint64_t pos = add_row(&outbox, fixture, number, prev, facts);
  assert_int_equal(commit(fixture, &outbox), ORR_OK);
  return pos;
}

// A finished run, written to the journal and indexed.
static void gather_run(struct fixture *fixture, uint32_t number, struct orr_def *def,
                       enum orr_run_status status) {
  struct orr_buf facts = ORR_BUF_INIT;
  created(&facts, number, def->name);
  uint64_t pos = write_row(fixture, number, 0, &facts);
  run_finished(&facts, status);
  write_row(fixture, number, pos, &facts);
  struct orr_run run = {.id = id_of(number), .def = def, .status = (uint8_t)status};
  created(&run.journal, number, def->name);
  run_finished(&run.journal, status);
  if (status == ORR_RUN_FAILED) {
    struct orr_slice error = ORR_SLICE_LITERAL("{\"message\":\"no \\\"luck\\\"\",\"code\":\"x\"}");
    run.error = (struct orr_span){run.journal.len, error.len};
    orr_buf_slice_append(&run.journal, error);
    run.journal.len -= error.len; // stays behind the end: a span into the buffer
  }
  run.created_ms = 1763000000000 + number;
  const struct orr_run *runs[] = {&run};
  assert_int_equal(orr_store_gather(fixture->store, runs, 1), ORR_OK);
  orr_buf_free(&run.journal);
  orr_buf_free(&facts);
}

// --- recovering
// -----------------------------------------------------------------------------------

struct found {
  uint32_t numbers[4000];
  uint32_t len, corrupt;
  uint64_t last_pos;
  struct orr_buf journal; // of the last one
  uint32_t keys;
};
static void found_run(void *context, enum orr_status status, const struct orr_id *id,
                      struct orr_slice journal, uint64_t last_pos) {
  struct found *found = context;
  assert_true(found->len < 4000);
  if (found->len > 0) assert_true(found->numbers[found->len - 1] < number_of(id)); // oldest first
  found->numbers[found->len++] = number_of(id);
  found->corrupt += status != ORR_OK;
  found->last_pos = last_pos;
  orr_buf_clear(&found->journal);
  orr_buf_slice_append(&found->journal, journal);
}
static void found_key(void *context, struct orr_slice key, const struct orr_id *run,
                      const struct orr_digest *request, int64_t expires_ms) {
  struct found *found = context;
  assert_true(orr_slice_equal(key, ORR_SLICE_LITERAL("order-7")));
  assert_int_equal(number_of(run), 7);
  assert_int_equal(request->bytes[0], 9);
  assert_int_equal(expires_ms, 5000);
  found->keys++;
}

static struct found *reopen(struct fixture *fixture) {
  orr_store_close(fixture->store);
  open_store(fixture);
  struct found *found = orr_alloc(sizeof *found);
  struct orr_store_recovered out = {.run = found_run, .idempotency = found_key, .context = found};
  assert_int_equal(orr_store_recover(fixture->store, &out, 1000), ORR_OK);
  fixture->next_pos = out.next_pos;
  return found;
}
static void forget(struct found *found) {
  orr_buf_free(&found->journal);
  free(found);
}

static void committed_rows_come_back_after_a_restart(void **state) {
  struct fixture *fixture = *state;
  struct orr_buf facts = ORR_BUF_INIT, expected = ORR_BUF_INIT;
  created(&expected, 1, "etl");
  step_finished(&expected, 0, "\"one\"");
  step_finished(&expected, 1, "\"two\"");
  created(&facts, 1, "etl");
  uint64_t pos = write_row(fixture, 1, 0, &facts);
  struct orr_outbox outbox = {0}; // two runs in one commit
  created(&facts, 2, "etl");
  add_row(&outbox, fixture, 2, 0, &facts);
  step_finished(&facts, 0, "\"one\"");
  pos = add_row(&outbox, fixture, 1, pos, &facts);
  assert_int_equal(commit(fixture, &outbox), ORR_OK);
  step_finished(&facts, 1, "\"two\"");
  pos = write_row(fixture, 1, pos, &facts);
  gather_run(fixture, 3, fixture->def, ORR_RUN_SUCCEEDED); // is not reported
  created(&facts, 4, "etl");
  run_finished(&facts, ORR_RUN_FAILED);
  write_row(fixture, 4, 0, &facts); // final but not gathered: is
  struct found *found = reopen(fixture);
  assert_int_equal(found->len, 3);
  assert_int_equal(found->numbers[0], 1);
  assert_int_equal(found->numbers[1], 2);
  assert_int_equal(found->numbers[2], 4);
  assert_int_equal(found->corrupt, 0);
  assert_int_equal(fixture->next_pos, 8);
  forget(found);
  // And again, with the first run alone.
  struct orr_run final = {.def = fixture->def, .status = ORR_RUN_SUCCEEDED, .journal = any_journal};
  const struct orr_run *runs[] = {&final};
  final.id = id_of(2);
  assert_int_equal(orr_store_gather(fixture->store, runs, 1), ORR_OK);
  final.id = id_of(4);
  assert_int_equal(orr_store_gather(fixture->store, runs, 1), ORR_OK);
  found = reopen(fixture);
  // Run 2 has no final fact, so its journal still counts although it was indexed: only ends are
  // looked up.
  assert_int_equal(found->len, 2);
  forget(found);
  orr_buf_free(&facts);
  orr_buf_free(&expected);
}

static void keys_and_cached_outputs_are_kept_until_they_expire(void **state) {
  struct fixture *fixture = *state;
  struct orr_outbox outbox = {0};
  outbox.rows = orr_alloc(2 * sizeof *outbox.rows);
  outbox.rows_len = outbox.rows_cap = 2;
  orr_buf_text(&outbox.bytes, "order-7\"answer\"");
  outbox.rows[0] = (struct orr_row){.type = ORR_ROW_IDEMPOTENCY,
                                    .run = id_of(7),
                                    .key_len = 7,
                                    .request = {{9}},
                                    .expires_ms = 5000};
  outbox.rows[1] = (struct orr_row){
      .type = ORR_ROW_CACHE, .key_len = 7, .offset = 7, .len = 8, .expires_ms = 6000};
  assert_int_equal(commit(fixture, &outbox), ORR_OK);
  struct orr_store_reader *reader;
  assert_int_equal(orr_store_reader_open(fixture->path, &reader), ORR_OK);
  struct orr_blob *blob;
  struct orr_slice key = ORR_SLICE_LITERAL("order-7");
  assert_int_equal(orr_store_cache(reader, key, 5999, &blob), ORR_OK);
  assert_true(orr_slice_equal(orr_blob_slice(blob), ORR_SLICE_LITERAL("\"answer\"")));
  orr_blob_unref(blob);
  assert_int_equal(orr_store_cache(reader, key, 6000, &blob), ORR_ERR_NOT_FOUND);
  struct found *found = reopen(fixture);
  assert_int_equal(found->keys, 1);
  forget(found);
  for (int i = 0; i < 10 && orr_store_upkeep(fixture->store, 5500); i++) continue;
  found = reopen(fixture);
  assert_int_equal(found->keys, 0);
  forget(found);
  assert_int_equal(orr_store_cache(reader, key, 5999, &blob), ORR_OK);
  orr_blob_unref(blob);
  orr_store_reader_close(reader);
}

// --- content
// --------------------------------------------------------------------------------------

static void generations_and_blobs_are_found_by_hash(void **state) {
  struct fixture *fixture = *state;
  struct orr_store_reader *reader;
  assert_int_equal(orr_store_reader_open(fixture->path, &reader), ORR_OK);
  struct orr_digest found, first = {{1}}, second = {{2}};
  assert_int_equal(orr_store_last_generation(reader, &found), ORR_ERR_NOT_FOUND);
  struct orr_slice blobs[] = {ORR_SLICE_LITERAL("return 1"), ORR_SLICE_LITERAL("")};
  assert_int_equal(orr_store_put_generation(fixture->store, &first, blobs, 2, 1), ORR_OK);
  assert_int_equal(orr_store_put_generation(fixture->store, &second, blobs, 1, 2), ORR_OK);
  assert_int_equal(orr_store_put_generation(fixture->store, &second, blobs, 1, 3), ORR_OK);
  assert_int_equal(orr_store_last_generation(reader, &found), ORR_OK);
  assert_true(orr_digest_equal(&found, &second));
  struct orr_digest hash;
  assert_true(orr_digest_parse(
      ORR_SLICE_LITERAL("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
      &hash));
  struct orr_blob *blob; // the empty one
  assert_int_equal(orr_store_blob(reader, &hash, &blob), ORR_OK);
  assert_int_equal(blob->len, 0);
  orr_blob_unref(blob);
  hash.bytes[0] ^= 1;
  assert_int_equal(orr_store_blob(reader, &hash, &blob), ORR_ERR_NOT_FOUND);
  orr_store_reader_close(reader);
}

// --- lists
// ----------------------------------------------------------------------------------------

#define LISTED 300
struct page {
  uint32_t numbers[LISTED];
  uint32_t len;
  struct orr_id last;
};
static void see_row(void *context, const struct orr_store_row *row) {
  struct page *page = context;
  page->numbers[page->len++] = number_of(&row->id);
  page->last = row->id;
  uint32_t number = number_of(&row->id);
  assert_string_equal(row->pipeline, number % 3 == 0 ? "other" : "etl");
  assert_int_equal(row->created_ms, 1763000000000 + number);
  assert_string_equal(row->error, row->status == ORR_RUN_FAILED ? "no \"luck\"" : "");
  assert_int_equal(row->generation.bytes[0], 1);
}
static enum orr_run_status status_of(uint32_t number) {
  return number % 7 == 0    ? ORR_RUN_FAILED
         : number % 11 == 0 ? ORR_RUN_CANCELLED
                            : ORR_RUN_SUCCEEDED;
}

// The model: all numbers, newest first, filtered one by one.
static uint32_t expect(uint32_t *numbers, int32_t status, const char *pipeline) {
  uint32_t len = 0;
  for (uint32_t n = LISTED; n > 0; n--) {
    if (status >= 0 && status_of(n) != (enum orr_run_status)status) continue;
    if (pipeline != NULL && (strcmp(pipeline, "other") == 0) != (n % 3 == 0)) continue;
    numbers[len++] = n;
  }
  return len;
}

static void pages_of_every_filter_agree_with_a_naive_model(void **state) {
  struct fixture *fixture = *state;
  for (uint32_t i = 0; i < LISTED; i++) { // not in order of age
    uint32_t number = i * 7 % LISTED + 1;
    gather_run(fixture, number, number % 3 == 0 ? fixture->other : fixture->def, status_of(number));
  }
  struct orr_store_reader *reader;
  assert_int_equal(orr_store_reader_open(fixture->path, &reader), ORR_OK);
  const char *pipelines[] = {NULL, "etl", "other"};
  const int32_t statuses[] = {-1, ORR_RUN_SUCCEEDED, ORR_RUN_FAILED, ORR_RUN_CANCELLED,
                              ORR_RUN_RUNNING};
  for (size_t p = 0; p < 3; p++) {
    for (size_t s = 0; s < 5; s++) {
      for (uint32_t limit = 1; limit <= 301; limit += 100) {
        uint32_t expected[LISTED], len = expect(expected, statuses[s], pipelines[p]), at = 0;
        struct orr_store_list query = {
            .limit = limit, .status = statuses[s], .pipeline = pipelines[p]};
        for (;;) {
          struct page page = {.len = 0};
          assert_int_equal(orr_store_list(reader, &query, see_row, &page), ORR_OK);
          assert_true(page.len <= limit);
          for (uint32_t i = 0; i < page.len; i++) assert_int_equal(page.numbers[i], expected[at++]);
          if (page.len < limit) break;
          query.before = page.last;
        }
        assert_int_equal(at, len);
      }
    }
  }
  struct page page = {.len = 0};
  struct orr_store_list unknown = {.limit = 5, .status = -1, .pipeline = "nobody"};
  assert_int_equal(orr_store_list(reader, &unknown, see_row, &page), ORR_OK);
  assert_int_equal(page.len, 0);
  orr_store_reader_close(reader);
}

static void a_gathered_run_is_read_whole_and_gathering_twice_is_harmless(void **state) {
  struct fixture *fixture = *state;
  gather_run(fixture, 5, fixture->def, ORR_RUN_SUCCEEDED);
  struct orr_run again = {
      .id = id_of(5), .def = fixture->def, .status = ORR_RUN_SUCCEEDED, .journal = any_journal};
  const struct orr_run *runs[] = {&again};
  assert_int_equal(orr_store_gather(fixture->store, runs, 1), ORR_OK);
  struct orr_store_reader *reader;
  assert_int_equal(orr_store_reader_open(fixture->path, &reader), ORR_OK);
  struct orr_blob *journal;
  assert_int_equal(orr_store_run(reader, &again.id, &journal), ORR_OK);
  struct orr_buf expected = ORR_BUF_INIT;
  created(&expected, 5, "etl");
  run_finished(&expected, ORR_RUN_SUCCEEDED);
  assert_true(orr_slice_equal(orr_blob_slice(journal), orr_buf_slice(&expected)));
  orr_blob_unref(journal);
  orr_buf_free(&expected);
  struct orr_id unknown = id_of(6);
  assert_int_equal(orr_store_run(reader, &unknown, &journal), ORR_ERR_NOT_FOUND);
  orr_store_reader_close(reader);
}

// --- segments
// -------------------------------------------------------------------------------------

static int64_t ask(struct fixture *fixture, const char *sql) {
  sqlite3 *db;
  sqlite3_stmt *statement;
  assert_int_equal(sqlite3_open_v2(fixture->path, &db, SQLITE_OPEN_READONLY, NULL), SQLITE_OK);
  assert_int_equal(sqlite3_prepare_v2(db, sql, -1, &statement, NULL), SQLITE_OK);
  assert_int_equal(sqlite3_step(statement), SQLITE_ROW);
  int64_t value = sqlite3_column_int64(statement, 0);
  sqlite3_finalize(statement);
  sqlite3_close(db);
  return value;
}

static void tidy(struct fixture *fixture) {
  // Upkeep waits for quiet before it copies the WAL; segments come before that.
  for (int i = 0; i < 100; i++) orr_store_upkeep(fixture->store, 0);
}

static void old_segments_are_dropped_and_open_runs_live_on(void **state) {
  struct fixture *fixture = *state;
  struct orr_buf facts = ORR_BUF_INIT, expected = ORR_BUF_INIT;
  // Run 1 writes a row now and then among a thousand others, with bytes of every value in it.
  created(&facts, 1, "etl");
  orr_buf_slice_append(&expected, orr_buf_slice(&facts));
  uint64_t pos = write_row(fixture, 1, 0, &facts);
  created(&facts, 2, "etl"); // run 2 sleeps from the start
  write_row(fixture, 2, 0, &facts);
  for (uint32_t i = 0; i < 1000; i++) {
    gather_run(fixture, 1000 + i, fixture->def, ORR_RUN_SUCCEEDED);
    if (i % 10 == 0) tidy(fixture);
    if (i % 150 != 0) continue;
    char value[200];
    snprintf(value, sizeof value, "\"%u %0*d\"", i, (int)(i % 128), 1);
    step_finished(&facts, 0, value);
    orr_buf_slice_append(&expected, orr_buf_slice(&facts));
    pos = write_row(fixture, 1, pos, &facts);
  }
  tidy(fixture);
  assert_true(ask(fixture, "SELECT count(*) FROM segments") <= 5);
  assert_int_equal(ask(fixture, "SELECT count(*) FROM checkpoint"), 2);
  for (int i = 0; i < 2; i++) {
    struct found *found = reopen(fixture);
    assert_int_equal(found->len, 2);
    assert_int_equal(found->corrupt, 0);
    assert_int_equal(found->numbers[1], 2);
    forget(found);
  }
  // Run 2 goes, run 1 stays and is whole.
  struct orr_run second = {
      .id = id_of(2), .def = fixture->def, .status = ORR_RUN_CANCELLED, .journal = any_journal};
  const struct orr_run *runs[] = {&second};
  assert_int_equal(orr_store_gather(fixture->store, runs, 1), ORR_OK);
  assert_int_equal(ask(fixture, "SELECT count(*) FROM checkpoint"), 1);
  tidy(fixture);
  struct found *found = reopen(fixture);
  assert_int_equal(found->len, 1);
  assert_int_equal(found->numbers[0], 1);
  assert_int_equal(found->last_pos, pos);
  assert_true(orr_slice_equal(orr_buf_slice(&found->journal), orr_buf_slice(&expected)));
  forget(found);
  assert_true(ask(fixture, "SELECT count(*) FROM segments") <= 5);
  orr_buf_free(&facts);
  orr_buf_free(&expected);
}

static void many_gathered_runs_in_the_journal_are_told_from_open_ones(void **state) {
  struct fixture *fixture = *state;
  orr_store_close(fixture->store);
  fixture->segment_rows = 1000000; // all stay in one segment
  open_store(fixture);
  struct orr_outbox outbox = {0};
  struct orr_buf facts = ORR_BUF_INIT;
  struct orr_run *runs = orr_alloc(6000 * sizeof *runs);
  const struct orr_run **list = orr_alloc(6000 * sizeof *list);
  uint32_t len = 0;
  for (uint32_t i = 0; i < 6000; i++) {
    created(&facts, i, "etl");
    run_finished(&facts, ORR_RUN_FAILED);
    add_row(&outbox, fixture, i, 0, &facts);
    runs[i] = (struct orr_run){
        .id = id_of(i), .def = fixture->def, .status = ORR_RUN_FAILED, .journal = any_journal};
    if (i % 5 != 0) list[len++] = &runs[i];
  }
  assert_int_equal(commit(fixture, &outbox), ORR_OK);
  assert_int_equal(orr_store_gather(fixture->store, list, len), ORR_OK);
  struct found *found = reopen(fixture);
  assert_int_equal(found->len, 1200);
  for (uint32_t i = 0; i < found->len; i++) assert_int_equal(found->numbers[i], i * 5);
  forget(found);
  free(runs);
  free(list);
  orr_buf_free(&facts);
}

static void a_damaged_fact_is_reported_with_the_good_ones_before_it(void **state) {
  struct fixture *fixture = *state;
  struct orr_buf facts = ORR_BUF_INIT;
  created(&facts, 1, "etl");
  size_t good = facts.len;
  step_finished(&facts, 0, "\"one\"");
  facts.data[facts.len - 6] ^= 0x40;
  write_row(fixture, 1, 0, &facts);
  struct found *found = reopen(fixture);
  assert_int_equal(found->len, 1);
  assert_int_equal(found->corrupt, 1);
  assert_int_equal(found->journal.len, good);
  forget(found);
  orr_buf_free(&facts);
}

// --- one engine, and failures
// ---------------------------------------------------------------------

static void a_second_opener_is_refused_with_the_holders_pid(void **state) {
  struct fixture *fixture = *state;
  assert_true(orr_store_locked(fixture->path));
  struct orr_store *second;
  char message[512], pid[16];
  struct orr_store_options options = {.path = fixture->path};
  assert_int_equal(orr_store_open(&options, &second, message, sizeof message), ORR_ERR_BUSY);
  snprintf(pid, sizeof pid, "%ld", (long)getpid());
  assert_non_null(strstr(message, pid));
  assert_non_null(strstr(message, "--server"));
  orr_store_close(fixture->store);
  assert_false(orr_store_locked(fixture->path));
  open_store(fixture);
}

static void a_file_of_somebody_else_or_of_the_future_is_refused(void **state) {
  struct fixture *fixture = *state;
  orr_store_close(fixture->store);
  sqlite3 *db;
  assert_int_equal(sqlite3_open(fixture->path, &db), SQLITE_OK);
  assert_int_equal(sqlite3_exec(db, "PRAGMA user_version = 99", NULL, NULL, NULL), SQLITE_OK);
  struct orr_store *store;
  char message[512];
  struct orr_store_options options = {.path = fixture->path};
  assert_int_equal(orr_store_open(&options, &store, message, sizeof message), ORR_ERR_INVALID);
  assert_non_null(strstr(message, "newer Orrery"));
  assert_int_equal(sqlite3_exec(db, "PRAGMA application_id = 7", NULL, NULL, NULL), SQLITE_OK);
  assert_int_equal(orr_store_open(&options, &store, message, sizeof message), ORR_ERR_CORRUPT);
  assert_int_equal(sqlite3_exec(db, "PRAGMA application_id = 0x4f525259; PRAGMA user_version = 1",
                                NULL, NULL, NULL),
                   SQLITE_OK);
  sqlite3_close(db);
  open_store(fixture);
}

static void a_failed_commit_is_final_and_leaves_what_was_acknowledged(void **state) {
  struct fixture *fixture = *state;
  struct orr_buf facts = ORR_BUF_INIT;
  created(&facts, 1, "etl");
  write_row(fixture, 1, 0, &facts);
  struct rlimit old, small;
  assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
  void (*handler)(int) = signal(SIGXFSZ, SIG_IGN);
  small = old;
  small.rlim_cur = 64 * 1024; // less than the next commit needs: the disk is full
  assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
  char *large = orr_alloc(1000001);
  memset(large, 'x', 1000000);
  step_finished(&facts, 0, large);
  struct orr_outbox outbox = {0};
  add_row(&outbox, fixture, 1, 1, &facts);
  enum orr_status status = commit(fixture, &outbox);
  assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
  signal(SIGXFSZ, handler);
  assert_int_equal(status, ORR_ERR_IO);
  assert_true(orr_store_failed(fixture->store));
  assert_non_null(strstr(orr_store_error(fixture->store), "cannot commit"));
  created(&facts, 2, "etl"); // there is room again, but it stays refused
  struct orr_outbox later = {0};
  fixture->next_pos--;
  add_row(&later, fixture, 2, 0, &facts);
  assert_int_equal(commit(fixture, &later), ORR_ERR_UNAVAILABLE);
  struct found *found = reopen(fixture);
  assert_int_equal(found->len, 1);
  assert_int_equal(found->last_pos, 1);
  forget(found);
  free(large);
  orr_buf_free(&facts);
}

// The child reports every row after its commit through a pipe, and is killed at a random moment.
static void write_for_ever(struct fixture *fixture, int fd) {
  struct orr_buf facts = ORR_BUF_INIT;
  for (uint32_t number = 1;; number++) {
    created(&facts, number, "etl");
    struct orr_outbox outbox = {0};
    add_row(&outbox, fixture, number, 0, &facts);
    if (commit(fixture, &outbox) != ORR_OK) _exit(1);
    if (number % 64 == 0) orr_store_upkeep(fixture->store, 0);
    if (write(fd, &number, sizeof number) != sizeof number) _exit(1);
  }
}

static void a_killed_writer_loses_no_acknowledged_row(void **state) {
  struct fixture *fixture = *state;
  for (uint32_t round = 0; round < 5; round++) {
    fixture->durability = round % 2 == 0 ? ORR_DURABLE_FULL : ORR_DURABLE_NORMAL;
    orr_store_close(fixture->store);
    fixture->store = NULL;
    world_remove(fixture->folder);
    fixture->folder = world_folder();
    free(fixture->path);
    fixture->path = world_path(fixture->folder, "orrery.db");
    int fds[2];
    assert_int_equal(pipe(fds), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
      open_store(fixture);
      struct orr_store_recovered nothing = {0};
      if (orr_store_recover(fixture->store, &nothing, 0) != ORR_OK) _exit(1);
      fixture->next_pos = 1;
      write_for_ever(fixture, fds[1]);
    }
    close(fds[1]);
    uint32_t acknowledged = 0, number;
    while (read(fds[0], &number, sizeof number) == sizeof number) {
      acknowledged = number;
      if (number == 100 + round * 37) kill(child, SIGKILL);
    }
    close(fds[0]);
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status));
    struct found *found = reopen(fixture);
    assert_true(acknowledged >= 100 + round * 37);
    assert_true(found->len >= acknowledged);
    assert_int_equal(found->corrupt, 0);
    assert_int_equal(found->numbers[found->len - 1], found->len); // no gaps
    forget(found);
    assert_int_equal(
        ask(fixture, "SELECT count(*) FROM pragma_quick_check WHERE quick_check <> 'ok'"), 0);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(committed_rows_come_back_after_a_restart, setup, teardown),
      cmocka_unit_test_setup_teardown(keys_and_cached_outputs_are_kept_until_they_expire, setup,
                                      teardown),
      cmocka_unit_test_setup_teardown(generations_and_blobs_are_found_by_hash, setup, teardown),
      cmocka_unit_test_setup_teardown(pages_of_every_filter_agree_with_a_naive_model, setup,
                                      teardown),
      cmocka_unit_test_setup_teardown(a_gathered_run_is_read_whole_and_gathering_twice_is_harmless,
                                      setup, teardown),
      cmocka_unit_test_setup_teardown(old_segments_are_dropped_and_open_runs_live_on, setup,
                                      teardown),
      cmocka_unit_test_setup_teardown(many_gathered_runs_in_the_journal_are_told_from_open_ones,
                                      setup, teardown),
      cmocka_unit_test_setup_teardown(a_damaged_fact_is_reported_with_the_good_ones_before_it,
                                      setup, teardown),
      cmocka_unit_test_setup_teardown(a_second_opener_is_refused_with_the_holders_pid, setup,
                                      teardown),
      cmocka_unit_test_setup_teardown(a_file_of_somebody_else_or_of_the_future_is_refused, setup,
                                      teardown),
      cmocka_unit_test_setup_teardown(a_failed_commit_is_final_and_leaves_what_was_acknowledged,
                                      setup, teardown),
      cmocka_unit_test_setup_teardown(a_killed_writer_loses_no_acknowledged_row, setup, teardown),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
