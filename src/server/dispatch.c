// SPDX-License-Identifier: MIT
// See dispatch.h.
#include "server/dispatch.h"

#include "base/check.h"
#include "base/json.h"
#include "io/host.h"
#include "script/generation.h"
#include "script/worker.h"
#include "server/await.h"
#include "server/execute.h"
#include "server/router.h"

#include <stdlib.h>

static const struct orr_slice none = {NULL, 0};

static void unavailable(struct orr_answer *answer, const char *detail) {
  orr_buf_text(&answer->headers, "Retry-After: 1\r\n");
  orr_problem_answer(answer, 503, detail, none);
}

// --- health ---------------------------------------------------------------------------------------------

static void health(struct orr_answer *answer) {
  answer->status = 200;
  orr_buf_text(&answer->body, "{\"ok\":true}");
}

static void ready(const struct orr_server_options *options, bool draining, struct orr_answer *answer) {
  answer->status = 200;
  if (draining) {
    answer->status = 503;
    orr_buf_text(&answer->body, "{\"ready\":false,\"reason\":\"stopping\"}");
  } else if (options->app_query == NULL) {
    orr_buf_text(&answer->body, "{\"ready\":true}");
  } else if (options->app_query(options->app_context, "ready", &answer->body) != ORR_OK) {
    answer->status = 503;
    orr_buf_clear(&answer->body);
    orr_buf_text(&answer->body, "{\"ready\":false,\"reason\":\"no answer\"}");
  } else {
    struct orr_slice value = none;
    bool yes = orr_json_path(orr_buf_slice(&answer->body), ORR_SLICE_LITERAL("ready"), &value) == ORR_OK &&
               orr_slice_equal(value, ORR_SLICE_LITERAL("true"));
    if (!yes) answer->status = 503;
  }
  if (answer->status == 503) orr_buf_text(&answer->headers, "Retry-After: 1\r\n");
}

// --- Lua routes --------------------------------------------------------------------------------------------

static void object_member(struct orr_buf *out, struct orr_slice name, struct orr_slice value) {
  orr_json_comma(out);
  orr_json_string(out, name);
  orr_buf_u8(out, ':');
  orr_json_string(out, value);
}

static bool seen_before(const struct orr_head *head, size_t index) {
  return orr_head_value(head, head->headers[index].name) != head->headers[index].value;
}

static void lower_headers(const struct orr_head *head, struct orr_buf *out) {
  orr_buf_u8(out, '{');
  for (size_t i = 0; i < head->headers_len; i++) {
    char name[64];
    size_t len = strlen(head->headers[i].name);
    if (len >= sizeof(name) || seen_before(head, i)) continue; // the first of a repeated name
    for (size_t c = 0; c < len; c++) {
      char byte = head->headers[i].name[c];
      name[c] = byte >= 'A' && byte <= 'Z' ? (char)(byte + 32) : byte;
    }
    object_member(out, orr_slice_of(name, len), orr_slice_text(head->headers[i].value));
  }
  orr_buf_u8(out, '}');
}

static void params_object(const struct orr_match *match, struct orr_buf *out) {
  orr_buf_u8(out, '{');
  for (uint32_t i = 0; i < match->params_len; i++)
    object_member(out, match->params[i].name, match->params[i].value);
  orr_buf_u8(out, '}');
}

// True if the route set a Content-Type: it then stands among the headers and is taken out of them.
static bool own_type(struct orr_buf *headers, char type[128]) {
  static const char name[] = "content-type:";
  const size_t name_len = sizeof(name) - 1;
  for (size_t at = 0; at < headers->len;) {
    uint8_t *line = headers->data + at;
    uint8_t *end = memchr(line, '\n', headers->len - at);
    size_t len = end != NULL ? (size_t)(end - line) + 1 : headers->len - at;
    size_t same = 0;
    while (same < name_len && same < len && (line[same] | 0x20) == (name[same] | 0x20)) same++;
    if (same == name_len && len - same < 128) {
      size_t n = 0;
      for (size_t i = same; i < len; i++)
        if (line[i] != '\r' && line[i] != '\n' && (n > 0 || line[i] != ' ')) type[n++] = (char)line[i];
      type[n] = 0;
      memmove(line, line + len, headers->len - at - len);
      headers->len -= len;
      return n > 0;
    }
    at += len;
  }
  return false;
}

static const char *known_type(const char *type) { // static text: an answer borrows its type
  static const char *const types[] = {
      "application/json", "application/problem+json", "text/plain; charset=utf-8", "text/html; charset=utf-8",
      "text/csv; charset=utf-8", "application/octet-stream", "text/plain", "text/html", "text/csv",
      "application/x-ndjson", "application/xml"};
  for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++)
    if (strcmp(types[i], type) == 0) return types[i];
  return NULL;
}

static void take_answer(struct orr_request *request, struct orr_answer *answer) {
  char type[128];
  answer->status = request->status >= 200 && request->status <= 599 ? request->status : 500;
  answer->type = NULL;
  if (own_type(&request->answer_headers, type)) {
    answer->type = known_type(type);
    if (answer->type == NULL) { // keeps it among the headers; see orr_answer_head
      answer->type = "";
      orr_buf_printf(&answer->headers, "Content-Type: %s\r\n", type);
    }
  }
  orr_buf_slice_append(&answer->headers, orr_buf_slice(&request->answer_headers));
  orr_buf_slice_append(&answer->body, orr_buf_slice(&request->answer));
}

static void ask_lua(const struct orr_server_options *options, const struct orr_exchange *exchange,
                    const struct orr_match *match, struct orr_generation *generation, const char *path) {
  struct orr_answer *answer = exchange->answer;
  if (options->web == NULL) {
    unavailable(answer, "no worker serves routes here");
    return;
  }
  struct orr_request *request = orr_request_new();
  const struct orr_request_line *line = exchange->line;
  request->generation = match->project ? orr_generation_ref(generation) : NULL;
  request->script = match->script;
  // The loader counts a script's routes from 1 (generation.h), requests count from 0 (worker.h).
  orr_assert(!match->project || match->index > 0);
  request->route_index = match->project ? match->index - 1 : match->index;
  request->method = orr_strdup(orr_method_text(line->method == ORR_HEAD ? ORR_GET : line->method));
  request->path = orr_strdup(path);
  request->query = orr_strdup(line->query);
  params_object(match, &request->params);
  lower_headers(exchange->head, &request->headers);
  orr_buf_slice_append(&request->body, exchange->body);
  switch (orr_request_ask(options->web, request, ORR_HTTP_DEADLINE_MS)) {
  case ORR_OK: take_answer(request, answer); break;
  case ORR_ERR_TIMEOUT:
    orr_problem_answer(answer, 504, "the route did not answer within 30 s and was ended", none);
    break;
  case ORR_ERR_UNAVAILABLE:
  case ORR_ERR_BUSY:
  case ORR_ERR_LIMIT:
  case ORR_ERR_CANCELLED: unavailable(answer, "the worker for routes takes no requests now"); break;
  case ORR_ERR_INVALID:
  case ORR_ERR_NOT_FOUND:
  case ORR_ERR_CONFLICT:
  case ORR_ERR_IO:
  case ORR_ERR_CORRUPT: orr_problem_answer(answer, 500, "the route could not be asked", none); break;
  }
  orr_request_unref(request);
}

// --- execute -----------------------------------------------------------------------------------------------

static enum orr_status ask_host(void *context, struct orr_event *event, uint64_t timeout_ms,
                                struct orr_reply **reply) {
  return orr_host_ask(context, event, timeout_ms, reply);
}

static void unknown_pipeline(const struct orr_generation *generation, const char *name, struct orr_answer *answer) {
  struct orr_buf detail = ORR_BUF_INIT;
  const char *near = orr_generation_suggest(generation, name);
  orr_buf_printf(&detail, "there is no pipeline \"%s\"", name);
  if (near != NULL) orr_buf_printf(&detail, "; did you mean \"%s\"?", near);
  orr_problem_answer(answer, 404, orr_buf_cstr(&detail), none);
  orr_buf_free(&detail);
}

// The key's run exists already: its own picture is the answer, if the web worker can draw it.
static void known_run(const struct orr_server_options *options, const struct orr_exchange *exchange,
                      const struct orr_id *id) {
  struct orr_answer *answer = exchange->answer;
  struct orr_match match;
  char allow[64], path[64] = "/api/runs/";
  orr_id_text(id, path + 10);
  if (options->web == NULL) return;
  if (orr_router_match(NULL, 0, ORR_GET, orr_slice_text(path), &match, allow) != ORR_MATCHED) return;
  struct orr_answer picture = {0};
  struct orr_exchange inner = *exchange;
  inner.answer = &picture;
  inner.body = none;
  ask_lua(options, &inner, &match, NULL, path);
  if (picture.status == 200) {
    orr_buf_clear(&answer->body);
    orr_buf_slice_append(&answer->body, orr_buf_slice(&picture.body));
  }
  orr_buf_free(&picture.headers);
  orr_buf_free(&picture.body);
}

static void execute(const struct orr_server_options *options, const struct orr_exchange *exchange,
                    const struct orr_match *match, struct orr_generation *generation) {
  struct orr_answer *answer = exchange->answer;
  char name[ORR_NAME_BYTES_MAX + 1];
  struct orr_slice given = match->params[0].value;
  if (generation == NULL || options->host == NULL) {
    unavailable(answer, "the engine has no pipelines loaded");
    return;
  }
  struct orr_def *def = orr_generation_def(generation, given);
  if (def == NULL) {
    size_t len = given.len < sizeof(name) - 1 ? given.len : sizeof(name) - 1;
    memcpy(name, given.data, len);
    name[len] = 0;
    unknown_pipeline(generation, name, answer);
    return;
  }
  struct orr_execute call = {
      .def = def, .body = exchange->body, .timeout_ms = ORR_HTTP_DEADLINE_MS,
      .idempotency_key = orr_head_value(exchange->head, "Idempotency-Key"),
      .ask = ask_host, .ask_context = options->host,
  };
  bool existing = false;
  struct orr_id id;
  uint64_t wait_ms;
  if (orr_await_parse(exchange->line->query, &wait_ms) != ORR_OK) {
    orr_problem_answer(answer, 400, "wait takes a duration such as 30s", none);
    return;
  }
  orr_execute_answer(&call, answer, &existing, &id);
  if (answer->status == 202 && wait_ms > 0 && !existing) orr_await_answer(options->host, &id, wait_ms, answer);
  if (existing) {
    orr_buf_text(&answer->headers, "Idempotency-Replayed: true\r\n");
    known_run(options, exchange, &id);
  }
}

// --- the way through ---------------------------------------------------------------------------------------

static void no_path(struct orr_answer *answer, const char *path) {
  struct orr_buf detail = ORR_BUF_INIT;
  orr_buf_printf(&detail, "there is nothing at %s", path);
  const char *near = orr_router_suggest(orr_slice_text(path));
  if (near != NULL) orr_buf_printf(&detail, "; did you mean %s?", near);
  orr_problem_answer(answer, 404, orr_buf_cstr(&detail), none);
  orr_buf_free(&detail);
}

static void no_method(struct orr_answer *answer, const struct orr_request_line *line, const char *allow) {
  struct orr_buf detail = ORR_BUF_INIT;
  orr_buf_printf(&answer->headers, "Allow: %s\r\n", allow);
  orr_buf_printf(&detail, "%s is not possible at %s; it takes %s", orr_method_text(line->method), line->path, allow);
  orr_problem_answer(answer, 405, orr_buf_cstr(&detail), none);
  orr_buf_free(&detail);
}

void orr_dispatch(const struct orr_server_options *options, bool draining, const struct orr_exchange *exchange) {
  const struct orr_request_line *line = exchange->line;
  struct orr_answer *answer = exchange->answer;
  struct orr_generation *generation = options->code != NULL ? orr_code_current(options->code) : NULL;
  struct orr_match match;
  char allow[64];
  enum orr_match_result result =
      orr_router_match(generation != NULL ? generation->routes : NULL, generation != NULL ? generation->routes_len : 0,
                       line->method, orr_slice_of(line->path, line->path_len), &match, allow);
  if (result == ORR_NO_PATH) {
    no_path(answer, line->path);
  } else if (result == ORR_NO_METHOD) {
    no_method(answer, line, allow);
  } else {
    orr_assert(result == ORR_MATCHED);
    switch (match.target) {
    case ORR_TARGET_HEALTH: health(answer); break;
    case ORR_TARGET_READY: ready(options, draining, answer); break;
    case ORR_TARGET_EXECUTE:
      if (draining) unavailable(answer, "the engine is stopping");
      else execute(options, exchange, &match, generation);
      break;
    case ORR_TARGET_LUA:
      if (draining) unavailable(answer, "the engine is stopping");
      else ask_lua(options, exchange, &match, generation, line->path);
      break;
    }
  }
  if (generation != NULL) orr_generation_unref(generation);
}
