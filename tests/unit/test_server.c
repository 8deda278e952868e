// SPDX-License-Identifier: MIT
// The HTTP door over real sockets, without an engine: what civetweb lets in, how it answers, how it stops.
#include "server/server.h"

#include "base/clock.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

static struct orr_server *server;
static int port;
static bool is_ready = true;

static enum orr_status app_query(void *context, const char *what, struct orr_buf *out) {
  (void)context;
  assert_string_equal(what, "ready");
  orr_buf_text(out, is_ready ? "{\"ready\":true}" : "{\"ready\":false,\"reason\":\"disk\"}");
  return ORR_OK;
}

static int start(void **state) {
  (void)state;
  char message[256];
  struct orr_server_options options = {.listen = "127.0.0.1:0", .app_query = app_query};
  if (orr_server_start(&options, &server, message, sizeof(message)) != ORR_OK) fail_msg("%s", message);
  port = atoi(strrchr(orr_server_url(server), ':') + 1);
  assert_true(port > 0);
  return 0;
}
static int stop(void **state) {
  (void)state;
  orr_server_stop(server);
  return 0;
}

static int dial(void) {
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr = {htonl(INADDR_LOOPBACK)}};
  assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof(to)), 0);
  return fd;
}
static void say(int fd, const char *text) {
  assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL), (ssize_t)strlen(text));
}
// Reads until `until` has been seen, the server closes, or 5 s passed.
static const char *hear(int fd, const char *until) {
  static char text[65536];
  size_t len = 0;
  uint64_t deadline_ms = orr_clock_now().mono_ms + 5000;
  for (;;) {
    text[len] = 0;
    if (until != NULL && strstr(text, until) != NULL) return text;
    struct pollfd poll_fd = {.fd = fd, .events = POLLIN};
    if (orr_clock_now().mono_ms > deadline_ms) fail_msg("no answer in time, so far: %s", text);
    if (poll(&poll_fd, 1, 100) <= 0) continue;
    ssize_t n = recv(fd, text + len, sizeof(text) - 1 - len, 0);
    if (n <= 0) return text;
    len += (size_t)n;
  }
}
static int once(const char *request) { // status of one request on a connection of its own
  int fd = dial();
  say(fd, request);
  const char *answer = hear(fd, "\r\n\r\n");
  int status = strncmp(answer, "HTTP/1.1 ", 9) == 0 ? atoi(answer + 9) : 0;
  close(fd);
  return status;
}

static void health_and_readiness_are_answered(void **state) {
  (void)state;
  assert_int_equal(once("GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"), 200);
  assert_int_equal(once("GET /readyz HTTP/1.1\r\nHost: localhost\r\n\r\n"), 200);
  is_ready = false;
  assert_int_equal(once("GET /readyz HTTP/1.1\r\nHost: localhost\r\n\r\n"), 503);
  is_ready = true;
}

static void every_answer_carries_security_headers_and_no_cors(void **state) {
  (void)state;
  int fd = dial();
  say(fd, "GET /nope HTTP/1.1\r\nHost: localhost\r\nOrigin: http://evil.example\r\nConnection: close\r\n\r\n");
  const char *answer = hear(fd, NULL);
  assert_non_null(strstr(answer, "404 Not Found"));
  assert_non_null(strstr(answer, "X-Content-Type-Options: nosniff"));
  assert_non_null(strstr(answer, "Content-Security-Policy: default-src 'none'"));
  assert_non_null(strstr(answer, "application/problem+json"));
  assert_null(strstr(answer, "Access-Control"));
  close(fd);
}

static void a_connection_serves_many_requests(void **state) {
  (void)state;
  int fd = dial();
  for (int i = 0; i < 50; i++) {
    say(fd, "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert_non_null(strstr(hear(fd, "{\"ok\":true}"), "Connection: keep-alive"));
  }
  say(fd, "HEAD /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
  const char *answer = hear(fd, NULL);
  assert_non_null(strstr(answer, "Content-Length: 11"));
  assert_null(strstr(answer, "{\"ok\":true}"));
  close(fd);
}

static void smuggling_and_odd_heads_are_refused(void **state) {
  (void)state;
  assert_int_equal(once("GET /healthz HTTP/1.1\r\n\r\n"), 400);
  assert_int_equal(once("GET /healthz HTTP/1.1\r\nHost: evil.example\r\n\r\n"), 400);
  assert_int_equal(once("GET /healthz HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n\r\n"), 400);
  assert_int_equal(once("POST /healthz HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"), 400);
  assert_int_equal(once("POST /healthz HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabc"), 400);
  assert_int_equal(once("POST /healthz HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3, 3\r\n\r\nabc"), 400);
  assert_int_equal(once("POST /healthz HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"), 411);
  assert_int_equal(once("GET /healthz HTTP/1.1\r\nHost: localhost\r\nX-A: 1\r\n folded\r\n\r\n"), 400);
  assert_int_equal(once("GET /healthz HTTP/1.1\nHost: localhost\n\n"), 400);
  assert_int_equal(once("GET /healthz HTTP/1.1\r\nHost: localhost\nX-A: 1\r\n\r\n"), 400);
  assert_int_equal(once("GET /healthz HTTP/1.1\r\nHost : localhost\r\n\r\n"), 400);
  assert_int_equal(once("GET /healthz%00x HTTP/1.1\r\nHost: localhost\r\n\r\n"), 400);
  assert_int_equal(once("GET /api%2fruns HTTP/1.1\r\nHost: localhost\r\n\r\n"), 400);
  assert_int_equal(once("GET /../healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"), 400);
  assert_int_not_equal(once("GET * HTTP/1.1\r\nHost: localhost\r\n\r\n"), 200); // civetweb just closes
  assert_int_not_equal(once("OPTIONS * HTTP/1.1\r\nHost: localhost\r\n\r\n"), 200);
  assert_int_equal(once("OPTIONS /api/runs HTTP/1.1\r\nHost: localhost\r\nOrigin: http://evil.example\r\n\r\n"), 405);
  assert_int_equal(once("BREW /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n") / 100, 4);
  assert_int_equal(once("POST /healthz HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n"), 405);
  assert_int_equal(once("GET /healthz/ HTTP/1.1\r\nHost: localhost\r\n\r\n"), 404);
  assert_int_not_equal(once("GET http://localhost/healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"), 200);
  assert_int_equal(once("\x16\x03\x01\x02\r\n\r\n") / 100, 4);
}

static void what_follows_a_refused_request_is_not_read_as_a_request(void **state) {
  (void)state;
  int fd = dial();
  say(fd, "POST /healthz HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
          "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n");
  const char *answer = hear(fd, NULL);
  assert_non_null(strstr(answer, "400"));
  assert_null(strstr(answer, "{\"ok\":true}"));
  close(fd);
}

static void an_oversized_head_is_refused(void **state) {
  (void)state;
  static char request[20000];
  int len = snprintf(request, sizeof(request), "GET /healthz HTTP/1.1\r\nHost: localhost\r\nX-Long: ");
  memset(request + len, 'a', 17000);
  memcpy(request + len + 17000, "\r\n\r\n", 5);
  int status = once(request);
  assert_true(status == 413 || status == 431 || status == 400);
  char *end = request + snprintf(request, sizeof(request), "GET /healthz HTTP/1.1\r\nHost: localhost\r\n");
  for (int i = 0; i < 70; i++) end += sprintf(end, "X-%d: 1\r\n", i);
  memcpy(end, "\r\n", 3);
  assert_int_equal(once(request), 431);
}

static void a_head_that_does_not_come_is_not_waited_for(void **state) {
  (void)state;
  int fd = dial();
  say(fd, "GET /healthz HT");
  uint64_t begin_ms = orr_clock_now().mono_ms;
  (void)hear(fd, NULL); // until the server closes
  assert_true(orr_clock_now().mono_ms - begin_ms < 5000);
  close(fd);
}

static void a_body_is_asked_for_and_read_whole(void **state) {
  (void)state;
  int fd = dial();
  say(fd, "POST /readyz HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n");
  assert_non_null(strstr(hear(fd, "\r\n\r\n"), "100 Continue"));
  say(fd, "[");
  say(fd, "1]");
  say(fd, " ");
  assert_non_null(strstr(hear(fd, "\r\n\r\n"), "405 Method Not Allowed"));
  assert_int_equal(once("GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"), 200);
  close(fd);
}

static void without_an_engine_work_is_refused_with_retry_after(void **state) {
  (void)state;
  int fd = dial();
  say(fd, "POST /api/pipelines/x/execute HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n");
  const char *answer = hear(fd, "\r\n\r\n");
  assert_non_null(strstr(answer, "503"));
  assert_non_null(strstr(answer, "Retry-After: 1"));
  close(fd);
  assert_int_equal(once("GET /api/runs HTTP/1.1\r\nHost: localhost\r\n\r\n"), 503);
}

static void only_loopback_and_free_ports_are_listened_on(void **state) {
  (void)state;
  static const char *const bad[] = {"0.0.0.0:0", "192.168.1.1:0", "example.com:8080", "*:0", "localhost", "localhost:", "x", "127.0.0.1:99999", "[::1]:0"};
  char message[256], taken[32];
  struct orr_server *second = NULL;
  struct orr_server_options options = {0};
  for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
    options.listen = bad[i];
    assert_int_equal(orr_server_start(&options, &second, message, sizeof(message)), ORR_ERR_INVALID);
    assert_true(strlen(message) > 10);
  }
  snprintf(taken, sizeof(taken), "127.0.0.1:%d", port);
  options.listen = taken;
  assert_int_equal(orr_server_start(&options, &second, message, sizeof(message)), ORR_ERR_BUSY);
  assert_non_null(strstr(message, taken));
}

static void stopping_does_not_wait_for_idle_connections(void **state) {
  (void)state;
  char message[256];
  struct orr_server *other = NULL;
  struct orr_server_options options = {.listen = "localhost:0"};
  assert_int_equal(orr_server_start(&options, &other, message, sizeof(message)), ORR_OK);
  int kept = port;
  port = atoi(strrchr(orr_server_url(other), ':') + 1);
  int fd = dial();
  say(fd, "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n");
  (void)hear(fd, "{\"ok\":true}");
  uint64_t begin_ms = orr_clock_now().mono_ms;
  orr_server_stop(other);
  print_message("stopped in %d ms\n", (int)(orr_clock_now().mono_ms - begin_ms));
  assert_true(orr_clock_now().mono_ms - begin_ms < 10000); // the idle connection would be kept for 15 s
  close(fd);
  port = kept;
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(health_and_readiness_are_answered),
      cmocka_unit_test(every_answer_carries_security_headers_and_no_cors),
      cmocka_unit_test(a_connection_serves_many_requests),
      cmocka_unit_test(smuggling_and_odd_heads_are_refused),
      cmocka_unit_test(what_follows_a_refused_request_is_not_read_as_a_request),
      cmocka_unit_test(an_oversized_head_is_refused),
      cmocka_unit_test(a_head_that_does_not_come_is_not_waited_for),
      cmocka_unit_test(a_body_is_asked_for_and_read_whole),
      cmocka_unit_test(without_an_engine_work_is_refused_with_retry_after),
      cmocka_unit_test(only_loopback_and_free_ports_are_listened_on),
      cmocka_unit_test(stopping_does_not_wait_for_idle_connections),
  };
  return cmocka_run_group_tests(tests, start, stop);
}
