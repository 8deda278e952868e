// SPDX-License-Identifier: MIT
// The client of the bench: speaks HTTP/1.1 with keep-alive to an engine on loopback, and prints seconds.
//   bench_client batch PORT PIPELINE RUNS BATCH          runs in batches of one request, until the engine is idle
//   bench_client single PORT PIPELINE TIMES              one run after the other, each waited for; a line each
//   bench_client each PORT PIPELINE RUNS CONNECTIONS     one run a request, until the engine is idle
//   bench_client sustain PORT PIPELINE BATCH SECONDS     as fast as it takes them; prints runs and seconds, gathered
//   bench_client submit PORT PIPELINE RUNS BATCH         as batch, without the wait
//   bench_client idle PORT                               waits until nothing is live
//   bench_client start PORT COMMAND...                   starts it; prints seconds to the first answer, and its pid
#include "bench.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <spawn.h>
#include <stdbool.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

extern char **environ;
static int port;

struct connection {
  int fd;
  char in[1 << 20]; // answers of one request: the largest lists 1,000 runs
  size_t len;
};

static void dial(struct connection *c) {
  c->fd = socket(AF_INET, SOCK_STREAM, 0);
  c->len = 0;
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  int on = 1;
  need(connect(c->fd, (struct sockaddr *)&address, sizeof(address)) == 0, "connect");
  setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
}
static void send_all(struct connection *c, const char *data, size_t len) {
  while (len > 0) {
    ssize_t n = write(c->fd, data, len);
    need(n > 0, "write");
    data += n, len -= (size_t)n;
  }
}
// Length of the first whole answer in the buffer, 0 if it is not whole. *status is set.
static size_t answer(const struct connection *c, int *status, const char **body) {
  const char *head_end = memmem(c->in, c->len, "\r\n\r\n", 4);
  if (head_end == NULL) return 0;
  const char *length = memmem(c->in, (size_t)(head_end - c->in), "Content-Length: ", 16);
  need(length != NULL, "finding Content-Length");
  size_t whole = (size_t)(head_end + 4 - c->in) + (size_t)atol(length + 16);
  if (c->len < whole) return 0;
  *status = atoi(c->in + 9);
  *body = head_end + 4;
  return whole;
}
static int ask(struct connection *c, const char *request, size_t len, char *copy, size_t copy_size) {
  send_all(c, request, len);
  for (;;) {
    ssize_t n = read(c->fd, c->in + c->len, sizeof(c->in) - c->len - 1);
    need(n > 0, "read");
    c->len += (size_t)n;
    c->in[c->len] = '\0';
    int status;
    const char *body;
    size_t whole = answer(c, &status, &body);
    if (whole == 0) continue;
    if (copy != NULL) snprintf(copy, copy_size, "%s", body);
    c->len = 0;
    return status;
  }
}
static char *execute_request(const char *pipeline, const char *query, int runs, size_t *len) {
  size_t size = 512 + (size_t)runs * 3, at;
  char *text = malloc(size), *body = malloc(size);
  at = (size_t)snprintf(body, size, runs == 1 ? "{" : "{\"inputs\":[");
  for (int i = 0; runs > 1 && i < runs; i++) at += (size_t)snprintf(body + at, size - at, i ? ",{}" : "{}");
  at += (size_t)snprintf(body + at, size - at, runs == 1 ? "}" : "]}");
  *len = (size_t)snprintf(text, size, "POST /api/pipelines/%s/execute%s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n"
                          "Content-Type: application/json\r\nContent-Length: %zu\r\n\r\n%s", pipeline, query, port, at, body);
  free(body);
  return text;
}
static long live(struct connection *c, const char *field) {
  char request[128], body[512];
  int len = snprintf(request, sizeof(request), "GET /readyz HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n\r\n", port);
  need(ask(c, request, (size_t)len, body, sizeof(body)) == 200, "readyz");
  const char *at = strstr(body, field);
  need(at != NULL, field);
  return atol(at + strlen(field));
}
static void wait_idle(struct connection *c, const char *field) {
  struct timespec pause = {.tv_nsec = 500000};
  while (live(c, field) > 0) nanosleep(&pause, NULL);
}
// Answers are given after the commit of everything that came before, so this one means: all of it is on disk.
static void barrier(struct connection *c) {
  char request[128];
  int len = snprintf(request, sizeof(request), "GET /api/runs?limit=1 HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n\r\n", port);
  need(ask(c, request, (size_t)len, NULL, 0) == 200, "the barrier");
}
static void batch(struct connection *c, const char *pipeline, int runs, int size, bool wait) {
  size_t len;
  char *request = execute_request(pipeline, "", size, &len);
  double start = now_s();
  for (int i = 0; i < runs; i += size) need(ask(c, request, len, NULL, 0) == 202, "execute");
  if (wait) wait_idle(c, "\"live_runs\":"), barrier(c);
  printf("%.9f\n", now_s() - start);
  free(request);
}
static void sustain(struct connection *c, const char *pipeline, int size, double seconds) {
  size_t len;
  long runs = 0;
  char *request = execute_request(pipeline, "", size, &len);
  struct timespec pause = {.tv_nsec = 500000};
  double start = now_s();
  while (now_s() - start < seconds) {
    if (live(c, "\"live_runs\":") > 4L * size) { // back-pressure of our own: a client that waits for its work
      nanosleep(&pause, NULL);
      continue;
    }
    int status = ask(c, request, len, NULL, 0);
    if (status == 202) runs += size;
    else nanosleep(&pause, NULL);
  }
  wait_idle(c, "\"live_runs\":");
  wait_idle(c, "\"ungathered\":");
  barrier(c);
  printf("%ld %.9f\n", runs, now_s() - start);
  free(request);
}
static void each(const char *pipeline, int runs, int connections) {
  size_t len;
  char *request = execute_request(pipeline, "", 1, &len);
  struct connection *all = malloc(sizeof(*all) * (size_t)connections);
  int poll_fd = epoll_create1(0), sent = 0, done = 0;
  for (int i = 0; i < connections; i++) {
    dial(&all[i]);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = &all[i]};
    epoll_ctl(poll_fd, EPOLL_CTL_ADD, all[i].fd, &event);
  }
  double start = now_s();
  for (int i = 0; i < connections && sent < runs; i++, sent++) send_all(&all[i], request, len);
  while (done < runs) {
    struct epoll_event events[64];
    int n = epoll_wait(poll_fd, events, 64, 10000);
    need(n > 0, "epoll_wait");
    for (int i = 0; i < n; i++) {
      struct connection *c = events[i].data.ptr;
      ssize_t got = read(c->fd, c->in + c->len, sizeof(c->in) - c->len);
      need(got > 0, "read");
      c->len += (size_t)got;
      int status;
      const char *body;
      if (answer(c, &status, &body) == 0) continue;
      need(status == 202, "execute");
      c->len = 0;
      done++;
      if (sent < runs) sent++, send_all(c, request, len);
    }
  }
  wait_idle(&all[0], "\"live_runs\":");
  barrier(&all[0]);
  printf("%.9f\n", now_s() - start);
}
static void single(struct connection *c, const char *pipeline, int times) {
  size_t len;
  char *request = execute_request(pipeline, "?wait=120s", 1, &len);
  for (int i = 0; i < times; i++) {
    double start = now_s();
    need(ask(c, request, len, NULL, 0) == 200, "execute and wait");
    printf("%.9f\n", now_s() - start);
  }
  free(request);
}

static void start(char **command) {
  pid_t pid;
  double at = now_s();
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0);
  posix_spawn_file_actions_addopen(&actions, 2, "/dev/null", O_WRONLY, 0);
  need(posix_spawn(&pid, command[0], &actions, NULL, command, environ) == 0, "start");
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  struct timespec pause = {.tv_nsec = 100000};
  struct connection *c = calloc(1, sizeof(*c));
  for (;; nanosleep(&pause, NULL)) {
    need(now_s() - at < 10, "answering within 10 s");
    c->fd = socket(AF_INET, SOCK_STREAM, 0);
    if (connect(c->fd, (struct sockaddr *)&address, sizeof(address)) == 0) break;
    close(c->fd);
  }
  char request[128];
  int len = snprintf(request, sizeof(request), "GET /healthz HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n\r\n", port);
  need(ask(c, request, (size_t)len, NULL, 0) == 200, "healthz");
  printf("%.9f %d\n", now_s() - at, (int)pid);
}

int main(int argc, char **argv) {
  need(argc >= 3, "usage, see the head of bench_client.c;");
  port = atoi(argv[2]);
  if (strcmp(argv[1], "start") == 0) {
    start(argv + 3);
    return 0;
  }
  struct connection *c = malloc(sizeof(*c));
  dial(c);
  if (strcmp(argv[1], "batch") == 0) batch(c, argv[3], atoi(argv[4]), atoi(argv[5]), true);
  else if (strcmp(argv[1], "submit") == 0) batch(c, argv[3], atoi(argv[4]), atoi(argv[5]), false);
  else if (strcmp(argv[1], "each") == 0) each(argv[3], atoi(argv[4]), atoi(argv[5]));
  else if (strcmp(argv[1], "sustain") == 0) sustain(c, argv[3], atoi(argv[4]), atof(argv[5]));
  else if (strcmp(argv[1], "single") == 0) single(c, argv[3], atoi(argv[4]));
  else if (strcmp(argv[1], "idle") == 0) wait_idle(c, "\"live_runs\":"), barrier(c);
  else need(0, "that command");
  return 0;
}
