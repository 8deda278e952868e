// SPDX-License-Identifier: MIT
// The guard on every hop and on what names resolve to. This program takes the place of libc's connect and getaddrinfo, so that
// a "public" address leads to a server of its own on loopback.
#include "base/clock.h"
#include "io/http_client.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cmocka.h>

#define DEADLINE_US 20000000u
#define PUBLIC "93.184.216.34"

static atomic_int connects; // to the server, whatever address was asked for

int connect(int fd, __CONST_SOCKADDR_ARG argument, socklen_t len) { // glibc's own type of it
  const struct sockaddr *address = argument.__sockaddr__;
  struct sockaddr_in to;
  if (address->sa_family != AF_INET) return (int)syscall(SYS_connect, fd, address, len);
  memcpy(&to, address, sizeof to);
  if (to.sin_addr.s_addr == inet_addr(PUBLIC)) to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  atomic_fetch_add(&connects, 1);
  return (int)syscall(SYS_connect, fd, &to, sizeof to);
}

static struct addrinfo *entry(const char *address, const char *service, const struct addrinfo *hints) {
  struct addrinfo *info = calloc(1, sizeof *info + sizeof(struct sockaddr_in));
  struct sockaddr_in *to = (struct sockaddr_in *)(info + 1);
  to->sin_family = AF_INET;
  to->sin_addr.s_addr = inet_addr(address);
  to->sin_port = htons((uint16_t)(service != NULL ? atoi(service) : 0));
  info->ai_family = AF_INET;
  info->ai_socktype = hints != NULL ? hints->ai_socktype : SOCK_STREAM;
  info->ai_addr = (struct sockaddr *)to;
  info->ai_addrlen = sizeof *to;
  return info;
}

// public.test is public, inside.test is not, both.test has an address of each kind, the private one first.
int getaddrinfo(const char *name, const char *service, const struct addrinfo *hints, struct addrinfo **out) {
  bool both = strcmp(name, "both.test") == 0;
  if (strcmp(name, "public.test") == 0) *out = entry(PUBLIC, service, hints);
  else if (both || strcmp(name, "inside.test") == 0) *out = entry("10.0.0.1", service, hints);
  else return EAI_NONAME;
  if (both) (*out)->ai_next = entry(PUBLIC, service, hints);
  return 0;
}
void freeaddrinfo(struct addrinfo *info) {
  for (struct addrinfo *next; info != NULL; info = next) {
    next = info->ai_next;
    free(info);
  }
}

// --- the server: GET /to/X redirects to http://X, with the port where X has a '@' ----------------------------

struct server {
  int fd;
  uint16_t port;
  pthread_t thread;
};

static void serve(struct server *server, int fd) {
  char head[4096], answer[1024], target[512];
  ssize_t n = recv(fd, head, sizeof head - 1, 0);
  if (n <= 0) return;
  head[n] = '\0';
  if (sscanf(head, "GET /to/%511s", target) == 1) {
    char *at = strchr(target, '@');
    if (at != NULL) *at = '\0';
    n = at != NULL ? snprintf(answer, sizeof answer, "HTTP/1.1 302 Found\r\nLocation: http://%s:%u%s\r\n", target, server->port, at + 1)
                   : snprintf(answer, sizeof answer, "HTTP/1.1 302 Found\r\nLocation: http://%s\r\n", target);
  } else {
    n = snprintf(answer, sizeof answer, "HTTP/1.1 200 OK\r\n");
  }
  n += snprintf(answer + n, sizeof answer - (size_t)n, "Content-Length: 2\r\nConnection: close\r\n\r\nok");
  send(fd, answer, (size_t)n, MSG_NOSIGNAL);
}

static void *server_main(void *argument) {
  struct server *server = argument;
  for (int fd; (fd = accept(server->fd, NULL, NULL)) >= 0;) {
    serve(server, fd);
    close(fd);
  }
  return NULL;
}

struct world {
  struct server server;
  uv_loop_t loop;
  struct orr_http_client *client;
  bool done;
  struct orr_http_result result;
};

static int setup(void **state) {
  struct world *world = orr_alloc(sizeof *world);
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  socklen_t len = sizeof address;
  world->server.fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  assert_int_equal(bind(world->server.fd, (struct sockaddr *)&address, sizeof address), 0);
  assert_int_equal(listen(world->server.fd, 16), 0);
  assert_int_equal(getsockname(world->server.fd, (struct sockaddr *)&address, &len), 0);
  world->server.port = ntohs(address.sin_port);
  pthread_create(&world->server.thread, NULL, server_main, &world->server);
  uv_loop_init(&world->loop);
  world->client = orr_http_client_new(&world->loop);
  *state = world;
  return 0;
}
static int teardown(void **state) {
  struct world *world = *state;
  orr_http_client_free(world->client);
  uv_run(&world->loop, UV_RUN_DEFAULT);
  assert_int_equal(uv_loop_close(&world->loop), 0);
  shutdown(world->server.fd, SHUT_RDWR);
  pthread_join(world->server.thread, NULL);
  close(world->server.fd);
  free(world);
  return 0;
}

static void on_done(void *context, struct orr_http_result *result) {
  struct world *world = context;
  world->result = *result;
  world->done = true;
}

// Gets http://HOST:PORT/PATH and checks what came of it: a code, or "" for an answer.
static void check(struct world *world, bool guard, const char *host, const char *path, const char *code, int connects_want) {
  char url[512];
  snprintf(url, sizeof url, "http://%s:%u%s", host, world->server.port, path);
  struct orr_http_options options = {.url = url, .guard = guard, .redirects_max = 5, .timeout_ms = 10000};
  world->done = false;
  atomic_store(&connects, 0);
  orr_http_start(world->client, &options, on_done, world);
  uint64_t since_us = orr_clock_mono_us();
  while (!world->done && orr_clock_mono_us() - since_us < DEADLINE_US) uv_run(&world->loop, UV_RUN_ONCE);
  assert_true(world->done);
  if (strcmp(world->result.code, code) != 0)
    fail_msg("%s: code \"%s\" (%s), not \"%s\"", url, world->result.code, world->result.message, code);
  assert_int_equal(atomic_load(&connects), connects_want);
}

static void a_public_address_is_reached(void **state) {
  check(*state, true, PUBLIC, "/", "", 1);
  check(*state, true, "public.test", "/", "", 1);
  check(*state, true, "public.test", "/to/public.test@/", "", 2);
}

static void a_redirect_to_a_private_address_is_refused_unless_unguarded(void **state) {
  check(*state, false, PUBLIC, "/to/127.0.0.1@/secret", "", 2);
  check(*state, true, PUBLIC, "/to/127.0.0.1@/secret", "guarded", 1);
  check(*state, true, PUBLIC, "/to/2130706433@/secret", "guarded", 1);
  check(*state, true, PUBLIC, "/to/169.254.169.254/latest/meta-data/", "guarded", 1);
  check(*state, true, PUBLIC, "/to/[::ffff:127.0.0.1]@/secret", "guarded", 1);
  check(*state, true, PUBLIC, "/to/public.test@/to/127.0.0.1@/secret", "guarded", 1 + 1);
}

static void a_name_is_judged_by_what_it_resolves_to(void **state) {
  check(*state, true, "inside.test", "/", "guarded", 0);
  check(*state, true, PUBLIC, "/to/inside.test@/", "guarded", 1);
  check(*state, true, "both.test", "/", "", 1); // by its public address alone
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(a_public_address_is_reached, setup, teardown),
      cmocka_unit_test_setup_teardown(a_redirect_to_a_private_address_is_refused_unless_unguarded, setup, teardown),
      cmocka_unit_test_setup_teardown(a_name_is_judged_by_what_it_resolves_to, setup, teardown),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
