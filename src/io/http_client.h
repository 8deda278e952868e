// SPDX-License-Identifier: MIT
// HTTP client: libcurl's multi interface on a worker's uv loop. libcurl is opened with dlopen at the first
// request, because loading it costs more time and memory than the rest of an idle engine. Only http and
// https, no proxy, netrc or cookies from the environment, body bounded, at most 10 redirects, NOSIGNAL.
// One client per worker; its connections are kept alive between requests. Foreign library: libcurl.
#pragma once

#include "base/buf.h"
#include "base/status.h"

#include <uv.h>

struct orr_http_client;
struct orr_http_client *orr_http_client_new(uv_loop_t *loop);
// What is still open gets `done` with ORR_ERR_CANCELLED from inside this call; then run the loop.
void orr_http_client_free(struct orr_http_client *client);

struct orr_http_options { // borrowed until the start returns
  const char *method;     // "GET"
  const char *url;
  const char *const *headers; // NULL-terminated "Name: value"; checked for CR, LF, NUL
  struct orr_slice body;
  bool has_body;
  uint64_t timeout_ms;    // whole request; 0: 30 s
  uint64_t connect_timeout_ms; // 0: 10 s
  uint32_t redirects_max; // 0: none followed
  size_t body_bytes_max;  // of the answer; 0: ORR_OUTPUT_BYTES_MAX
};
struct orr_http_result {
  enum orr_status status; // ORR_OK: an answer of any status code; TIMEOUT, LIMIT, CANCELLED, INVALID, IO
  // "connect", "resolve", "timeout", "tls", "too_large", "redirects", "encoding", "invalid_url", "invalid_header",
  // "invalid_method", "cancelled", "libcurl", "io"
  char code[24];
  char message[256];
  long http_status;
  char *url;              // effective; freed by the client after the callback
  struct orr_buf headers; // "name: value\n" lines of the last answer, names lower-case
  struct orr_buf body;    // taken over by the callback (reset it to keep it)
  double seconds;
};
struct orr_http_request;
// `done` is called exactly once unless the request is cancelled, never from inside this call; the request is gone
// once it returns.
struct orr_http_request *orr_http_start(struct orr_http_client *client, const struct orr_http_options *options,
                                        void (*done)(void *context, struct orr_http_result *result),
                                        void *context);
void orr_http_cancel(struct orr_http_request *request); // done is not called any more
