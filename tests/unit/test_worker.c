// SPDX-License-Identifier: MIT
// Steps through one worker, with a real project and a fake engine: what results, errors, ctx and the operations mean.
#include "worker_world.h"

#define HEAD "local o = require 'orrery'\n"

static void a_step_returns_its_value(void **state) {
  (void)state;
  struct world world;
  world_open(&world, HEAD "o.pipeline 'p' {\n"
                          "  o.step 'a' { run = function(ctx) return ctx.input.n + 1 end },\n"
                          "  o.step 'nothing' { run = function() end },\n"
                          "  o.step 'null' { run = function() return nil end },\n"
                          "  o.step 'big' { run = function() return { math.maxinteger, 1.0, {}, o.json.array {} } end },\n"
                          "}\n");
  assert_output(world_run(&world, "p", "a"), "8");
  assert_output(world_run(&world, "p", "nothing"), "null");
  assert_output(world_run(&world, "p", "null"), "null");
  assert_output(world_run(&world, "p", "big"), "[9223372036854775807,1.0,{},[]]");
  world_close(&world);
}

static void errors_keep_code_message_and_place(void **state) {
  (void)state;
  struct world world;
  world_open(&world, HEAD "local function inner() error('boom') end\n"
                          "o.pipeline 'p' {\n"
                          "  o.step 'text' { run = function(ctx) inner() end },\n"
                          "  o.step 'table' { run = function() error { code = 'mine', message = 'so be it' } end },\n"
                          "  o.step 'fail' { run = function() o.fail('on purpose', { code = 'x1', retryable = false }) end },\n"
                          "  o.step 'pair' { run = function() return o.fs.read('no/such/file') end },\n"
                          "  o.step 'object' { run = function() error(setmetatable({}, { __tostring = function() return 'shown' end })) end },\n"
                          "}\n");
  struct orr_task *task = world_run(&world, "p", "text");
  assert_error(task, "pipelines/p.lua:2: boom");
  assert_error(task, "\"code\":\"error\"");
  assert_error(task, "pipelines/p.lua:4: in ");
  assert_true(task->retryable);
  task = world_run(&world, "p", "table");
  assert_error(task, "\"message\":\"so be it\",\"code\":\"mine\"");
  task = world_run(&world, "p", "fail");
  assert_error(task, "\"code\":\"x1\"");
  assert_false(task->retryable);
  assert_error(world_run(&world, "p", "pair"), "\"code\":\"not_found\"");
  assert_error(world_run(&world, "p", "object"), "shown");
  world_close(&world);
}

static void a_value_that_json_cannot_hold_fails_the_step_and_names_the_path(void **state) {
  (void)state;
  struct world world;
  world_open(&world, HEAD "o.pipeline 'p' {\n"
                          "  o.step 'fn' { run = function() return { items = { { f = print } } } end },\n"
                          "  o.step 'cycle' { run = function() local t = {} t.t = t return t end },\n"
                          "  o.step 'mixed' { run = function() return { 1, a = 2 } end },\n"
                          "  o.step 'nan' { run = function() return 0 / 0 end },\n"
                          "  o.step 'bytes' { run = function() return '\\255' end },\n"
                          "  o.step 'large' { run = function() return ('x'):rep(17 * 1024 * 1024) end },\n"
                          "}\n");
  assert_error(world_run(&world, "p", "fn"), "output.items[1].f: a function");
  assert_error(world_run(&world, "p", "fn"), "\"code\":\"not_serialisable\"");
  assert_error(world_run(&world, "p", "cycle"), "100 levels");
  assert_error(world_run(&world, "p", "mixed"), "mixed keys");
  assert_error(world_run(&world, "p", "nan"), "NaN");
  assert_error(world_run(&world, "p", "bytes"), "o.base64");
  assert_error(world_run(&world, "p", "large"), "\"code\":\"too_large\"");
  world_close(&world);
}

static void ctx_gives_results_of_ancestors_only(void **state) {
  (void)state;
  struct world world;
  world_open(&world, HEAD "o.pipeline 'p' {\n"
                          "  o.step 'alpha' { run = function() end },\n"
                          "  o.step 'other' { run = function() end },\n"
                          "  o.step 'b' { after = 'alpha', run = function(ctx)\n"
                          "    local names = {}\n"
                          "    for name, value in pairs(ctx.results) do names[#names + 1] = name .. value.x end\n"
                          "    return { ctx.results.alpha.x, names, ctx.results.alpha } end },\n"
                          "  o.step 'c' { after = 'alpha', run = function(ctx) return ctx.results.other end },\n"
                          "  o.step 'd' { after = 'alpha', run = function(ctx) return ctx.results.alhpa end },\n"
                          "  o.step 'e' { run = function(ctx) return ctx.inputs end },\n"
                          "}\n");
  struct world_result results[] = {{"alpha", ORR_STEP_STATUS_SUCCEEDED, "{\"x\":5}"}};
  struct orr_task *task = world_task(&world, "p", "b");
  world_payload(task, results, 1, "", "", "");
  uint64_t serial = task->serial;
  world_send(&world, task);
  assert_output(world_result(serial), "[5,[\"alpha5\"],{\"x\":5}]");
  assert_error(world_run(&world, "p", "c"), "it does not run before this one");
  assert_error(world_run(&world, "p", "d"), "did you mean \\\"alpha\\\"?");
  assert_error(world_run(&world, "p", "e"), "did you mean \\\"input\\\"?");
  world_close(&world);
}

static void answer_fetch(struct orr_event *event) { // on the worker's thread, as the engine's would answer
  assert_int_equal(event->type, ORR_EVENT_FETCH);
  struct orr_reply *reply = orr_alloc(sizeof(*reply));
  reply->to = event->reply_to;
  reply->step_status = ORR_STEP_STATUS_SUCCEEDED;
  reply->value = orr_blob_new(ORR_SLICE_LITERAL("[1,2]"));
  struct orr_port *port = event->reply_to.port;
  orr_event_free(event);
  port->deliver(port, reply);
}

static void a_farther_ancestor_is_fetched_while_the_step_waits(void **state) {
  (void)state;
  struct world world;
  world_open(&world, HEAD "o.pipeline 'p' {\n"
                          "  o.step 'a' { run = function() end }, o.step 'b' { after = 'a', run = function() end },\n"
                          "  o.step 'c' { after = 'b', run = function(ctx) return ctx.results.a[2] end },\n"
                          "}\n");
  host.sent = answer_fetch;
  assert_output(world_run(&world, "p", "c"), "2");
  world_close(&world);
}

static void state_writes_are_returned_and_copies_cannot_be_written(void **state) {
  (void)state;
  struct world world;
  world_open(&world, HEAD "o.pipeline 'p' {\n"
                          "  o.step 'a' { run = function(ctx) ctx.state.x = { 1 } ctx.state.gone = nil return ctx.state.old.deep end },\n"
                          "  o.step 'b' { run = function(ctx) ctx.state.old.deep = 2 end },\n"
                          "  o.step 'c' { run = function(ctx) ctx.state.x = 1 error('no') end },\n"
                          "}\n");
  const char *steps[] = {"a", "b", "c"};
  struct orr_task *results[3];
  for (int i = 0; i < 3; i++) {
    struct orr_task *task = world_task(&world, "p", steps[i]);
    world_payload(task, NULL, 0, "", "{\"old\":{\"deep\":[true]}}", "");
    uint64_t serial = task->serial;
    world_send(&world, task);
    results[i] = world_result(serial);
  }
  assert_output(results[0], "[true]");
  assert_string_equal(orr_buf_cstr(&results[0]->state), "{\"gone\":null,\"x\":[1]}");
  assert_error(results[1], "is a copy");
  assert_int_equal(results[2]->state.len, 0);
  world_close(&world);
}

static void when_decides_and_says_so(void **state) {
  (void)state;
  struct world world;
  world_open(&world, HEAD "o.pipeline 'p' {\n"
                          "  o.step 'yes' { when = function(ctx) return ctx.input.n == 7 end, run = function() return 1 end },\n"
                          "  o.step 'no' { when = function() return false end, run = function() return 1 end },\n"
                          "}\n");
  struct orr_task *task = world_run(&world, "p", "yes");
  assert_output(task, "1");
  assert_true(task->when_true);
  assert_int_equal(world_run(&world, "p", "no")->outcome, ORR_OUTCOME_SKIPPED);
  task = world_task(&world, "p", "no");
  task->when_decided = true;
  uint64_t serial = task->serial;
  world_send(&world, task);
  assert_output(world_result(serial), "1");
  world_close(&world);
}

static struct orr_task *run_op(struct world *world, const char *step, enum orr_task_op op, enum orr_hook hook, uint32_t item,
                               const char *item_json, const char *subject) {
  struct orr_task *task = world_task(world, "p", step);
  task->op = (uint8_t)op;
  task->hook = (uint8_t)hook;
  task->item = item;
  struct world_result results[] = {{"list", ORR_STEP_STATUS_SUCCEEDED, "{\"rows\":[1,{\"a\":[]},\"x\"]}"}};
  world_payload(task, results, 1, item_json, "", subject);
  uint64_t serial = task->serial;
  world_send(world, task);
  return world_result(serial);
}

static void maps_expand_and_run_items(void **state) {
  (void)state;
  struct world world;
  world_open(&world, HEAD "o.pipeline 'p' {\n"
                          "  o.step 'list' { run = function() end },\n"
                          "  o.map 'm' { after = 'list', over = 'list.rows', run = function(ctx, item) return { item, ctx.index, ctx.idempotency_key:match('/.*') } end },\n"
                          "  o.map 'f' { after = 'list', over = function(ctx) return { 1, 2 } end, run = function(ctx, item) end },\n"
                          "  o.map 'bad' { after = 'list', over = 'list', run = function(ctx, item) end },\n"
                          "}\n");
  struct orr_task *task = run_op(&world, "m", ORR_OP_EXPAND, 0, 0, "", "");
  assert_int_equal(task->outcome, ORR_OUTCOME_EXPANDED);
  assert_int_equal(task->items_len, 3);
  struct orr_reader reader = orr_reader_of(orr_buf_slice(&task->out));
  const char *const items[] = {"1", "{\"a\":[]}", "\"x\""};
  for (int i = 0; i < 3; i++) {
    struct orr_slice item = orr_read_bytes(&reader);
    assert_int_equal(item.len, strlen(items[i]));
    assert_memory_equal(item.data, items[i], item.len);
  }
  assert_int_equal(run_op(&world, "f", ORR_OP_EXPAND, 0, 0, "", "")->items_len, 2);
  assert_error(run_op(&world, "bad", ORR_OP_EXPAND, 0, 0, "", ""), "not_a_list");
  assert_output(run_op(&world, "m", ORR_OP_STEP, 0, 2, "{\"a\":[]}", ""), "[{\"a\":[]},2,\"/m/2\"]");
  world_close(&world);
}

static void outputs_keys_undos_and_hooks_are_evaluated(void **state) {
  (void)state;
  struct world world;
  world_open(&world, HEAD "local seen = {}\n"
                          "o.pipeline 'p' {\n"
                          "  output = function(ctx) return { rows = #ctx.results.list.rows } end,\n"
                          "  concurrency = { limit = 1, key = function(ctx) return 'k' .. ctx.input.n end },\n"
                          "  o.step 'list' { run = function() return seen end, undo = function(ctx, output) seen.undo = output end,\n"
                          "    on_failure = function(ctx) seen.failure = ctx.error.code end, on_success = function(ctx) seen.success = ctx.output end },\n"
                          "}\n");
  struct orr_task *task = run_op(&world, NULL, ORR_OP_OUTPUT, 0, 0, "", "");
  assert_output(task, "{\"rows\":3}");
  assert_output(run_op(&world, NULL, ORR_OP_KEY, 0, 0, "", ""), "\"k7\"");
  assert_int_equal(run_op(&world, "list", ORR_OP_UNDO, 0, 0, "", "[1]")->outcome, ORR_OUTCOME_OK);
  assert_int_equal(run_op(&world, "list", ORR_OP_HOOK, ORR_HOOK_FAILURE, 0, "", "{\"code\":\"bad\"}")->outcome, ORR_OUTCOME_OK);
  assert_int_equal(run_op(&world, "list", ORR_OP_HOOK, ORR_HOOK_SUCCESS, 0, "", "42")->outcome, ORR_OUTCOME_OK);
  assert_output(world_run(&world, "p", "list"), "{\"failure\":\"bad\",\"success\":42,\"undo\":[1]}");
  world_close(&world);
}

static void sleeps_and_children_are_decided_not_done(void **state) {
  (void)state;
  struct world world;
  world_open(&world, HEAD "o.pipeline 'child' { input = { n = o.integer { default = 3 }, s = o.string {} }, o.step 'a' { run = function() end } }\n"
                          "o.pipeline 'p' {\n"
                          "  o.sleep 'nap' { duration = function(ctx) return ctx.input.n end },\n"
                          "  o.sleep 'until' { until_ = '2030-01-02T03:04:05.250Z' },\n"
                          "  o.run 'start' { pipeline = 'child', input = { s = o.ref 'run.pipeline' } },\n"
                          "  o.run 'wrong' { pipeline = 'child', input = function() return { s = 1 } end },\n"
                          "}\n");
  int64_t before_ms = orr_clock_now().wall_ms;
  struct orr_task *task = world_run(&world, "p", "nap");
  assert_int_equal(task->outcome, ORR_OUTCOME_SLEEP);
  assert_in_range((uint64_t)(task->until_ms - before_ms), 7000, 27000);
  task = world_run(&world, "p", "until");
  assert_int_equal(task->until_ms, 1893553445250);
  task = world_run(&world, "p", "start");
  assert_int_equal(task->outcome, ORR_OUTCOME_CHILD);
  assert_string_equal(world_out(task), "{\"s\":\"p\",\"n\":3}");
  assert_string_equal(task->child_def->name, "child");
  assert_error(world_run(&world, "p", "wrong"), "invalid_input");
  world_close(&world);
}

static void retry_on_decides_which_errors_are_tried_again(void **state) {
  (void)state;
  struct world world;
  world_open(&world, HEAD "local function fail(code) return function() error { code = code, message = 'm' } end end\n"
                          "o.pipeline 'p' {\n"
                          "  o.step 'in' { retry = { attempts = 2, on = { 'a', 'b' } }, run = fail 'b' },\n"
                          "  o.step 'out' { retry = { attempts = 2, on = { 'a', 'b' } }, run = fail 'c' },\n"
                          "  o.step 'fn' { retry = { attempts = 2, on = function(err) return err.code == 'z' end }, run = fail 'c' },\n"
                          "  o.step 'loop' { retry = { attempts = 2, on = function(err) while true do end end }, run = fail 'c' },\n"
                          "}\n");
  assert_true(world_run(&world, "p", "in")->retryable);
  assert_false(world_run(&world, "p", "out")->retryable);
  assert_false(world_run(&world, "p", "fn")->retryable);
  assert_true(world_run(&world, "p", "loop")->retryable); // the endless predicate is ended, and has no say
  world_close(&world);
}

static void scripts_find_lib_cjson_and_a_clean_environment(void **state) {
  (void)state;
  struct world world;
  memset(&world, 0, sizeof(world));
  world_open(&world, HEAD "o.pipeline 'p' {\n"
                          "  o.step 'cjson' { run = function() return require('cjson').encode({ a = 1.5 }) end },\n"
                          "  o.step 'exit' { run = function() os.exit(1) end },\n"
                          "  o.step 'gc' { run = function() setmetatable({}, { __gc = function() end }) end },\n"
                          "  o.step 'dump' { run = function() return string.dump(print) end },\n"
                          "  o.step 'binary' { run = function() return (select(2, load('\\27Lua'))) end },\n"
                          "  o.step 'xpcall' { run = function() return { xpcall(error, function(m) return m.x end, { x = 3 }) } end },\n"
                          "  o.step 'sort' { run = function() local t = { 3, 1, 2 } table.sort(t, function(a, b) return a > b end) return t end },\n"
                          "  o.step 'b64' { run = function() return o.base64.decode(o.base64.encode('\\0\\255a')) == '\\0\\255a' end },\n"
                          "}\n");
  assert_output(world_run(&world, "p", "cjson"), "\"{\\\"a\\\":1.5}\"");
  assert_error(world_run(&world, "p", "exit"), "os.exit is not available in scripts");
  assert_error(world_run(&world, "p", "gc"), "__gc");
  assert_error(world_run(&world, "p", "dump"), "string.dump");
  assert_output(world_run(&world, "p", "binary"), "\"attempt to load a binary chunk (mode is 't')\"");
  assert_output(world_run(&world, "p", "xpcall"), "[false,3]");
  assert_output(world_run(&world, "p", "sort"), "[3,2,1]");
  assert_output(world_run(&world, "p", "b64"), "true");
  world_close(&world);
}

static void files_are_read_and_written_as_straight_code(void **state) {
  (void)state;
  struct world world;
  world_open(&world, HEAD "o.pipeline 'p' { o.step 'a' { run = function()\n"
                          "  assert(o.fs.write('out/../x.txt', 'one'))\n"
                          "  assert(o.fs.append('x.txt', 'two'))\n"
                          "  local list = {}\n"
                          "  for _, entry in ipairs(assert(o.fs.list('.'))) do list[#list + 1] = entry.name end\n"
                          "  assert(o.fs.mkdir('d/e')) assert(o.fs.remove('d', { recursive = true }))\n"
                          "  return { o.fs.read('x.txt'), o.fs.exists('nope'), list } end } }\n");
  world_write(&world, "out/keep", "");
  assert_output(world_run(&world, "p", "a"), "[\"onetwo\",false,[\"out\",\"pipelines\",\"x.txt\"]]");
  world_close(&world);
}

static void two_generations_run_side_by_side_and_states_are_dropped(void **state) {
  (void)state;
  struct world world;
  world_open(&world, HEAD "o.pipeline 'p' { o.step 'a' { run = function() return 0 end } }\n");
  struct orr_generation *generations[ORR_LUA_STATES_PER_WORKER + 8];
  const int count = (int)(sizeof(generations) / sizeof(*generations));
  for (int i = 0; i < count; i++) {
    char script[256];
    snprintf(script, sizeof(script), HEAD "local uv = require 'luv'\n"
                                          "o.pipeline 'p' { o.step 'a' { run = function() uv.new_timer() return %d end } }\n", i + 1);
    world_write(&world, "pipelines/p.lua", script);
    generations[i] = world_load(&world);
  }
  for (int round = 0; round < 2; round++) {
    for (int i = 0; i < count; i++) {
      struct orr_generation *first = world.generation;
      world.generation = generations[i];
      struct orr_task *task = world_run(&world, "p", "a");
      char expected[16];
      snprintf(expected, sizeof(expected), "%d", i + 1);
      assert_output(task, expected);
      world.generation = first;
      assert_output(world_run(&world, "p", "a"), "0");
    }
  }
  // A dropped state lets go of its generation: only ours and the results' definitions still hold the oldest.
  world_close(&world);
  for (int i = 0; i < count; i++) orr_generation_unref(generations[i]);
}

static void a_script_that_no_longer_loads_fails_the_step(void **state) {
  (void)state;
  struct world world;
  world_open(&world, HEAD "if MARK then error('loaded twice') end MARK = true\n"
                          "o.pipeline 'p' { o.step 'a' { run = function() return MARK end } }\n");
  assert_output(world_run(&world, "p", "a"), "true");
  world_close(&world);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_step_returns_its_value),
      cmocka_unit_test(errors_keep_code_message_and_place),
      cmocka_unit_test(a_value_that_json_cannot_hold_fails_the_step_and_names_the_path),
      cmocka_unit_test(ctx_gives_results_of_ancestors_only),
      cmocka_unit_test(a_farther_ancestor_is_fetched_while_the_step_waits),
      cmocka_unit_test(state_writes_are_returned_and_copies_cannot_be_written),
      cmocka_unit_test(when_decides_and_says_so),
      cmocka_unit_test(maps_expand_and_run_items),
      cmocka_unit_test(outputs_keys_undos_and_hooks_are_evaluated),
      cmocka_unit_test(sleeps_and_children_are_decided_not_done),
      cmocka_unit_test(retry_on_decides_which_errors_are_tried_again),
      cmocka_unit_test(scripts_find_lib_cjson_and_a_clean_environment),
      cmocka_unit_test(files_are_read_and_written_as_straight_code),
      cmocka_unit_test(two_generations_run_side_by_side_and_states_are_dropped),
      cmocka_unit_test(a_script_that_no_longer_loads_fails_the_step),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
