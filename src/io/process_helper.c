// SPDX-License-Identifier: MIT
// What runs in the spawn helper: takes requests from every channel, starts children, reaps them,
// tells their channel. Invariants: every signal is blocked and read from a signalfd, so nothing
// interrupts and exec'd children begin with all signals at their defaults; a signal is only ever
// sent to a child that has not been reaped, or to a group seen alive right after; the lock is held
// until the last descendant is gone. Thread: the only one of its process. Must not know libuv or
// what the children are for.
#include "base/check.h"
#include "base/clock.h"
#include "base/status.h"
#include "io/process_wire.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define LOCK_WAIT_MS 5000
#define EVENTS_MAX 32
#define TAG_LIFE (UINT64_MAX - 1)
#define TAG_SIGNAL UINT64_MAX

struct child {
  pid_t pid; // also its group and session
  uint32_t channel;
  uint64_t id;
  uint64_t
      straggler_us; // 0: not reaped yet; else reaped, and what is left of the group is killed then
};
struct channel {
  int fd;       // -1: closed by the engine
  bool blocked; // replies wait until the socket takes them
  struct orr_buf replies;
};
struct helper {
  int epoll_fd, signal_fd, null_fd;
  pid_t engine, self;
  struct channel *channels;
  uint32_t channels_len;
  struct child *children; // in no order
  size_t children_len, children_cap, stragglers;
  bool reap, ending;
  uint8_t *packet; // ORR__WIRE_PACKET_BYTES_MAX and a header
};

// --- children ------------------------------------------------------------------------------------

static void child_add(struct helper *helper, pid_t pid, uint32_t channel, uint64_t id) {
  if (helper->children_len == helper->children_cap) {
    helper->children_cap = helper->children_cap == 0 ? 64 : helper->children_cap * 2;
    helper->children =
        orr_realloc(helper->children, helper->children_cap * sizeof *helper->children);
  }
  helper->children[helper->children_len++] =
      (struct child){.pid = pid, .channel = channel, .id = id};
}

static void child_drop(struct helper *helper, size_t index) {
  if (helper->children[index].straggler_us != 0) helper->stragglers--;
  helper->children[index] = helper->children[--helper->children_len];
}

static void reply_add(struct helper *helper, uint32_t channel,
                      const struct orr__wire_reply *reply) {
  if (helper->channels[channel].fd < 0) return;
  orr_buf_append(&helper->channels[channel].replies, reply, sizeof *reply);
}

// A reaped leader may leave others in its group. As long as they live the kernel gives its number
// to nobody.
static void child_reaped(struct helper *helper, size_t index, int status) {
  struct child *child = &helper->children[index];
  reply_add(helper, child->channel,
            &(struct orr__wire_reply){.id = child->id, .what = ORR__WIRE_EXITED, .value = status});
  if (kill(-child->pid, 0) < 0) {
    child_drop(helper, index);
    return;
  }
  child->straggler_us = orr_clock_mono_us() + ORR__STRAGGLER_HELPER_MS * 1000u;
  helper->stragglers++;
}

static void reap_all(struct helper *helper) {
  helper->reap = false;
  for (;;) {
    int status;
    pid_t pid = waitpid(-1, &status, WNOHANG);
    if (pid <= 0) {
      if (pid < 0 && errno == EINTR) continue;
      return;
    }
    for (size_t i = 0; i < helper->children_len; i++) { // none: a descendant whose parent is gone
      if (helper->children[i].pid != pid || helper->children[i].straggler_us != 0) continue;
      child_reaped(helper, i, status);
      break;
    }
  }
}

// Kills groups whose time is over. Returns how long to sleep at most, -1 for ever.
static int stragglers_kill(struct helper *helper) {
  if (helper->stragglers == 0) return -1;
  uint64_t now_us = orr_clock_mono_us(), next_us = UINT64_MAX;
  for (size_t i = 0; i < helper->children_len;) {
    struct child *child = &helper->children[i];
    if (child->straggler_us != 0 && child->straggler_us <= now_us) {
      kill(-child->pid, SIGKILL);
      child_drop(helper, i);
      continue;
    }
    if (child->straggler_us != 0 && child->straggler_us < next_us) next_us = child->straggler_us;
    i++;
  }
  return next_us == UINT64_MAX ? -1 : (int)((next_us - now_us) / 1000) + 1;
}

// --- requests ------------------------------------------------------------------------------------

static char *memfd_strings(int fd, uint32_t bytes) { // heap, or NULL
  if (bytes > ORR__WIRE_STRINGS_BYTES_MAX) return NULL;
  char *strings = orr_alloc((size_t)bytes + 1);
  for (size_t at = 0; at < bytes;) {
    ssize_t n = pread(fd, strings + at, bytes - at, (off_t)at);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) {
      free(strings);
      return NULL;
    }
    at += (size_t)n;
  }
  return strings;
}

static void start_child(struct helper *helper, uint32_t channel,
                        const struct orr__wire_request *request, char *inline_strings,
                        const int *fds, uint32_t fds_len) {
  struct orr__exec exec = {.request = request, .strings = inline_strings, .helper = helper->self};
  uint32_t next = 0, wanted = (uint32_t)__builtin_popcount(request->flags & ORR__WIRE_FDS);
  for (unsigned i = 0; i < 3; i++) {
    bool given = (request->flags & (ORR__WIRE_STDIN << i)) != 0 && next < fds_len;
    exec.fds[i] = given ? fds[next++] : helper->null_fd;
  }
  char *far = NULL;
  if (request->flags & ORR__WIRE_MEMFD) {
    far = next < fds_len ? memfd_strings(fds[next], request->bytes) : NULL;
    exec.strings = far;
  }
  enum orr__wire_stage stage = ORR__STAGE_REQUEST;
  pid_t pid = 0;
  int error = EIO;
  if (fds_len < wanted)
    error = EMFILE; // the kernel drops what our descriptor table can't take
  else if (exec.strings != NULL)
    error = orr__exec_start(&exec, &pid, &stage);
  free(far);
  if (error == 0) {
    child_add(helper, pid, channel, request->id);
    return;
  }
  reply_add(helper, channel,
            &(struct orr__wire_reply){
                .id = request->id, .what = ORR__WIRE_FAILED, .value = error, .stage = stage});
}

static void signal_child(struct helper *helper, uint32_t channel,
                         const struct orr__wire_request *request) {
  for (size_t i = 0; i < helper->children_len; i++) {
    struct child *child = &helper->children[i];
    if (child->channel != channel || child->id != request->id) continue;
    kill(-child->pid, (int)request->signal);
    return;
  }
}

static void channel_close(struct helper *helper, uint32_t index) {
  struct channel *channel = &helper->channels[index];
  close(channel->fd);
  channel->fd = -1;
  orr_buf_free(&channel->replies);
  for (size_t i = 0; i < helper->children_len; i++) {
    if (helper->children[i].channel == index) kill(-helper->children[i].pid, SIGKILL);
  }
}

static uint32_t take_fds(struct msghdr *message, int fds[ORR__WIRE_FDS_MAX]) {
  struct cmsghdr *control = CMSG_FIRSTHDR(message);
  if (control == NULL || control->cmsg_level != SOL_SOCKET || control->cmsg_type != SCM_RIGHTS)
    return 0;
  size_t bytes = control->cmsg_len - CMSG_LEN(0);
  orr_assert(bytes <= ORR__WIRE_FDS_MAX * sizeof(int));
  memcpy(fds, CMSG_DATA(control), bytes);
  return (uint32_t)(bytes / sizeof(int));
}

// One request each time, so that a burst of starts doesn't hold up the news of children that ended.
static void channel_read(struct helper *helper, uint32_t index) {
  union {
    char bytes[CMSG_SPACE(ORR__WIRE_FDS_MAX * sizeof(int))];
    struct cmsghdr align;
  } control;
  struct orr__wire_request request;
  struct iovec parts[2] = {{&request, sizeof request},
                           {helper->packet, ORR__WIRE_PACKET_BYTES_MAX}};
  struct msghdr message = {
      .msg_iov = parts, .msg_iovlen = 2, .msg_control = &control, .msg_controllen = sizeof control};
  ssize_t n = recvmsg(helper->channels[index].fd, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
  if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (n <= 0) {
    channel_close(helper, index);
    return;
  }
  int fds[ORR__WIRE_FDS_MAX];
  uint32_t fds_len = take_fds(&message, fds);
  orr_assert((size_t)n >= sizeof request && (message.msg_flags & MSG_TRUNC) == 0);
  bool inside = (request.flags & ORR__WIRE_MEMFD) == 0;
  orr_assert(!inside || sizeof request + request.bytes == (size_t)n);
  if (request.type == ORR__WIRE_START) {
    start_child(helper, index, &request, inside ? (char *)helper->packet : NULL, fds, fds_len);
  } else {
    signal_child(helper, index, &request);
  }
  for (uint32_t i = 0; i < fds_len; i++) close(fds[i]);
}

static void channel_flush(struct helper *helper, uint32_t index) {
  struct channel *channel = &helper->channels[index];
  const size_t most = ORR__WIRE_REPLIES_MAX * sizeof(struct orr__wire_reply);
  size_t sent = 0;
  bool blocked = false;
  while (sent < channel->replies.len && !blocked) {
    size_t len = channel->replies.len - sent;
    if (len > most) len = most;
    ssize_t n = send(channel->fd, channel->replies.data + sent, len, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (n > 0)
      sent += (size_t)n;
    else if (errno == EAGAIN || errno == ENOBUFS)
      blocked = true;
    else if (errno != EINTR)
      sent = channel->replies.len; // the engine is gone: its EOF says so too
  }
  if (sent > 0)
    memmove(channel->replies.data, channel->replies.data + sent, channel->replies.len - sent);
  channel->replies.len -= sent;
  if (blocked == channel->blocked) return;
  channel->blocked = blocked;
  struct epoll_event event = {.events = EPOLLIN | (blocked ? EPOLLOUT : 0u), .data.u64 = index};
  epoll_ctl(helper->epoll_fd, EPOLL_CTL_MOD, channel->fd, &event);
}

// --- life and end --------------------------------------------------------------------------------

static void signals_read(struct helper *helper) {
  struct signalfd_siginfo info[8];
  ssize_t n = read(helper->signal_fd, info, sizeof info);
  for (ssize_t i = 0; i < n / (ssize_t)sizeof info[0]; i++) {
    if (info[i].ssi_signo == SIGCHLD)
      helper->reap = true;
    else if (getppid() != helper->engine)
      helper->ending = true; // our parent-death signal
  }
}

static void turn(struct helper *helper, int timeout_ms) {
  struct epoll_event events[EVENTS_MAX];
  int n = epoll_wait(helper->epoll_fd, events, EVENTS_MAX, timeout_ms);
  for (int i = 0; i < n; i++) {
    uint64_t tag = events[i].data.u64;
    if (tag == TAG_LIFE)
      helper->ending = true; // the engine never writes on it: this is its end
    else if (tag == TAG_SIGNAL)
      signals_read(helper);
    else if ((events[i].events & ~(uint32_t)EPOLLOUT) != 0)
      channel_read(helper, (uint32_t)tag);
  }
  if (helper->reap) reap_all(helper);
  for (uint32_t i = 0; i < helper->channels_len; i++) {
    if (helper->channels[i].fd >= 0 && helper->channels[i].replies.len > 0)
      channel_flush(helper, i);
  }
}

// As subreaper we inherit every descendant whose parent is gone, even one that left its group: kill
// what we have, reap, look again, until nothing is left.
static void kill_descendants(void) {
  static char text[65536];
  int fd = open("/proc/thread-self/children", O_RDONLY | O_CLOEXEC);
  if (fd < 0) return;
  ssize_t n = read(fd, text, sizeof text - 1);
  close(fd);
  text[n > 0 ? n : 0] = '\0';
  for (char *at = text, *end; *at != '\0'; at = end) {
    long pid = strtol(at, &end, 10);
    if (end == at) return;
    if (pid > 1) kill((pid_t)pid, SIGKILL);
    while (*end == ' ') end++;
  }
}

static _Noreturn void end_all(struct helper *helper) {
  for (size_t i = 0; i < helper->children_len; i++) kill(-helper->children[i].pid, SIGKILL);
  for (;;) {
    kill_descendants();
    pid_t pid = waitpid(-1, NULL, WNOHANG);
    if (pid < 0 && errno == ECHILD) _exit(0);
    if (pid == 0) poll(NULL, 0, 1);
  }
}

// --- start ---------------------------------------------------------------------------------------

static int compare_ints(const void *a, const void *b) {
  int x = *(const int *)a, y = *(const int *)b;
  return (x > y) - (x < y);
}

// Leaves only stderr and what the helper needs: the engine's own ends above all, whose EOF we wait
// for.
static void close_others(int life_fd, const int *channel_fds, uint32_t channels) {
  int *keep = orr_alloc((channels + 1u) * sizeof *keep);
  if (channels > 0) memcpy(keep, channel_fds, channels * sizeof *keep);
  keep[channels] = life_fd;
  qsort(keep, channels + 1u, sizeof *keep, compare_ints);
  unsigned from = 3;
  for (uint32_t i = 0; i <= channels; i++) {
    if ((unsigned)keep[i] > from) syscall(SYS_close_range, from, (unsigned)keep[i] - 1, 0u);
    from = (unsigned)keep[i] + 1;
  }
  syscall(SYS_close_range, from, ~0u, 0u);
  free(keep);
}

static enum orr_status lock_take(const char *path) { // the descriptor stays open to the end
  if (path == NULL) return ORR_OK;
  int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (fd < 0) return ORR_ERR_IO;
  uint64_t deadline_us = orr_clock_mono_us() + LOCK_WAIT_MS * 1000u;
  while (flock(fd, LOCK_EX | LOCK_NB) < 0) {
    if (errno != EWOULDBLOCK && errno != EINTR) return ORR_ERR_IO;
    if (orr_clock_mono_us() >= deadline_us) return ORR_ERR_BUSY;
    poll(NULL, 0, 5);
  }
  return ORR_OK;
}

static void signals_reset(void) {
  sigset_t all;
  sigfillset(&all);
  sigprocmask(SIG_SETMASK, &all, NULL);
  struct sigaction action = {.sa_handler = SIG_DFL};
  for (int i = 1; i < NSIG; i++) sigaction(i, &action, NULL);
}

static bool watch(const struct helper *helper, int fd, uint64_t tag) {
  struct epoll_event event = {.events = EPOLLIN, .data.u64 = tag};
  return epoll_ctl(helper->epoll_fd, EPOLL_CTL_ADD, fd, &event) == 0;
}

static enum orr_status helper_open(struct helper *helper, int life_fd, const int *channel_fds) {
  helper->null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
  helper->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
  sigset_t watched;
  sigemptyset(&watched);
  sigaddset(&watched, SIGCHLD);
  sigaddset(&watched, SIGTERM);
  helper->signal_fd = signalfd(-1, &watched, SFD_CLOEXEC | SFD_NONBLOCK);
  if (helper->null_fd < 0 || helper->epoll_fd < 0 || helper->signal_fd < 0) return ORR_ERR_IO;
  dup2(helper->null_fd, 0);
  dup2(helper->null_fd, 1);
  if (!watch(helper, life_fd, TAG_LIFE) || !watch(helper, helper->signal_fd, TAG_SIGNAL))
    return ORR_ERR_IO;
  for (uint32_t i = 0; i < helper->channels_len; i++) {
    helper->channels[i].fd = channel_fds[i];
    if (!watch(helper, channel_fds[i], i)) return ORR_ERR_IO;
  }
  return ORR_OK;
}

_Noreturn void orr__helper_run(int life_fd, const int *channel_fds, uint32_t channels,
                               const char *lock_path, pid_t engine) {
  signals_reset();
  setsid(); // a terminal's ^C is the engine's to handle
  prctl(PR_SET_NAME, "orrery-spawn");
  prctl(PR_SET_CHILD_SUBREAPER, 1);
  prctl(PR_SET_PDEATHSIG, SIGTERM);
  if (getppid() != engine) _exit(1);
  close_others(life_fd, channel_fds, channels);
  struct helper helper = {.engine = engine, .self = getpid(), .channels_len = channels};
  helper.channels = orr_alloc((channels + 1u) * sizeof *helper.channels);
  helper.packet = orr_alloc(ORR__WIRE_PACKET_BYTES_MAX);
  enum orr_status status = helper_open(&helper, life_fd, channel_fds);
  if (status == ORR_OK) status = lock_take(lock_path);
  int32_t word = status;
  if (send(life_fd, &word, sizeof word, MSG_NOSIGNAL) != sizeof word || status != ORR_OK) _exit(1);
  int timeout_ms = -1;
  while (!helper.ending) {
    turn(&helper, timeout_ms);
    timeout_ms = stragglers_kill(&helper);
  }
  end_all(&helper);
}
