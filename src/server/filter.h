// SPDX-License-Identifier: MIT
// The request filter: pure functions over a parsed head, run before anything looks at a request. What it lets
// through has one valid Host, at most one Content-Length and no Transfer-Encoding, a known method, a decoded
// path without empty, dot or control segments, and, if it may change something, does not come from a foreign
// page. No socket, clock, Lua or allocation: fuzzed by tests/fuzz/fuzz_http_filter.c.
#pragma once

#include "base/buf.h"
#include "base/limits.h"

enum orr_method {
  ORR_GET, ORR_HEAD, ORR_POST, ORR_PUT, ORR_PATCH, ORR_DELETE,
  ORR_METHOD_COUNT
};
const char *orr_method_text(enum orr_method method);
bool orr_method_parse(struct orr_slice text, enum orr_method *method);
static inline bool orr_method_safe(enum orr_method method) {
  return method == ORR_GET || method == ORR_HEAD;
}

#define ORR_HTTP_HEADERS_MAX 63u // civetweb drops what is beyond 64 in silence: one less is certain

struct orr_header {
  const char *name, *value; // NUL-terminated, borrowed
};
struct orr_head { // as it came, borrowed
  const char *method;
  const char *uri;     // raw path, without the query
  const char *query;   // raw, or NULL
  const char *version; // "1.1"
  const struct orr_header *headers;
  size_t headers_len;
  bool clean_lines;    // every line ended in CRLF, nothing was folded
};

struct orr_request_line { // what passed
  enum orr_method method;
  const char *query;      // borrowed, "" when none
  const char *host;       // borrowed
  uint64_t body_bytes;
  size_t path_len;
  char path[ORR_HTTP_URL_BYTES_MAX + 1]; // decoded, valid UTF-8, begins with '/'
};

struct orr_refusal {
  int status;         // 400, 403, 405, 411, 413, 414, 415, 417, 431, 501, 505
  const char *detail; // a sentence, static
  bool close;         // the connection cannot be trusted any more
};

// `hosts`: names accepted besides loopback ones, separated by commas, or NULL. True if it may go on.
bool orr_filter_check(const struct orr_head *head, const char *hosts, struct orr_request_line *out,
                      struct orr_refusal *refusal);
// Value of the only header of that name; NULL if absent. Names are compared without case.
const char *orr_head_value(const struct orr_head *head, const char *name);
size_t orr_head_count(const struct orr_head *head, const char *name);
// Parts of the filter, for tests and the listener.
bool orr_host_allowed(const char *host, const char *hosts); // "localhost:8080", "127.0.0.1", "[::1]"
bool orr_loopback_name(struct orr_slice name);              // without a port
// Decodes %XX and checks. 0, or the status to refuse with; *detail says why.
int orr_path_decode(const char *raw, char *out, size_t out_size, size_t *out_len, const char **detail);
