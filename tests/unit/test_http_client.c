// SPDX-License-Identifier: MIT
// The HTTP client against a small server of plain sockets that this test runs on threads of its
// own.
#include "base/clock.h"
#include "base/limits.h"
#include "io/http_client.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#define DEADLINE_MS 20000u
#define CONNECTIONS_MAX 64

// --- the server ----------------------------------------------------------------------------------

struct server {
  int fd;
  uint16_t port;
  pthread_t accepting;
  pthread_t threads[CONNECTIONS_MAX];
  int fds[CONNECTIONS_MAX]; // closed by server_stop alone
  atomic_int connections, requests, flaky, hanging;
};
struct connection {
  struct server *server;
  int fd;
};

static bool send_all(int fd, const void *data, size_t len) {
  for (size_t at = 0; at < len;) {
    ssize_t n = send(fd, (const char *)data + at, len - at, MSG_NOSIGNAL);
    if (n <= 0) return false;
    at += (size_t)n;
  }
  return true;
}
static bool answer(int fd, const char *status, const char *headers, const void *body, size_t len) {
  char head[1024];
  int n = snprintf(head, sizeof head, "HTTP/1.1 %s\r\nContent-Length: %zu\r\n%s\r\n", status, len,
                   headers);
  return send_all(fd, head, (size_t)n) && send_all(fd, body, len);
}
static bool answer_text(int fd, const char *status, const char *headers, const char *text) {
  return answer(fd, status, headers, text, strlen(text));
}

static bool answer_endless(int fd) {
  static const char zeros[65536];
  if (!send_all(fd, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n", 38)) return false;
  while (send_all(fd, zeros, sizeof zeros)) {}
  return false;
}

// `head` is the request's head; `body` what followed.
static bool serve(struct connection *connection, const char *head, struct orr_slice body) {
  static const uint8_t zipped[] = {0x1f, 0x8b, 8, 0, 0,    0,    0,    0,    0, 3, 0xcb, 0x48, 0xcd,
                                   0xc9, 0xc9, 7, 0, 0x86, 0xa6, 0x10, 0x36, 5, 0, 0,    0};
  int fd = connection->fd;
  const char *path = strchr(head, ' ') + 1;
  size_t len = strcspn(path, " ");
#define PATH_IS(text) (len == sizeof(text) - 1 && memcmp(path, text, len) == 0)
  if (PATH_IS("/hello")) return answer_text(fd, "200 OK", "X-Thing:   Some Value \r\n", "hello");
  if (PATH_IS("/zipped"))
    return answer(fd, "200 OK", "Content-Encoding: gzip\r\n", zipped, sizeof zipped);
  if (PATH_IS("/moved"))
    return answer_text(fd, "302 Found", "Location: /hello\r\nX-First: 1\r\n", "elsewhere");
  if (PATH_IS("/loop")) return answer_text(fd, "302 Found", "Location: /loop\r\n", "");
  if (PATH_IS("/to-file"))
    return answer_text(fd, "302 Found", "Location: file:///etc/passwd\r\n", "");
  if (PATH_IS("/endless")) return answer_endless(fd);
  if (PATH_IS("/announced"))
    return send_all(fd, "HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n", 46);
  if (PATH_IS("/nothing")) return false;
  if (PATH_IS("/cut"))
    return send_all(fd, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf", 43) && false;
  if (PATH_IS("/flaky")) {
    bool fails = atomic_fetch_add(&connection->server->flaky, 1) < 2;
    return fails ? answer_text(fd, "503 Service Unavailable", "Retry-After: 1\r\n", "busy")
                 : answer_text(fd, "200 OK", "", "well");
  }
  if (PATH_IS("/hang")) {
    char byte;
    atomic_fetch_add(&connection->server->hanging, 1);
    while (recv(fd, &byte, 1, 0) > 0) {} // until the client or the test lets go
    return false;
  }
  if (PATH_IS("/echo")) {
    struct orr_buf text = ORR_BUF_INIT;
    orr_buf_text(&text, head);
    orr_buf_slice_append(&text, body);
    bool ok = strncmp(head, "HEAD", 4) == 0 ? answer(fd, "200 OK", "X-Method: HEAD\r\n", "", 0)
                                            : answer(fd, "200 OK", "", text.data, text.len);
    orr_buf_free(&text);
    return ok;
  }
  return answer_text(fd, "404 Not Found", "", "no such page");
}

// Reads one request into `in` and serves it; false ends the connection.
static bool serve_one(struct connection *connection, struct orr_buf *in) {
  char *end;
  while (in->len == 0 || (end = strstr(orr_buf_cstr(in), "\r\n\r\n")) == NULL) {
    orr_buf_reserve(in, 65536);
    ssize_t n = recv(connection->fd, in->data + in->len, 65535, 0);
    if (n <= 0) return false;
    in->len += (size_t)n;
  }
  size_t head_len = (size_t)(end - (char *)in->data) + 4, body_len = 0;
  char *head = orr_slice_strdup(orr_slice_of(in->data, head_len));
  const char *length = strcasestr(head, "\r\ncontent-length:");
  if (length != NULL) body_len = strtoul(length + 17, NULL, 10);
  bool ok = true;
  while (ok && in->len < head_len + body_len) {
    orr_buf_reserve(in, 65536);
    ssize_t n = recv(connection->fd, in->data + in->len, 65535, 0);
    ok = n > 0;
    if (ok) in->len += (size_t)n;
  }
  atomic_fetch_add(&connection->server->requests, 1);
  ok = ok && serve(connection, head, orr_slice_of(in->data + head_len, body_len));
  orr_buf_clear(in);
  free(head);
  return ok;
}

static void *connection_main(void *argument) {
  struct connection *connection = argument;
  struct orr_buf in = ORR_BUF_INIT;
  while (serve_one(connection, &in)) {}
  shutdown(connection->fd, SHUT_RDWR);
  orr_buf_free(&in);
  free(connection);
  return NULL;
}

static void *accept_main(void *argument) {
  struct server *server = argument;
  for (;;) {
    int fd = accept(server->fd, NULL, NULL);
    if (fd < 0) return NULL;
    int index = atomic_load(&server->connections);
    if (index == CONNECTIONS_MAX) abort();
    struct connection *connection = malloc(sizeof *connection);
    *connection = (struct connection){server, fd};
    server->fds[index] = fd;
    pthread_create(&server->threads[index], NULL, connection_main, connection);
    atomic_fetch_add(&server->connections, 1);
  }
}

static int loopback_listen(uint16_t *port) {
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  socklen_t len = sizeof address;
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
  assert_int_equal(listen(fd, 64), 0);
  assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &len), 0);
  *port = ntohs(address.sin_port);
  return fd;
}

static struct server *server_start(void) {
  struct server *server = orr_alloc(sizeof *server);
  server->fd = loopback_listen(&server->port);
  pthread_create(&server->accepting, NULL, accept_main, server);
  return server;
}
static void server_stop(struct server *server) {
  shutdown(server->fd, SHUT_RDWR);
  pthread_join(server->accepting, NULL);
  int count = atomic_load(&server->connections);
  for (int i = 0; i < count; i++) {
    shutdown(server->fds[i], SHUT_RDWR);
    pthread_join(server->threads[i], NULL);
    close(server->fds[i]);
  }
  close(server->fd);
  free(server);
}

// --- the client ----------------------------------------------------------------------------------

struct world {
  struct server *server;
  struct orr_http_client *client; // NULL: freed by the test
  uv_loop_t loop;
};

static int setup(void **state) {
  struct world *world = orr_alloc(sizeof *world);
  world->server = server_start();
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
  server_stop(world->server);
  free(world);
  return 0;
}

struct seen {
  int done;
  struct orr_http_result result; // url is a copy
};
static void on_done(void *context, struct orr_http_result *result) {
  struct seen *seen = context;
  seen->done++;
  seen->result = *result;
  seen->result.url = result->url != NULL ? orr_strdup(result->url) : NULL;
  result->body = result->headers = ORR_BUF_INIT;
}
static void seen_free(struct seen *seen) {
  free(seen->result.url);
  orr_buf_free(&seen->result.body);
  orr_buf_free(&seen->result.headers);
}

static void tick(uv_timer_t *timer) { (void)timer; }

static void run_until(uv_loop_t *loop, const int *counter, int want) {
  uint64_t deadline_us = orr_clock_mono_us() + DEADLINE_MS * 1000u;
  uv_timer_t timer;
  uv_timer_init(loop, &timer);
  uv_timer_start(&timer, tick, 20, 20);
  while (*counter < want && orr_clock_mono_us() < deadline_us) uv_run(loop, UV_RUN_ONCE);
  uv_close((uv_handle_t *)&timer, NULL);
  uv_run(loop, UV_RUN_NOWAIT);
  assert_int_equal(*counter, want);
}

static const char *url_of(struct world *world, const char *path) {
  static char url[256];
  snprintf(url, sizeof url, "http://127.0.0.1:%u%s", world->server->port, path);
  return url;
}

static void run(struct world *world, struct orr_http_options options, const char *path,
                struct seen *seen) {
  if (options.url == NULL) options.url = url_of(world, path);
  orr_http_start(world->client, &options, on_done, seen);
  assert_int_equal(seen->done, 0);
  run_until(&world->loop, &seen->done, 1);
}
static void get(struct world *world, const char *path, struct seen *seen) {
  run(world, (struct orr_http_options){.method = "GET"}, path, seen);
}

static void assert_body(struct seen *seen, const char *text) {
  assert_string_equal(seen->result.body.len > 0 ? orr_buf_cstr(&seen->result.body) : "", text);
}

static void a_get_gives_status_headers_and_body(void **state) {
  struct seen seen = {0};
  get(*state, "/hello", &seen);
  assert_int_equal(seen.result.status, ORR_OK);
  assert_int_equal(seen.result.http_status, 200);
  assert_body(&seen, "hello");
  assert_string_equal(orr_buf_cstr(&seen.result.headers),
                      "content-length: 5\nx-thing: Some Value\n");
  assert_string_equal(seen.result.url, url_of(*state, "/hello"));
  assert_true(seen.result.seconds > 0);
  seen_free(&seen);
}

static void an_error_status_is_an_answer_not_a_failure(void **state) {
  struct seen missing = {0};
  get(*state, "/no-such-page", &missing);
  assert_int_equal(missing.result.status, ORR_OK);
  assert_int_equal(missing.result.http_status, 404);
  assert_body(&missing, "no such page");
  seen_free(&missing);
  const long want[] = {503, 503, 200};
  for (int i = 0; i < 3; i++) {
    struct seen seen = {0};
    get(*state, "/flaky", &seen);
    assert_int_equal(seen.result.status, ORR_OK);
    assert_int_equal(seen.result.http_status, want[i]);
    assert_body(&seen, i < 2 ? "busy" : "well");
    seen_free(&seen);
  }
}

static void a_body_and_headers_are_sent_as_given(void **state) {
  const char *headers[] = {"Content-Type: application/json",
                           "X-Empty:", "Authorization: Bearer a:b", NULL};
  struct seen seen = {0};
  run(*state,
      (struct orr_http_options){.method = "POST",
                                .headers = headers,
                                .has_body = true,
                                .body = ORR_SLICE_LITERAL("{\"a\":1}")},
      "/echo", &seen);
  const char *text = orr_buf_cstr(&seen.result.body);
  assert_int_equal(strncmp(text, "POST /echo HTTP/1.1\r\n", 21), 0);
  assert_non_null(strstr(text, "\r\nContent-Type: application/json\r\n"));
  assert_non_null(strstr(text, "\r\nX-Empty:\r\n"));
  assert_non_null(strstr(text, "\r\nAuthorization: Bearer a:b\r\n"));
  assert_non_null(strstr(text, "\r\n\r\n{\"a\":1}"));
  assert_null(strstr(text, "Expect:"));
  seen_free(&seen);
}

static void every_method_goes_out_under_its_name(void **state) {
  const struct {
    const char *method, *body;
  } cases[] = {{"GET", NULL},    {"POST", NULL},  {"PUT", "x"},     {"PATCH", "x"},
               {"DELETE", NULL}, {"DELETE", "x"}, {"OPTIONS", NULL}};
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    struct seen seen = {0};
    run(*state,
        (struct orr_http_options){.method = cases[i].method,
                                  .has_body = cases[i].body != NULL,
                                  .body = orr_slice_text(cases[i].body)},
        "/echo", &seen);
    const char *text = orr_buf_cstr(&seen.result.body);
    assert_int_equal(strncmp(text, cases[i].method, strlen(cases[i].method)), 0);
    assert_null(strstr(text, "urlencoded"));
    assert_string_equal(strstr(text, "\r\n\r\n") + 4, cases[i].body != NULL ? cases[i].body : "");
    seen_free(&seen);
  }
  struct seen head = {0};
  run(*state, (struct orr_http_options){.method = "HEAD"}, "/echo", &head);
  assert_int_equal(head.result.http_status, 200);
  assert_non_null(strstr(orr_buf_cstr(&head.result.headers), "x-method: HEAD\n"));
  seen_free(&head);
}

static void a_large_body_arrives_whole_without_waiting_for_100_continue(void **state) {
  struct orr_buf body = ORR_BUF_INIT;
  for (int i = 0; i < 300000; i++) orr_buf_printf(&body, "%d,", i);
  struct seen seen = {0};
  run(*state,
      (struct orr_http_options){.method = "PUT", .has_body = true, .body = orr_buf_slice(&body)},
      "/echo", &seen);
  const uint8_t *at = (const uint8_t *)strstr(orr_buf_cstr(&seen.result.body), "\r\n\r\n") + 4;
  size_t len = (size_t)(seen.result.body.data + seen.result.body.len - at);
  assert_true(orr_slice_equal(orr_slice_of(at, len), orr_buf_slice(&body)));
  orr_buf_free(&body);
  seen_free(&seen);
}

static void a_compressed_answer_is_unpacked(void **state) {
  struct seen seen = {0};
  get(*state, "/zipped", &seen);
  assert_int_equal(seen.result.status, ORR_OK);
  assert_body(&seen, "hello");
  seen_free(&seen);
}

static void a_refused_connection_is_named(void **state) {
  uint16_t port;
  close(loopback_listen(&port));
  char url[64];
  snprintf(url, sizeof url, "http://127.0.0.1:%u/", port);
  struct seen seen = {0};
  run(*state, (struct orr_http_options){.method = "GET", .url = url}, NULL, &seen);
  assert_int_equal(seen.result.status, ORR_ERR_IO);
  assert_string_equal(seen.result.code, "connect");
  assert_true(strlen(seen.result.message) > 0);
  seen_free(&seen);
}

static void a_name_that_does_not_resolve_is_named(void **state) {
  struct seen seen = {0};
  run(*state, (struct orr_http_options){.method = "GET", .url = "http://no-such-host.invalid/"},
      NULL, &seen);
  assert_int_equal(seen.result.status, ORR_ERR_IO);
  assert_string_equal(seen.result.code, "resolve");
  seen_free(&seen);
}

static void a_request_without_an_answer_times_out(void **state) {
  struct seen seen = {0};
  uint64_t from_us = orr_clock_mono_us();
  run(*state, (struct orr_http_options){.method = "GET", .timeout_ms = 100}, "/hang", &seen);
  assert_int_equal(seen.result.status, ORR_ERR_TIMEOUT);
  assert_string_equal(seen.result.code, "timeout");
  assert_true(orr_clock_mono_us() - from_us >= 100 * 1000);
  seen_free(&seen);
}

static void an_answer_over_the_bound_is_refused_announced_or_not(void **state) {
  const char *paths[] = {"/endless", "/announced"};
  for (int i = 0; i < 2; i++) {
    struct seen seen = {0};
    run(*state, (struct orr_http_options){.method = "GET", .body_bytes_max = 100000}, paths[i],
        &seen);
    assert_int_equal(seen.result.status, ORR_ERR_LIMIT);
    assert_string_equal(seen.result.code, "too_large");
    assert_string_equal(seen.result.message, "the answer is larger than 100000 bytes");
    assert_true(seen.result.body.len <= 100000);
    seen_free(&seen);
  }
}

static void a_redirect_is_followed_only_when_allowed(void **state) {
  struct seen stays = {0}, follows = {0}, loops = {0};
  get(*state, "/moved", &stays);
  assert_int_equal(stays.result.http_status, 302);
  assert_body(&stays, "elsewhere");
  run(*state, (struct orr_http_options){.method = "GET", .redirects_max = 3}, "/moved", &follows);
  assert_int_equal(follows.result.http_status, 200);
  assert_body(&follows, "hello");
  assert_null(strstr(orr_buf_cstr(&follows.result.headers), "x-first"));
  assert_string_equal(follows.result.url, url_of(*state, "/hello"));
  run(*state, (struct orr_http_options){.method = "GET", .redirects_max = 3}, "/loop", &loops);
  assert_int_equal(loops.result.status, ORR_ERR_LIMIT);
  assert_string_equal(loops.result.code, "redirects");
  seen_free(&stays), seen_free(&follows), seen_free(&loops);
}

static void a_redirect_to_another_scheme_is_refused(void **state) {
  struct seen seen = {0};
  run(*state, (struct orr_http_options){.method = "GET", .redirects_max = 3}, "/to-file", &seen);
  assert_int_equal(seen.result.status, ORR_ERR_INVALID);
  assert_string_equal(seen.result.code, "invalid_url");
  assert_int_equal(seen.result.body.len, 0);
  seen_free(&seen);
}

static void a_broken_answer_is_an_error(void **state) {
  const char *paths[] = {"/nothing", "/cut"};
  for (int i = 0; i < 2; i++) {
    struct seen seen = {0};
    get(*state, paths[i], &seen);
    assert_int_equal(seen.result.status, ORR_ERR_IO);
    assert_string_equal(seen.result.code, "io");
    seen_free(&seen);
  }
}

static void urls_methods_and_headers_are_checked(void **state) {
  const char *urls[] = {"",           "ftp://127.0.0.1/",     "file:///etc/passwd",
                        "127.0.0.1/", "http://127.0.0.1/a b", "http://127.0.0.1/\r\nX: 1",
                        "http://"};
  for (size_t i = 0; i < sizeof urls / sizeof urls[0]; i++) {
    struct seen seen = {0};
    run(*state, (struct orr_http_options){.method = "GET", .url = urls[i]}, NULL, &seen);
    assert_int_equal(seen.result.status, ORR_ERR_INVALID);
    assert_string_equal(seen.result.code, "invalid_url");
    seen_free(&seen);
  }
  const char *bad[] = {"X: 1\r\nY: 2", "X: 1\nY: 2", "NoColon", ": empty", "Sp ace: 1", "X: \x01"};
  for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
    const char *headers[] = {"Fine: yes", bad[i], NULL};
    struct seen seen = {0};
    run(*state, (struct orr_http_options){.method = "GET", .headers = headers}, "/echo", &seen);
    assert_int_equal(seen.result.status, ORR_ERR_INVALID);
    assert_string_equal(seen.result.code, "invalid_header");
    seen_free(&seen);
  }
  struct seen seen = {0};
  run(*state, (struct orr_http_options){.method = "GET / HTTP/1.1\r\nX:"}, "/echo", &seen);
  assert_string_equal(seen.result.code, "invalid_method");
  seen_free(&seen);
  assert_int_equal(atomic_load(&((struct world *)*state)->server->requests), 0);
}

static void proxies_of_the_environment_are_ignored(void **state) {
  setenv("http_proxy", "http://127.0.0.1:1", 1);
  setenv("ALL_PROXY", "http://127.0.0.1:1", 1);
  struct seen seen = {0};
  get(*state, "/hello", &seen);
  unsetenv("http_proxy");
  unsetenv("ALL_PROXY");
  assert_int_equal(seen.result.status, ORR_OK);
  assert_body(&seen, "hello");
  seen_free(&seen);
}

static void connections_are_kept_between_requests(void **state) {
  struct world *world = *state;
  for (int i = 0; i < 20; i++) {
    struct seen seen = {0};
    get(world, "/hello", &seen);
    assert_int_equal(seen.result.http_status, 200);
    seen_free(&seen);
  }
  assert_int_equal(atomic_load(&world->server->requests), 20);
  assert_int_equal(atomic_load(&world->server->connections), 1);
}

static void many_requests_run_side_by_side(void **state) {
  struct world *world = *state;
  enum { COUNT = 40 };
  struct seen seen[COUNT] = {0};
  struct orr_http_options options = {.method = "GET", .url = url_of(world, "/hello")};
  for (int i = 0; i < COUNT; i++) orr_http_start(world->client, &options, on_done, &seen[i]);
  for (int i = 0; i < COUNT; i++) {
    run_until(&world->loop, &seen[i].done, 1);
    assert_body(&seen[i], "hello");
    seen_free(&seen[i]);
  }
}

static void a_cancelled_request_never_calls_back(void **state) {
  struct world *world = *state;
  struct seen early = {0}, flying = {0}, other = {0}, refused = {0};
  struct orr_http_options options = {.method = "GET", .url = url_of(world, "/hang")};
  orr_http_cancel(orr_http_start(world->client, &options, on_done, &early));
  struct orr_http_request *request = orr_http_start(world->client, &options, on_done, &flying);
  uint64_t deadline_us = orr_clock_mono_us() + DEADLINE_MS * 1000u;
  while (atomic_load(&world->server->hanging) == 0 && orr_clock_mono_us() < deadline_us)
    uv_run(&world->loop, UV_RUN_NOWAIT);
  assert_int_equal(atomic_load(&world->server->hanging), 1);
  orr_http_cancel(request);
  options.url = "gopher://x/"; // fails before it is sent: its callback is already due
  orr_http_cancel(orr_http_start(world->client, &options, on_done, &refused));
  get(world, "/hello", &other);
  uv_run(&world->loop, UV_RUN_DEFAULT); // nothing is left open
  assert_int_equal(early.done + flying.done + refused.done, 0);
  seen_free(&other);
}

static void freeing_the_client_ends_what_is_open_as_cancelled(void **state) {
  struct world *world = *state;
  struct seen seen[3] = {0};
  struct orr_http_options options = {.method = "GET", .url = url_of(world, "/hang")};
  for (int i = 0; i < 3; i++) orr_http_start(world->client, &options, on_done, &seen[i]);
  uv_run(&world->loop, UV_RUN_NOWAIT);
  orr_http_client_free(world->client);
  world->client = NULL;
  for (int i = 0; i < 3; i++) {
    assert_int_equal(seen[i].done, 1);
    assert_int_equal(seen[i].result.status, ORR_ERR_CANCELLED);
    assert_string_equal(seen[i].result.code, "cancelled");
    seen_free(&seen[i]);
  }
}

struct chain {
  struct world *world;
  int left, done;
};
static void chain_done(void *context, struct orr_http_result *result) {
  struct chain *chain = context;
  chain->done++;
  assert_int_equal(result->http_status, 200);
  if (--chain->left == 0) return;
  struct orr_http_options options = {.method = "GET", .url = url_of(chain->world, "/hello")};
  orr_http_start(chain->world->client, &options, chain_done, chain);
}
static void a_done_callback_may_start_the_next(void **state) {
  struct chain chain = {*state, 50, 0};
  struct orr_http_options options = {.method = "GET", .url = url_of(chain.world, "/hello")};
  orr_http_start(chain.world->client, &options, chain_done, &chain);
  run_until(&chain.world->loop, &chain.done, 50);
}

struct thread {
  struct world world; // loop closed by main: libuv closes descriptors behind TSan's back
  struct chain chain;
};
static void *thread_main(void *argument) {
  struct thread *thread = argument;
  char url[64];
  snprintf(url, sizeof url, "http://127.0.0.1:%u/hello", thread->world.server->port);
  struct orr_http_options options = {.method = "GET", .url = url};
  uv_loop_init(&thread->world.loop);
  thread->world.client = orr_http_client_new(&thread->world.loop);
  for (int i = 0; i < 20; i++) {
    thread->chain.left = 1;
    orr_http_start(thread->world.client, &options, chain_done, &thread->chain);
    uv_run(&thread->world.loop, UV_RUN_DEFAULT);
  }
  orr_http_client_free(thread->world.client);
  uv_run(&thread->world.loop, UV_RUN_DEFAULT);
  return NULL;
}
static void threads_use_clients_of_their_own(void **state) {
  struct world *world = *state;
  struct thread threads[3] = {0};
  pthread_t ids[3];
  for (int i = 0; i < 3; i++) {
    threads[i].world.server = world->server;
    pthread_create(&ids[i], NULL, thread_main, &threads[i]);
  }
  for (int i = 0; i < 3; i++) pthread_join(ids[i], NULL);
  for (int i = 0; i < 3; i++) {
    assert_int_equal(uv_loop_close(&threads[i].world.loop), 0);
    assert_int_equal(threads[i].chain.done, 20);
  }
}

int main(void) {
  signal(SIGPIPE, SIG_IGN); // as the engine does
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
  const struct CMUnitTest tests[] = {
      TEST(threads_use_clients_of_their_own), // first, so that they meet in opening libcurl
      TEST(a_get_gives_status_headers_and_body),
      TEST(an_error_status_is_an_answer_not_a_failure),
      TEST(a_body_and_headers_are_sent_as_given),
      TEST(every_method_goes_out_under_its_name),
      TEST(a_large_body_arrives_whole_without_waiting_for_100_continue),
      TEST(a_compressed_answer_is_unpacked),
      TEST(a_refused_connection_is_named),
      TEST(a_name_that_does_not_resolve_is_named),
      TEST(a_request_without_an_answer_times_out),
      TEST(an_answer_over_the_bound_is_refused_announced_or_not),
      TEST(a_redirect_is_followed_only_when_allowed),
      TEST(a_redirect_to_another_scheme_is_refused),
      TEST(a_broken_answer_is_an_error),
      TEST(urls_methods_and_headers_are_checked),
      TEST(proxies_of_the_environment_are_ignored),
      TEST(connections_are_kept_between_requests),
      TEST(many_requests_run_side_by_side),
      TEST(a_cancelled_request_never_calls_back),
      TEST(freeing_the_client_ends_what_is_open_as_cancelled),
      TEST(a_done_callback_may_start_the_next),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
