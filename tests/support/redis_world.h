// SPDX-License-Identifier: MIT
// What the Redis tests run against: real servers, started on free loopback ports with a folder of their own and stopped by
// their process id; and a puppet server that answers from a script. Plus a loop that is run until a condition holds.
#pragma once

#include "base/check.h"
#include "base/clock.h"
#include "io/redis_client.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <netinet/in.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define DEADLINE_MS 30000u

// --- the loop ------------------------------------------------------------------------------------------------------------

struct world {
  uv_loop_t loop;
  uv_timer_t tick; // so that a condition is looked at even when nothing happens
  struct orr_redis *client;
};

static void world_tick(uv_timer_t *timer) { (void)timer; }

static inline struct world *world_open(void) {
  struct world *world = calloc(1, sizeof(*world));
  assert_int_equal(uv_loop_init(&world->loop), 0);
  uv_timer_init(&world->loop, &world->tick);
  uv_timer_start(&world->tick, world_tick, 2, 2);
  return world;
}

static inline struct orr_redis *world_client(struct world *world, const char *format, ...) {
  char text[1024], message[256];
  static struct orr_redis_url url;
  va_list args;
  va_start(args, format);
  vsnprintf(text, sizeof(text), format, args);
  va_end(args);
  assert_int_equal(orr_redis_url_parse(orr_slice_text(text), &url, message), ORR_OK);
  orr_redis_free(world->client);
  world->client = orr_redis_new(&world->loop, &url);
  return world->client;
}

// Closes the client and runs the loop dry: that it ends is part of every test.
static inline void world_close(struct world *world) {
  orr_redis_free(world->client);
  uv_close((uv_handle_t *)&world->tick, NULL);
  uv_run(&world->loop, UV_RUN_DEFAULT);
  assert_int_equal(uv_loop_close(&world->loop), 0);
  free(world);
}

#define must(world, condition)                                                  \
  do {                                                                          \
    uint64_t must_until = orr_clock_now().mono_ms + DEADLINE_MS;                \
    while (!(condition)) {                                                      \
      if (orr_clock_now().mono_ms > must_until) fail_msg("gave up: %s", #condition); \
      uv_run(&(world)->loop, UV_RUN_ONCE);                                      \
    }                                                                           \
  } while (0)

// --- commands ------------------------------------------------------------------------------------------------------------

struct answer {
  int called;
  struct orr_redis_failure failure;
  struct orr_buf replies;
};

static inline void answer_take(void *context, struct orr_redis_result *result) {
  struct answer *answer = context;
  answer->called++;
  answer->failure = result->failure;
  orr_buf_free(&answer->replies);
  answer->replies = result->replies;
  result->replies = ORR_BUF_INIT;
}

// Adds a command written as words: "SET k v".
static inline void add(struct orr_redis_batch *batch, const char *format, ...) {
  char text[512];
  struct orr_slice args[64];
  size_t count = 0;
  va_list list;
  va_start(list, format);
  vsnprintf(text, sizeof(text), format, list);
  va_end(list);
  for (char *rest, *word = strtok_r(text, " ", &rest); word != NULL; word = strtok_r(NULL, " ", &rest))
    args[count++] = orr_slice_text(word);
  orr_redis_batch_add(batch, args, count);
}

static inline void run_batch(struct world *world, struct orr_redis *client, struct orr_redis_batch *batch,
                             struct orr_redis_session *session, struct answer *answer) {
  struct orr_redis_options options = {.session = session};
  int before = answer->called;
  orr_redis_start(client, batch, &options, answer_take, answer);
  assert_int_equal(answer->called, before); // never from inside
  must(world, answer->called == before + 1);
}

static inline void show_node(struct orr_reader *cursor, struct orr_buf *out) {
  struct orr_redis_node node;
  uint64_t open[64], depth = 0;
  while (orr_redis_node_next(cursor, &node)) {
    if (out->len > 0 && out->data[out->len - 1] != '[') orr_buf_u8(out, ' ');
    switch (node.type) {
    case ORR_REDIS_STRING: orr_buf_printf(out, "\"%.*s\"", (int)node.text.len, (const char *)node.text.data); break;
    case ORR_REDIS_STATUS: orr_buf_printf(out, "%.*s", (int)node.text.len, (const char *)node.text.data); break;
    case ORR_REDIS_ERROR: orr_buf_printf(out, "!%.*s", (int)node.text.len, (const char *)node.text.data); break;
    case ORR_REDIS_INTEGER: orr_buf_printf(out, "%lld", (long long)node.integer); break;
    case ORR_REDIS_NIL: orr_buf_text(out, "nil"); break;
    case ORR_REDIS_ARRAY:
      orr_buf_u8(out, '[');
      if (node.len > 0) {
        open[depth++] = node.len;
        continue;
      }
      orr_buf_u8(out, ']');
      break;
    }
    while (depth > 0 && --open[depth - 1] == 0) {
      orr_buf_u8(out, ']');
      depth--;
    }
  }
}

// Replies as text: strings quoted, statuses bare, errors after "!", arrays in brackets.
static inline const char *show(struct orr_slice replies) {
  static struct orr_buf out;
  struct orr_reader cursor = orr_reader_of(replies);
  orr_buf_free(&out);
  show_node(&cursor, &out);
  return orr_buf_cstr(&out);
}

// Runs one command to its end; its reply as text, or "failure CODE".
static inline const char *call(struct world *world, struct orr_redis *client, const char *format, ...) {
  static char text[65536];
  char words[512];
  va_list list;
  va_start(list, format);
  vsnprintf(words, sizeof(words), format, list);
  va_end(list);
  struct orr_redis_batch batch = ORR_REDIS_BATCH_INIT;
  struct answer answer = {0};
  add(&batch, "%s", words);
  run_batch(world, client, &batch, NULL, &answer);
  if (answer.failure.status != ORR_OK) snprintf(text, sizeof(text), "failure %s", answer.failure.code);
  else snprintf(text, sizeof(text), "%s", show(orr_buf_slice(&answer.replies)));
  orr_buf_free(&answer.replies);
  return text;
}

// --- real servers ----------------------------------------------------------------------------------------------------------

struct redis {
  pid_t pid;
  uint16_t port;
  char folder[64];
  const char *args[32]; // after the common ones; kept for the restart
};

static inline uint16_t free_port(void) {
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  socklen_t len = sizeof(address);
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
  assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &len), 0);
  close(fd);
  return ntohs(address.sin_port);
}

static inline void redis_start(struct redis *redis) { // on its port and folder
  char port[8];
  snprintf(port, sizeof(port), "%u", redis->port);
  const char *argv[48] = {"redis-server", "--port", port, "--bind", "127.0.0.1", "--dir", redis->folder, "--logfile", "log"};
  size_t count = 9;
  if (redis->args[0] != NULL && redis->args[0][0] == '/') { // a configuration file comes first
    memmove(argv + 2, argv + 1, 8 * sizeof(*argv));
    argv[1] = redis->args[0];
    count = 10;
  }
  for (size_t i = count == 10 ? 1 : 0; redis->args[i] != NULL; i++) argv[count++] = redis->args[i];
  argv[count] = NULL;
  redis->pid = fork();
  assert_true(redis->pid >= 0);
  if (redis->pid != 0) return;
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  int null = open("/dev/null", O_RDWR);
  dup2(null, 1);
  dup2(null, 2);
  for (int fd = 3; fd < 1024; fd++) close(fd);
  execvp(argv[0], (char *const *)argv);
  _exit(127);
}

static inline bool redis_answers(const struct redis *redis) {
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(redis->port),
                                .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  bool ok = connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0;
  close(fd);
  return ok;
}

static inline void redis_wait(struct redis *redis) {
  uint64_t until = orr_clock_now().mono_ms + DEADLINE_MS;
  while (!redis_answers(redis)) {
    if (waitpid(redis->pid, NULL, WNOHANG) == redis->pid) fail_msg("redis-server ended");
    if (orr_clock_now().mono_ms > until) fail_msg("redis-server does not answer");
    usleep(2000);
  }
}

// redis_new(&redis, "--requirepass", "x", NULL)
static inline void redis_new(struct redis *redis, ...) {
  va_list list;
  const char *arg;
  size_t count = 0;
  memset(redis, 0, sizeof(*redis));
  redis->args[count++] = "--save";
  redis->args[count++] = "";
  va_start(list, redis);
  while ((arg = va_arg(list, const char *)) != NULL) redis->args[count++] = arg;
  va_end(list);
  strcpy(redis->folder, "/tmp/orrery-redis-XXXXXX");
  assert_non_null(mkdtemp(redis->folder));
  redis->port = free_port();
  redis_start(redis);
  redis_wait(redis);
}

static inline void redis_kill(struct redis *redis) {
  if (redis->pid <= 0) return;
  kill(redis->pid, SIGKILL);
  waitpid(redis->pid, NULL, 0);
  redis->pid = 0;
}

static inline int redis_remove_one(const char *path, const struct stat *info, int flag, struct FTW *ftw) {
  (void)info;
  (void)flag;
  (void)ftw;
  return remove(path);
}
static inline void redis_end(struct redis *redis) {
  redis_kill(redis);
  if (redis->folder[0] != 0) nftw(redis->folder, redis_remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

// --- the puppet --------------------------------------------------------------------------------------------------------------

// Accepts connections one after the other (a thread). Each time it has read something it plays the next line; after the last one it
// keeps the connection open and says nothing. "" says nothing, NULL closes the connection. On a connection's first read
// it answers the login with +PONG.
struct puppet {
  int fd;
  uint16_t port;
  pthread_t thread;
  const char *const *lines;
  size_t lines_len;
  atomic_bool stop;
  atomic_int connections;
};

static inline void *puppet_main(void *context) {
  struct puppet *puppet = context;
  size_t at = 0;
  for (;;) {
    int fd = accept(puppet->fd, NULL, NULL);
    if (fd < 0 || puppet->stop) {
      if (fd >= 0) close(fd);
      return NULL;
    }
    puppet->connections++;
    char buffer[65536];
    bool login = true;
    for (;;) {
      ssize_t count = recv(fd, buffer, sizeof(buffer), 0);
      if (count <= 0) break;
      const char *line = login ? "+PONG\r\n" : at < puppet->lines_len ? puppet->lines[at++] : "";
      login = false;
      if (line == NULL) break;
      if (line[0] != 0) send(fd, line, strlen(line), MSG_NOSIGNAL);
    }
    close(fd);
  }
}

static inline void puppet_start(struct puppet *puppet, const char *const *lines, size_t len) {
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  socklen_t size = sizeof(address);
  memset(puppet, 0, sizeof(*puppet));
  puppet->lines = lines;
  puppet->lines_len = len;
  puppet->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  assert_int_equal(bind(puppet->fd, (struct sockaddr *)&address, sizeof(address)), 0);
  assert_int_equal(listen(puppet->fd, 16), 0);
  getsockname(puppet->fd, (struct sockaddr *)&address, &size);
  puppet->port = ntohs(address.sin_port);
  assert_int_equal(pthread_create(&puppet->thread, NULL, puppet_main, puppet), 0);
}

// After the client has closed its connections.
static inline void puppet_stop(struct puppet *puppet) {
  puppet->stop = true;
  shutdown(puppet->fd, SHUT_RDWR);
  pthread_join(puppet->thread, NULL);
  close(puppet->fd);
}
