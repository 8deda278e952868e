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

// Cookies shared by the requests that name it, on one client's thread. Counted: requests hold it, too.
struct orr_http_jar;
struct orr_http_jar *orr_http_jar_new(const char **message); // NULL and *message (static): no libcurl
void orr_http_jar_unref(struct orr_http_jar *jar);

enum orr_http_version {
  ORR_HTTP_VERSION_ANY,     // 2 where TLS agrees on it, else 1.1
  ORR_HTTP_VERSION_1_1,
  ORR_HTTP_VERSION_2,       // as ANY, and a stream may use it, too
  ORR_HTTP_VERSION_2_PRIOR, // 2 without asking, also in clear text; a connection for each request
};

#define ORR_HTTP_STREAM_BYTES_MAX ((size_t)256 * 1024) // held of a stream, each way; beyond it the peer waits

struct orr_http_options { // borrowed until the start returns
  const char *method;     // "GET"
  const char *url;
  const char *const *headers; // NULL-terminated "Name: value"; checked for CR, LF, NUL
  struct orr_slice body;
  bool has_body;
  uint64_t timeout_ms;    // whole request; 0: 30 s, for streams and uploads none
  uint64_t connect_timeout_ms; // 0: 10 s
  uint64_t idle_timeout_ms;    // ends it when less than bytes_per_s_min came or went for so long; 0: streams and
                               // uploads 60 s, others none. Does not run while our own side makes the peer wait
  uint32_t bytes_per_s_min;    // 0: 1
  uint32_t redirects_max; // 0: none followed
  uint64_t body_bytes_max;  // of the answer; 0: ORR_OUTPUT_BYTES_MAX, for streams none
  enum orr_http_version version;
  bool guard;             // only public addresses, on every hop; else code "guarded". Not together with a proxy
  const char *proxy;      // "http://…", "https://…", "socks5h://…"; NULL: none
  const char *ca_file;    // PEM, in place of the system's
  struct orr_http_jar *jar;
  bool stream;            // the answer's body comes through orr_http_take
  bool upload;            // the body comes through orr_http_send
  int64_t upload_bytes;   // how much that will be; -1: chunked
};
struct orr_http_result {
  enum orr_status status; // ORR_OK: an answer of any status code; TIMEOUT, LIMIT, CANCELLED, INVALID, IO
  // "connect", "resolve", "timeout", "tls", "too_large", "redirects", "encoding", "invalid_url", "invalid_header",
  // "invalid_method", "cancelled", "guarded", "proxy", "rewind", "libcurl", "io"
  char code[24];
  char message[256];
  long http_status;
  bool head_known;        // an answer came, to which a redirect does not lead further; perhaps its body broke off
  int http_version;       // 10, 11, 20; 0: no answer
  char *url;              // effective; freed by the client after the callback
  struct orr_buf headers; // "name: value\n" lines of the last answer, names lower-case
  struct orr_buf body;    // taken over by the callback (reset it to keep it); of a stream: what was not yet taken
  double seconds;
};
struct orr_http_request;
// `done` is called exactly once unless the request is cancelled, never from inside this call; the request is gone
// once it returns.
struct orr_http_request *orr_http_start(struct orr_http_client *client, const struct orr_http_options *options,
                                        void (*done)(void *context, struct orr_http_result *result),
                                        void *context);
void orr_http_cancel(struct orr_http_request *request); // done is not called any more

// --- streams: all of these only before `done` was called -----------------------------------------------------

// `notice` is called, never from inside another call, when the answer's head is there, when bytes came, and when there is
// room for more to send: look which. Set it right after the start.
void orr_http_watch(struct orr_http_request *request, void (*notice)(void *context));
struct orr_http_head {
  long http_status;
  const char *url;          // the last three are valid until the loop runs again
  struct orr_slice headers;
};
bool orr_http_head(struct orr_http_request *request, struct orr_http_head *head); // false: not there yet
// Moves what came to `out` (appended) and lets the peer go on. Returns the number of bytes, perhaps 0.
size_t orr_http_take(struct orr_http_request *request, struct orr_buf *out);
bool orr_http_has_room(const struct orr_http_request *request);
// At most 64 KiB, and only when there is room.
void orr_http_send(struct orr_http_request *request, struct orr_slice bytes);
void orr_http_send_end(struct orr_http_request *request); // the body is complete

struct orr_http_counters { // for tests of back-pressure
  uint64_t received, sent;         // bytes of bodies that crossed our buffers
  size_t held_in_max, held_out_max; // most that the buffers held
  uint32_t pauses_in, pauses_out;
};
struct orr_http_counters orr_http_counters(const struct orr_http_request *request);
