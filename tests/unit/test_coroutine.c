// SPDX-License-Identifier: MIT
// coroutine.* of scripts: as the manual says, also while the engine suspends the step in the middle of them.
#include "worker_world.h"

#define HEAD "local o = require 'orrery'\n"
// burn: computes over several slices.
#define BURN "local function burn() local x = 0 for i = 1, 3000000 do x = x + i % 7 end return x end\n"

static void generators_survive_time_slices_and_waits(void **state) {
  (void)state;
  struct world world;
  world_open(&world, HEAD BURN
             "local function gen(ctx, n) return coroutine.wrap(function()\n"
             "  for i = 1, n do burn() ctx.sleep('1ms') coroutine.yield(i, i * 2) end end) end\n"
             "o.pipeline 'p' {\n"
             "  o.step 'one' { run = function(ctx) local sum = 0 for a, b in gen(ctx, 5) do sum = sum + a * b end return sum end },\n"
             "  o.step 'three' { run = function(ctx)\n"
             "    local outer = coroutine.wrap(function()\n"
             "      local middle = coroutine.wrap(function() for a in gen(ctx, 3) do burn() coroutine.yield(a) end return 'end' end)\n"
             "      for i = 1, 4 do coroutine.yield(middle()) end end)\n"
             "    return { outer(), outer(), outer(), outer() } end },\n"
             "}\n");
  struct orr_task *tasks[6];
  uint64_t serials[6];
  for (int i = 0; i < 6; i++) { // interleaved on one worker
    tasks[i] = world_task(&world, "p", i % 2 == 0 ? "one" : "three");
    serials[i] = tasks[i]->serial;
    world_send(&world, tasks[i]);
  }
  for (int i = 0; i < 6; i++) assert_output(world_result(serials[i]), i % 2 == 0 ? "110" : "[1,2,3,\"end\"]");
  world_close(&world);
}

static void resume_and_status_answer_as_the_manual_says(void **state) {
  (void)state;
  struct world world;
  world_open(&world, HEAD
             "o.pipeline 'p' { o.step 'a' { run = function(ctx)\n"
             "  local co co = coroutine.create(function(a)\n"
             "    assert(coroutine.status(co) == 'running' and coroutine.running() == co and coroutine.isyieldable())\n"
             "    local b = coroutine.yield(a + 1)\n"
             "    local ok, err = coroutine.resume(co) assert(not ok and err:find('non%-suspended'))\n"
             "    error { code = b } end)\n"
             "  assert(coroutine.status(co) == 'suspended')\n"
             "  local ok, v = coroutine.resume(co, 1) assert(ok and v == 2)\n"
             "  local ok, err = coroutine.resume(co, 'c') assert(not ok and err.code == 'c')\n"
             "  assert(coroutine.status(co) == 'dead')\n"
             "  local ok, err = coroutine.resume(co) assert(not ok and err == 'cannot resume dead coroutine')\n"
             "  assert(not coroutine.isyieldable()) assert(select(2, coroutine.running()))\n"
             "  assert(not pcall(coroutine.yield))\n"
             "  local closed local c2 = coroutine.create(function()\n"
             "    local x <close> = setmetatable({}, { __close = function() closed = true end }) coroutine.yield() end)\n"
             "  coroutine.resume(c2) assert(coroutine.close(c2) and closed and coroutine.status(c2) == 'dead')\n"
             "  local w = coroutine.wrap(function() error('inside') end)\n"
             "  local ok, err = pcall(w) assert(not ok and err:find('inside'))\n"
             "  return 'good' end } }\n");
  assert_output(world_run(&world, "p", "a"), "\"good\"");
  world_close(&world);
}

static void errors_pass_through_coroutines_that_were_suspended(void **state) {
  (void)state;
  struct world world;
  world_open(&world, HEAD BURN
             "o.pipeline 'p' {\n"
             "  o.step 'wrap' { run = function(ctx) coroutine.wrap(function() burn() ctx.sleep(0) error { code = 'deep', message = 'm' } end)() end },\n"
             "  o.step 'pcall' { run = function(ctx)\n"
             "    local co = coroutine.create(function() local ok, err = pcall(function() burn() ctx.sleep(0) error('x', 0) end) coroutine.yield(err) burn() return 1 end)\n"
             "    return { select(2, coroutine.resume(co)), select(2, coroutine.resume(co)) } end },\n"
             "  o.step 'busy' { run = function(ctx)\n"
             "    local uv, co, seen = require 'luv', nil, nil\n"
             "    co = coroutine.create(function() ctx.sleep('20ms') return 'mine' end)\n"
             "    local timer = uv.new_timer()\n"
             "    timer:start(1, 0, function() seen = { coroutine.resume(co) } seen[3] = coroutine.status(co) end)\n"
             "    local ok, value = coroutine.resume(co)\n"
             "    return { value, seen[1], seen[2], seen[3] } end },\n"
             "}\n");
  assert_error(world_run(&world, "p", "wrap"), "\"code\":\"deep\"");
  assert_output(world_run(&world, "p", "pcall"), "[\"x\",1]");
  assert_output(world_run(&world, "p", "busy"), "[\"mine\",false,\"cannot resume non-suspended coroutine\",\"normal\"]");
  world_close(&world);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(generators_survive_time_slices_and_waits),
      cmocka_unit_test(resume_and_status_answer_as_the_manual_says),
      cmocka_unit_test(errors_pass_through_coroutines_that_were_suspended),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
