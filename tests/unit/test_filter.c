// SPDX-License-Identifier: MIT
// The request filter lets through only what is plain, and says why it refuses the rest.
#include "server/filter.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

struct ask {
  const char *method, *uri, *query, *version;
  struct orr_header headers[80];
  size_t len;
  bool unclean;
};

static struct ask get(const char *uri) {
  return (struct ask){.method = "GET", .uri = uri, .version = "1.1", .headers = {{"Host", "localhost:8080"}}, .len = 1};
}
static struct ask post(const char *uri, const char *length) {
  struct ask ask = get(uri);
  ask.method = "POST";
  ask.headers[ask.len++] = (struct orr_header){"Content-Length", length};
  ask.headers[ask.len++] = (struct orr_header){"Content-Type", "application/json"};
  return ask;
}
static struct ask with(struct ask ask, const char *name, const char *value) {
  ask.headers[ask.len++] = (struct orr_header){name, value};
  return ask;
}

static struct orr_request_line line;
static struct orr_refusal refusal;
static int check(struct ask ask, const char *hosts) { // 0: it may go on
  struct orr_head head = {ask.method, ask.uri, ask.query, ask.version, ask.headers, ask.len, !ask.unclean};
  memset(&refusal, 0, sizeof(refusal));
  if (orr_filter_check(&head, hosts, &line, &refusal)) return 0;
  assert_non_null(refusal.detail);
  return refusal.status;
}

static void a_plain_request_passes_with_its_path_decoded(void **state) {
  (void)state;
  assert_int_equal(check(get("/api/pipelines/a%20b"), NULL), 0);
  assert_string_equal(line.path, "/api/pipelines/a b");
  assert_int_equal(line.method, ORR_GET);
  assert_int_equal(check(post("/api/pipelines/x/execute", "2"), NULL), 0);
  assert_int_equal(line.body_bytes, 2);
  assert_int_equal(check(get("/"), NULL), 0);
}

static void exactly_one_host_that_is_ours_is_needed(void **state) {
  (void)state;
  struct ask none = get("/");
  none.len = 0;
  assert_int_equal(check(none, NULL), 400);
  assert_int_equal(check(with(get("/"), "host", "localhost"), NULL), 400);
  static const char *const good[] = {"localhost", "LOCALHOST:1", "127.0.0.1", "127.0.0.1:8080", "127.9.9.9", "[::1]", "[::1]:80"};
  static const char *const bad[] = {"", "evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "127.0.0.256", "1.127.0.0",
                                    "127.0.0", "localhost:", "localhost:x", "localhost:123456", "[::2]", "[::1", "[::1]x", "0.0.0.0",
                                    "user@localhost", "localhost:80:80", "127..0.1", "127.0.0.1.", "0177.0.0.1", "128.0.0.1"};
  for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
    if (!orr_host_allowed(good[i], NULL)) fail_msg("%s was refused", good[i]);
  for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
    if (orr_host_allowed(bad[i], NULL)) fail_msg("%s was let through", bad[i]);
}

static void configured_hosts_are_accepted_by_their_whole_name(void **state) {
  (void)state;
  assert_true(orr_host_allowed("orrery.example:443", "a.example, orrery.example"));
  assert_true(orr_host_allowed("A.EXAMPLE", "a.example,orrery.example"));
  assert_false(orr_host_allowed("example", "a.example,orrery.example"));
  assert_false(orr_host_allowed("a.example.org", "a.example,orrery.example"));
  assert_false(orr_host_allowed("", ",,"));
}

static void ambiguous_framing_is_refused_and_the_connection_closed(void **state) {
  (void)state;
  assert_int_equal(check(with(post("/x", "2"), "Transfer-Encoding", "chunked"), NULL), 400);
  assert_true(refusal.close);
  assert_int_equal(check(with(get("/x"), "Transfer-Encoding", "chunked"), NULL), 411);
  assert_int_equal(check(with(post("/x", "2"), "content-length", "2"), NULL), 400);
  static const char *const lengths[] = {"", "+2", "-2", "2a", " 2", "2, 2", "0x2", "99999999999999999999999"};
  for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) assert_int_equal(check(post("/x", lengths[i]), NULL), 400);
  struct ask folded = get("/x");
  folded.unclean = true;
  assert_int_equal(check(folded, NULL), 400);
  assert_int_equal(check(with(get("/x"), "Na me", "1"), NULL), 400);
  assert_int_equal(check(with(get("/x"), "Name", "a\x01"), NULL), 400);
  struct ask old = get("/x");
  old.version = "0.9";
  assert_int_equal(check(old, NULL), 505);
}

static void too_much_is_refused(void **state) {
  (void)state;
  assert_int_equal(check(post("/x", "17825793"), NULL), 413);
  assert_int_equal(check(post("/x", "17825792"), NULL), 0);
  static char uri[ORR_HTTP_URL_BYTES_MAX + 8];
  memset(uri, 'a', sizeof(uri) - 1);
  uri[0] = '/';
  assert_int_equal(check(get(uri), NULL), 414);
  uri[ORR_HTTP_URL_BYTES_MAX - 1] = 0;
  assert_int_equal(check(get(uri), NULL), 0);
  struct ask many = get("/x");
  while (many.len < 64) many = with(many, "X-More", "1");
  assert_int_equal(check(many, NULL), 431);
}

static void odd_paths_are_refused(void **state) {
  (void)state;
  static const char *const bad[] = {"", "*", "http://localhost/", "x", "/a//b", "/a/./b", "/a/../b", "/..", "/%2e%2e/x", "/a/%2E", "/a%00", "/a%2fb",
                                    "/a%2Fb", "/a%5cb", "/a\\b", "/a%0d", "/a%0ab", "/a%7f", "/a%", "/a%4", "/a%zz", "/a b", "/\x80", "/%ff", "/%c0%af",
                                    "//", "//api"};
  for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
    if (check(get(bad[i]), NULL) != 400) fail_msg("%s gave %d", bad[i], refusal.status);
  static const char *const good[] = {"/a/", "/a.b", "/...", "/.hidden", "/%C3%A4", "/a:b@c"};
  for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
    if (check(get(good[i]), NULL) != 0) fail_msg("%s gave %d", good[i], refusal.status);
  struct ask ask = get("/a");
  ask.query = "x=%00";
  assert_int_equal(check(ask, NULL), 400);
  ask.query = "x=a\tb";
  assert_int_equal(check(ask, NULL), 400);
  ask.query = "x=%2f%5c&y=1";
  assert_int_equal(check(ask, NULL), 0);
}

static void only_known_methods_pass(void **state) {
  (void)state;
  static const char *const bad[] = {"OPTIONS", "TRACE", "CONNECT", "get", "PROPFIND", ""};
  for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
    struct ask ask = get("/x");
    ask.method = bad[i];
    assert_int_equal(check(ask, NULL), 405);
  }
  struct ask ask = get("/x");
  ask = with(ask, "Content-Length", "3");
  assert_int_equal(check(ask, NULL), 400);
}

static void a_foreign_page_cannot_write(void **state) {
  (void)state;
  assert_int_equal(check(with(post("/x", "2"), "Origin", "http://evil.example"), NULL), 403);
  assert_int_equal(check(with(post("/x", "2"), "Origin", "null"), NULL), 403);
  assert_int_equal(check(with(post("/x", "2"), "Origin", "http://localhost:9999"), NULL), 403);
  assert_int_equal(check(with(post("/x", "2"), "Origin", "http://localhost:8080.evil.example"), NULL), 403);
  assert_int_equal(check(with(post("/x", "2"), "Sec-Fetch-Site", "cross-site"), NULL), 403);
  assert_int_equal(check(with(post("/x", "2"), "Sec-Fetch-Site", "same-site"), NULL), 403);
  assert_int_equal(check(with(post("/x", "2"), "Origin", "http://localhost:8080"), NULL), 0);
  assert_int_equal(check(with(post("/x", "2"), "Sec-Fetch-Site", "same-origin"), NULL), 0);
  assert_int_equal(check(with(get("/x"), "Origin", "http://evil.example"), NULL), 0); // reading: the browser hides it
}

static void a_body_must_be_json_exactly(void **state) {
  (void)state;
  static const char *const bad[] = {"text/plain", "application/x-www-form-urlencoded", "application/jsonx", "application/json, text/plain",
                                    "multipart/form-data", ""};
  for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
    struct ask ask = post("/x", "2");
    ask.headers[2].value = bad[i];
    assert_int_equal(check(ask, NULL), 415);
  }
  struct ask ask = post("/x", "2");
  ask.len = 2;
  assert_int_equal(check(ask, NULL), 415);
  ask = post("/x", "0");
  ask.len = 2;
  assert_int_equal(check(ask, NULL), 0); // no body, no type needed
  assert_int_equal(check(with(post("/x", "2"), "Expect", "something"), NULL), 417);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_plain_request_passes_with_its_path_decoded),
      cmocka_unit_test(exactly_one_host_that_is_ours_is_needed),
      cmocka_unit_test(configured_hosts_are_accepted_by_their_whole_name),
      cmocka_unit_test(ambiguous_framing_is_refused_and_the_connection_closed),
      cmocka_unit_test(too_much_is_refused),
      cmocka_unit_test(odd_paths_are_refused),
      cmocka_unit_test(only_known_methods_pass),
      cmocka_unit_test(a_foreign_page_cannot_write),
      cmocka_unit_test(a_body_must_be_json_exactly),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
