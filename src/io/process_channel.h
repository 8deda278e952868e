// SPDX-License-Identifier: MIT
// A child as its worker sees it, shared by process_channel.c (life) and process_output.c (bytes).
// Internal to io. Thread: the channel's loop.
#pragma once

#include "base/list.h"
#include "io/process.h"
#include "io/process_wire.h"

#define ORR__READ_BYTES_MAX 65536u

enum orr__process_state {
  ORR__PROCESS_QUEUED,  // in channel->queued; packet not sent
  ORR__PROCESS_STARTED, // in channel->running; the helper owes a reply
  ORR__PROCESS_ENDED,   // in channel->running; reply came, a pipe is still open
  ORR__PROCESS_DONE,    // in channel->finished; result complete
};

// What an epoll event points at: the process, its pipe in the low bits (allocations are aligned to
// 16).
enum { TAG_SOCKET = 0, TAG_OUT = 1, TAG_ERR = 2, TAG_INPUT = 3, TAG_MASK = 3 };

struct orr_process_channel {
  uv_poll_t poll;
  uv_timer_t timer;
  int closing; // handles that are still to close
  int epoll_fd, socket_fd;
  bool dead, blocked; // the helper is gone; its socket is full
  uint32_t running_len, children_max;
  uint64_t last_id;
  struct orr_list queued, running, finished; // struct orr_process
  uint8_t *scratch;
};

struct orr__stream { // our end of the child's stdout or stderr
  int fd;            // -1: closed, or never there
  uint64_t seen_bytes;
  struct orr_buf line; // start of a line whose end has not come yet
};

struct orr_process {
  struct orr_list node;
  struct orr_process_channel *channel;
  enum orr__process_state state;
  uint64_t id;
  struct orr_buf packet; // request and strings, until it is sent
  struct orr_buf input;
  size_t input_at;
  int input_fd;
  struct orr__stream out, err;
  uint64_t output_bytes_max;
  bool keep_output, lines_of_stdout;
  uint8_t *scratch;       // ORR__READ_BYTES_MAX, the channel's
  uint32_t signal_unsent; // the socket was full; 0: none
  uint64_t kill_ms;       // uv_hrtime scale: when KILL follows TERM; 0: not asked or done
  uint64_t straggler_ms;  // when pipes that are still open after the exit get closed
  void (*line)(void *context, bool is_stderr, struct orr_slice text);
  void (*done)(void *context, struct orr_process_result *result);
  void *context;
  struct orr_process_result result;
};

// Reads what is there, a fair share at most.
void orr__stream_read(struct orr_process *process, struct orr__stream *stream);
void orr__stream_close(struct orr_process *process,
                       struct orr__stream *stream); // emits a last partial line
void orr__tail_trim(struct orr_buf *tail);
void orr__input_write(
    struct orr_process *process); // closes it when everything is written or unwanted
void orr__input_close(struct orr_process *process);

// Makes the pipes and sends the packet; the process moves to channel->running, or fails. False: the
// socket is full, and the process stays the first in the queue.
bool orr__process_launch(struct orr_process *process);
struct orr_process *orr__process_new(struct orr_process_channel *channel,
                                     const struct orr_process_options *options);
void orr__process_fail(struct orr_process *process, enum orr_status status, int error,
                       const char *at);
void orr__process_signal(struct orr_process *process, uint32_t signal_number); // retried if full
void orr__channel_blocked(struct orr_process_channel *channel, bool blocked);
