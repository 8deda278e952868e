// SPDX-License-Identifier: MIT
// The spawn helper and its channels against real children: results, streams, bounds, kills, and
// that nothing outlives the engine. `test_process bench` prints processes per second beside a bare
// posix_spawn loop.
#include "base/check.h"
#include "base/clock.h"
#include "base/limits.h"
#include "io/process.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define DEADLINE_MS 20000u

struct world {
  struct orr_spawner *spawner;
  struct orr_process_channel *channel;
  uv_loop_t loop;
};

static int world_open(void **state, uint32_t children_max) {
  struct world *world = orr_alloc(sizeof *world);
  assert_int_equal(orr_spawner_start(1, NULL, &world->spawner), ORR_OK);
  uv_loop_init(&world->loop);
  world->channel = orr_process_channel_open(world->spawner, 0, &world->loop, children_max);
  *state = world;
  return 0;
}
static int setup(void **state) { return world_open(state, 8); }
static int setup_narrow(void **state) { return world_open(state, 2); }
static int setup_single(void **state) { return world_open(state, 1); }

static int teardown(void **state) {
  struct world *world = *state;
  orr_process_channel_close(world->channel);
  orr_spawner_unwatch(world->spawner);
  uv_run(&world->loop, UV_RUN_DEFAULT);
  assert_int_equal(uv_loop_close(&world->loop), 0);
  orr_spawner_stop(world->spawner);
  free(world);
  return 0;
}

struct seen { // what came of one process
  int done;
  struct orr_process_result result;
  struct orr_buf lines; // "o:text\n" and "e:text\n"
  size_t longest;
  int order; // given by a counter
  uint32_t running_at_done;
  struct orr_process_channel *channel;
};
static int order_next;

static void on_done(void *context, struct orr_process_result *result) {
  struct seen *seen = context;
  seen->done++;
  seen->result = *result;
  result->out = result->err = ORR_BUF_INIT;
  seen->order = ++order_next;
  if (seen->channel != NULL) seen->running_at_done = orr_process_running(seen->channel);
}
static void on_line(void *context, bool is_stderr, struct orr_slice text) {
  struct seen *seen = context;
  orr_buf_text(&seen->lines, is_stderr ? "e:" : "o:");
  orr_buf_slice_append(&seen->lines, text);
  orr_buf_u8(&seen->lines, '\n');
  if (text.len > seen->longest) seen->longest = text.len;
}
static void seen_free(struct seen *seen) {
  orr_buf_free(&seen->result.out);
  orr_buf_free(&seen->result.err);
  orr_buf_free(&seen->lines);
}

static void tick(uv_timer_t *timer) { (void)timer; }

// Runs the loop until *counter reaches `want`; a timer keeps it turning so that the deadline is
// seen.
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

static struct orr_process *start_shell(struct world *world, const char *script, struct seen *seen) {
  const char *argv[] = {"sh", "-c", script, NULL};
  struct orr_process_options options = {.argv = argv, .keep_output = true, .line = on_line};
  seen->channel = world->channel;
  return orr_process_start(world->channel, &options, on_done, seen);
}
static void run_options(struct world *world, const struct orr_process_options *options,
                        struct seen *seen) {
  orr_process_start(world->channel, options, on_done, seen);
  assert_int_equal(seen->done, 0); // never from inside the call
  run_until(&world->loop, &seen->done, 1);
}
static void run_shell(struct world *world, const char *script, struct seen *seen) {
  start_shell(world, script, seen);
  run_until(&world->loop, &seen->done, 1);
}

static void assert_text(struct orr_buf *buf, const char *text) {
  assert_string_equal(buf->len > 0 ? orr_buf_cstr(buf) : "", text);
}

// --- results -------------------------------------------------------------------------------------

static void a_child_gives_its_output_and_exit_code(void **state) {
  struct seen seen = {0};
  run_shell(*state, "echo out; echo err >&2; exit 7", &seen);
  assert_int_equal(seen.result.status, ORR_OK);
  assert_int_equal(seen.result.exit_code, 7);
  assert_int_equal(seen.result.signal, 0);
  assert_false(seen.result.truncated);
  assert_text(&seen.result.out, "out\n");
  assert_text(&seen.result.err, "err\n");
  assert_text(&seen.lines, "e:err\n");
  seen_free(&seen);
}

static void a_child_ended_by_a_signal_says_which(void **state) {
  struct seen seen = {0};
  run_shell(*state, "kill -SEGV $$", &seen);
  assert_int_equal(seen.result.status, ORR_OK);
  assert_int_equal(seen.result.exit_code, -1);
  assert_int_equal(seen.result.signal, SIGSEGV);
  seen_free(&seen);
}

static void a_missing_program_is_reported_with_its_errno(void **state) {
  const char *argv[] = {"orrery-no-such-program", NULL};
  struct seen seen = {0};
  run_options(*state, &(struct orr_process_options){.argv = argv, .keep_output = true}, &seen);
  assert_int_equal(seen.result.status, ORR_ERR_IO);
  assert_int_equal(seen.result.error_number, ENOENT);
  assert_string_equal(seen.result.error_at, "exec");
  seen_free(&seen);
}

static void a_file_that_may_not_run_is_reported_as_forbidden(void **state) {
  const char *argv[] = {"/etc/passwd", NULL};
  struct seen seen = {0};
  run_options(*state, &(struct orr_process_options){.argv = argv}, &seen);
  assert_int_equal(seen.result.status, ORR_ERR_IO);
  assert_int_equal(seen.result.error_number, EACCES);
}

static void a_missing_working_directory_is_told_from_a_missing_program(void **state) {
  const char *argv[] = {"true", NULL};
  struct seen seen = {0};
  run_options(*state, &(struct orr_process_options){.argv = argv, .cwd = "/no/such/folder"}, &seen);
  assert_int_equal(seen.result.error_number, ENOENT);
  assert_string_equal(seen.result.error_at, "cwd");
}

static void a_child_sees_the_given_environment_and_folder_and_nothing_else(void **state) {
  const char *argv[] = {"/bin/sh", "-c",
                        "pwd; env | grep -v -e ^_= -e ^PWD= -e ^OLDPWD= -e ^SHLVL= | sort", NULL};
  const char *env[] = {"PATH=/usr/bin:/bin", "COLOUR=blue and grey", NULL};
  struct seen seen = {0};
  run_options(*state,
              &(struct orr_process_options){
                  .argv = argv, .env = env, .cwd = "/usr/lib", .keep_output = true},
              &seen);
  assert_text(&seen.result.out, "/usr/lib\nCOLOUR=blue and grey\nPATH=/usr/bin:/bin\n");
  seen_free(&seen);
}

static void a_program_is_looked_up_in_the_childs_own_path(void **state) {
  char folder[] = "/tmp/orrery-path-XXXXXX", file[64], path[64];
  assert_non_null(mkdtemp(folder));
  snprintf(file, sizeof file, "%s/orrery-here", folder);
  snprintf(path, sizeof path, "PATH=/nowhere:%s", folder);
  FILE *script = fopen(file, "w");
  fputs("#!/bin/sh\necho found\n", script);
  fclose(script);
  chmod(file, 0755);
  const char *argv[] = {"orrery-here", NULL}, *env[] = {path, NULL};
  struct seen seen = {0};
  run_options(*state, &(struct orr_process_options){.argv = argv, .env = env, .keep_output = true},
              &seen);
  assert_int_equal(seen.result.status, ORR_OK);
  assert_text(&seen.result.out, "found\n");
  seen_free(&seen);
  unlink(file);
  rmdir(folder);
}

static void an_empty_program_name_is_an_error_of_the_start(void **state) {
  const char *argv[] = {"", NULL}, *none[] = {NULL};
  struct seen empty = {0}, missing = {0};
  run_options(*state, &(struct orr_process_options){.argv = argv}, &empty);
  assert_int_equal(empty.result.error_number, ENOENT);
  run_options(*state, &(struct orr_process_options){.argv = none}, &missing);
  assert_int_equal(missing.result.error_number, EINVAL);
}

static void arguments_too_big_for_a_packet_still_arrive(void **state) {
  enum { COUNT = 60, LEN = 20000 };
  const char *argv[COUNT + 5] = {"sh", "-c", "cat /proc/$$/cmdline | wc -c; echo $#", "name"};
  char *text = malloc(LEN + 1);
  memset(text, 'x', LEN);
  text[LEN] = '\0';
  for (int i = 0; i < COUNT; i++) argv[4 + i] = text;
  struct seen seen = {0};
  run_options(*state, &(struct orr_process_options){.argv = argv, .keep_output = true}, &seen);
  char want[64];
  snprintf(want, sizeof want, "%zu\n%d\n",
           strlen(argv[0]) + strlen(argv[1]) + strlen(argv[2]) + 4 + 4 + COUNT * (LEN + 1), COUNT);
  assert_text(&seen.result.out, want);
  seen_free(&seen);
  free(text);
}

static void arguments_beyond_the_kernels_bound_fail_cleanly(void **state) {
  char *text = malloc(17 * ORR_MIB + 1);
  memset(text, 'x', 17 * ORR_MIB);
  text[17 * ORR_MIB] = '\0';
  const char *argv[] = {"true", text, NULL};
  struct seen over_ours = {0}, over_kernels = {0};
  run_options(*state, &(struct orr_process_options){.argv = argv}, &over_ours);
  assert_int_equal(over_ours.result.error_number, E2BIG);
  text[8 * ORR_MIB] = '\0';
  run_options(*state, &(struct orr_process_options){.argv = argv}, &over_kernels);
  assert_int_equal(over_kernels.result.error_number, E2BIG);
  assert_string_equal(over_kernels.result.error_at, "exec");
  free(text);
}

static void a_child_inherits_no_descriptor_signal_or_group(void **state) {
  int leak = open("/etc/passwd", O_RDONLY); // not close-on-exec, opened after the fork
  struct seen seen = {0};
  run_shell(
      *state,
      "ls /proc/self/fd | wc -l; grep -E 'Sig(Blk|Ign)' /proc/self/status | tr -s '\\n\\t' ' ';"
      " test $(ps -o sid= -p $$) = $$ && echo leader",
      &seen);
  assert_text(&seen.result.out, "4\nSigBlk: 0000000000000000 SigIgn: 0000000000000000 leader\n");
  close(leak);
  seen_free(&seen);
}

// --- streams -------------------------------------------------------------------------------------

static void input_is_written_to_stdin_and_closed(void **state) {
  const char *argv[] = {"cat", NULL};
  struct orr_buf input = ORR_BUF_INIT;
  for (int i = 0; i < 200000; i++) orr_buf_printf(&input, "%d\n", i); // more than a pipe holds
  struct seen seen = {0};
  run_options(*state,
              &(struct orr_process_options){
                  .argv = argv, .input = orr_buf_slice(&input), .keep_output = true},
              &seen);
  assert_true(orr_slice_equal(orr_buf_slice(&seen.result.out), orr_buf_slice(&input)));
  orr_buf_free(&input);
  seen_free(&seen);
}

static void a_child_that_ignores_its_input_is_no_error(void **state) {
  const char *argv[] = {"true", NULL};
  struct orr_buf input = ORR_BUF_INIT;
  orr_buf_reserve(&input, ORR_MIB);
  input.len = ORR_MIB;
  memset(input.data, 'y', input.len);
  struct seen seen = {0};
  run_options(*state, &(struct orr_process_options){.argv = argv, .input = orr_buf_slice(&input)},
              &seen);
  assert_int_equal(seen.result.status, ORR_OK);
  assert_int_equal(seen.result.exit_code, 0);
  orr_buf_free(&input);
}

static void without_input_stdin_is_empty(void **state) {
  struct seen seen = {0};
  run_shell(*state, "cat; readlink /proc/self/fd/0", &seen);
  assert_text(&seen.result.out, "/dev/null\n");
  seen_free(&seen);
}

static void output_over_its_bound_is_dropped_and_flagged(void **state) {
  const char *argv[] = {"sh", "-c", "head -c 3000000 /dev/zero; echo end >&2", NULL};
  struct seen seen = {0};
  run_options(
      *state,
      &(struct orr_process_options){.argv = argv, .keep_output = true, .output_bytes_max = 100000},
      &seen);
  assert_int_equal(seen.result.exit_code, 0);
  assert_true(seen.result.truncated);
  assert_int_equal(seen.result.out.len, 100000);
  assert_text(&seen.result.err, "end\n");
  seen_free(&seen);
}

static void only_the_tail_of_stderr_is_kept(void **state) {
  struct seen seen = {0};
  run_shell(*state, "seq 1 20000 >&2", &seen);
  assert_int_equal(seen.result.err.len, 8192);
  assert_memory_equal(seen.result.err.data + 8192 - 6, "20000\n", 6);
  assert_false(seen.result.truncated);
  seen_free(&seen);
}

static void lines_come_whole_and_the_last_without_its_newline(void **state) {
  const char *argv[] = {"sh", "-c", "printf 'one\\ntw'; printf 'bad' >&2; printf 'o\\n\\nend'",
                        NULL};
  struct seen seen = {0};
  run_options(*state,
              &(struct orr_process_options){.argv = argv, .line = on_line, .lines_of_stdout = true},
              &seen);
  orr_buf_u8(&seen.lines, '\0');
  const char *lines = (const char *)seen.lines.data;
  const char *want[] = {"o:one\n", "o:two\n", "o:\n", "o:end\n"},
             *at = lines; // stderr may come in between
  for (int i = 0; i < 4; i++) assert_non_null(at = strstr(at, want[i]));
  assert_non_null(strstr(lines, "e:bad\n"));
  assert_int_equal(seen.result.out.len, 0); // not asked for
  seen_free(&seen);
}

static void a_long_line_comes_in_pieces_of_the_bound(void **state) {
  const char *argv[] = {"sh", "-c", "head -c 200000 /dev/zero | tr '\\0' 'z'; echo; echo short",
                        NULL};
  struct seen seen = {0};
  run_options(*state,
              &(struct orr_process_options){.argv = argv, .line = on_line, .lines_of_stdout = true},
              &seen);
  assert_int_equal(seen.longest, ORR_LOG_LINE_BYTES_MAX);
  assert_int_equal(seen.lines.len, 200000 + 4 * 3 + 8); // four pieces, and "o:short\n"
  assert_memory_equal(seen.lines.data + seen.lines.len - 8, "o:short\n", 8);
  seen_free(&seen);
}

static void a_grandchild_that_keeps_the_pipe_does_not_hold_up_the_end(void **state) {
  struct seen seen = {0};
  run_shell(*state, "sleep 1000 & echo $!", &seen);
  assert_int_equal(seen.result.exit_code, 0);
  assert_true(seen.result.truncated);
  pid_t left = (pid_t)atoi(orr_buf_cstr(&seen.result.out));
  assert_true(left > 1);
  uint64_t deadline_us = orr_clock_mono_us() + DEADLINE_MS * 1000u;
  while (kill(left, 0) == 0 && orr_clock_mono_us() < deadline_us) usleep(1000);
  assert_int_equal(kill(left, 0), -1); // and it is killed
  seen_free(&seen);
}

// --- kills and the queue -------------------------------------------------------------------------

static void kill_ends_the_whole_group(void **state) {
  struct world *world = *state;
  struct seen seen = {0};
  const char *argv[] = {"sh", "-c", "sleep 1000 & echo $!; wait", NULL};
  struct orr_process_options options = {
      .argv = argv, .keep_output = true, .line = on_line, .lines_of_stdout = true};
  struct orr_process *process = orr_process_start(world->channel, &options, on_done, &seen);
  while (seen.lines.len == 0) uv_run(&world->loop, UV_RUN_ONCE);
  orr_process_kill(process, 5000);
  run_until(&world->loop, &seen.done, 1);
  assert_int_equal(seen.result.signal, SIGTERM);
  pid_t left = (pid_t)atoi(orr_buf_cstr(&seen.result.out));
  uint64_t deadline_us = orr_clock_mono_us() + DEADLINE_MS * 1000u;
  while (kill(left, 0) == 0 && orr_clock_mono_us() < deadline_us) usleep(1000);
  assert_int_equal(kill(left, 0), -1);
  seen_free(&seen);
}

static void a_child_deaf_to_term_is_killed_after_the_grace_time(void **state) {
  struct world *world = *state;
  struct seen seen = {0};
  struct orr_process *process =
      start_shell(world, "trap '' TERM; echo ready >&2; while :; do sleep 1; done", &seen);
  while (seen.lines.len == 0) uv_run(&world->loop, UV_RUN_ONCE);
  uint64_t from_us = orr_clock_mono_us();
  orr_process_kill(process, 100);
  run_until(&world->loop, &seen.done, 1);
  assert_int_equal(seen.result.signal, SIGKILL);
  assert_true(orr_clock_mono_us() - from_us >= 100 * 1000);
  seen_free(&seen);
}

static void kill_without_grace_is_immediate_and_may_come_twice(void **state) {
  struct world *world = *state;
  struct seen seen = {0};
  struct orr_process *process = start_shell(world, "trap '' TERM; sleep 1000", &seen);
  orr_process_kill(process, 1000000);
  orr_process_kill(process, 0);
  orr_process_kill(process, 0);
  run_until(&world->loop, &seen.done, 1);
  assert_true(seen.result.signal == SIGKILL || seen.result.signal == SIGTERM);
  seen_free(&seen);
}

static void starts_beyond_the_bound_wait_in_order(void **state) {
  struct world *world = *state; // one at a time
  struct seen seen[10] = {0};
  int *last = &seen[9].done;
  order_next = 0;
  for (int i = 0; i < 10; i++) start_shell(world, "exit 0", &seen[i]);
  assert_int_equal(orr_process_running(world->channel), 1);
  run_until(&world->loop, last, 1);
  for (int i = 0; i < 10; i++) run_until(&world->loop, &seen[i].done, 1);
  for (int i = 0; i < 10; i++) {
    assert_true(seen[i].running_at_done <= 1);
    assert_int_equal(seen[i].order, i + 1);
    seen_free(&seen[i]);
  }
}

static void killing_a_queued_start_cancels_it(void **state) {
  struct world *world = *state; // two at once
  struct seen seen[3] = {0};
  struct orr_process *running[2];
  for (int i = 0; i < 2; i++) running[i] = start_shell(world, "sleep 1000", &seen[i]);
  struct orr_process *queued = start_shell(world, "touch /tmp/orrery-never-started", &seen[2]);
  orr_process_kill(queued, 1000);
  assert_int_equal(seen[2].done, 0);
  run_until(&world->loop, &seen[2].done, 1);
  assert_int_equal(seen[2].result.status, ORR_ERR_CANCELLED);
  assert_int_equal(access("/tmp/orrery-never-started", F_OK), -1);
  for (int i = 0; i < 2; i++) orr_process_kill(running[i], 0);
  for (int i = 0; i < 2; i++) run_until(&world->loop, &seen[i].done, 1);
}

struct chain {
  struct world *world;
  int left, done;
};
static void chain_done(void *context, struct orr_process_result *result) {
  struct chain *chain = context;
  assert_int_equal(result->status, ORR_OK);
  chain->done++;
  if (chain->left-- <= 0) return;
  const char *argv[] = {"/bin/true", NULL};
  orr_process_start(chain->world->channel,
                    &(struct orr_process_options){.argv = argv, .keep_output = true}, chain_done,
                    chain);
}

static void a_done_callback_may_start_the_next(void **state) {
  struct chain chain = {*state, 200, -1};
  for (int i = 0; i < 4; i++) chain_done(&chain, &(struct orr_process_result){0});
  chain.done = 0;
  run_until(&chain.world->loop, &chain.done, 200);
}

// --- life and death ------------------------------------------------------------------------------

static void on_died(void *context) { ++*(int *)context; }

static void the_helpers_death_is_noticed_and_ends_its_children(void **state) {
  struct world *world = *state;
  int died = 0;
  struct seen running = {0}, late = {0};
  orr_spawner_watch(world->spawner, &world->loop, on_died, &died);
  const char *argv[] = {"sh", "-c", "echo $$; exec sleep 1000", NULL};
  struct orr_process_options options = {.argv = argv, .line = on_line, .lines_of_stdout = true};
  orr_process_start(world->channel, &options, on_done, &running);
  while (running.lines.len == 0) uv_run(&world->loop, UV_RUN_ONCE);
  pid_t child = (pid_t)atoi(orr_buf_cstr(&running.lines) + 2);
  kill((pid_t)orr_spawner_pid(world->spawner), SIGKILL);
  run_until(&world->loop, &died, 1);
  run_until(&world->loop, &running.done, 1);
  assert_int_equal(running.result.status, ORR_ERR_UNAVAILABLE);
  start_shell(world, "true", &late);
  run_until(&world->loop, &late.done, 1);
  assert_int_equal(late.result.status, ORR_ERR_UNAVAILABLE);
  uint64_t deadline_us = orr_clock_mono_us() + DEADLINE_MS * 1000u;
  while (kill(child, 0) == 0 && orr_clock_mono_us() < deadline_us) usleep(1000);
  assert_int_equal(kill(child, 0), -1);
  seen_free(&running);
}

static bool lock_is_free(const char *path) {
  int fd = open(path, O_RDWR | O_CLOEXEC);
  bool is_free = fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) == 0;
  if (fd >= 0) close(fd);
  return is_free;
}

// An engine of its own in a fork: starts a child that hides from its group, says both pids, and
// waits.
static void doomed_engine(const char *lock_path, int say_fd) {
  struct world world;
  struct seen seen = {0};
  if (orr_spawner_start(1, lock_path, &world.spawner) != ORR_OK) _exit(9);
  uv_loop_init(&world.loop);
  world.channel = orr_process_channel_open(world.spawner, 0, &world.loop, 8);
  const char *argv[] = {
      "sh", "-c",
      "setsid sleep 1000 & echo $! >&2; echo $$ >&2; trap '' TERM; while :; do sleep 1; done",
      NULL};
  orr_process_start(world.channel, &(struct orr_process_options){.argv = argv, .line = on_line},
                    on_done, &seen);
  int lines = 0;
  while (lines < 2) {
    uv_run(&world.loop, UV_RUN_ONCE);
    lines = 0;
    for (size_t i = 0; i < seen.lines.len; i++) lines += seen.lines.data[i] == '\n';
  }
  if (write(say_fd, seen.lines.data, seen.lines.len) < 0) _exit(8);
  for (;;) pause();
}

static void after_kill_9_of_the_engine_its_children_are_gone_before_the_lock_is_free(void **state) {
  (void)state;
  char lock_path[] = "/tmp/orrery-children-XXXXXX", text[256] = {0};
  close(mkstemp(lock_path));
  int say[2];
  assert_int_equal(pipe2(say, O_CLOEXEC), 0);
  pid_t engine = fork();
  if (engine == 0) doomed_engine(lock_path, say[1]);
  close(say[1]);
  assert_true(read(say[0], text, sizeof text - 1) > 0);
  pid_t hidden = (pid_t)atoi(text + 2), child = (pid_t)atoi(strchr(text, '\n') + 3);
  assert_true(hidden > 1 && child > 1 && hidden != child);
  assert_false(lock_is_free(lock_path));
  kill(engine, SIGKILL);
  waitpid(engine, NULL, 0);
  struct orr_spawner *next; // waits for the lock
  assert_int_equal(orr_spawner_start(0, lock_path, &next), ORR_OK);
  assert_int_equal(kill(child, 0), -1);
  assert_int_equal(kill(hidden, 0), -1);
  assert_false(lock_is_free(lock_path));
  orr_spawner_stop(next);
  assert_true(lock_is_free(lock_path));
  close(say[0]);
  unlink(lock_path);
}

static void a_lock_that_another_holds_is_busy_and_a_bad_path_an_error(void **state) {
  (void)state;
  char lock_path[] = "/tmp/orrery-children-XXXXXX";
  close(mkstemp(lock_path));
  struct orr_spawner *one, *two;
  assert_int_equal(orr_spawner_start(1, lock_path, &one), ORR_OK);
  assert_int_equal(orr_spawner_start(1, lock_path, &two), ORR_ERR_BUSY);
  orr_spawner_stop(one);
  assert_int_equal(orr_spawner_start(1, "/no/such/folder/lock", &two), ORR_ERR_IO);
  unlink(lock_path);
}

static int open_fds(void) {
  int count = 0;
  DIR *folder = opendir("/proc/self/fd");
  while (readdir(folder) != NULL) count++;
  closedir(folder);
  return count;
}

static void no_descriptor_is_left_after_many_starts(void **state) {
  struct world *world = *state;
  struct seen first = {0};
  run_shell(world, "true", &first);
  int before = open_fds();
  for (int i = 0; i < 50; i++) {
    struct seen ok = {0}, bad = {0};
    const char *argv[] = {"/no/such", NULL};
    run_shell(world, "echo x; exit 3", &ok);
    run_options(world,
                &(struct orr_process_options){
                    .argv = argv, .input = ORR_SLICE_LITERAL("text"), .keep_output = true},
                &bad);
    seen_free(&ok);
    seen_free(&bad);
  }
  assert_int_equal(open_fds(), before);
  seen_free(&first);
}

// --- threads -------------------------------------------------------------------------------------

struct worker {
  struct orr_spawner *spawner;
  uint32_t index;
  uv_loop_t loop; // closed by main: libuv closes descriptors behind TSan's back, who then sees
                  // races in their reuse
  int done, bad;
};
static void worker_done(void *context, struct orr_process_result *result) {
  struct worker *worker = context;
  worker->done++;
  if (result->status != ORR_OK || result->exit_code != 0 || result->out.len != 5) worker->bad++;
}
static void *worker_main(void *argument) {
  struct worker *worker = argument;
  uv_loop_init(&worker->loop);
  struct orr_process_channel *channel =
      orr_process_channel_open(worker->spawner, worker->index, &worker->loop, 4);
  const char *argv[] = {"echo", "four", NULL};
  for (int i = 0; i < 50; i++) {
    orr_process_start(channel, &(struct orr_process_options){.argv = argv, .keep_output = true},
                      worker_done, worker);
  }
  uv_run(&worker->loop, UV_RUN_DEFAULT); // ends when no child is left
  orr_process_channel_close(channel);
  uv_run(&worker->loop, UV_RUN_DEFAULT);
  return NULL;
}

static void workers_use_their_channels_side_by_side(void **state) {
  (void)state;
  enum { WORKERS = 3 };
  struct worker workers[WORKERS];
  pthread_t threads[WORKERS];
  struct orr_spawner *spawner;
  assert_int_equal(orr_spawner_start(WORKERS, NULL, &spawner), ORR_OK);
  for (uint32_t i = 0; i < WORKERS; i++) {
    workers[i] = (struct worker){.spawner = spawner, .index = i};
    pthread_create(&threads[i], NULL, worker_main, &workers[i]);
  }
  for (int i = 0; i < WORKERS; i++) { pthread_join(threads[i], NULL); }
  for (int i = 0; i < WORKERS; i++) {
    assert_int_equal(uv_loop_close(&workers[i].loop), 0);
    assert_int_equal(workers[i].done, 50);
    assert_int_equal(workers[i].bad, 0);
  }
  orr_spawner_stop(spawner);
}

// --- bench ---------------------------------------------------------------------------------------

#define BENCH_COUNT 2000
extern char **environ;

static double bench_bare(void) {
  char *argv[] = {"/bin/true", NULL};
  uint64_t from_us = orr_clock_mono_us();
  int started = 0, flying = 0;
  while (started < BENCH_COUNT || flying > 0) {
    pid_t pid;
    while (flying < 8 && started < BENCH_COUNT) {
      orr_assert(posix_spawn(&pid, argv[0], NULL, NULL, argv, environ) == 0);
      started++, flying++;
    }
    if (waitpid(-1, NULL, 0) > 0) flying--;
  }
  return BENCH_COUNT * 1e6 / (double)(orr_clock_mono_us() - from_us);
}

static void bench_done(void *context, struct orr_process_result *result) {
  orr_assert(result->status == ORR_OK && result->exit_code == 0);
  ++*(int *)context;
}
static double bench_channel(struct world *world, bool keep_output) {
  const char *argv[] = {"/bin/true", NULL};
  struct orr_process_options options = {.argv = argv, .keep_output = keep_output};
  int done = 0;
  uint64_t from_us = orr_clock_mono_us();
  for (int i = 0; i < BENCH_COUNT; i++)
    orr_process_start(world->channel, &options, bench_done, &done);
  uv_run(&world->loop, UV_RUN_DEFAULT);
  orr_assert(done == BENCH_COUNT);
  return BENCH_COUNT * 1e6 / (double)(orr_clock_mono_us() - from_us);
}
static int bench(void) {
  void *state;
  setup(&state);
  for (int i = 0; i < 5; i++) {
    double bare = bench_bare(), pipes = bench_channel(state, true),
           none = bench_channel(state, false);
    printf("posix_spawn %.0f/s, channel %.0f/s (%.2f), without pipes %.0f/s (%.2f)\n", bare, pipes,
           pipes / bare, none, none / bare);
  }
  return teardown(&state);
}

int main(int argc, char **argv) {
  if (argc > 1 && strcmp(argv[1], "bench") == 0) return bench();
#define WITH_WORLD(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
#define WITH_NARROW_WORLD(name) cmocka_unit_test_setup_teardown(name, setup_narrow, teardown)
  const struct CMUnitTest tests[] = {
      WITH_WORLD(a_child_gives_its_output_and_exit_code),
      WITH_WORLD(a_child_ended_by_a_signal_says_which),
      WITH_WORLD(a_missing_program_is_reported_with_its_errno),
      WITH_WORLD(a_file_that_may_not_run_is_reported_as_forbidden),
      WITH_WORLD(a_missing_working_directory_is_told_from_a_missing_program),
      WITH_WORLD(a_child_sees_the_given_environment_and_folder_and_nothing_else),
      WITH_WORLD(a_program_is_looked_up_in_the_childs_own_path),
      WITH_WORLD(an_empty_program_name_is_an_error_of_the_start),
      WITH_WORLD(arguments_too_big_for_a_packet_still_arrive),
      WITH_WORLD(arguments_beyond_the_kernels_bound_fail_cleanly),
      WITH_WORLD(a_child_inherits_no_descriptor_signal_or_group),
      WITH_WORLD(input_is_written_to_stdin_and_closed),
      WITH_WORLD(a_child_that_ignores_its_input_is_no_error),
      WITH_WORLD(without_input_stdin_is_empty),
      WITH_WORLD(output_over_its_bound_is_dropped_and_flagged),
      WITH_WORLD(only_the_tail_of_stderr_is_kept),
      WITH_WORLD(lines_come_whole_and_the_last_without_its_newline),
      WITH_WORLD(a_long_line_comes_in_pieces_of_the_bound),
      WITH_WORLD(a_grandchild_that_keeps_the_pipe_does_not_hold_up_the_end),
      WITH_WORLD(kill_ends_the_whole_group),
      WITH_WORLD(a_child_deaf_to_term_is_killed_after_the_grace_time),
      WITH_WORLD(kill_without_grace_is_immediate_and_may_come_twice),
      cmocka_unit_test_setup_teardown(starts_beyond_the_bound_wait_in_order, setup_single,
                                      teardown),
      WITH_NARROW_WORLD(killing_a_queued_start_cancels_it),
      WITH_WORLD(a_done_callback_may_start_the_next),
      WITH_WORLD(the_helpers_death_is_noticed_and_ends_its_children),
      cmocka_unit_test(after_kill_9_of_the_engine_its_children_are_gone_before_the_lock_is_free),
      cmocka_unit_test(a_lock_that_another_holds_is_busy_and_a_bad_path_an_error),
      WITH_WORLD(no_descriptor_is_left_after_many_starts),
      cmocka_unit_test(workers_use_their_channels_side_by_side),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
