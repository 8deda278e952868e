// SPDX-License-Identifier: MIT
// HTTP streams against a server of plain sockets on a thread: what is held stays within its bound, whoever is slow; the other
// side is made to wait.
#include "base/clock.h"
#include "io/http_client.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#define DEADLINE_US 20000000u
#define BODY_BYTES ((size_t)32 * 1024 * 1024)
#define HELD_BYTES_MAX (ORR_HTTP_STREAM_BYTES_MAX + 64 * 1024)

// --- a server for one connection -------------------------------------------------------------------------

struct server {
  int fd;
  uint16_t port;
  pthread_t thread;
  bool sends;          // a large body; else it takes one
  atomic_bool may_take; // it reads the body only then
  atomic_size_t moved;
};

static size_t head_read(int fd, char *head, size_t size) { // bytes of the body that came along
  size_t len = 0;
  char *end = NULL;
  while (end == NULL && len + 1 < size) {
    ssize_t n = recv(fd, head + len, size - 1 - len, 0);
    if (n <= 0) return 0;
    len += (size_t)n;
    head[len] = '\0';
    end = strstr(head, "\r\n\r\n");
  }
  return end != NULL ? len - (size_t)(end - head) - 4 : 0;
}

static void body_send(struct server *server, int fd) {
  static const char piece[65536];
  char head[128];
  int n = snprintf(head, sizeof head, "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\n\r\n", BODY_BYTES);
  if (send(fd, head, (size_t)n, MSG_NOSIGNAL) != n) return;
  for (size_t at = 0; at < BODY_BYTES;) {
    ssize_t sent = send(fd, piece, sizeof piece, MSG_NOSIGNAL);
    if (sent <= 0) return;
    at += (size_t)sent;
    atomic_store(&server->moved, at);
  }
}

static void body_take(struct server *server, int fd, size_t got) {
  static char piece[65536];
  while (!atomic_load(&server->may_take)) usleep(1000);
  atomic_store(&server->moved, got);
  while (got < BODY_BYTES) {
    ssize_t n = recv(fd, piece, sizeof piece, 0);
    if (n <= 0) return;
    got += (size_t)n;
    atomic_store(&server->moved, got);
  }
  send(fd, "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ndone", 42, MSG_NOSIGNAL);
}

static void *server_main(void *argument) {
  struct server *server = argument;
  char head[8192];
  int fd = accept(server->fd, NULL, NULL);
  if (fd < 0) return NULL;
  size_t got = head_read(fd, head, sizeof head);
  if (server->sends) body_send(server, fd);
  else body_take(server, fd, got);
  shutdown(fd, SHUT_WR);
  while (recv(fd, head, sizeof head, 0) > 0) {}
  close(fd);
  return NULL;
}

// --- the world -------------------------------------------------------------------------------------------

struct world {
  struct server server;
  uv_loop_t loop;
  uv_timer_t tick;
  struct orr_http_client *client;
  struct orr_http_request *request; // NULL once done
  struct orr_http_counters counters;
  enum orr_status status;
  long http_status;
  size_t rest;
  int notices;
};

static void on_tick(uv_timer_t *timer) { (void)timer; }

static void world_open(struct world *world, bool sends) {
  memset(world, 0, sizeof *world);
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  socklen_t len = sizeof address;
  world->server.sends = sends;
  world->server.fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  assert_int_equal(bind(world->server.fd, (struct sockaddr *)&address, sizeof address), 0);
  assert_int_equal(listen(world->server.fd, 4), 0);
  assert_int_equal(getsockname(world->server.fd, (struct sockaddr *)&address, &len), 0);
  world->server.port = ntohs(address.sin_port);
  pthread_create(&world->server.thread, NULL, server_main, &world->server);
  uv_loop_init(&world->loop);
  uv_timer_init(&world->loop, &world->tick);
  uv_timer_start(&world->tick, on_tick, 5, 5);
  world->client = orr_http_client_new(&world->loop);
}

static void world_close(struct world *world) {
  orr_http_client_free(world->client);
  uv_close((uv_handle_t *)&world->tick, NULL);
  uv_run(&world->loop, UV_RUN_DEFAULT);
  assert_int_equal(uv_loop_close(&world->loop), 0);
  pthread_join(world->server.thread, NULL);
  close(world->server.fd);
}

static void on_done(void *context, struct orr_http_result *result) {
  struct world *world = context;
  world->counters = orr_http_counters(world->request);
  world->request = NULL;
  world->status = result->status;
  world->http_status = result->http_status;
  world->rest = result->body.len;
}
static void on_notice(void *context) { ((struct world *)context)->notices++; }

static void start(struct world *world, struct orr_http_options options) {
  char url[64];
  snprintf(url, sizeof url, "http://127.0.0.1:%u/", world->server.port);
  options.url = url;
  world->request = orr_http_start(world->client, &options, on_done, world);
  orr_http_watch(world->request, on_notice);
}

static void turn(struct world *world, uint64_t since_us) {
  assert_true(orr_clock_mono_us() - since_us < DEADLINE_US);
  uv_run(&world->loop, UV_RUN_ONCE);
}

static void a_reader_that_takes_nothing_holds_a_bounded_buffer(void **state) {
  (void)state;
  struct world world;
  struct orr_buf out = ORR_BUF_INIT;
  world_open(&world, true);
  start(&world, (struct orr_http_options){.method = "GET", .stream = true});
  uint64_t since_us = orr_clock_mono_us();
  while (orr_http_counters(world.request).pauses_in == 0) turn(&world, since_us);
  for (int i = 0; i < 50; i++) uv_run(&world.loop, UV_RUN_ONCE); // it stays there
  struct orr_http_head head;
  assert_true(orr_http_head(world.request, &head));
  assert_int_equal(head.http_status, 200);
  assert_true(orr_http_counters(world.request).received <= HELD_BYTES_MAX);
  assert_true(atomic_load(&world.server.moved) < BODY_BYTES); // the server waits
  size_t taken = 0;
  while (world.request != NULL) {
    taken += orr_http_take(world.request, &out);
    assert_true(out.len <= HELD_BYTES_MAX);
    orr_buf_clear(&out);
    turn(&world, since_us);
  }
  assert_int_equal(world.status, ORR_OK);
  assert_int_equal(taken + world.rest, BODY_BYTES);
  assert_true(world.counters.held_in_max <= HELD_BYTES_MAX);
  assert_true(world.notices > 0);
  orr_buf_free(&out);
  world_close(&world);
}

static void a_server_that_takes_nothing_fills_a_bounded_buffer(void **state) {
  (void)state;
  static const uint8_t piece[65536];
  struct world world;
  world_open(&world, false);
  start(&world, (struct orr_http_options){
                    .method = "PUT", .upload = true, .upload_bytes = (int64_t)BODY_BYTES});
  uint64_t since_us = orr_clock_mono_us();
  size_t given = 0;
  for (int idle = 0; idle < 50;) { // until there was no room for fifty turns
    bool room = orr_http_has_room(world.request);
    idle = room ? 0 : idle + 1;
    if (room) orr_http_send(world.request, orr_slice_of(piece, sizeof piece));
    if (room) given += sizeof piece;
    turn(&world, since_us);
  }
  assert_true(given < BODY_BYTES);
  assert_true(orr_http_counters(world.request).held_out_max <= HELD_BYTES_MAX);
  atomic_store(&world.server.may_take, true);
  while (world.request != NULL) {
    while (given < BODY_BYTES && orr_http_has_room(world.request)) {
      orr_http_send(world.request, orr_slice_of(piece, sizeof piece));
      given += sizeof piece;
      if (given == BODY_BYTES) orr_http_send_end(world.request);
    }
    turn(&world, since_us);
  }
  assert_int_equal(world.status, ORR_OK);
  assert_int_equal(world.http_status, 200);
  assert_int_equal(world.counters.sent, BODY_BYTES);
  assert_int_equal(atomic_load(&world.server.moved), BODY_BYTES);
  assert_true(world.counters.held_out_max <= HELD_BYTES_MAX);
  world_close(&world);
}

static void a_writer_that_pauses_goes_on_when_it_sends_again(void **state) {
  (void)state;
  static const uint8_t piece[65536];
  struct world world;
  world_open(&world, false);
  atomic_store(&world.server.may_take, true);
  start(&world, (struct orr_http_options){
                    .method = "PUT", .upload = true, .upload_bytes = (int64_t)BODY_BYTES});
  uint64_t since_us = orr_clock_mono_us();
  for (size_t given = 0; given < BODY_BYTES; given += sizeof piece) {
    bool first = given < 3 * sizeof piece; // let it run dry a few times
    while (first && orr_http_counters(world.request).pauses_out <= given / sizeof piece)
      turn(&world, since_us);
    while (!orr_http_has_room(world.request)) turn(&world, since_us);
    orr_http_send(world.request, orr_slice_of(piece, sizeof piece));
  }
  orr_http_send_end(world.request);
  while (world.request != NULL) turn(&world, since_us);
  assert_int_equal(world.http_status, 200);
  assert_true(world.counters.pauses_out >= 3);
  world_close(&world);
}

static void a_silent_server_is_given_up_after_the_idle_time(void **state) {
  (void)state;
  struct world world;
  world_open(&world, false); // never answers, takes nothing
  start(&world, (struct orr_http_options){.method = "GET", .stream = true, .idle_timeout_ms = 1000});
  uint64_t since_us = orr_clock_mono_us();
  while (world.request != NULL) turn(&world, since_us);
  assert_int_equal(world.status, ORR_ERR_TIMEOUT);
  atomic_store(&world.server.may_take, true);
  world_close(&world);
}

static void a_server_that_waits_for_us_is_not_idle(void **state) {
  (void)state;
  struct world world;
  world_open(&world, true);
  start(&world, (struct orr_http_options){.method = "GET", .stream = true, .idle_timeout_ms = 1000});
  uint64_t since_us = orr_clock_mono_us();
  while (orr_clock_mono_us() - since_us < 2500000) turn(&world, since_us); // twice the idle time, and more
  assert_non_null(world.request);
  struct orr_buf out = ORR_BUF_INIT;
  while (world.request != NULL) {
    orr_http_take(world.request, &out);
    orr_buf_clear(&out);
    turn(&world, since_us);
  }
  assert_int_equal(world.status, ORR_OK);
  orr_buf_free(&out);
  world_close(&world);
}

static void a_stream_is_cancelled_in_mid_air(void **state) {
  (void)state;
  struct world world;
  world_open(&world, true);
  start(&world, (struct orr_http_options){.method = "GET", .stream = true});
  uint64_t since_us = orr_clock_mono_us();
  while (orr_http_counters(world.request).pauses_in == 0) turn(&world, since_us);
  orr_http_cancel(world.request);
  int notices = world.notices;
  for (int i = 0; i < 10; i++) uv_run(&world.loop, UV_RUN_ONCE);
  assert_int_equal(world.notices, notices);
  world_close(&world);
}

static void guard_refuses_before_a_connection_and_proxies_at_all(void **state) {
  (void)state;
  struct world world;
  world_open(&world, true);
  start(&world, (struct orr_http_options){.method = "GET", .guard = true});
  uint64_t since_us = orr_clock_mono_us();
  while (world.request != NULL) turn(&world, since_us);
  assert_int_equal(world.status, ORR_ERR_INVALID);
  assert_int_equal(atomic_load(&world.server.moved), 0);
  start(&world, (struct orr_http_options){.method = "GET", .guard = true, .proxy = "http://127.0.0.1:1"});
  while (world.request != NULL) turn(&world, since_us);
  assert_int_equal(world.status, ORR_ERR_INVALID);
  start(&world, (struct orr_http_options){.method = "GET", .stream = true}); // lets the server's thread end
  while (orr_http_counters(world.request).pauses_in == 0) turn(&world, since_us);
  orr_http_cancel(world.request);
  world_close(&world);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_reader_that_takes_nothing_holds_a_bounded_buffer),
      cmocka_unit_test(a_server_that_takes_nothing_fills_a_bounded_buffer),
      cmocka_unit_test(a_writer_that_pauses_goes_on_when_it_sends_again),
      cmocka_unit_test(a_silent_server_is_given_up_after_the_idle_time),
      cmocka_unit_test(a_server_that_waits_for_us_is_not_idle),
      cmocka_unit_test(a_stream_is_cancelled_in_mid_air),
      cmocka_unit_test(guard_refuses_before_a_connection_and_proxies_at_all),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
