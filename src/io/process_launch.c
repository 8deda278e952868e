// SPDX-License-Identifier: MIT
// A start as the worker sends it: options into a packet, pipes, the packet and the child's ends of
// the pipes to the helper. Invariant: a start that fails or must wait leaves no descriptor behind.
// Thread: the channel's loop. Must not know what happens to the child afterwards.
#include "io/process_channel.h"

#include "base/check.h"
#include "base/limits.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

// --- the packet ----------------------------------------------------------------------------------

static uint32_t strings_append(struct orr_buf *packet, const char *const *strings) {
  uint32_t count = 0;
  for (; strings != NULL && strings[count] != NULL; count++) {
    orr_buf_append(packet, strings[count], strlen(strings[count]) + 1);
  }
  return count;
}

static void packet_fill(struct orr_process *process, const struct orr_process_options *options) {
  bool lines = options->line != NULL;
  struct orr__wire_request request = {.type = ORR__WIRE_START, .id = process->id};
  struct orr_buf *packet = &process->packet;
  orr_buf_append(packet, &request, sizeof request);
  request.argc = strings_append(packet, options->argv);
  request.envc = strings_append(packet, options->env);
  if (options->cwd != NULL) {
    orr_buf_append(packet, options->cwd, strlen(options->cwd) + 1);
    request.flags |= ORR__WIRE_CWD;
  }
  if (options->env == NULL) request.flags |= ORR__WIRE_OWN_ENV;
  if (process->input.len > 0) request.flags |= ORR__WIRE_STDIN;
  if (options->keep_output || (lines && options->lines_of_stdout))
    request.flags |= ORR__WIRE_STDOUT;
  if (options->keep_output || lines) request.flags |= ORR__WIRE_STDERR;
  size_t bytes = packet->len - sizeof request;
  request.bytes = bytes <= UINT32_MAX ? (uint32_t)bytes : UINT32_MAX;
  memcpy(packet->data, &request, sizeof request);
}

struct orr_process *orr__process_new(struct orr_process_channel *channel,
                                     const struct orr_process_options *options) {
  struct orr_process *process = orr_alloc(sizeof *process);
  orr_list_init(&process->node);
  process->channel = channel;
  process->id = ++channel->last_id;
  process->input_fd = process->out.fd = process->err.fd = -1;
  process->output_bytes_max =
      options->output_bytes_max != 0 ? options->output_bytes_max : ORR_CHILD_OUTPUT_BYTES_MAX;
  process->keep_output = options->keep_output;
  process->lines_of_stdout = options->lines_of_stdout;
  process->scratch = channel->scratch;
  process->line = options->line;
  process->result.exit_code = -1;
  orr_buf_slice_append(&process->input, options->input);
  packet_fill(process, options);
  return process;
}

// --- to the helper -------------------------------------------------------------------------------

static bool set_add(struct orr_process *process, int fd, uint32_t events, uintptr_t tag) {
  struct epoll_event event = {.events = events, .data.u64 = (uintptr_t)process | tag};
  return epoll_ctl(process->channel->epoll_fd, EPOLL_CTL_ADD, fd, &event) == 0;
}

void orr__channel_blocked(struct orr_process_channel *channel, bool blocked) {
  if (channel->blocked == blocked) return;
  channel->blocked = blocked;
  struct epoll_event event = {.events = EPOLLIN | (blocked ? EPOLLOUT : 0u),
                              .data.u64 = TAG_SOCKET};
  epoll_ctl(channel->epoll_fd, EPOLL_CTL_MOD, channel->socket_fd, &event);
}

// 0, EAGAIN, or an errno that is final.
static int packet_send(struct orr_process_channel *channel, struct orr_slice packet, const int *fds,
                       uint32_t fds_len) {
  union {
    char bytes[CMSG_SPACE(ORR__WIRE_FDS_MAX * sizeof(int))];
    struct cmsghdr align;
  } control = {0};
  struct iovec part = {(void *)packet.data, packet.len};
  struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
  if (fds_len > 0) {
    message.msg_control = &control;
    message.msg_controllen = CMSG_SPACE(fds_len * sizeof(int));
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(fds_len * sizeof(int));
    memcpy(CMSG_DATA(header), fds, fds_len * sizeof(int));
  }
  ssize_t n;
  do n = sendmsg(channel->socket_fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
  while (n < 0 && errno == EINTR);
  if (n >= 0) return 0;
  int error = errno;
  if (error == ENOBUFS || error == ENOMEM) error = EAGAIN;
  if (error == EAGAIN) orr__channel_blocked(channel, true);
  return error;
}

void orr__process_signal(struct orr_process *process, uint32_t signal_number) {
  struct orr__wire_request request = {
      .type = ORR__WIRE_SIGNAL, .id = process->id, .signal = signal_number};
  int error = packet_send(process->channel, orr_slice_of(&request, sizeof request), NULL, 0);
  process->signal_unsent = error == EAGAIN ? signal_number : 0;
}

struct start { // descriptors of one START: `theirs` are passed and closed
  int theirs[ORR__WIRE_FDS_MAX];
  uint32_t len;
};

// One pipe; `ours` is made non-blocking, the child's end stays blocking. 0 or errno.
static int pipe_open(struct start *start, bool child_reads, int *ours) {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) < 0) return errno;
  *ours = ends[child_reads ? 1 : 0];
  start->theirs[start->len++] = ends[child_reads ? 0 : 1];
  return fcntl(*ours, F_SETFL, O_NONBLOCK) < 0 ? errno : 0;
}

static int pipes_open(struct orr_process *process, struct start *start) {
  struct orr__wire_request *request = (void *)process->packet.data;
  int error = 0;
  if (process->input.len > 0) error = pipe_open(start, true, &process->input_fd);
  if (error == 0 && (request->flags & ORR__WIRE_STDOUT))
    error = pipe_open(start, false, &process->out.fd);
  if (error == 0 && (request->flags & ORR__WIRE_STDERR))
    error = pipe_open(start, false, &process->err.fd);
  return error;
}

// Moves the strings of a big packet into a memfd.
static int packet_shrink(struct orr_process *process, struct start *start) {
  struct orr__wire_request *request = (void *)process->packet.data;
  if (process->packet.len <= ORR__WIRE_PACKET_BYTES_MAX) return 0;
  int fd = memfd_create("orrery-spawn", MFD_CLOEXEC);
  if (fd < 0) return errno;
  start->theirs[start->len++] = fd;
  for (size_t at = sizeof *request; at < process->packet.len;) {
    ssize_t n = write(fd, process->packet.data + at, process->packet.len - at);
    if (n < 0 && errno != EINTR) return errno;
    if (n > 0) at += (size_t)n;
  }
  request->flags |= ORR__WIRE_MEMFD;
  process->packet.len = sizeof *request;
  return 0;
}

static void start_close(struct start *start) {
  for (uint32_t i = 0; i < start->len; i++) close(start->theirs[i]);
}

static bool pipes_watch(struct orr_process *process) {
  return (process->input_fd < 0 || set_add(process, process->input_fd, EPOLLOUT, TAG_INPUT)) &&
         (process->out.fd < 0 || set_add(process, process->out.fd, EPOLLIN, TAG_OUT)) &&
         (process->err.fd < 0 || set_add(process, process->err.fd, EPOLLIN, TAG_ERR));
}

// Takes a launch back, so that it can be tried again.
static void launch_undo(struct orr_process *process, size_t packet_len) {
  struct orr__wire_request *request = (void *)process->packet.data;
  process->packet.len = packet_len;
  request->flags &= ~(uint32_t)ORR__WIRE_MEMFD;
  if (process->input_fd >= 0) close(process->input_fd);
  process->input_fd = -1;
  orr__stream_close(process, &process->out);
  orr__stream_close(process, &process->err);
}

static void launch_done(struct orr_process *process) {
  struct orr_process_channel *channel = process->channel;
  process->state = ORR__PROCESS_STARTED;
  channel->running_len++;
  orr_list_remove(&process->node);
  orr_list_push_back(&channel->running, &process->node);
  orr_buf_free(&process->packet);
  if (process->input_fd >= 0) orr__input_write(process); // while its other end is still open here
}

// False: the socket is full, and the process stays the first in the queue.
bool orr__process_launch(struct orr_process *process) {
  struct start start = {.len = 0};
  size_t packet_len = process->packet.len;
  const char *at = "pipe";
  int error = pipes_open(process, &start);
  if (error == 0) error = packet_shrink(process, &start);
  if (error == 0 && !pipes_watch(process)) error = errno;
  if (error == 0) {
    at = "request";
    error = packet_send(process->channel, orr_buf_slice(&process->packet), start.theirs, start.len);
    if (error == 0)
      launch_done(process);
    else if (error == EAGAIN)
      launch_undo(process, packet_len);
  }
  bool full = error == EAGAIN && process->channel->blocked;
  if (error != 0 && !full) orr__process_fail(process, ORR_ERR_IO, error, at);
  start_close(&start);
  return !full;
}
