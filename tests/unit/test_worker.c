// SPDX-License-Identifier: MIT
// Steps through one worker, with a real project and a fake engine.
#include "worker_world.h"

static void a_step_returns_its_value(void **state) {
  (void)state;
  struct world world;
  world_open(&world, "local o = require 'orrery'\n"
                     "o.pipeline 'p' { o.step 'a' { run = function(ctx) return ctx.input.n + 1 end } }\n");
  assert_output(world_run(&world, "p", "a"), "8");
  world_close(&world);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_step_returns_its_value),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
