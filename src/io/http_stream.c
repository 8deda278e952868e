// SPDX-License-Identifier: MIT
// What flows through a request: the answer's head and body, the body to be sent. Invariant: a stream
// holds at most ORR_HTTP_STREAM_BYTES_MAX and one piece each way; beyond that libcurl is paused,
// stops reading the socket, and TCP makes the peer wait. Thread: the client's loop. Must not know the
// multi handle.
#include "base/check.h"
#include "io/http_curl.h"

#include <ctype.h>
#include <stdlib.h>
#include <strings.h>

#define HEADERS_BYTES_MAX ((size_t)256 * 1024)
#define SEND_BYTES_MAX ((size_t)64 * 1024)

// --- the answer's head -----------------------------------------------------------------------------

static void head_begin(struct orr_http_request *request, const char *line, size_t len) {
  orr_buf_clear(&request->result.headers);
  const char *space = memchr(line, ' ', len);
  request->head_status = space != NULL ? strtol(space, NULL, 10) : 0; // the line ends in CR LF
  request->has_location = false;
  request->guarded = false; // this hop was reached
}

// Another answer follows a 1xx, and a redirect that libcurl goes after.
static void head_end(struct orr_http_request *request) {
  bool moves = request->head_status >= 300 && request->head_status < 400 && request->follows &&
               request->has_location;
  if (request->head_status < 200 || moves) return;
  request->head_known = true;
  orr__http_notice(request);
}

// A status line begins another answer (after a redirect or a 100): its headers replace the earlier
// ones.
size_t orr__http_header_take(char *data, size_t one, size_t len, void *context) {
  struct orr_http_request *request = context;
  struct orr_buf *headers = &request->result.headers;
  (void)one;
  if (len >= 5 && memcmp(data, "HTTP/", 5) == 0) {
    head_begin(request, data, len);
    return len;
  }
  const char *colon = memchr(data, ':', len);
  if (colon == NULL) {
    if (len > 0 && (data[0] == '\r' || data[0] == '\n')) head_end(request);
    return len;
  }
  if (headers->len + len > HEADERS_BYTES_MAX) {
    request->over_bound = true;
    return CURL_WRITEFUNC_ERROR;
  }
  const char *value = colon + 1, *end = data + len;
  while (value < end && (*value == ' ' || *value == '\t')) value++;
  while (end > value && (end[-1] == '\r' || end[-1] == '\n' || end[-1] == ' ' || end[-1] == '\t'))
    end--;
  if (colon - data == 8 && strncasecmp(data, "location", 8) == 0) request->has_location = true;
  for (const char *at = data; at < colon; at++)
    orr_buf_u8(headers, (uint8_t)tolower((unsigned char)*at));
  orr_buf_text(headers, ": ");
  orr_buf_append(headers, value, (size_t)(end - value));
  orr_buf_u8(headers, '\n');
  return len;
}

bool orr_http_head(struct orr_http_request *request, struct orr_http_head *head) {
  if (!request->head_known || request->easy == NULL) return false;
  char *url = NULL;
  request->curl->easy_getinfo(request->easy, CURLINFO_EFFECTIVE_URL, &url);
  head->http_status = request->head_status;
  head->url = url;
  head->headers = orr_buf_slice(&request->result.headers);
  return true;
}

// --- the answer's body -----------------------------------------------------------------------------

size_t orr__http_body_take(char *data, size_t one, size_t len, void *context) {
  struct orr_http_request *request = context;
  struct orr_buf *body = &request->result.body;
  (void)one; // always 1
  if (request->streams && body->len > 0 && len > ORR_HTTP_STREAM_BYTES_MAX - body->len) {
    request->paused_in = true;
    request->counters.pauses_in++;
    return CURL_WRITEFUNC_PAUSE; // the same bytes come again
  }
  if (len > request->body_bytes_max - request->counters.received) {
    request->over_bound = true;
    return CURL_WRITEFUNC_ERROR;
  }
  orr_buf_append(body, data, len);
  request->counters.received += len;
  if (!request->streams) return len;
  if (body->len > request->counters.held_in_max) request->counters.held_in_max = body->len;
  orr__http_notice(request);
  return len;
}

static void unpause(struct orr_http_request *request) {
  if (!request->in_multi) return;
  int waits = (request->paused_in ? CURLPAUSE_RECV : 0) | (request->paused_out ? CURLPAUSE_SEND : 0);
  request->curl->easy_pause(request->easy, waits); // may call body_take
}

size_t orr_http_take(struct orr_http_request *request, struct orr_buf *out) {
  orr_assert(request->streams);
  struct orr_buf *body = &request->result.body;
  size_t len = body->len;
  orr_buf_slice_append(out, orr_buf_slice(body));
  orr_buf_clear(body);
  if (request->paused_in) {
    request->paused_in = false;
    unpause(request);
  }
  return len;
}

// --- the body to be sent ---------------------------------------------------------------------------

static size_t held_out(const struct orr_http_request *request) {
  return request->up.len - request->up_at;
}

size_t orr__http_body_give(char *out, size_t one, size_t room, void *context) {
  struct orr_http_request *request = context;
  size_t len = held_out(request);
  room *= one;
  if (len == 0 && request->up_ended) return 0;
  if (len == 0) {
    request->paused_out = true;
    request->counters.pauses_out++;
    orr__http_notice(request);
    return CURL_READFUNC_PAUSE;
  }
  if (len > room) len = room;
  memcpy(out, request->up.data + request->up_at, len);
  request->up_at += len;
  request->counters.sent += len;
  if (request->up_at == request->up.len) {
    orr_buf_clear(&request->up);
    request->up_at = 0;
  }
  if (held_out(request) < ORR_HTTP_STREAM_BYTES_MAX / 2) orr__http_notice(request);
  return len;
}

bool orr_http_has_room(const struct orr_http_request *request) {
  return held_out(request) < ORR_HTTP_STREAM_BYTES_MAX;
}

static void feed(struct orr_http_request *request) {
  if (!request->paused_out) return;
  request->paused_out = false;
  unpause(request);
}

// Moves what is left to the front, so that the memory stays bounded, too.
static void compact(struct orr_http_request *request) {
  if (request->up_at == 0) return;
  size_t left = held_out(request);
  memmove(request->up.data, request->up.data + request->up_at, left);
  request->up.len = left;
  request->up_at = 0;
}

void orr_http_send(struct orr_http_request *request, struct orr_slice bytes) {
  orr_assert(request->uploads && !request->up_ended);
  orr_assert(bytes.len <= SEND_BYTES_MAX && orr_http_has_room(request));
  if (request->up_at >= ORR_HTTP_STREAM_BYTES_MAX / 2) compact(request);
  orr_buf_slice_append(&request->up, bytes);
  if (held_out(request) > request->counters.held_out_max)
    request->counters.held_out_max = held_out(request);
  if (bytes.len > 0) feed(request);
}

void orr_http_send_end(struct orr_http_request *request) {
  orr_assert(request->uploads);
  request->up_ended = true;
  feed(request);
}

struct orr_http_counters orr_http_counters(const struct orr_http_request *request) {
  return request->counters;
}
