// SPDX-License-Identifier: MIT
// What belongs to an attempt ends with it: luv's handles and callbacks, memory, children.
#include "io/process.h"
#include "worker_world.h"

#define HEAD "local o = require 'orrery'\nlocal uv = require 'luv'\n"

static void an_error_in_a_luv_callback_fails_its_own_step(void **state) {
  (void)state;
  struct world world;
  world_open(&world, HEAD "o.pipeline 'p' {\n"
                          "  o.step 'bad' { run = function(ctx)\n"
                          "    uv.new_timer():start(1, 0, function() uv.new_timer():start(1, 0, function() error { code = 'two_deep', message = 'm' } end) end)\n"
                          "    ctx.sleep('1h') end },\n"
                          "  o.step 'good' { run = function(ctx) ctx.sleep('30ms') return 1 end },\n"
                          "  o.step 'waits' { run = function(ctx)\n" // a callback may wait, too
                          "    local done\n"
                          "    uv.new_timer():start(1, 0, function() ctx.sleep('5ms') done = ctx.step end)\n"
                          "    while not done do ctx.sleep('1ms') end return done end },\n"
                          "}\n");
  struct orr_task *good = world_task(&world, "p", "good"), *bad = world_task(&world, "p", "bad");
  uint64_t good_serial = good->serial, bad_serial = bad->serial;
  world_send(&world, good);
  world_send(&world, bad);
  assert_error(world_result(bad_serial), "two_deep");
  assert_output(world_result(good_serial), "1");
  assert_output(world_run(&world, "p", "waits"), "\"waits\"");
  world_close(&world);
}

static void luv_works_as_straight_code_and_its_leaks_are_closed(void **state) {
  (void)state;
  struct world world;
  world_open(&world, HEAD "local kept\n"
                          "o.pipeline 'p' {\n"
                          "  o.step 'leak' { run = function() kept = uv.new_timer() kept:start(1, 1, function() end)\n"
                          "    local tcp = uv.new_tcp() tcp:bind('127.0.0.1', 0) tcp:listen(8, function() end) return tcp:getsockname().port end },\n"
                          "  o.step 'closing' { run = function() return kept:is_closing() end },\n"
                          "  o.step 'connect' { run = function(ctx) local tcp, err = uv.new_tcp(), nil\n"
                          "    local done tcp:connect('127.0.0.1', PORT, function(e) err = e or 'open' done = true end)\n"
                          "    while not done do ctx.sleep('1ms') end return err end },\n"
                          "  o.step 'port' { run = function(ctx) PORT = ctx.input.port end },\n"
                          "  o.step 'stat' { run = function() local s = uv.fs_stat('/') local bad, err, name = uv.fs_stat('/no/such')\n"
                          "    return { s.type, bad == nil, name } end },\n"
                          "  o.step 'removed' { run = function() uv.run() end },\n"
                          "  o.step 'spawn' { run = function() uv.spawn('ls', {}) end },\n"
                          "}\n");
  struct orr_task *leak = world_run(&world, "p", "leak");
  assert_int_equal(leak->outcome, ORR_OUTCOME_OK);
  assert_output(world_run(&world, "p", "closing"), "true");
  struct orr_task *port = world_task(&world, "p", "port");
  orr_blob_unref(port->input);
  char input[64];
  snprintf(input, sizeof(input), "{\"port\":%s}", world_out(leak));
  port->input = orr_blob_new(orr_slice_text(input));
  uint64_t serial = port->serial;
  world_send(&world, port);
  world_result(serial);
  assert_output(world_run(&world, "p", "connect"), "\"ECONNREFUSED\"");
  assert_output(world_run(&world, "p", "stat"), "[\"directory\",true,\"ENOENT\"]");
  assert_error(world_run(&world, "p", "removed"), "the engine runs the loop");
  assert_error(world_run(&world, "p", "spawn"), "o.process.run");
  world_close(&world);
}

static void the_greediest_step_of_a_full_state_is_ended(void **state) {
  (void)state;
  struct world world;
  struct orr_worker_options options = {.lua_bytes_max = 32 * 1024 * 1024};
  world_open_with(&world,
                  HEAD "o.pipeline 'p' {\n"
                       "  o.step 'one' { run = function() return #string.rep('x', 100 * 1024 * 1024) end },\n"
                       "  o.step 'eat' { run = function() local t = {} while true do t[#t + 1] = { #t } end end },\n"
                       "  o.step 'stubborn' { run = function() local t = {} while true do pcall(function() while true do t[#t + 1] = ('x'):rep(1000) .. #t end end) end end },\n"
                       "  o.step 'small' { run = function(ctx) local t = {} for i = 1, 200 do t[i] = ('y'):rep(1000) .. i ctx.sleep('1ms') end return #t end },\n"
                       "}\n",
                  &options);
  struct orr_task *small = world_task(&world, "p", "small");
  uint64_t serial = small->serial;
  world_send(&world, small);
  assert_error(world_run(&world, "p", "one"), "\"code\":\"memory\"");
  assert_error(world_run(&world, "p", "eat"), "\"code\":\"memory\"");
  assert_error(world_run(&world, "p", "stubborn"), "\"code\":\"memory\"");
  assert_error(world_run(&world, "p", "eat"), "\"code\":\"memory\"");
  assert_output(world_result(serial), "200");
  world_close(&world);
}

// --- children -----------------------------------------------------------------------------------------------------------

static struct orr_spawner *spawner;

static void shell_steps_run_parse_and_fail(void **state) {
  (void)state;
  struct world world;
  struct orr_worker_options options = {.spawner = spawner, .children_max = 4};
  world_open_with(&world,
                  HEAD "o.pipeline 'p' { input = { n = o.integer {} },\n"
                       "  o.shell 'text' { command = 'echo $ORRERY_STEP $ORRERY_ATTEMPT; pwd' },\n"
                       "  o.shell 'argv' { command = { 'printf', '%s|', 'a b', 1.5, o.ref 'input.n', function(ctx) return ctx.step end } },\n"
                       "  o.shell 'lines' { command = 'printf \"a\\n\\nb\\n\"', parse = 'lines' },\n"
                       "  o.shell 'json' { command = { 'cat' }, stdin = { a = { o.ref 'input.n' } }, parse = 'json' },\n"
                       "  o.shell 'exit' { command = 'echo oh dear >&2; exit 3' },\n"
                       "  o.shell 'ok' { command = 'exit 3', ok_codes = { 0, 3 } },\n"
                       "  o.shell 'bytes' { command = \"printf 'a\\\\377b'\" },\n"
                       "  o.shell 'env' { command = 'echo $X $HOME_X', env = { X = o.ref 'input.n' } },\n"
                       "  o.shell 'none' { command = { '/no/such/program' } },\n"
                       "  o.step 'client' { run = function() local r = o.process.run({ 'sh', '-c', 'exit 4' }) return { r.code, r.ok } end },\n"
                       "}\n",
                  &options);
  char expected[128];
  snprintf(expected, sizeof(expected), "\"text 1\\n%s\\n\"", world.root);
  assert_output(world_run(&world, "p", "text"), expected);
  assert_output(world_run(&world, "p", "argv"), "\"a b|1.5|7|argv|\"");
  assert_output(world_run(&world, "p", "lines"), "[\"a\",\"\",\"b\"]");
  assert_output(world_run(&world, "p", "json"), "{\"a\":[7]}");
  struct orr_task *task = world_run(&world, "p", "exit");
  assert_error(task, "exit status 3: oh dear");
  assert_error(task, "\"code\":\"exit\"");
  assert_output(world_run(&world, "p", "ok"), "\"\"");
  assert_output(world_run(&world, "p", "bytes"), "\"a\xef\xbf\xbd"
                                                 "b\"");
  assert_output(world_run(&world, "p", "env"), "\"7\\n\"");
  assert_error(world_run(&world, "p", "none"), "could not be started");
  assert_output(world_run(&world, "p", "client"), "[4,false]");
  world_close(&world);
}

static void a_child_is_gone_before_its_aborted_attempt_comes_back(void **state) {
  (void)state;
  struct world world;
  struct orr_worker_options options = {.spawner = spawner, .spawn_channel = 1, .children_max = 4};
  world_open_with(&world,
                  HEAD "o.pipeline 'p' { o.shell 'long' { command = 'echo $$ > pid; sleep 600 & wait' },\n"
                       "  o.step 'seen' { run = function() return o.fs.exists('pid') and #o.fs.read('pid') > 0 end } }\n",
                  &options);
  struct orr_task *task = world_task(&world, "p", "long");
  uint64_t serial = task->serial;
  world_send(&world, task);
  uint64_t until_ms = orr_clock_now().mono_ms + WORLD_WAIT_MS;
  while (strcmp(world_out(world_run(&world, "p", "seen")), "true") != 0) assert_true(orr_clock_now().mono_ms < until_ms);
  char path[128], proc[64];
  snprintf(path, sizeof(path), "%s/pid", world.root);
  FILE *file = fopen(path, "r");
  int pid;
  assert_int_equal(fscanf(file, "%d", &pid), 1);
  fclose(file);
  snprintf(proc, sizeof(proc), "/proc/%d", pid);
  assert_int_equal(access(proc, F_OK), 0);
  world_abort(&world, serial, ORR_ABORT_TIMEOUT);
  assert_int_equal(world_result(serial)->outcome, ORR_OUTCOME_TIMEOUT);
  assert_int_not_equal(access(proc, F_OK), 0);
  world_close(&world);
}

int main(void) {
  if (orr_spawner_start(2, NULL, &spawner) != ORR_OK) return 1;
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(an_error_in_a_luv_callback_fails_its_own_step),
      cmocka_unit_test(luv_works_as_straight_code_and_its_leaks_are_closed),
      cmocka_unit_test(the_greediest_step_of_a_full_state_is_ended),
      cmocka_unit_test(shell_steps_run_parse_and_fail),
      cmocka_unit_test(a_child_is_gone_before_its_aborted_attempt_comes_back),
  };
  int failed = cmocka_run_group_tests(tests, NULL, NULL);
  orr_spawner_stop(spawner);
  return failed;
}
