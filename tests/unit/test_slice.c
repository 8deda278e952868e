// SPDX-License-Identifier: MIT
// Time slices: nobody starves his neighbours, and whatever a script does, an abort ends it.
#include "worker_world.h"

#define HEAD "local o = require 'orrery'\n"

static uint64_t start(struct world *world, const char *step) {
  struct orr_task *task = world_task(world, "p", step);
  uint64_t serial = task->serial;
  world_send(world, task);
  return serial;
}

static void a_greedy_loop_does_not_starve_its_neighbours(void **state) {
  (void)state;
  struct world world;
  world_open(&world, HEAD "o.pipeline 'p' {\n"
                          "  o.step 'greedy' { run = function() while true do end end },\n"
                          "  o.step 'quick' { run = function() return 1 end },\n"
                          "  o.step 'nap' { run = function(ctx) ctx.sleep('10ms') return 2 end },\n"
                          "}\n");
  uint64_t first = start(&world, "greedy"), second = start(&world, "greedy");
  for (int i = 0; i < 20; i++) assert_output(world_run(&world, "p", "quick"), "1");
  assert_output(world_run(&world, "p", "nap"), "2");
  assert_false(world_has_result(first));
  world_abort(&world, first, ORR_ABORT_CANCEL);
  world_abort(&world, second, ORR_ABORT_TIMEOUT);
  assert_int_equal(world_result(first)->outcome, ORR_OUTCOME_CANCELLED);
  struct orr_task *task = world_result(second);
  assert_int_equal(task->outcome, ORR_OUTCOME_TIMEOUT);
  assert_non_null(strstr(world_out(task), "\"code\":\"timeout\""));
  assert_output(world_run(&world, "p", "quick"), "1");
  world_close(&world);
}

// Each of these never ends by itself. "alone": C code calls back into Lua there, so it cannot be suspended, only ended.
static const char *const stubborn[][3] = {
    {"pcall", "local function f() error('x') end while true do pcall(f) end"},
    {"pcall_loop", "while true do pcall(function() while true do end end) end"},
    {"xpcall", "while true do xpcall(function() while true do end end, function() while true do end end) end"},
    {"sort", "table.sort({ 5, 4, 3, 2, 1 }, function(a, b) while true do end end)"},
    {"gsub", "string.gsub('abc', '.', function() while true do end end)", "alone"},
    {"gsub_pcall", "while true do string.gsub('abc', '.', function() pcall(function() while true do end end) end) end", "alone"},
    {"load", "while true do pcall(load, function() while true do end end) end", "alone"},
    {"tostring", "tostring(setmetatable({}, { __tostring = function() while true do end end }))", "alone"},
    {"coroutine", "coroutine.wrap(function() coroutine.wrap(function() while true do end end)() end)()"},
    {"resume", "while true do coroutine.resume(coroutine.create(function() while true do end end)) end"},
    {"meta", "local t = setmetatable({}, { __index = function() while true do end end }) return t.x"},
    {"close", "local c <close> = setmetatable({}, { __close = function() while true do end end }) while true do end"},
    {"close_pcall", "local c <close> = setmetatable({}, { __close = function() while true do pcall(error) end end }) while true do end"},
    {"require", "package.preload.x = function() while true do end end require 'x'", "alone"},
    {"sleep", "ctx.sleep('1h')"},
    {"sleep_inside", "coroutine.wrap(function() pcall(ctx.sleep, '1h') end)()"},
};

static void whatever_never_ends_is_ended_by_an_abort(void **state) {
  (void)state;
  struct world world;
  struct orr_buf script = ORR_BUF_INIT;
  const size_t count = sizeof(stubborn) / sizeof(*stubborn);
  orr_buf_text(&script, HEAD "o.pipeline 'p' { o.step 'quick' { run = function() return 1 end },\n");
  for (size_t i = 0; i < count; i++)
    orr_buf_printf(&script,
                   "  o.step '%s' { run = function(ctx) io.open(os.getenv('WORLD_ROOT') .. '/' .. ctx.step, 'w'):close() %s end },\n",
                   stubborn[i][0], stubborn[i][1]);
  orr_buf_text(&script, "}\n");
  world_open(&world, orr_buf_cstr(&script));
  orr_buf_free(&script);
  for (size_t i = 0; i < count; i++) {
    uint64_t serial = start(&world, stubborn[i][0]);
    for (int k = 0; k < 2 && stubborn[i][2] == NULL; k++) assert_output(world_run(&world, "p", "quick"), "1");
    char mark[128]; // it has begun: the step wrote this file
    snprintf(mark, sizeof(mark), "%s/%s", world.root, stubborn[i][0]);
    for (uint64_t until_ms = orr_clock_now().mono_ms + WORLD_WAIT_MS; access(mark, F_OK) != 0;)
      assert_true(orr_clock_now().mono_ms < until_ms);
    if (world_has_result(serial)) fail_msg("%s ended: %s", stubborn[i][0], world_out(world_result(serial)));
    world_abort(&world, serial, ORR_ABORT_TIMEOUT);
    if (getenv("V")) fprintf(stderr, "%s\n", stubborn[i][0]);
    struct orr_task *task = world_result(serial);
    if (task->outcome != ORR_OUTCOME_TIMEOUT) fail_msg("%s: %d %s", stubborn[i][0], task->outcome, world_out(task));
  }
  world_close(&world);
}

static void an_abort_runs_close_handlers_and_ends_what_was_not_begun(void **state) {
  (void)state;
  struct world world;
  world_open(&world, HEAD "local closed = {}\n"
                          "local function guard(name) return setmetatable({}, { __close = function() closed[#closed + 1] = name end }) end\n"
                          "o.pipeline 'p' {\n"
                          "  o.step 'a' { run = function(ctx)\n"
                          "    local outer <close> = guard 'outer'\n"
                          "    coroutine.wrap(function() local inner <close> = guard 'inner' ctx.sleep('1h') end)() end },\n"
                          "  o.step 'seen' { run = function() return closed end },\n"
                          "}\n");
  uint64_t serial = start(&world, "a");
  assert_output(world_run(&world, "p", "seen"), "{}");
  world_abort(&world, serial, ORR_ABORT_CANCEL);
  assert_int_equal(world_result(serial)->outcome, ORR_OUTCOME_CANCELLED);
  assert_output(world_run(&world, "p", "seen"), "[\"inner\",\"outer\"]");
  world_abort(&world, serial, ORR_ABORT_CANCEL); // late: harmless
  assert_output(world_run(&world, "p", "seen"), "[\"inner\",\"outer\"]");
  world_close(&world);
}

static void stopping_the_worker_ends_what_runs_as_cancelled(void **state) {
  (void)state;
  struct world world;
  world_open(&world, HEAD "o.pipeline 'p' { o.step 'greedy' { run = function() while true do end end },\n"
                          "  o.step 'nap' { run = function(ctx) ctx.sleep('1h') end }, o.step 'quick' { run = function() end } }\n");
  uint64_t greedy = start(&world, "greedy"), nap = start(&world, "nap");
  assert_output(world_run(&world, "p", "quick"), "null");
  orr_worker_stop(world.worker);
  assert_int_equal(world_result(greedy)->outcome, ORR_OUTCOME_CANCELLED);
  assert_int_equal(world_result(nap)->outcome, ORR_OUTCOME_CANCELLED);
  world_close(&world);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_greedy_loop_does_not_starve_its_neighbours),
      cmocka_unit_test(whatever_never_ends_is_ended_by_an_abort),
      cmocka_unit_test(an_abort_runs_close_handlers_and_ends_what_was_not_begun),
      cmocka_unit_test(stopping_the_worker_ends_what_runs_as_cancelled),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
