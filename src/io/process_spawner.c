// SPDX-License-Identifier: MIT
// The engine's hold on its spawn helper: fork before the first thread, one socket pair a channel
// and one for life, whose end of file tells either side that the other is gone. Thread: main, until
// the watch moves to a loop. Must not know what is said on the channels.
#include "base/check.h"
#include "io/process.h"
#include "io/process_wire.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

struct orr_spawner {
  pid_t pid;
  int life_fd;
  uint32_t channels;
  uv_poll_t *watch; // or NULL
  void (*died)(void *context);
  void *died_context;
  int channel_fds[]; // -1: taken
};

static void close_all(int *fds, size_t count) {
  for (size_t i = 0; i < count; i++) {
    if (fds[i] >= 0) close(fds[i]);
    fds[i] = -1;
  }
}

static bool pairs_open(int *ours, int *theirs, size_t count) {
  for (size_t i = 0; i < count; i++) ours[i] = theirs[i] = -1;
  for (size_t i = 0; i < count; i++) {
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0) return false;
    ours[i] = pair[0];
    theirs[i] = pair[1];
  }
  return true;
}

// The helper counts on 0, 1 and 2 being taken by something else than its sockets.
static bool standard_streams_open(void) {
  for (;;) {
    int fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (fd < 0) return false;
    if (fd <= 2) {
      if (fcntl(fd, F_SETFD, 0) < 0) return false;
      continue;
    }
    close(fd);
    return true;
  }
}

static enum orr_status
helper_ready(int life_fd) { // its word, which comes within the wait for the lock
  int32_t word = 0;
  ssize_t n;
  do n = recv(life_fd, &word, sizeof word, 0);
  while (n < 0 && errno == EINTR);
  return n == (ssize_t)sizeof word ? (enum orr_status)word : ORR_ERR_IO;
}

static void helper_reap(pid_t pid) {
  while (waitpid(pid, NULL, 0) < 0 && errno == EINTR) {}
}

// ours[channels] and theirs[channels] are the two ends of life.
static enum orr_status helper_fork(int *ours, int *theirs, uint32_t channels, const char *lock_path,
                                   pid_t *pid) {
  pid_t engine = getpid();
  *pid = fork();
  if (*pid < 0) return ORR_ERR_IO;
  if (*pid == 0) orr__helper_run(theirs[channels], theirs, channels, lock_path, engine);
  close_all(theirs, channels + 1u); // else we would keep the helper's end of life open ourselves
  enum orr_status status = helper_ready(ours[channels]);
  if (status != ORR_OK) helper_reap(*pid);
  return status;
}

enum orr_status orr_spawner_start(uint32_t channels, const char *lock_path,
                                  struct orr_spawner **spawner) {
  if (!standard_streams_open()) return ORR_ERR_IO;
  struct sigaction pipe_action;
  if (sigaction(SIGPIPE, NULL, &pipe_action) == 0 && pipe_action.sa_handler == SIG_DFL) {
    signal(SIGPIPE, SIG_IGN); // a child may close its stdin while we write to it
  }
  struct orr_spawner *new = orr_alloc(sizeof *new + (channels + 1u) * sizeof(int));
  int *theirs = orr_alloc((channels + 1u) * sizeof *theirs);
  enum orr_status status = ORR_ERR_IO;
  if (pairs_open(new->channel_fds, theirs, channels + 1u)) {
    status = helper_fork(new->channel_fds, theirs, channels, lock_path, &new->pid);
  }
  close_all(theirs, channels + 1u);
  free(theirs);
  if (status != ORR_OK) {
    close_all(new->channel_fds, channels + 1u);
    free(new);
    return status;
  }
  new->channels = channels;
  new->life_fd = new->channel_fds[channels];
  *spawner = new;
  return ORR_OK;
}

int orr__spawner_take_channel(struct orr_spawner *spawner, uint32_t index) {
  orr_assert(index < spawner->channels);
  int fd = spawner->channel_fds[index];
  orr_assert(fd >= 0);
  spawner->channel_fds[index] = -1;
  return fd;
}

void orr_spawner_stop(struct orr_spawner *spawner) {
  if (spawner == NULL) return;
  orr_assert(spawner->watch == NULL);
  close(spawner->life_fd);
  helper_reap(spawner->pid);
  close_all(spawner->channel_fds, spawner->channels);
  free(spawner);
}

static void watch_closed(uv_handle_t *handle) { free(handle); }

static void life_ended(uv_poll_t *watch, int status, int events) {
  (void)status, (void)events; // whatever poll says: the helper never writes after its first word
  struct orr_spawner *spawner = watch->data;
  uv_poll_stop(watch);
  spawner->died(spawner->died_context);
}

void orr_spawner_watch(struct orr_spawner *spawner, uv_loop_t *loop, void (*died)(void *context),
                       void *context) {
  orr_assert(spawner->watch == NULL);
  spawner->died = died;
  spawner->died_context = context;
  spawner->watch = orr_alloc(sizeof *spawner->watch);
  spawner->watch->data = spawner;
  int error = uv_poll_init(loop, spawner->watch, spawner->life_fd);
  orr_assert(error == 0);
  uv_poll_start(spawner->watch, UV_READABLE | UV_DISCONNECT, life_ended);
  uv_unref((uv_handle_t *)spawner->watch);
}

void orr_spawner_unwatch(struct orr_spawner *spawner) {
  if (spawner->watch == NULL) return;
  uv_close((uv_handle_t *)spawner->watch, watch_closed);
  spawner->watch = NULL;
}

int64_t orr_spawner_pid(const struct orr_spawner *spawner) { return spawner->pid; }
