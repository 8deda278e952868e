// SPDX-License-Identifier: MIT
// See execute.h. The body is read once with the pull reader: no tree, and one copy of each input, into the blob
// that the run will keep.
#include "server/execute.h"

#include "base/check.h"
#include "base/json.h"
#include "base/limits.h"
#include "io/digest.h"
#include "io/schema.h"

#include <stdlib.h>

#define KEY_BYTES_MAX 255u

struct body { // slices into the request's body; data NULL: absent
  struct orr_slice input;
  struct orr_slice inputs;
  uint32_t inputs_len;
  char problem[160];
};

// --- the body -------------------------------------------------------------------------------------------

static bool bad(struct body *body, const char *text) {
  size_t len = strlen(text) < sizeof(body->problem) - 1 ? strlen(text) : sizeof(body->problem) - 1;
  memcpy(body->problem, text, len);
  body->problem[len] = 0;
  return false;
}

static bool not_json(struct body *body, const struct orr_json_reader *reader) {
  struct orr_buf text = ORR_BUF_INIT;
  orr_buf_printf(&text, "the body is not JSON: %s at byte %zu", reader->error, reader->offset);
  bad(body, orr_buf_cstr(&text));
  orr_buf_free(&text);
  return false;
}

static bool count_inputs(struct orr_json_reader *reader, struct body *body) {
  for (;;) {
    enum orr_json_type type = orr_json_next(reader);
    if (type == ORR_JSON_ARRAY_END) break;
    if (orr_json_skip(reader, type, NULL) != ORR_OK) return not_json(body, reader);
    body->inputs_len++;
  }
  if (body->inputs_len == 0) return bad(body, "\"inputs\" is empty");
  if (body->inputs_len > ORR_EXECUTE_BATCH_MAX) return bad(body, "\"inputs\" holds more than 1000 inputs");
  return true;
}

static bool read_member(struct orr_json_reader *reader, struct body *body) {
  bool one = orr_slice_equal(reader->text, ORR_SLICE_LITERAL("input"));
  bool many = orr_slice_equal(reader->text, ORR_SLICE_LITERAL("inputs"));
  if (!one && !many) return bad(body, "the body takes \"input\" or \"inputs\" and nothing else");
  if (body->input.data != NULL || body->inputs.data != NULL)
    return bad(body, "the body takes one \"input\" or one \"inputs\"");
  enum orr_json_type type = orr_json_next(reader);
  if (type == ORR_JSON_ERROR) return not_json(body, reader);
  const uint8_t *begin = reader->start + reader->offset;
  if (one) {
    if (orr_json_skip(reader, type, &body->input) != ORR_OK) return not_json(body, reader);
    return true;
  }
  if (type != ORR_JSON_ARRAY_BEGIN) return bad(body, "\"inputs\" must be a list");
  if (!count_inputs(reader, body)) return false;
  body->inputs = orr_slice_of(begin, (size_t)(reader->at - begin));
  return true;
}

static bool blank(struct orr_slice text) {
  for (size_t i = 0; i < text.len; i++)
    if (strchr(" \t\r\n", text.data[i]) == NULL || text.data[i] == 0) return false;
  return true;
}

static bool read_body(struct orr_slice text, struct body *body) {
  *body = (struct body){0};
  if (blank(text)) return true;
  struct orr_json_reader reader;
  orr_json_reader_init(&reader, text);
  enum orr_json_type type = orr_json_next(&reader);
  if (type == ORR_JSON_ERROR) return not_json(body, &reader);
  if (type != ORR_JSON_OBJECT_BEGIN) return bad(body, "the body must be an object: {\"input\": ...}");
  while ((type = orr_json_next(&reader)) == ORR_JSON_KEY)
    if (!read_member(&reader, body)) return false;
  if (type != ORR_JSON_OBJECT_END || orr_json_next(&reader) != ORR_JSON_END) return not_json(body, &reader);
  return true;
}

// --- inputs against the schema ------------------------------------------------------------------------------

struct inputs { // being filled; blobs are handed to the event
  const struct orr_def *def;
  struct orr_blob **blobs;
  uint32_t len;
  bool many;
  struct orr_buf scratch, problems;
};

static void refuse_input(const struct inputs *inputs, struct orr_answer *answer) {
  struct orr_slice first = orr_buf_slice(&inputs->problems), path = {0}, message = {0};
  struct orr_buf extra = ORR_BUF_INIT, detail = ORR_BUF_INIT;
  orr_buf_printf(&detail, "the input does not fit the schema of pipeline \"%s\"", inputs->def->name);
  if (orr_json_path(first, ORR_SLICE_LITERAL("1.message"), &message) == ORR_OK && message.len >= 2) {
    orr_buf_text(&detail, ": ");
    if (orr_json_path(first, ORR_SLICE_LITERAL("1.path"), &path) == ORR_OK && path.len > 2) {
      orr_json_unescape(&detail, orr_slice_of(path.data + 1, path.len - 2));
      orr_buf_u8(&detail, ' ');
    }
    orr_json_unescape(&detail, orr_slice_of(message.data + 1, message.len - 2));
  }
  if (inputs->many) orr_buf_printf(&extra, "\"index\":%u,", inputs->len); // place in "inputs", from 0
  orr_buf_text(&extra, "\"errors\":");
  orr_buf_slice_append(&extra, first);
  orr_problem_answer(answer, 422, orr_buf_cstr(&detail), orr_buf_slice(&extra));
  orr_buf_free(&extra);
  orr_buf_free(&detail);
}

static bool take_input(struct inputs *inputs, struct orr_slice input, struct orr_answer *answer) {
  if (input.len > ORR_INPUT_BYTES_MAX) {
    orr_problem_answer(answer, 413, "the input is larger than 16 MiB", orr_slice_of(NULL, 0));
    return false;
  }
  if (inputs->def->input_schema.len == 0) {
    inputs->blobs[inputs->len++] = orr_blob_new(input.len > 0 ? input : ORR_SLICE_LITERAL("{}"));
    return true;
  }
  orr_buf_clear(&inputs->scratch);
  orr_buf_clear(&inputs->problems);
  enum orr_status status =
      orr_schema_apply(inputs->def->input_schema, input, &inputs->scratch, &inputs->problems);
  if (status == ORR_OK) {
    inputs->blobs[inputs->len++] = orr_blob_new(orr_buf_slice(&inputs->scratch));
    return true;
  }
  if (status == ORR_ERR_INVALID && inputs->problems.len > 0) refuse_input(inputs, answer);
  else orr_problem_answer(answer, 500, "the pipeline's input schema cannot be applied", orr_slice_of(NULL, 0));
  return false;
}

static bool take_inputs(struct inputs *inputs, const struct body *body, struct orr_answer *answer) {
  if (!inputs->many) return take_input(inputs, body->input, answer);
  struct orr_json_reader reader;
  orr_json_reader_init(&reader, body->inputs);
  (void)orr_json_next(&reader);
  for (uint32_t i = 0; i < body->inputs_len; i++) {
    enum orr_json_type type = orr_json_next(&reader);
    struct orr_slice value = {0};
    enum orr_status status = orr_json_skip(&reader, type, &value);
    orr_assert(status == ORR_OK); // read_body has been here
    if (!take_input(inputs, value, answer)) return false;
  }
  return true;
}

// --- the event and its reply ----------------------------------------------------------------------------------

static bool key_valid(const char *key) {
  size_t len = strlen(key);
  if (len == 0 || len > KEY_BYTES_MAX) return false;
  for (size_t i = 0; i < len; i++)
    if (key[i] <= 0x20 || key[i] >= 0x7f) return false;
  return true;
}

static void digest_request(const struct orr_def *def, struct orr_slice body, struct orr_digest *digest) {
  struct orr_sha256 state;
  orr_sha256_init(&state);
  orr_sha256_update(&state, orr_slice_of(def->name, strlen(def->name) + 1));
  orr_sha256_update(&state, body);
  orr_sha256_final(&state, digest);
}

static struct orr_event *submit_event(const struct orr_execute *execute, struct inputs *inputs) {
  struct orr_event *event = orr_event_new(ORR_EVENT_SUBMIT);
  event->submit.def = orr_def_ref(execute->def);
  event->submit.inputs = inputs->blobs;
  event->submit.inputs_len = inputs->len;
  inputs->blobs = NULL;
  inputs->len = 0;
  memcpy(event->submit.trigger, "api", 4);
  if (execute->idempotency_key != NULL) {
    event->submit.idempotency_key = orr_blob_new(orr_slice_text(execute->idempotency_key));
    digest_request(execute->def, execute->body, &event->submit.request);
  }
  return event;
}

static void run_json(const struct orr_def *def, const struct orr_id *id, struct orr_buf *out) {
  char text[ORR_ID_TEXT + 1], version[65], created[25];
  orr_id_text(id, text);
  orr_digest_text(&def->version, version);
  orr_time_text(orr_id_ms(id), created);
  orr_buf_printf(out,
                 "{\"id\":\"%s\",\"pipeline\":\"%s\",\"version\":\"%s\",\"status\":\"queued\",\"created_at\":\"%s\"}",
                 text, def->name, version, created);
}

static void accepted(const struct orr_def *def, const struct orr_reply *reply, bool many, struct orr_answer *answer) {
  answer->status = 202;
  answer->type = NULL;
  orr_buf_clear(&answer->body);
  if (!many) {
    char text[ORR_ID_TEXT + 1];
    orr_id_text(&reply->ids[0], text);
    orr_buf_printf(&answer->headers, "Location: /api/runs/%s\r\n", text);
    run_json(def, &reply->ids[0], &answer->body);
    return;
  }
  orr_buf_text(&answer->body, "{\"items\":[");
  for (uint32_t i = 0; i < reply->ids_len; i++) {
    if (i > 0) orr_buf_u8(&answer->body, ',');
    run_json(def, &reply->ids[i], &answer->body);
  }
  orr_buf_text(&answer->body, "]}");
}

static void refused(enum orr_status status, const char *message, struct orr_answer *answer) {
  struct orr_slice none = orr_slice_of(NULL, 0);
  const char *detail = message[0] != 0 ? message : NULL;
  switch (status) {
  case ORR_ERR_CONFLICT:
    orr_problem_answer(answer, 409, detail ? detail : "the Idempotency-Key was used with another body", none);
    return;
  case ORR_ERR_LIMIT:
    orr_buf_text(&answer->headers, "Retry-After: 1\r\n");
    orr_problem_answer(answer, 429, detail ? detail : "too many runs are open", none);
    return;
  case ORR_ERR_TIMEOUT:
    orr_buf_text(&answer->headers, "Retry-After: 1\r\n");
    orr_problem_answer(answer, 503,
                       "the engine did not answer in time; the run may exist: repeat with an Idempotency-Key", none);
    return;
  case ORR_ERR_UNAVAILABLE:
  case ORR_ERR_BUSY:
  case ORR_ERR_CANCELLED:
    orr_buf_text(&answer->headers, "Retry-After: 1\r\n");
    orr_problem_answer(answer, 503, detail ? detail : "the engine takes no work now", none);
    return;
  case ORR_ERR_INVALID:
    orr_problem_answer(answer, 422, detail ? detail : "the engine refused the input", none);
    return;
  case ORR_OK:
  case ORR_ERR_NOT_FOUND:
  case ORR_ERR_IO:
  case ORR_ERR_CORRUPT:
    orr_problem_answer(answer, 500, detail ? detail : "the engine failed", none);
    return;
  }
  orr_unreachable();
}

static void ask(const struct orr_execute *execute, struct inputs *inputs, struct orr_answer *answer, bool *existing,
                struct orr_id *id) {
  struct orr_reply *reply = NULL;
  struct orr_event *event = submit_event(execute, inputs);
  enum orr_status status = execute->ask(execute->ask_context, event, execute->timeout_ms, &reply);
  if (status == ORR_OK && reply != NULL) status = reply->status;
  if (status == ORR_OK && reply != NULL && reply->ids_len > 0) {
    *existing = reply->existing;
    *id = reply->ids[0];
    accepted(execute->def, reply, inputs->many, answer);
  } else {
    refused(status, reply != NULL ? reply->message : "", answer);
  }
  if (reply != NULL) orr_reply_free(reply);
}

void orr_execute_answer(const struct orr_execute *execute, struct orr_answer *answer, bool *existing,
                        struct orr_id *id) {
  orr_assert(execute->def != NULL && execute->ask != NULL);
  *existing = false;
  struct body body;
  struct orr_slice none = orr_slice_of(NULL, 0);
  if (!read_body(execute->body, &body)) {
    orr_problem_answer(answer, 400, body.problem, none);
    return;
  }
  bool many = body.inputs.data != NULL;
  if (execute->idempotency_key != NULL && !key_valid(execute->idempotency_key)) {
    orr_problem_answer(answer, 400, "Idempotency-Key takes 1 to 255 visible ASCII characters", none);
    return;
  }
  if (execute->idempotency_key != NULL && many) {
    orr_problem_answer(answer, 400, "Idempotency-Key goes with one \"input\", not with \"inputs\"", none);
    return;
  }
  struct inputs inputs = {.def = execute->def, .many = many};
  inputs.blobs = orr_alloc(sizeof(void *) * (many ? body.inputs_len : 1u));
  if (take_inputs(&inputs, &body, answer)) ask(execute, &inputs, answer, existing, id);
  for (uint32_t i = 0; i < inputs.len; i++) orr_blob_unref(inputs.blobs[i]);
  free(inputs.blobs);
  orr_buf_free(&inputs.scratch);
  orr_buf_free(&inputs.problems);
}
