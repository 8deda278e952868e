// SPDX-License-Identifier: MIT
// POST .../execute without a socket: bodies, schemas, keys and the engine's answers.
#include "server/execute.h"

#include "base/json.h"
#include "base/limits.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

struct engine { // what the fake engine saw, and what it shall say
  enum orr_status status;
  const char *message;
  bool existing;
  int asked;
  struct orr_buf inputs; // the inputs, one a line
  char key[300];
  struct orr_digest request;
};

static enum orr_status ask(void *context, struct orr_event *event, uint64_t timeout_ms, struct orr_reply **out) {
  struct engine *engine = context;
  assert_true(timeout_ms > 0);
  assert_int_equal(event->type, ORR_EVENT_SUBMIT);
  engine->asked++;
  for (uint32_t i = 0; i < event->submit.inputs_len; i++) {
    orr_buf_slice_append(&engine->inputs, orr_blob_slice(event->submit.inputs[i]));
    orr_buf_u8(&engine->inputs, '\n');
  }
  struct orr_slice key = orr_blob_slice(event->submit.idempotency_key);
  memcpy(engine->key, key.data != NULL ? key.data : (const uint8_t *)"", key.len);
  engine->request = event->submit.request;
  if (engine->status == ORR_ERR_TIMEOUT) {
    orr_event_free(event);
    return ORR_ERR_TIMEOUT;
  }
  struct orr_reply *reply = orr_alloc(sizeof(*reply));
  reply->status = engine->status;
  if (engine->message != NULL) memcpy(reply->message, engine->message, strlen(engine->message));
  if (engine->status == ORR_OK) {
    reply->ids_len = event->submit.inputs_len;
    reply->ids = orr_alloc(sizeof(reply->ids[0]) * reply->ids_len);
    for (uint32_t i = 0; i < reply->ids_len; i++) reply->ids[i].bytes[15] = (uint8_t)(i + 1);
    reply->existing = engine->existing;
  }
  orr_event_free(event);
  *out = reply;
  return ORR_OK;
}

struct fixture {
  struct orr_def *def, *strict;
  struct engine engine;
  struct orr_answer answer;
  bool existing;
  struct orr_id id;
};

static struct orr_def *make_def(const char *name, const char *schema) {
  struct orr_def_builder *builder = orr_def_builder_new();
  struct orr_def *head = orr_def_builder_head(builder), *def = NULL;
  struct orr_def_problem problem;
  head->name = name;
  head->description = "";
  head->script = "pipelines/x.lua";
  head->input_schema = orr_slice_text(schema);
  struct orr_step_def step = {.name = "only", .kind = ORR_STEP_LUA, .retry = {.attempts = 1, .backoff_permille = 1000}, .priority = 5};
  orr_def_builder_step(builder, &step);
  enum orr_status status = orr_def_builder_finish(builder, &def, &problem);
  if (status != ORR_OK) fail_msg("%s", problem.message);
  orr_def_builder_free(builder);
  return def;
}

static int setup(void **state) {
  struct fixture *f = orr_alloc(sizeof(*f));
  f->def = make_def("free", "");
  f->strict = make_def("strict", "{\"type\":\"object\",\"properties\":{\"n\":{\"type\":\"integer\",\"minimum\":1,\"default\":7},"
                                 "\"who\":{\"type\":\"string\"}},\"required\":[\"who\"],\"additionalProperties\":false}");
  *state = f;
  return 0;
}
static int teardown(void **state) {
  struct fixture *f = *state;
  orr_def_unref(f->def);
  orr_def_unref(f->strict);
  orr_buf_free(&f->engine.inputs);
  orr_buf_free(&f->answer.body);
  orr_buf_free(&f->answer.headers);
  free(f);
  return 0;
}

static int run(struct fixture *f, struct orr_def *def, const char *body, const char *key) {
  struct orr_execute call = {.def = def, .body = orr_slice_text(body), .idempotency_key = key, .timeout_ms = 1000, .ask = ask, .ask_context = &f->engine};
  orr_buf_clear(&f->answer.body);
  orr_buf_clear(&f->answer.headers);
  orr_buf_clear(&f->engine.inputs);
  orr_execute_answer(&call, &f->answer, &f->existing, &f->id);
  orr_buf_cstr(&f->answer.body);
  if (orr_json_check(orr_buf_slice(&f->answer.body), NULL, NULL) != ORR_OK) fail_msg("not JSON: %s", (char *)f->answer.body.data);
  return f->answer.status;
}
static const char *inputs(struct fixture *f) { return orr_buf_cstr(&f->engine.inputs); }
static const char *text(struct fixture *f) { return orr_buf_cstr(&f->answer.body); }

static void an_absent_or_empty_body_fits_a_pipeline_without_inputs(void **state) {
  struct fixture *f = *state;
  static const char *const bodies[] = {"", " \r\n", "{}", "{\"input\":{}}"};
  for (size_t i = 0; i < sizeof(bodies) / sizeof(bodies[0]); i++) {
    assert_int_equal(run(f, f->def, bodies[i], NULL), 202);
    assert_string_equal(inputs(f), "{}\n");
  }
}

static void one_input_gives_the_run_and_its_place(void **state) {
  struct fixture *f = *state;
  assert_int_equal(run(f, f->def, "{\"input\": {\"a\": [1, 2.5, 9007199254740993]}}", NULL), 202);
  assert_string_equal(inputs(f), "{\"a\": [1, 2.5, 9007199254740993]}\n");
  assert_non_null(strstr(text(f), "\"id\":\"00000000000000000000000001\",\"pipeline\":\"free\",\"version\":\""));
  assert_non_null(strstr(text(f), "\"status\":\"queued\",\"created_at\":\"1970-01-01T00:00:00.000Z\""));
  assert_string_equal(orr_buf_cstr(&f->answer.headers), "Location: /api/runs/00000000000000000000000001\r\n");
}

static void many_inputs_give_one_answer(void **state) {
  struct fixture *f = *state;
  assert_int_equal(run(f, f->def, "{\"inputs\": [1, {\"b\": []}, null]}", NULL), 202);
  assert_string_equal(inputs(f), "1\n{\"b\": []}\nnull\n");
  assert_int_equal(f->engine.asked, 1);
  assert_non_null(strstr(text(f), "{\"items\":[{"));
  assert_non_null(strstr(text(f), "00000000000000000000000003"));
  struct orr_buf body = ORR_BUF_INIT;
  orr_buf_text(&body, "{\"inputs\":[0");
  for (int i = 1; i < 1000; i++) orr_buf_text(&body, ",0");
  orr_buf_text(&body, "]}");
  assert_int_equal(run(f, f->def, orr_buf_cstr(&body), NULL), 202);
  body.len -= 2;
  orr_buf_text(&body, ",0]}");
  assert_int_equal(run(f, f->def, orr_buf_cstr(&body), NULL), 400);
  orr_buf_free(&body);
}

static void malformed_bodies_are_told_apart(void **state) {
  struct fixture *f = *state;
  static const char *const bad[] = {"{", "[]", "1", "{\"input\":}", "{\"input\":1}x", "{\"inptu\":1}", "{\"input\":1,\"inputs\":[1]}", "{\"input\":1,\"input\":1}",
                                    "{\"inputs\":{}}", "{\"inputs\":[]}", "{\"inputs\":[1,]}", "nul", "{\"input\":1,}"};
  for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
    if (run(f, f->def, bad[i], NULL) != 400) fail_msg("%s gave %d", bad[i], f->answer.status);
  assert_int_equal(f->engine.asked, 0);
}

static void an_input_that_does_not_fit_is_422_with_paths(void **state) {
  struct fixture *f = *state;
  assert_int_equal(run(f, f->strict, "{\"input\":{\"who\":\"x\",\"n\":0}}", NULL), 422);
  assert_non_null(strstr(text(f), "\"path\":\"/n\""));
  assert_string_equal(f->answer.type, "application/problem+json");
  assert_int_equal(run(f, f->strict, "", NULL), 422);
  assert_int_equal(run(f, f->strict, "{\"inputs\":[{\"who\":\"x\"},{}]}", NULL), 422);
  assert_non_null(strstr(text(f), "\"index\":1"));
  assert_int_equal(f->engine.asked, 0);
  assert_int_equal(run(f, f->strict, "{\"input\":{\"who\":\"x\"}}", NULL), 202);
  assert_non_null(strstr(inputs(f), "\"n\":7"));
}

static void a_key_travels_with_a_digest_of_the_request(void **state) {
  struct fixture *f = *state;
  assert_int_equal(run(f, f->def, "{\"input\":1}", "key-1"), 202);
  assert_string_equal(f->engine.key, "key-1");
  struct orr_digest first = f->engine.request;
  assert_int_equal(run(f, f->def, "{\"input\":1}", "key-1"), 202);
  assert_true(orr_digest_equal(&first, &f->engine.request));
  assert_int_equal(run(f, f->def, "{\"input\":2}", "key-1"), 202);
  assert_false(orr_digest_equal(&first, &f->engine.request));
  char longest[257];
  memset(longest, 'k', 256);
  longest[256] = 0;
  assert_int_equal(run(f, f->def, "", longest), 400);
  assert_int_equal(run(f, f->def, "", longest + 1), 202);
  assert_int_equal(run(f, f->def, "", ""), 400);
  assert_int_equal(run(f, f->def, "", "a b"), 400);
  assert_int_equal(run(f, f->def, "{\"inputs\":[1]}", "key"), 400);
}

static void the_engines_refusals_become_statuses(void **state) {
  struct fixture *f = *state;
  const struct { enum orr_status status; int http; } table[] = {
      {ORR_ERR_CONFLICT, 409}, {ORR_ERR_LIMIT, 429}, {ORR_ERR_UNAVAILABLE, 503}, {ORR_ERR_TIMEOUT, 503}, {ORR_ERR_IO, 500}, {ORR_ERR_INVALID, 422}};
  for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
    f->engine.status = table[i].status;
    assert_int_equal(run(f, f->def, "", NULL), table[i].http);
    bool retry = strstr(orr_buf_cstr(&f->answer.headers), "Retry-After") != NULL;
    assert_int_equal(retry, table[i].http == 429 || table[i].http == 503);
  }
  f->engine.status = ORR_ERR_CONFLICT;
  f->engine.message = "the key belongs to another body";
  assert_int_equal(run(f, f->def, "", "k"), 409);
  assert_non_null(strstr(text(f), "the key belongs to another body"));
  f->engine.status = ORR_OK;
  f->engine.message = NULL;
  f->engine.existing = true;
  assert_int_equal(run(f, f->def, "", "k"), 202);
  assert_true(f->existing);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(an_absent_or_empty_body_fits_a_pipeline_without_inputs),
      TEST(one_input_gives_the_run_and_its_place),
      TEST(many_inputs_give_one_answer),
      TEST(malformed_bodies_are_told_apart),
      TEST(an_input_that_does_not_fit_is_422_with_paths),
      TEST(a_key_travels_with_a_digest_of_the_request),
      TEST(the_engines_refusals_become_statuses),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
