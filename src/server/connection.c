// SPDX-License-Identifier: MIT
// See connection.h. civetweb threads; everything that knows civetweb's connection is here. Foreign library:
// civetweb 1.15, whose parser leaves the head in one buffer with line ends overwritten by NULs: clean_lines
// depends on that (and fails closed).
#include "server/connection.h"

#include "base/check.h"
#include "base/clock.h"
#include "server/dispatch.h"

#include <civetweb.h>
#include <stdlib.h>
#include <string.h>

#define BODY_KEEP_BYTES (64 * ORR_KIB) // a thread's buffers beyond this are given back after a request
#define JOIN_BYTES (16 * ORR_KIB)      // bodies up to this go out in one write with their head

// --- the head ---------------------------------------------------------------------------------------------

// Every line must be followed by exactly CR LF and the next one, the last one by the empty line, and every name by
// its colon. civetweb would take a bare LF or a space there, and would drop everything from a folded line on.
static bool lines_clean(const struct mg_request_info *info) {
  if (info->num_headers == 0) return true; // no Host: refused anyway
  const char *at = info->http_version;
  for (int i = 0; i < info->num_headers; i++) {
    at += strlen(at);
    if (at[1] != 0 || at + 2 != info->http_headers[i].name) return false;
    const char *colon = at + 2 + strlen(info->http_headers[i].name); // overwritten by a NUL
    at = info->http_headers[i].value;
    if (at != colon + 1 && colon[1] == 0) return false; // that was a space, the colon came after it
  }
  at += strlen(at);
  return at[1] == 0 && at[2] == '\r';
}

static void read_head(const struct mg_request_info *info, struct orr_header *headers, struct orr_head *head) {
  int len = info->num_headers < MG_MAX_HEADERS ? info->num_headers : MG_MAX_HEADERS;
  for (int i = 0; i < len; i++)
    headers[i] = (struct orr_header){info->http_headers[i].name, info->http_headers[i].value};
  *head = (struct orr_head){
      .method = info->request_method != NULL ? info->request_method : "",
      .uri = info->request_uri,
      .query = info->query_string,
      .version = info->http_version,
      .headers = headers,
      .headers_len = (size_t)len,
      .clean_lines = lines_clean(info),
  };
}

// --- the body ---------------------------------------------------------------------------------------------

// civetweb restarts its timeout with every byte, so the watchdog ends a body that comes too slowly.
static bool read_body(struct mg_connection *connection, struct orr__http_thread *thread, uint64_t body_bytes) {
  uint64_t deadline_ms = orr_clock_now().mono_ms + ORR_HTTP_DEADLINE_MS;
  size_t want = (size_t)body_bytes, got = 0;
  orr_buf_clear(&thread->body);
  atomic_store(&thread->body_deadline_ms, deadline_ms);
  while (got < want) {
    size_t chunk = want - got < ORR_MIB ? want - got : ORR_MIB; // memory grows with what really came
    orr_buf_reserve(&thread->body, chunk);
    uint64_t before_ms = orr_clock_now().mono_ms;
    int n = mg_read(connection, thread->body.data + got, chunk);
    if (n > 0) got += (size_t)n, thread->body.len = got;
    uint64_t now_ms = orr_clock_now().mono_ms;
    if (n < 0 || now_ms >= deadline_ms) break;
    if (n == 0 && now_ms - before_ms < 500) break; // not a timeout: the client is gone
  }
  atomic_store(&thread->body_deadline_ms, 0);
  return got == want;
}

// --- the answer -------------------------------------------------------------------------------------------

// Goes on while the client takes something at least every ORR_HTTP_DEADLINE_MS.
static bool write_all(struct mg_connection *connection, struct orr_slice bytes) {
  uint64_t progress_ms = orr_clock_now().mono_ms;
  size_t sent = 0;
  while (sent < bytes.len) {
    size_t chunk = bytes.len - sent < ORR_MIB ? bytes.len - sent : ORR_MIB;
    uint64_t before_ms = orr_clock_now().mono_ms;
    int n = mg_write(connection, bytes.data + sent, chunk);
    uint64_t now_ms = orr_clock_now().mono_ms;
    if (n < 0 || (n == 0 && now_ms - before_ms < 500)) return false;
    if (n > 0) sent += (size_t)n, progress_ms = now_ms;
    if (n == 0 && now_ms - progress_ms > ORR_HTTP_DEADLINE_MS) return false;
  }
  return true;
}

static void send_answer(struct mg_connection *connection, struct orr__http_thread *thread, bool head_only, bool close) {
  struct orr_answer *answer = &thread->answer;
  bool bodyless = head_only || answer->status == 204 || answer->status == 304;
  orr_buf_clear(&thread->out);
  orr_answer_head(answer, close, &thread->out);
  bool joined = !bodyless && answer->body.len <= JOIN_BYTES;
  if (joined) orr_buf_slice_append(&thread->out, orr_buf_slice(&answer->body));
  bool sent = write_all(connection, orr_buf_slice(&thread->out));
  if (sent && !bodyless && !joined) sent = write_all(connection, orr_buf_slice(&answer->body));
  if (close || !sent) mg_disable_connection_keep_alive(connection);
}

static void trim(struct orr_buf *buf) {
  if (buf->cap > BODY_KEEP_BYTES) orr_buf_free(buf);
}

static void reset(struct orr__http_thread *thread) {
  trim(&thread->body);
  trim(&thread->out);
  trim(&thread->answer.body);
  orr_buf_clear(&thread->body);
  orr_buf_clear(&thread->answer.body);
  orr_buf_clear(&thread->answer.headers);
  thread->answer.status = 500;
  thread->answer.type = NULL;
}

// --- civetweb's callbacks ----------------------------------------------------------------------------------

static bool client_closes(const struct orr_head *head) {
  const char *wish = orr_head_value(head, "Connection");
  bool old = head->version != NULL && strcmp(head->version, "1.0") == 0;
  if (wish == NULL) return old;
  if (strcasestr(wish, "close") != NULL) return true;
  return old && strcasestr(wish, "keep-alive") == NULL;
}

static void serve(struct orr_server *server, struct mg_connection *connection, struct orr__http_thread *thread) {
  const struct mg_request_info *info = mg_get_request_info(connection);
  struct orr_header headers[MG_MAX_HEADERS];
  struct orr_head head;
  struct orr_request_line line;
  struct orr_refusal refusal;
  struct orr_answer *answer = &thread->answer;
  read_head(info, headers, &head);
  bool head_only = strcmp(head.method, "HEAD") == 0;
  if (!orr_filter_check(&head, server->hosts, &line, &refusal)) {
    if (refusal.status == 405) orr_buf_text(&answer->headers, "Allow: GET, HEAD, POST, PUT, PATCH, DELETE\r\n");
    orr_problem_answer(answer, refusal.status, refusal.detail, orr_slice_of(NULL, 0));
    send_answer(connection, thread, head_only, true);
    return;
  }
  if (line.body_bytes > 0) {
    if (orr_head_value(&head, "Expect") != NULL)
      (void)write_all(connection, ORR_SLICE_LITERAL("HTTP/1.1 100 Continue\r\n\r\n"));
    if (!read_body(connection, thread, line.body_bytes)) {
      orr_problem_answer(answer, 408, "the body did not arrive in time", orr_slice_of(NULL, 0));
      send_answer(connection, thread, head_only, true);
      return;
    }
  }
  struct orr_exchange exchange = {&head, &line, orr_buf_slice(&thread->body), answer};
  bool draining = atomic_load(&server->draining);
  orr_dispatch(&server->options, draining, &exchange);
  send_answer(connection, thread, head_only, draining || client_closes(&head));
}

int orr__connection_begin(struct mg_connection *connection) {
  struct orr_server *server = mg_get_user_context_data(connection);
  struct orr__http_thread *thread = mg_get_thread_pointer(connection);
  orr_assert(server != NULL && thread != NULL);
  reset(thread);
  atomic_store(&thread->remote_port, (uint32_t)mg_get_request_info(connection)->remote_port);
  serve(server, connection, thread);
  int status = thread->answer.status;
  atomic_store(&thread->remote_port, 0);
  reset(thread);
  return status;
}

int orr__connection_error(struct mg_connection *connection, int status, const char *text) {
  struct orr__http_thread *thread = mg_get_thread_pointer(connection);
  if (thread == NULL) return 1;
  reset(thread);
  orr_problem_answer(&thread->answer, status, text != NULL && text[0] != 0 ? text : "the request was not understood",
                     orr_slice_of(NULL, 0));
  send_answer(connection, thread, false, true);
  return 0;
}
