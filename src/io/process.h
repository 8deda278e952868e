// SPDX-License-Identifier: MIT
// Child processes, started by a small single-threaded helper process that was forked before the first
// thread: starting one costs neither a copy of a large address space nor a stall of a loop, and inherits no
// descriptor. The worker makes the pipes and passes their ends to the helper, so output never crosses it.
// Each child leads a process group of its own and dies with the helper (PDEATHSIG); the helper dies with the
// engine, killing every group first, and holds PATH.children locked until they are gone. What a child leaves
// behind in its group is killed within a second of its end. The helper's death ends the engine.
// Foreign library: libuv (a channel lives on the worker's loop).
#pragma once

#include "base/buf.h"
#include "base/status.h"

#include <uv.h>

struct orr_spawner; // the helper, seen from the engine process

// Main thread, before any other thread exists. `channels`: how many workers will use it.
// `lock_path` may be NULL (no lock). Waits up to 5 s for children of a dead engine to be gone.
// SIGPIPE becomes ignored in the engine's process if it was at its default.
enum orr_status orr_spawner_start(uint32_t channels, const char *lock_path, struct orr_spawner **spawner);
void orr_spawner_stop(struct orr_spawner *spawner); // kills all children, reaps the helper; unwatch before
int64_t orr_spawner_pid(const struct orr_spawner *spawner);
// Calls `died` (on the thread that runs `loop`) once if the helper dies. Doesn't keep the loop alive.
void orr_spawner_watch(struct orr_spawner *spawner, uv_loop_t *loop, void (*died)(void *context),
                       void *context);
void orr_spawner_unwatch(struct orr_spawner *spawner); // on the loop's thread; then run the loop

struct orr_process_options { // borrowed until orr_process_start returns
  const char *const *argv; // NULL-terminated; argv[0] is looked up in PATH of the child's environment
  const char *const *env;  // NULL-terminated "K=V", the whole environment; NULL: the engine's at orr_spawner_start
  const char *cwd;         // NULL: the engine's
  struct orr_slice input;  // written to stdin, then closed
  size_t output_bytes_max; // of stdout and stderr each; more is dropped and flagged; 0: ORR_CHILD_OUTPUT_BYTES_MAX
  // Called for each line of stderr (and stdout if lines_of_stdout), without the newline; may be NULL. A line over
  // ORR_LOG_LINE_BYTES_MAX comes in pieces of that size; a last line without a newline comes at the end.
  void (*line)(void *context, bool is_stderr, struct orr_slice text);
  bool lines_of_stdout;
  bool keep_output;        // collect stdout (and stderr's tail of 8 KiB) for `done`
};
struct orr_process_result {
  // ORR_OK: it ran and ended. ORR_ERR_IO: could not be started (error_number, error_at). ORR_ERR_CANCELLED: killed
  // before it was started. ORR_ERR_UNAVAILABLE: the helper is gone, and the child with it.
  enum orr_status status;
  int error_number;
  const char *error_at;    // static: "exec", "cwd" (no such folder ...), "fork", "pipe", "request"; or NULL
  int exit_code;           // when it exited, else -1
  int signal;              // when a signal ended it, else 0
  bool truncated;          // output_bytes_max was passed, or something it left behind kept a pipe open for 500 ms
  struct orr_buf out, err; // taken over by the callback
};

// A worker's channel to the helper, on the worker's loop. At most `children_max` run at once; further starts
// wait in order.
struct orr_process_channel;
struct orr_process_channel *orr_process_channel_open(struct orr_spawner *spawner, uint32_t index,
                                                     uv_loop_t *loop, uint32_t children_max);
void orr_process_channel_close(struct orr_process_channel *channel); // no child running; then run the loop
struct orr_process; // one child
// `done` is called exactly once, on the loop's thread, after the child ended and its output was read to the end.
struct orr_process *orr_process_start(struct orr_process_channel *channel,
                                      const struct orr_process_options *options,
                                      void (*done)(void *context, struct orr_process_result *result),
                                      void *context);
// TERM to the group, KILL after the grace time (at once if it is 0; a second call may only shorten it). `done`
// still comes, never from inside this call. Harmless when it has ended, but `process` is gone once `done` returns.
void orr_process_kill(struct orr_process *process, uint64_t grace_ms);
uint32_t orr_process_running(const struct orr_process_channel *channel);
