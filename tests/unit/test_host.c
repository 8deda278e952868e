// SPDX-License-Identifier: MIT
// The host end to end, with workers that are threads without Lua: every run ends, nothing is seen
// before it is on disk, attempts in flight are known after a kill, a failed commit stops
// everything.
// clang-format off
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
// clang-format on

#include "base/json.h"
#include "core/fact.h"
#include "host_world.h"
#include "io/in_flight.h"

#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>

#define WORKERS 2
#define DEADLINE_US 60000000u

struct fixture {
  char *folder, *path, *in_flight_path;
  struct orr_host *host;
  struct world_worker workers[WORKERS];
  struct orr_def *one, *fan, *chain;
  enum orr_durability durability;
  uint32_t map_items, recovered;
  _Atomic uint32_t notices, failures;
  bool hold;
};

static struct orr_def *find_def(void *context, const struct orr_digest *generation,
                                struct orr_slice pipeline) {
  struct fixture *fixture = context;
  assert_int_equal(generation->bytes[0], 1);
  struct orr_def *defs[] = {fixture->one, fixture->fan, fixture->chain};
  for (size_t i = 0; i < 3; i++)
    if (orr_slice_equal(pipeline, orr_slice_text(defs[i]->name))) return orr_def_ref(defs[i]);
  return NULL;
}
static void count_notice(void *context, const struct orr_notice *notice) {
  struct fixture *fixture = context;
  if (notice->step == UINT32_MAX && orr_run_status_final(notice->run_status))
    atomic_fetch_add(&fixture->notices, 1);
}
static void count_failure(void *context, const char *text) {
  struct fixture *fixture = context;
  if (strstr(text, "cannot commit") != NULL) atomic_fetch_add(&fixture->failures, 1);
}

static void start(struct fixture *fixture) {
  char message[512] = "";
  struct orr_store_options store_options = {.path = fixture->path,
                                            .durability = fixture->durability};
  struct orr_host_options options = {.node = "test",
                                     .seed = 7,
                                     .tasks_per_worker = 64,
                                     .in_flight_path = fixture->in_flight_path,
                                     .find_def = find_def,
                                     .find_def_context = fixture,
                                     .notice = count_notice,
                                     .notice_context = fixture,
                                     .failed = count_failure,
                                     .failed_context = fixture};
  enum orr_status status = orr_store_open(&store_options, &options.store, message, sizeof message);
  if (status != ORR_OK) print_error("%s\n", message);
  assert_int_equal(status, ORR_OK);
  fixture->host = orr_host_new(&options);
  for (int i = 0; i < WORKERS; i++) {
    atomic_store(&fixture->workers[i].hold, fixture->hold);
    atomic_store(&fixture->workers[i].done, 0);
    world_worker_start(&fixture->workers[i], fixture->host, fixture->map_items);
  }
  assert_int_equal(orr_host_start(fixture->host, &fixture->recovered), ORR_OK);
}

static void stop(struct fixture *fixture) {
  orr_host_stop(fixture->host, fixture->hold ? 0 : 10000);
  for (int i = 0; i < WORKERS; i++) world_worker_stop(&fixture->workers[i]);
  orr_host_free(fixture->host);
  fixture->host = NULL;
}

static int setup(void **state) {
  struct fixture *fixture = orr_alloc(sizeof *fixture);
  fixture->folder = world_folder();
  fixture->path = world_path(fixture->folder, "orrery.db");
  fixture->in_flight_path = world_path(fixture->folder, "in_flight");
  fixture->one = world_def("one", 1, false);
  fixture->fan = world_def("fan", 3, true);
  fixture->chain = world_def("chain", 100, false);
  fixture->map_items = 1000;
  *state = fixture;
  return 0;
}

static int teardown(void **state) {
  struct fixture *fixture = *state;
  if (fixture->host != NULL) stop(fixture);
  world_remove(fixture->folder);
  orr_def_unref(fixture->one);
  orr_def_unref(fixture->fan);
  orr_def_unref(fixture->chain);
  free(fixture->path);
  free(fixture->in_flight_path);
  free(fixture);
  return 0;
}

#define wait_until(condition)                                                                      \
  do {                                                                                             \
    for (uint64_t until_us = orr_clock_mono_us() + DEADLINE_US; !(condition);) {                   \
      assert_true(orr_clock_mono_us() < until_us);                                                 \
      usleep(500);                                                                                 \
    }                                                                                              \
  } while (0)

static struct orr_host_counts counts(struct fixture *fixture) {
  struct orr_host_counts now;
  orr_host_counts(fixture->host, &now);
  return now;
}

static struct orr_reply *ask(struct fixture *fixture, struct orr_event *event) {
  struct orr_reply *reply = NULL;
  assert_int_equal(orr_host_ask(fixture->host, event, DEADLINE_US / 1000, &reply), ORR_OK);
  return reply;
}

// --- reading the store behind the host's back
// -----------------------------------------------------

static void count_row(void *context, const struct orr_store_row *row) {
  uint32_t *count = context;
  assert_int_equal(row->status, ORR_RUN_SUCCEEDED);
  (*count)++;
}
static uint32_t stored_runs(struct fixture *fixture) {
  struct orr_store_reader *reader;
  uint32_t count = 0;
  assert_int_equal(orr_store_reader_open(fixture->path, &reader), ORR_OK);
  struct orr_store_list query = {.limit = UINT32_MAX, .status = -1};
  assert_int_equal(orr_store_list(reader, &query, count_row, &count), ORR_OK);
  orr_store_reader_close(reader);
  return count;
}

static void ten_thousand_runs_end_and_are_gathered(void **state) {
  struct fixture *fixture = *state;
  start(fixture);
  for (int i = 0; i < 10; i++) {
    struct orr_reply *reply = ask(fixture, world_submit(fixture->one, 1000));
    assert_int_equal(reply->status, ORR_OK);
    assert_int_equal(reply->ids_len, 1000);
    orr_reply_free(reply);
  }
  wait_until(stored_runs(fixture) == 10000);
  wait_until(counts(fixture).ungathered == 0);
  assert_int_equal(counts(fixture).live, 0);
  assert_int_equal(counts(fixture).in_flight, 0);
  assert_int_equal(atomic_load(&fixture->workers[0].done) + atomic_load(&fixture->workers[1].done),
                   10000);
  stop(fixture);
  start(fixture); // nothing is left to do
  assert_int_equal(fixture->recovered, 0);
  assert_int_equal(counts(fixture).ungathered, 0);
}

static void a_wide_map_and_a_long_chain_run_to_their_end(void **state) {
  struct fixture *fixture = *state;
  start(fixture);
  struct orr_event *event = world_submit(fixture->fan, 1);
  event->submit.watch = true;
  orr_reply_free(ask(fixture, event));
  event = world_submit(fixture->chain, 3);
  event->submit.watch = true;
  orr_reply_free(ask(fixture, event));
  wait_until(atomic_load(&fixture->notices) == 4);
  assert_int_equal(atomic_load(&fixture->workers[0].done) + atomic_load(&fixture->workers[1].done),
                   1 + 1 + 1000 + 1 + 300);
  assert_true(counts(fixture).inline_commits > 0); // a step of a chain is a small batch
}

// --- nothing is seen before it is on disk
// ---------------------------------------------------------

struct early { // a port that looks into the store when a reply arrives
  struct orr_port port;
  struct fixture *fixture;
  _Atomic uint32_t replies, missing;
};

struct journalled {
  const struct orr_id *id;
  bool found;
};

// A copy of the files as a kill would leave them: what is in it was committed.
static void copy_file(const char *from, const char *to) {
  FILE *in = fopen(from, "rb"), *out = fopen(to, "wb");
  orr_assert(out != NULL);
  char bytes[65536];
  for (size_t got; in != NULL && (got = fread(bytes, 1, sizeof bytes, in)) > 0;)
    orr_assert(fwrite(bytes, 1, got, out) == got);
  if (in != NULL) fclose(in);
  fclose(out);
}

static void find_run(void *context, enum orr_status status, const struct orr_id *id,
                     struct orr_slice journal, uint64_t last_pos) {
  struct journalled *wanted = context;
  (void)status;
  (void)journal;
  (void)last_pos;
  if (orr_id_compare(id, wanted->id) == 0) wanted->found = true;
}

static void look(struct orr_port *port, struct orr_reply *reply) {
  struct early *early = (void *)port;
  struct fixture *fixture = early->fixture;
  char *copy = world_path(fixture->folder, "copy.db");
  char *wal = world_path(fixture->folder, "orrery.db-wal"),
       *copy_wal = world_path(fixture->folder, "copy.db-wal");
  char *shm = world_path(fixture->folder, "copy.db-shm");
  copy_file(fixture->path, copy);
  copy_file(wal, copy_wal);
  unlink(shm);
  struct orr_store_options options = {.path = copy, .durability = ORR_DURABLE_NORMAL};
  struct orr_store *store;
  orr_assert(orr_store_open(&options, &store, NULL, 0) == ORR_OK);
  struct journalled wanted = {.id = &reply->ids[reply->ids_len - 1]};
  struct orr_store_recovered out = {.run = find_run, .context = &wanted};
  orr_assert(orr_store_recover(store, &out, 0) == ORR_OK);
  if (!wanted.found) atomic_fetch_add(&early->missing, 1);
  orr_store_close(store);
  free(copy);
  free(wal);
  free(copy_wal);
  free(shm);
  orr_reply_free(reply);
  atomic_fetch_add(&early->replies, 1);
}

static void a_reply_comes_only_after_its_rows_are_in_the_file(void **state) {
  struct fixture *fixture = *state;
  fixture->hold = true; // so that runs stay open, and are found by recovery
  start(fixture);
  struct early early = {.port.deliver = look, .fixture = fixture};
  for (uint32_t i = 0; i < 12; i++) { // small ones go inline, large ones over the writer
    struct orr_event *event = world_submit(fixture->one, i % 3 == 0 ? 100 : 1);
    event->reply_to.port = &early.port;
    orr_host_send(fixture->host, event);
    if (i % 4 == 3) wait_until(atomic_load(&early.replies) == i + 1);
  }
  wait_until(atomic_load(&early.replies) == 12);
  assert_int_equal(atomic_load(&early.missing), 0);
  assert_true(counts(fixture).commits > counts(fixture).inline_commits);
}

// --- restarts
// -------------------------------------------------------------------------------------

static uint32_t held(struct fixture *fixture) { return counts(fixture).in_flight; }

static void open_runs_go_on_after_a_stop(void **state) {
  struct fixture *fixture = *state;
  fixture->hold = true;
  start(fixture);
  orr_reply_free(ask(fixture, world_submit(fixture->one, 500)));
  orr_reply_free(ask(fixture, world_submit(fixture->chain, 1)));
  wait_until(held(fixture) == 128); // all slots
  stop(fixture);
  fixture->hold = false;
  start(fixture);
  assert_int_equal(fixture->recovered, 501);
  wait_until(stored_runs(fixture) == 501);
}

struct journal_facts {
  uint32_t recovered_facts, recovered_units;
};
static void count_recovered(struct orr_blob *journal, struct journal_facts *facts) {
  struct orr_reader reader = orr_reader_of(orr_blob_slice(journal));
  struct orr_fact fact;
  while (orr_fact_decode(&reader, &fact) == ORR_OK) {
    if (fact.type != ORR_FACT_RECOVERED) continue;
    facts->recovered_facts++;
    facts->recovered_units += fact.recovered.count;
  }
}

// A child process is killed with all its slots taken; after a restart exactly those attempts count
// as interrupted.
static void attempts_in_flight_are_known_after_a_kill(void **state) {
  struct fixture *fixture = *state;
  int fds[2];
  assert_int_equal(pipe(fds), 0);
  pid_t child = fork();
  assert_true(child >= 0);
  if (child == 0) {
    fixture->hold = true;
    start(fixture);
    struct orr_reply *reply = ask(fixture, world_submit(fixture->one, 300));
    wait_until(held(fixture) == 128);
    bool sent = write(fds[1], reply->ids, reply->ids_len * sizeof *reply->ids) > 0;
    if (!sent) _exit(1);
    for (;;) pause();
  }
  close(fds[1]);
  struct orr_id ids[300];
  size_t got = 0;
  while (got < sizeof ids) {
    ssize_t part = read(fds[0], (char *)ids + got, sizeof ids - got);
    assert_true(part > 0);
    got += (size_t)part;
  }
  close(fds[0]);
  kill(child, SIGKILL);
  assert_int_equal(waitpid(child, NULL, 0), child);
  struct orr_in_flight_unit *units;
  size_t units_len;
  assert_true(orr_in_flight_read(fixture->in_flight_path, &units, &units_len));
  assert_int_equal(units_len, 128);
  free(units);
  start(fixture);
  assert_int_equal(fixture->recovered, 300);
  wait_until(stored_runs(fixture) == 300);
  struct journal_facts facts = {0};
  struct orr_store_reader *reader;
  assert_int_equal(orr_store_reader_open(fixture->path, &reader), ORR_OK);
  for (size_t i = 0; i < 300; i++) {
    struct orr_blob *journal;
    assert_int_equal(orr_store_run(reader, &ids[i], &journal), ORR_OK);
    count_recovered(journal, &facts);
    orr_blob_unref(journal);
  }
  orr_store_reader_close(reader);
  assert_int_equal(facts.recovered_units, 128);
}

static void another_boot_means_that_nothing_is_known(void **state) {
  struct fixture *fixture = *state;
  struct orr_in_flight *map = orr_in_flight_open(fixture->in_flight_path, 8);
  assert_non_null(map);
  struct orr_in_flight_unit unit = {.run = {{3}}, .step = 4, .item = 5}, *units;
  orr_in_flight_set(map, 1, &unit);
  orr_in_flight_set(map, 2, &unit);
  orr_in_flight_clear(map, 1);
  size_t len;
  assert_true(orr_in_flight_read(fixture->in_flight_path, &units, &len));
  assert_int_equal(len, 1);
  assert_int_equal(units[0].step, 4);
  assert_int_equal(units[0].item, 5);
  free(units);
  orr_in_flight_set(map, ORR_IN_FLIGHT_NONE, &unit); // one more than there is room for
  assert_false(orr_in_flight_read(fixture->in_flight_path, &units, &len));
  orr_in_flight_close(map);
  map = orr_in_flight_open(fixture->in_flight_path, 8);
  orr_in_flight_close(map);
  FILE *file = fopen(fixture->in_flight_path, "r+");
  assert_non_null(file);
  fseek(file, 10, SEEK_SET);
  fputc('?', file); // in the boot's id
  fclose(file);
  assert_false(orr_in_flight_read(fixture->in_flight_path, &units, &len));
}

// --- failing
// --------------------------------------------------------------------------------------

static void a_failed_commit_stops_everything_and_acknowledges_nothing(void **state) {
  struct fixture *fixture = *state;
  start(fixture);
  orr_reply_free(ask(fixture, world_submit(fixture->one, 10)));
  wait_until(stored_runs(fixture) == 10);
  struct rlimit old, small;
  assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
  void (*handler)(int) = signal(SIGXFSZ, SIG_IGN);
  small = old;
  small.rlim_cur = 16 * 1024;
  assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
  struct orr_reply *reply = ask(fixture, world_submit(fixture->one, 1000));
  assert_int_equal(reply->status, ORR_ERR_UNAVAILABLE);
  assert_non_null(strstr(reply->message, "cannot commit"));
  assert_int_equal(reply->ids_len, 0);
  orr_reply_free(reply);
  assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
  signal(SIGXFSZ, handler);
  wait_until(atomic_load(&fixture->failures) == 1);
  assert_true(counts(fixture).failed);
  reply = ask(fixture, world_submit(fixture->one, 1)); // still refused
  assert_int_equal(reply->status, ORR_ERR_UNAVAILABLE);
  orr_reply_free(reply);
  struct orr_digest generation = {{1}};
  assert_int_equal(orr_host_put_generation(fixture->host, &generation, NULL, 0),
                   ORR_ERR_UNAVAILABLE);
  assert_int_equal(atomic_load(&fixture->workers[0].done) + atomic_load(&fixture->workers[1].done),
                   10);
  stop(fixture);
  start(fixture);
  assert_int_equal(fixture->recovered, 0);
  assert_int_equal(stored_runs(fixture), 10);
}

// --- doors
// ----------------------------------------------------------------------------------------

static void a_generation_is_kept_before_and_after_the_start(void **state) {
  struct fixture *fixture = *state;
  start(fixture);
  struct orr_digest generation = {{5}}, found;
  struct orr_slice blobs[] = {ORR_SLICE_LITERAL("return 1")};
  assert_int_equal(orr_host_put_generation(fixture->host, &generation, blobs, 1), ORR_OK);
  struct orr_store_reader *reader;
  assert_int_equal(orr_store_reader_open(fixture->path, &reader), ORR_OK);
  assert_int_equal(orr_store_last_generation(reader, &found), ORR_OK);
  assert_true(orr_digest_equal(&found, &generation));
  orr_store_reader_close(reader);
  stop(fixture);
}

struct asker {
  struct fixture *fixture;
  pthread_t thread;
  uint32_t answered;
};
static void *ask_many(void *context) {
  struct asker *asker = context;
  for (int i = 0; i < 200; i++) {
    struct orr_reply *reply = NULL;
    // Every other one gives up at once: its reply comes late and must find no freed memory.
    uint64_t timeout_ms = i % 2 == 0 ? DEADLINE_US / 1000 : 0;
    if (orr_host_ask(asker->fixture->host, world_submit(asker->fixture->one, 1), timeout_ms,
                     &reply) == ORR_OK) {
      orr_assert(reply->status == ORR_OK); // not cmocka's: this is another thread
      asker->answered++;
      orr_reply_free(reply);
    }
  }
  return NULL;
}

static void many_threads_may_ask_and_give_up(void **state) {
  struct fixture *fixture = *state;
  fixture->durability = ORR_DURABLE_NORMAL;
  start(fixture);
  struct asker askers[8];
  for (int i = 0; i < 8; i++) {
    askers[i] = (struct asker){.fixture = fixture};
    assert_int_equal(pthread_create(&askers[i].thread, NULL, ask_many, &askers[i]), 0);
  }
  for (int i = 0; i < 8; i++) {
    pthread_join(askers[i].thread, NULL);
    assert_true(askers[i].answered >= 100);
  }
  wait_until(stored_runs(fixture) == 1600);
  stop(fixture);
}

static void what_comes_after_the_stop_is_refused(void **state) {
  struct fixture *fixture = *state;
  start(fixture);
  orr_host_stop(fixture->host, 1000);
  struct orr_reply *reply = ask(fixture, world_submit(fixture->one, 1));
  assert_int_equal(reply->status, ORR_ERR_UNAVAILABLE);
  orr_reply_free(reply);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(ten_thousand_runs_end_and_are_gathered, setup, teardown),
      cmocka_unit_test_setup_teardown(a_wide_map_and_a_long_chain_run_to_their_end, setup,
                                      teardown),
      cmocka_unit_test_setup_teardown(a_reply_comes_only_after_its_rows_are_in_the_file, setup,
                                      teardown),
      cmocka_unit_test_setup_teardown(open_runs_go_on_after_a_stop, setup, teardown),
      cmocka_unit_test_setup_teardown(attempts_in_flight_are_known_after_a_kill, setup, teardown),
      cmocka_unit_test_setup_teardown(another_boot_means_that_nothing_is_known, setup, teardown),
      cmocka_unit_test_setup_teardown(a_failed_commit_stops_everything_and_acknowledges_nothing,
                                      setup, teardown),
      cmocka_unit_test_setup_teardown(a_generation_is_kept_before_and_after_the_start, setup,
                                      teardown),
      cmocka_unit_test_setup_teardown(many_threads_may_ask_and_give_up, setup, teardown),
      cmocka_unit_test_setup_teardown(what_comes_after_the_stop_is_refused, setup, teardown),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
