// SPDX-License-Identifier: MIT
// Lua routes through a worker: what a route is given, what its answer means, and how errors and deadlines end.
#include "worker_world.h"

#define HEAD "local o = require 'orrery'\n"

static struct orr_request *ask(struct world *world, const char *script, uint32_t index, uint64_t deadline_ms,
                               enum orr_status expected) {
  struct orr_request *request = orr_request_new();
  if (strncmp(script, "orrery/", 7) != 0) request->generation = orr_generation_ref(world->generation);
  request->script = script;
  request->route_index = index;
  request->method = orr_strdup("POST");
  request->path = orr_strdup("/x/y");
  request->query = orr_strdup("a=1&b=x%20y+z&c");
  orr_buf_text(&request->params, "{\"name\":\"y\"}");
  orr_buf_text(&request->headers, "{\"content-type\":\"application/json\"}");
  orr_buf_text(&request->body, "{\"n\":[1]}");
  assert_int_equal(orr_request_ask(world->worker, request, deadline_ms), expected);
  return request;
}

static const char script[] =
    HEAD "o.pipeline 'p' { o.step 'a' { run = function() end } }\n"
         "o.get('/one', function(req) return { json = { req.method, req.path, req.query, req.params.name, req.headers, req:json().n } } end)\n"
         "o.get('/two', function(req) return { status = 201, text = 'hi', headers = { ['X-A'] = 'b' } } end)\n"
         "o.get('/three', function(req) error('secret detail') end)\n"
         "o.get('/four', function(req) while true do end end)\n"
         "o.get('/five', function(req) require('orrery.time').sleep('5ms') return { body = '[]' } end)\n"
         "o.get('/six', function(req) return { text = '', headers = { A = 'x\\r\\nB: y' } } end)\n"
         "o.get('/seven', function(req) return 7 end)\n";

static void routes_are_given_the_request_and_answer_it(void **state) {
  (void)state;
  struct world world;
  world_open(&world, script);
  struct orr_request *request = ask(&world, "pipelines/p.lua", 0, 10000, ORR_OK);
  assert_int_equal(request->status, 200);
  assert_string_equal(orr_buf_cstr(&request->answer),
                      "[\"POST\",\"/x/y\",{\"a\":\"1\",\"b\":\"x y z\",\"c\":\"\"},\"y\",{\"content-type\":\"application/json\"},[1]]");
  assert_string_equal(orr_buf_cstr(&request->answer_headers), "Content-Type: application/json\r\n");
  orr_request_unref(request);
  request = ask(&world, "pipelines/p.lua", 1, 10000, ORR_OK);
  assert_int_equal(request->status, 201);
  assert_string_equal(orr_buf_cstr(&request->answer), "hi");
  assert_string_equal(orr_buf_cstr(&request->answer_headers), "X-A: b\r\nContent-Type: text/plain; charset=utf-8\r\n");
  orr_request_unref(request);
  request = ask(&world, "pipelines/p.lua", 4, 10000, ORR_OK);
  assert_string_equal(orr_buf_cstr(&request->answer), "[]");
  orr_request_unref(request);
  world_close(&world);
}

static void what_goes_wrong_in_a_route_stays_in_the_log(void **state) {
  (void)state;
  struct world world;
  world_open(&world, script);
  orr_log_set_level(ORR_LOG_OFF);
  const uint32_t wrong[] = {2, 5, 6, 99};
  for (size_t i = 0; i < sizeof(wrong) / sizeof(*wrong); i++) {
    struct orr_request *request = ask(&world, "pipelines/p.lua", wrong[i], 10000, ORR_OK);
    assert_int_equal(request->status, 500);
    assert_null(strstr(orr_buf_cstr(&request->answer), "secret"));
    assert_non_null(strstr(orr_buf_cstr(&request->answer_headers), "application/problem+json"));
    orr_request_unref(request);
  }
  orr_log_set_level(ORR_LOG_WARN);
  orr_request_unref(ask(&world, "pipelines/p.lua", 3, 50, ORR_ERR_TIMEOUT));
  struct orr_request *request = ask(&world, "pipelines/p.lua", 1, 10000, ORR_OK); // and the worker goes on
  assert_int_equal(request->status, 201);
  orr_request_unref(request);
  world_close(&world);
}

static void refuse_event(struct orr_event *event) { // an engine that knows no run
  struct orr_reply *reply = orr_alloc(sizeof(*reply));
  reply->to = event->reply_to;
  reply->status = event->type == ORR_EVENT_LIST ? ORR_OK : ORR_ERR_NOT_FOUND;
  struct orr_port *port = event->reply_to.port;
  orr_event_free(event);
  port->deliver(port, reply);
}

static void built_in_routes_ask_the_engine(void **state) {
  (void)state;
  struct world world;
  world_open(&world, script);
  host.sent = refuse_event;
  struct orr_request *request = ask(&world, "orrery/routes/runs.lua", 1, 10000, ORR_OK);
  if (request->status != 400 && request->status != 404) fail_msg("%d %s", request->status, orr_buf_cstr(&request->answer));
  orr_request_unref(request);
  request = orr_request_new();
  request->script = "orrery/routes/runs.lua";
  request->method = orr_strdup("GET");
  request->path = orr_strdup("/api/runs");
  assert_int_equal(orr_request_ask(world.worker, request, 10000), ORR_OK);
  assert_string_equal(orr_buf_cstr(&request->answer), "{\"items\":[],\"next\":null}");
  orr_request_unref(request);
  world_close(&world);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(routes_are_given_the_request_and_answer_it),
      cmocka_unit_test(what_goes_wrong_in_a_route_stays_in_the_log),
      cmocka_unit_test(built_in_routes_ask_the_engine),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
