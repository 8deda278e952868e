// SPDX-License-Identifier: MIT
// Every file operation through the thread pool, in a folder of its own: results, errors, atomic
// replacement, cancel.
#include "base/clock.h"
#include "base/limits.h"
#include "io/file_job.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define DEADLINE_MS 20000u

struct world {
  uv_loop_t loop;
  char folder[64];
  char names[4][512]; // in(): a ring
  int next;
};

static int setup(void **state) {
  struct world *world = orr_alloc(sizeof *world);
  uv_loop_init(&world->loop);
  snprintf(world->folder, sizeof world->folder, "/tmp/orrery-files-XXXXXX");
  assert_non_null(mkdtemp(world->folder));
  *state = world;
  return 0;
}

static const char *in(struct world *world, const char *name) {
  char *text = world->names[world->next++ % 4];
  snprintf(text, sizeof world->names[0], "%s/%s", world->folder, name);
  return text;
}

struct seen {
  int done, error;
  bool exists, is_dir;
  uint64_t size;
  int64_t modified_ms;
  struct orr_buf data;
  struct orr_buf entries; // "name d 0\n"
};
static void on_done(void *context, struct orr_file_result *result) {
  struct seen *seen = context;
  seen->done++;
  seen->error = result->error_number;
  seen->exists = result->exists;
  seen->is_dir = result->is_dir;
  seen->size = result->size;
  seen->modified_ms = result->modified_ms;
  seen->data = result->data;
  result->data = ORR_BUF_INIT;
  for (size_t i = 0; i < result->entries_len; i++) {
    const struct orr_file_entry *entry = &result->entries[i];
    if (entry->is_dir)
      orr_buf_printf(&seen->entries, "%s/\n", entry->name);
    else
      orr_buf_printf(&seen->entries, "%s %d\n", entry->name, (int)entry->size);
  }
}

static void tick(uv_timer_t *timer) { (void)timer; }
static void run_until(uv_loop_t *loop, const int *counter, int want) {
  uint64_t deadline_us = orr_clock_mono_us() + DEADLINE_MS * 1000u;
  uv_timer_t timer;
  uv_timer_init(loop, &timer);
  uv_timer_start(&timer, tick, 20, 20);
  while (*counter < want && orr_clock_mono_us() < deadline_us) uv_run(loop, UV_RUN_ONCE);
  uv_close((uv_handle_t *)&timer, NULL);
  uv_run(loop, UV_RUN_NOWAIT);
  assert_int_equal(*counter, want);
}

static struct seen run(struct world *world, struct orr_file_options options) {
  struct seen seen = {0};
  orr_file_start(&world->loop, &options, on_done, &seen);
  assert_int_equal(seen.done, 0);
  run_until(&world->loop, &seen.done, 1);
  return seen;
}
static int run_error(struct world *world, struct orr_file_options options) {
  struct seen seen = run(world, options);
  orr_buf_free(&seen.data);
  orr_buf_free(&seen.entries);
  return seen.error;
}
static int put(struct world *world, const char *name, const char *text) {
  return run_error(world, (struct orr_file_options){.op = ORR_FILE_WRITE,
                                                    .path = in(world, name),
                                                    .data = orr_slice_text(text)});
}
static void assert_holds(struct world *world, const char *name, const char *text) {
  struct seen seen =
      run(world, (struct orr_file_options){.op = ORR_FILE_READ, .path = in(world, name)});
  assert_int_equal(seen.error, 0);
  assert_int_equal(seen.data.len, strlen(text));
  assert_string_equal(seen.data.len > 0 ? orr_buf_cstr(&seen.data) : "", text);
  orr_buf_free(&seen.data);
}
static void assert_listing(struct world *world, const char *name, const char *text) {
  struct seen seen =
      run(world, (struct orr_file_options){.op = ORR_FILE_LIST, .path = in(world, name)});
  assert_int_equal(seen.error, 0);
  assert_string_equal(seen.entries.len > 0 ? orr_buf_cstr(&seen.entries) : "", text);
  orr_buf_free(&seen.entries);
}

static int teardown(void **state) {
  struct world *world = *state;
  assert_int_equal(run_error(world, (struct orr_file_options){.op = ORR_FILE_REMOVE,
                                                              .path = world->folder,
                                                              .recursive = true}),
                   0);
  assert_int_equal(access(world->folder, F_OK), -1);
  assert_int_equal(uv_loop_close(&world->loop), 0);
  free(world);
  return 0;
}

static void what_was_written_is_read(void **state) {
  assert_int_equal(put(*state, "a.txt", "hello"), 0);
  assert_holds(*state, "a.txt", "hello");
  assert_int_equal(put(*state, "a.txt", ""), 0);
  assert_holds(*state, "a.txt", "");
  assert_int_equal(run_error(*state, (struct orr_file_options){.op = ORR_FILE_WRITE,
                                                               .path = in(*state, "s"),
                                                               .data = ORR_SLICE_LITERAL("synced"),
                                                               .sync = true}),
                   0);
  assert_holds(*state, "s", "synced");
}

static void files_of_proc_are_read_though_their_size_says_nothing(void **state) {
  struct seen seen =
      run(*state, (struct orr_file_options){.op = ORR_FILE_READ, .path = "/proc/self/status"});
  assert_int_equal(seen.error, 0);
  assert_true(seen.data.len > 100);
  orr_buf_free(&seen.data);
}

static void reading_stops_at_its_bound(void **state) {
  assert_int_equal(put(*state, "five", "12345"), 0);
  struct orr_file_options options = {
      .op = ORR_FILE_READ, .path = in(*state, "five"), .bytes_max = 5};
  assert_int_equal(run_error(*state, options), 0);
  options.bytes_max = 4;
  assert_int_equal(run_error(*state, options), EFBIG);
  assert_int_equal(run_error(*state, (struct orr_file_options){.op = ORR_FILE_READ,
                                                               .path = "/dev/zero",
                                                               .bytes_max = 100000}),
                   EFBIG);
}

static void reading_what_is_no_file_fails_and_never_waits(void **state) {
  assert_int_equal(
      run_error(*state, (struct orr_file_options){.op = ORR_FILE_READ, .path = in(*state, "none")}),
      ENOENT);
  assert_int_equal(
      run_error(*state, (struct orr_file_options){.op = ORR_FILE_READ, .path = in(*state, ".")}),
      EISDIR);
  assert_int_equal(mkfifo(in(*state, "fifo"), 0600), 0);
  assert_int_equal(
      run_error(*state, (struct orr_file_options){.op = ORR_FILE_READ, .path = in(*state, "fifo")}),
      EINVAL);
  assert_int_equal(put(*state, "fifo", "x"), EINVAL);
  assert_int_equal(run_error(*state, (struct orr_file_options){.op = ORR_FILE_APPEND,
                                                               .path = in(*state, "fifo")}),
                   ENXIO);
}

static void a_failed_write_leaves_the_old_file_and_nothing_else(void **state) {
  assert_int_equal(put(*state, "no-folder/x", "x"), ENOENT);
  assert_int_equal(run_error(*state, (struct orr_file_options){.op = ORR_FILE_MKDIR,
                                                               .path = in(*state, "folder")}),
                   0);
  assert_int_equal(put(*state, "folder", "x"), EISDIR);
  assert_int_equal(put(*state, "kept", "old"), 0);
  char name[300];
  memset(name, 'n', sizeof name - 1);
  name[sizeof name - 1] = '\0';
  assert_int_equal(put(*state, name, "x"),
                   ENAMETOOLONG); // at the rename, when the temporary file is there
  assert_listing(*state, ".", "folder/\nkept 3\n");
}

static void a_reader_sees_the_old_or_the_new_file_whole(void **state) {
  struct world *world = *state;
  enum { LEN = 1 << 20, WRITES = 40 };
  char *one = malloc(LEN), *two = malloc(LEN);
  memset(one, '1', LEN), memset(two, '2', LEN);
  struct seen writes[WRITES] = {0};
  assert_int_equal(run_error(world, (struct orr_file_options){.op = ORR_FILE_WRITE,
                                                              .path = in(world, "f"),
                                                              .data = orr_slice_of(one, LEN)}),
                   0);
  for (int i = 0; i < WRITES; i++) {
    struct orr_file_options write = {
        .op = ORR_FILE_WRITE, .path = in(world, "f"), .data = orr_slice_of(i % 2 ? one : two, LEN)};
    orr_file_start(&world->loop, &write, on_done, &writes[i]);
    struct seen read =
        run(world, (struct orr_file_options){.op = ORR_FILE_READ, .path = in(world, "f")});
    assert_int_equal(read.error, 0);
    assert_int_equal(read.data.len, LEN);
    for (size_t at = 1; at < LEN; at++) {
      if (read.data.data[at] != read.data.data[0]) fail_msg("torn at %zu", at);
    }
    orr_buf_free(&read.data);
  }
  for (int i = 0; i < WRITES; i++) run_until(&world->loop, &writes[i].done, 1);
  assert_listing(world, ".", "f 1048576\n");
  free(one), free(two);
}

static void a_write_keeps_the_mode_and_goes_through_links(void **state) {
  struct stat info;
  assert_int_equal(put(*state, "script", "a"), 0);
  assert_int_equal(chmod(in(*state, "script"), 0750), 0);
  assert_int_equal(symlink("script", in(*state, "link")), 0);
  assert_int_equal(put(*state, "link", "b"), 0);
  assert_holds(*state, "script", "b");
  assert_int_equal(lstat(in(*state, "link"), &info), 0);
  assert_true(S_ISLNK(info.st_mode));
  assert_int_equal(stat(in(*state, "script"), &info), 0);
  assert_int_equal(info.st_mode & 07777, 0750);
  mode_t mask = umask(0);
  umask(mask);
  assert_int_equal(put(*state, "fresh", "c"), 0);
  assert_int_equal(stat(in(*state, "fresh"), &info), 0);
  assert_int_equal(info.st_mode & 07777, 0666 & ~mask);
}

static void writing_to_a_device_does_not_replace_it(void **state) {
  assert_int_equal(run_error(*state, (struct orr_file_options){.op = ORR_FILE_WRITE,
                                                               .path = "/dev/null",
                                                               .data = ORR_SLICE_LITERAL("x")}),
                   0);
  struct stat info;
  assert_int_equal(stat("/dev/null", &info), 0);
  assert_true(S_ISCHR(info.st_mode));
  assert_int_equal(run_error(*state, (struct orr_file_options){.op = ORR_FILE_WRITE,
                                                               .path = "/dev/full",
                                                               .data = ORR_SLICE_LITERAL("x")}),
                   ENOSPC);
}

static void append_adds_to_the_end_and_creates(void **state) {
  struct orr_file_options options = {
      .op = ORR_FILE_APPEND, .path = in(*state, "log"), .data = ORR_SLICE_LITERAL("one\n")};
  assert_int_equal(run_error(*state, options), 0);
  options.data = ORR_SLICE_LITERAL("two\n");
  options.sync = true;
  assert_int_equal(run_error(*state, options), 0);
  assert_holds(*state, "log", "one\ntwo\n");
  assert_int_equal(run_error(*state, (struct orr_file_options){.op = ORR_FILE_APPEND,
                                                               .path = "/dev/full",
                                                               .data = ORR_SLICE_LITERAL("x")}),
                   ENOSPC);
}

static void stat_tells_files_folders_and_nothing_apart(void **state) {
  struct world *world = *state;
  int64_t from_ms = orr_clock_now().wall_ms - 1000;
  assert_int_equal(put(world, "f", "four"), 0);
  struct seen file =
      run(world, (struct orr_file_options){.op = ORR_FILE_STAT, .path = in(world, "f")});
  assert_true(file.exists && !file.is_dir);
  assert_int_equal(file.size, 4);
  assert_true(file.modified_ms >= from_ms && file.modified_ms <= orr_clock_now().wall_ms + 1000);
  struct seen folder =
      run(world, (struct orr_file_options){.op = ORR_FILE_STAT, .path = world->folder});
  assert_true(folder.exists && folder.is_dir);
  struct seen none =
      run(world, (struct orr_file_options){.op = ORR_FILE_STAT, .path = in(world, "none")});
  assert_int_equal(none.error, 0);
  assert_false(none.exists);
  struct seen below =
      run(world, (struct orr_file_options){.op = ORR_FILE_STAT, .path = in(world, "f/below")});
  assert_int_equal(below.error, 0);
  assert_false(below.exists);
}

static void a_list_is_sorted_and_has_no_dots(void **state) {
  const char *names[] = {"b", "a", "Z", "10", "9", ".hidden"};
  for (size_t i = 0; i < 6; i++) assert_int_equal(put(*state, names[i], names[i]), 0);
  assert_int_equal(
      run_error(*state, (struct orr_file_options){.op = ORR_FILE_MKDIR, .path = in(*state, "m")}),
      0);
  assert_int_equal(symlink("nowhere", in(*state, "dangling")), 0);
  assert_listing(*state, ".", ".hidden 7\n10 2\n9 1\nZ 1\na 1\nb 1\ndangling 0\nm/\n");
  assert_listing(*state, "m", "");
  assert_int_equal(
      run_error(*state, (struct orr_file_options){.op = ORR_FILE_LIST, .path = in(*state, "none")}),
      ENOENT);
  assert_int_equal(
      run_error(*state, (struct orr_file_options){.op = ORR_FILE_LIST, .path = in(*state, "a")}),
      ENOTDIR);
}

static void mkdir_makes_parents_and_accepts_what_is_there(void **state) {
  const char *paths[] = {"x/y/z", "x/y/z", "x//w//", "x"};
  for (size_t i = 0; i < 4; i++) {
    assert_int_equal(run_error(*state, (struct orr_file_options){.op = ORR_FILE_MKDIR,
                                                                 .path = in(*state, paths[i])}),
                     0);
  }
  assert_listing(*state, "x", "w/\ny/\n");
  assert_listing(*state, "x/y", "z/\n");
  assert_int_equal(put(*state, "file", "x"), 0);
  assert_int_equal(run_error(*state, (struct orr_file_options){.op = ORR_FILE_MKDIR,
                                                               .path = in(*state, "file")}),
                   ENOTDIR);
  assert_int_equal(run_error(*state, (struct orr_file_options){.op = ORR_FILE_MKDIR,
                                                               .path = in(*state, "file/x")}),
                   ENOTDIR);
  assert_int_equal(run_error(*state, (struct orr_file_options){.op = ORR_FILE_MKDIR, .path = ""}),
                   ENOENT);
  assert_int_equal(run_error(*state, (struct orr_file_options){.op = ORR_FILE_MKDIR, .path = "/"}),
                   0);
}

static void remove_takes_a_tree_only_when_asked_and_never_follows_links(void **state) {
  assert_int_equal(run_error(*state, (struct orr_file_options){.op = ORR_FILE_MKDIR,
                                                               .path = in(*state, "t/deep/er")}),
                   0);
  assert_int_equal(put(*state, "t/deep/file", "x"), 0);
  assert_int_equal(put(*state, "outside", "kept"), 0);
  assert_int_equal(symlink("../outside", in(*state, "t/link")), 0);
  assert_int_equal(symlink("..", in(*state, "t/up")), 0);
  struct orr_file_options options = {.op = ORR_FILE_REMOVE, .path = in(*state, "t")};
  assert_int_equal(run_error(*state, options), ENOTEMPTY);
  options.path = in(*state, "t");
  options.recursive = true;
  assert_int_equal(run_error(*state, options), 0);
  assert_listing(*state, ".", "outside 4\n");
  assert_int_equal(run_error(*state, (struct orr_file_options){.op = ORR_FILE_REMOVE,
                                                               .path = in(*state, "outside")}),
                   0);
  assert_int_equal(run_error(*state, (struct orr_file_options){.op = ORR_FILE_REMOVE,
                                                               .path = in(*state, "outside")}),
                   ENOENT);
}

static void rename_moves_and_replaces(void **state) {
  assert_int_equal(put(*state, "a", "new"), 0);
  assert_int_equal(put(*state, "b", "old"), 0);
  struct orr_file_options options = {
      .op = ORR_FILE_RENAME, .path = in(*state, "a"), .to = in(*state, "b")};
  assert_int_equal(run_error(*state, options), 0);
  assert_listing(*state, ".", "b 3\n");
  assert_holds(*state, "b", "new");
  options.path = in(*state, "a"), options.to = in(*state, "c");
  assert_int_equal(run_error(*state, options), ENOENT);
}

static void copy_gives_the_same_bytes_and_mode(void **state) {
  struct stat info;
  assert_int_equal(put(*state, "a", "some bytes"), 0);
  assert_int_equal(chmod(in(*state, "a"), 0700), 0);
  assert_int_equal(run_error(*state, (struct orr_file_options){.op = ORR_FILE_COPY,
                                                               .path = in(*state, "a"),
                                                               .to = in(*state, "b"),
                                                               .sync = true}),
                   0);
  assert_holds(*state, "b", "some bytes");
  assert_int_equal(stat(in(*state, "b"), &info), 0);
  assert_int_equal(info.st_mode & 0777, 0700);
  assert_int_equal(run_error(*state, (struct orr_file_options){.op = ORR_FILE_COPY,
                                                               .path = "/proc/self/status",
                                                               .to = in(*state, "p")}),
                   0);
  assert_int_equal(stat(in(*state, "p"), &info), 0);
  assert_true(info.st_size > 100);
  assert_int_equal(run_error(*state, (struct orr_file_options){.op = ORR_FILE_COPY,
                                                               .path = in(*state, "none"),
                                                               .to = in(*state, "c")}),
                   ENOENT);
  assert_int_equal(run_error(*state, (struct orr_file_options){.op = ORR_FILE_COPY,
                                                               .path = "/dev/zero",
                                                               .to = in(*state, "c")}),
                   EINVAL);
  assert_int_equal(access(in(*state, "c"), F_OK), -1);
}

static void a_temporary_folder_is_new_and_ones_own(void **state) {
  struct world *world = *state;
  struct orr_file_options options = {.op = ORR_FILE_TEMP_DIR, .path = world->folder};
  struct seen one = run(world, options), two = run(world, options);
  struct stat info;
  assert_int_equal(stat(orr_buf_cstr(&one.data), &info), 0);
  assert_int_equal(info.st_mode, S_IFDIR | 0700);
  assert_string_not_equal(orr_buf_cstr(&one.data), orr_buf_cstr(&two.data));
  assert_int_equal(strncmp(orr_buf_cstr(&one.data), world->folder, strlen(world->folder)), 0);
  struct seen own = run(world, (struct orr_file_options){.op = ORR_FILE_TEMP_DIR});
  assert_int_equal(rmdir(orr_buf_cstr(&own.data)), 0);
  options.path = in(world, "none");
  assert_int_equal(run_error(world, options), ENOENT);
  orr_buf_free(&one.data), orr_buf_free(&two.data), orr_buf_free(&own.data);
}

// Keeps the pool's threads busy until released.
static atomic_bool released;
static void block(uv_work_t *work) {
  (void)work;
  while (!atomic_load(&released)) usleep(200);
}
static void unblocked(uv_work_t *work, int status) { (void)work, (void)status; }

static void a_cancelled_job_never_calls_back_and_an_unbegun_one_never_happens(void **state) {
  struct world *world = *state;
  enum { THREADS = 4 };
  uv_work_t blockers[THREADS];
  struct seen seen = {0}, running = {0};
  atomic_store(&released, false);
  for (int i = 0; i < THREADS; i++) uv_queue_work(&world->loop, &blockers[i], block, unblocked);
  struct orr_file_options options = {
      .op = ORR_FILE_WRITE, .path = in(world, "never"), .data = ORR_SLICE_LITERAL("x")};
  orr_file_cancel(orr_file_start(&world->loop, &options, on_done, &seen));
  atomic_store(&released, true);
  uv_run(&world->loop, UV_RUN_DEFAULT);
  assert_int_equal(seen.done, 0);
  assert_int_equal(access(in(world, "never"), F_OK), -1);
  options.path = in(world, "perhaps"); // begun or not: no call
  struct orr_file_job *job = orr_file_start(&world->loop, &options, on_done, &running);
  uint64_t deadline_us = orr_clock_mono_us() + DEADLINE_MS * 1000u;
  while (access(in(world, "perhaps"), F_OK) != 0 && orr_clock_mono_us() < deadline_us) usleep(200);
  orr_file_cancel(job); // the loop has not run: the result is waiting for it
  uv_run(&world->loop, UV_RUN_DEFAULT);
  assert_int_equal(running.done, 0);
}

int main(void) {
  setenv("UV_THREADPOOL_SIZE", "4", 1); // what the cancel test blocks
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
  const struct CMUnitTest tests[] = {
      TEST(what_was_written_is_read),
      TEST(files_of_proc_are_read_though_their_size_says_nothing),
      TEST(reading_stops_at_its_bound),
      TEST(reading_what_is_no_file_fails_and_never_waits),
      TEST(a_failed_write_leaves_the_old_file_and_nothing_else),
      TEST(a_reader_sees_the_old_or_the_new_file_whole),
      TEST(a_write_keeps_the_mode_and_goes_through_links),
      TEST(writing_to_a_device_does_not_replace_it),
      TEST(append_adds_to_the_end_and_creates),
      TEST(stat_tells_files_folders_and_nothing_apart),
      TEST(a_list_is_sorted_and_has_no_dots),
      TEST(mkdir_makes_parents_and_accepts_what_is_there),
      TEST(remove_takes_a_tree_only_when_asked_and_never_follows_links),
      TEST(rename_moves_and_replaces),
      TEST(copy_gives_the_same_bytes_and_mode),
      TEST(a_temporary_folder_is_new_and_ones_own),
      TEST(a_cancelled_job_never_calls_back_and_an_unbegun_one_never_happens),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
