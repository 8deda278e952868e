// SPDX-License-Identifier: MIT
// A worker's channel to the spawn helper: queue, start, kill, end. All descriptors (the socket and
// every pipe) sit in one epoll set of the channel's own, and the worker's loop polls only that set,
// so a child costs no libuv handle. Invariant: a process is in exactly one of the three lists and
// moves forward only; `done` runs from deliver() alone, when no event of a batch can point at the
// process any more. Thread: the loop's. Must not know how a child is started.
#include "io/process_channel.h"

#include "base/check.h"
#include "base/limits.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define EVENTS_MAX 64

static uint64_t now_ms(void) { return uv_hrtime() / 1000000u; }
static struct orr_process *process_of(struct orr_list *node) {
  return ORR_CONTAINER_OF(node, struct orr_process, node);
}

static void handle_closed(uv_handle_t *handle) {
  struct orr_process_channel *channel = handle->data;
  if (--channel->closing > 0) return;
  close(channel->epoll_fd);
  close(channel->socket_fd);
  free(channel->scratch);
  free(channel);
}

// --- the end of a process ------------------------------------------------------------------------

static void timer_fired(uv_timer_t *timer);

static uint64_t earlier(uint64_t a, uint64_t b) { return b != 0 && b < a ? b : a; }

// The timer serves every deadline of the channel, and deliveries that may not happen inside a call.
static void schedule(struct orr_process_channel *channel) {
  uint64_t next = UINT64_MAX;
  for (struct orr_list *at = channel->running.next; at != &channel->running; at = at->next) {
    next = earlier(earlier(next, process_of(at)->kill_ms), process_of(at)->straggler_ms);
  }
  if (!orr_list_empty(&channel->finished)) next = 0;
  if (next == UINT64_MAX) {
    uv_timer_stop(&channel->timer);
    return;
  }
  uint64_t now = now_ms();
  uv_update_time(channel->timer.loop);
  uv_timer_start(&channel->timer, timer_fired, next > now ? next - now : 0, 0);
}

static void finish(struct orr_process *process) {
  struct orr_process_channel *channel = process->channel;
  orr_assert(process->state != ORR__PROCESS_DONE);
  if (process->state != ORR__PROCESS_QUEUED) channel->running_len--;
  process->state = ORR__PROCESS_DONE;
  process->kill_ms = process->straggler_ms = 0;
  orr__stream_close(process, &process->out);
  orr__stream_close(process, &process->err);
  orr__input_close(process);
  orr_buf_free(&process->packet);
  orr__tail_trim(&process->result.err);
  orr_list_remove(&process->node);
  orr_list_push_back(&channel->finished, &process->node);
}

void orr__process_fail(struct orr_process *process, enum orr_status status, int error,
                       const char *at) {
  process->result.status = status;
  process->result.error_number = error;
  process->result.error_at = at;
  finish(process);
}

static void pump(struct orr_process_channel *channel);

static void deliver(struct orr_process_channel *channel) {
  pump(channel); // first, so that the helper works while the callbacks run
  struct orr_list *node;
  struct orr_list batch;
  orr_list_init(&batch);
  orr_list_splice_back(&batch, &channel->finished);
  while ((node = orr_list_pop_front(&batch)) != NULL) {
    struct orr_process *process = process_of(node);
    process->done(process->context, &process->result);
    orr_buf_free(&process->result.out);
    orr_buf_free(&process->result.err);
    free(process);
  }
  schedule(channel);
  if (channel->running_len == 0 && orr_list_empty(&channel->queued) &&
      orr_list_empty(&channel->finished)) {
    uv_unref((uv_handle_t *)&channel->poll);
  }
}

static void channel_died(struct orr_process_channel *channel) {
  channel->dead = true;
  uv_poll_stop(&channel->poll);
  while (!orr_list_empty(&channel->running)) {
    orr__process_fail(process_of(channel->running.next), ORR_ERR_UNAVAILABLE, ECONNRESET, NULL);
  }
  while (!orr_list_empty(&channel->queued)) {
    orr__process_fail(process_of(channel->queued.next), ORR_ERR_UNAVAILABLE, ECONNRESET, NULL);
  }
}

static void pump(struct orr_process_channel *channel) {
  while (!channel->dead && !channel->blocked && channel->running_len < channel->children_max &&
         !orr_list_empty(&channel->queued)) {
    if (!orr__process_launch(process_of(channel->queued.next))) return;
  }
}

// --- from the helper and the children ------------------------------------------------------------

static void try_finish(struct orr_process *process) {
  if (process->state == ORR__PROCESS_ENDED && process->out.fd < 0 && process->err.fd < 0)
    finish(process);
}

static void process_ended(struct orr_process *process, int wait_status) {
  process->state = ORR__PROCESS_ENDED;
  process->result.exit_code = WIFEXITED(wait_status) ? WEXITSTATUS(wait_status) : -1;
  process->result.signal = WIFSIGNALED(wait_status) ? WTERMSIG(wait_status) : 0;
  process->signal_unsent = 0;
  orr__input_close(process);
  orr__stream_read(process, &process->out);
  orr__stream_read(process, &process->err);
  process->straggler_ms = now_ms() + ORR__STRAGGLER_MS;
  try_finish(process);
}

static const char *stage_text(uint32_t stage) {
  switch ((enum orr__wire_stage)stage) {
  case ORR__STAGE_REQUEST:
    return "request";
  case ORR__STAGE_FORK:
    return "fork";
  case ORR__STAGE_CWD:
    return "cwd";
  case ORR__STAGE_EXEC:
    return "exec";
  }
  orr_unreachable();
}

static void reply_take(struct orr_process_channel *channel, const struct orr__wire_reply *reply) {
  for (struct orr_list *at = channel->running.next; at != &channel->running; at = at->next) {
    struct orr_process *process = process_of(at);
    if (process->id != reply->id) continue;
    orr_assert(process->state == ORR__PROCESS_STARTED);
    if (reply->what == ORR__WIRE_EXITED)
      process_ended(process, reply->value);
    else
      orr__process_fail(process, ORR_ERR_IO, reply->value, stage_text(reply->stage));
    return;
  }
  orr_unreachable();
}

static void socket_read(struct orr_process_channel *channel) {
  struct orr__wire_reply replies[ORR__WIRE_REPLIES_MAX];
  for (;;) {
    ssize_t n = recv(channel->socket_fd, replies, sizeof replies, MSG_DONTWAIT);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && errno == EAGAIN) return;
    if (n <= 0) {
      channel_died(channel);
      return;
    }
    for (size_t i = 0; i < (size_t)n / sizeof replies[0]; i++) reply_take(channel, &replies[i]);
    if ((size_t)n < sizeof replies) return;
  }
}

static void unblock(struct orr_process_channel *channel) {
  orr__channel_blocked(channel, false);
  for (struct orr_list *at = channel->running.next; at != &channel->running; at = at->next) {
    struct orr_process *process = process_of(at);
    if (process->signal_unsent != 0 && !channel->blocked)
      orr__process_signal(process, process->signal_unsent);
  }
}

static void event_take(struct orr_process_channel *channel, const struct epoll_event *event) {
  if (event->data.u64 == TAG_SOCKET) {
    if (event->events & EPOLLOUT) unblock(channel);
    if (event->events & ~(uint32_t)EPOLLOUT) socket_read(channel);
    return;
  }
  struct orr_process *process = (void *)(uintptr_t)(event->data.u64 & ~(uint64_t)TAG_MASK);
  if (process->state == ORR__PROCESS_DONE) return; // ended earlier in this batch
  switch (event->data.u64 & TAG_MASK) {
  case TAG_OUT:
    orr__stream_read(process, &process->out);
    break;
  case TAG_ERR:
    orr__stream_read(process, &process->err);
    break;
  case TAG_INPUT:
    if (process->input_fd >= 0) orr__input_write(process);
    break;
  }
  try_finish(process);
}

static void poll_ready(uv_poll_t *poll, int status, int poll_events) {
  (void)status, (void)poll_events; // an epoll set has no errors of its own
  struct orr_process_channel *channel = poll->data;
  struct epoll_event events[EVENTS_MAX];
  int n = epoll_wait(channel->epoll_fd, events, EVENTS_MAX, 0);
  for (int i = 0; i < n && !channel->dead; i++) event_take(channel, &events[i]);
  deliver(channel);
}

static void timer_fired(uv_timer_t *timer) {
  struct orr_process_channel *channel = timer->data;
  uint64_t now = now_ms();
  for (struct orr_list *at = channel->running.next, *next; at != &channel->running; at = next) {
    struct orr_process *process = process_of(at);
    next = at->next;
    if (process->kill_ms != 0 && process->kill_ms <= now) {
      process->kill_ms = 0;
      orr__process_signal(process, SIGKILL);
    }
    if (process->straggler_ms != 0 && process->straggler_ms <= now) {
      orr__stream_read(process, &process->out); // the timer may come before a pipe's own event
      orr__stream_read(process, &process->err);
      if (process->out.fd >= 0 || process->err.fd >= 0) {
        process->result.truncated = true;
        orr__process_signal(process, SIGKILL);
      }
      finish(process);
    }
  }
  deliver(channel);
}

// --- public --------------------------------------------------------------------------------------

struct orr_process_channel *orr_process_channel_open(struct orr_spawner *spawner, uint32_t index,
                                                     uv_loop_t *loop, uint32_t children_max) {
  orr_assert(children_max > 0);
  struct orr_process_channel *channel = orr_alloc(sizeof *channel);
  channel->children_max = children_max;
  channel->scratch = orr_alloc(ORR__READ_BYTES_MAX);
  channel->socket_fd = orr__spawner_take_channel(spawner, index);
  channel->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
  orr_assert(channel->epoll_fd >= 0);
  orr_list_init(&channel->queued);
  orr_list_init(&channel->running);
  orr_list_init(&channel->finished);
  struct epoll_event event = {.events = EPOLLIN, .data.u64 = TAG_SOCKET};
  int error = epoll_ctl(channel->epoll_fd, EPOLL_CTL_ADD, channel->socket_fd, &event);
  if (error == 0) error = uv_poll_init(loop, &channel->poll, channel->epoll_fd);
  if (error == 0) error = uv_timer_init(loop, &channel->timer);
  orr_assert(error == 0);
  channel->poll.data = channel->timer.data = channel;
  uv_poll_start(&channel->poll, UV_READABLE, poll_ready);
  uv_unref((uv_handle_t *)&channel->poll); // until there is a child
  return channel;
}

void orr_process_channel_close(struct orr_process_channel *channel) {
  if (channel == NULL) return;
  orr_assert(channel->running_len == 0);
  orr_assert(orr_list_empty(&channel->queued) && orr_list_empty(&channel->finished));
  channel->closing = 2;
  uv_close((uv_handle_t *)&channel->poll, handle_closed);
  uv_close((uv_handle_t *)&channel->timer, handle_closed);
}

struct orr_process *
orr_process_start(struct orr_process_channel *channel, const struct orr_process_options *options,
                  void (*done)(void *context, struct orr_process_result *result), void *context) {
  orr_assert(options->argv != NULL && done != NULL);
  struct orr_process *process = orr__process_new(channel, options);
  process->done = done;
  process->context = context;
  orr_list_push_back(&channel->queued, &process->node);
  uv_ref((uv_handle_t *)&channel->poll);
  if (channel->dead)
    orr__process_fail(process, ORR_ERR_UNAVAILABLE, ECONNRESET, NULL);
  else if (process->packet.len > ORR__WIRE_STRINGS_BYTES_MAX)
    orr__process_fail(process, ORR_ERR_IO, E2BIG, "request");
  else
    pump(channel);
  if (!orr_list_empty(&channel->finished)) schedule(channel);
  return process;
}

void orr_process_kill(struct orr_process *process, uint64_t grace_ms) {
  if (process->state == ORR__PROCESS_DONE) return;
  if (process->state == ORR__PROCESS_QUEUED) {
    orr__process_fail(process, ORR_ERR_CANCELLED, ECANCELED, NULL);
  } else {
    uint64_t at = now_ms() + grace_ms + 1; // never early: the clock's own millisecond has begun
    if (grace_ms == 0)
      orr__process_signal(process, SIGKILL);
    else if (process->kill_ms == 0)
      orr__process_signal(process, SIGTERM);
    process->kill_ms = grace_ms == 0 ? 0 : earlier(at, process->kill_ms);
  }
  schedule(process->channel);
}

uint32_t orr_process_running(const struct orr_process_channel *channel) {
  return channel->running_len;
}
