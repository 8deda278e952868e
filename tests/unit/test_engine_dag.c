// SPDX-License-Identifier: MIT
// Every DAG of up to 4 steps, under every rule, with every order of results and every outcome,
// against
// a naive oracle that computes all statuses from the outcomes at once. And one DAG of 100,000
// steps.
#include "engine_world.h"

struct shape {
  uint32_t steps;
  uint32_t edges; // bit (i, j), i < j, in lexical order: j depends on i
  const char *rule;
};

static bool edge(const struct shape *shape, uint32_t from, uint32_t to) {
  uint32_t bit = 0;
  for (uint32_t i = 0; i < shape->steps; i++)
    for (uint32_t j = i + 1; j < shape->steps; j++, bit++)
      if (i == from && j == to) return (shape->edges >> bit & 1) != 0;
  return false;
}

static struct orr_def *shape_def(const struct shape *shape) {
  char text[256];
  size_t len = 0;
  for (uint32_t j = 0; j < shape->steps; j++) {
    len += (size_t)snprintf(text + len, sizeof(text) - len, "s%u", j);
    const char *separator = "<";
    for (uint32_t i = 0; i < j; i++) {
      if (!edge(shape, i, j)) continue;
      len += (size_t)snprintf(text + len, sizeof(text) - len, "%ss%u", separator, i);
      separator = ",";
    }
    len += (size_t)snprintf(text + len, sizeof(text) - len, " [rule=%s]; ", shape->rule);
  }
  return world_def(text);
}

// The oracle: what must become of each step if those in `fails` fail when they run.
static void oracle(const struct shape *shape, uint32_t fails, enum orr_step_status *expected) {
  for (uint32_t j = 0; j < shape->steps; j++) {
    uint32_t all = 0, succeeded = 0, failed = 0, skipped = 0;
    for (uint32_t i = 0; i < j; i++) {
      if (!edge(shape, i, j)) continue;
      all++;
      if (expected[i] == ORR_STEP_STATUS_SUCCEEDED) succeeded++;
      if (expected[i] == ORR_STEP_STATUS_FAILED) failed++;
      if (expected[i] == ORR_STEP_STATUS_SKIPPED) skipped++;
    }
    bool runs = all == 0;
    if (strcmp(shape->rule, "all_success") == 0) runs = runs || succeeded == all;
    if (strcmp(shape->rule, "all_done") == 0) runs = true;
    if (strcmp(shape->rule, "one_success") == 0) runs = runs || succeeded > 0;
    if (strcmp(shape->rule, "all_failed") == 0) runs = runs || failed == all;
    if (strcmp(shape->rule, "none_failed") == 0) runs = runs || failed == 0;
    assert_int_equal(succeeded + failed + skipped, all);
    if (!runs)
      expected[j] = ORR_STEP_STATUS_SKIPPED;
    else
      expected[j] = fails >> j & 1 ? ORR_STEP_STATUS_FAILED : ORR_STEP_STATUS_SUCCEEDED;
  }
}

static void check_end(struct world *w, struct orr_id id, const struct shape *shape,
                      uint32_t fails) {
  enum orr_step_status expected[4];
  bool failed = false;
  oracle(shape, fails, expected);
  struct orr_run *run = world_run(w, id);
  for (uint32_t i = 0; i < shape->steps; i++) {
    assert_int_equal(run->units[i].status, expected[i]);
    failed = failed || expected[i] == ORR_STEP_STATUS_FAILED;
  }
  assert_int_equal(run->status, failed ? ORR_RUN_FAILED : ORR_RUN_SUCCEEDED);
}

// Plays one run: at each turn the next digit of `order` says whose result comes. Advances `order`
// to
// the next path (a mixed-radix counter whose radices are found on the way); false when all were
// played.
static bool play(struct world *w, struct orr_def *def, const struct shape *shape, uint32_t fails,
                 uint32_t *order, uint32_t *radix) {
  struct orr_id id = world_submit(w, def);
  uint32_t depth = 0;
  while (w->tasks_len > 0) {
    radix[depth] = w->tasks_len;
    assert_true(order[depth] < w->tasks_len);
    char name[8];
    uint32_t step = w->tasks[order[depth]]->step;
    snprintf(name, sizeof(name), "s%u", step);
    if (fails >> step & 1)
      world_error(w, id, name);
    else
      world_ok(w, id, name, "1");
    depth++;
  }
  check_end(w, id, shape, fails);
  world_gather(w);
  w->runs_len = 0; // forget what was stored
  while (depth-- > 0) {
    if (++order[depth] < radix[depth]) return true;
    order[depth] = 0;
  }
  return false;
}

static uint64_t play_shape(const struct shape *shape) {
  struct orr_def *def = shape_def(shape);
  struct world w;
  uint64_t paths = 0;
  world_open(&w, 10);
  for (uint32_t fails = 0; fails < 1u << shape->steps; fails++) {
    uint32_t order[5] = {0}, radix[5] = {0};
    bool more = true;
    while (more) {
      more = play(&w, def, shape, fails, order, radix);
      orr_buf_free(&w.runs[0].bytes);
      orr_def_unref(w.runs[0].def);
      paths++;
    }
  }
  world_close(&w);
  orr_def_unref(def);
  return paths;
}

static void every_small_dag_ends_as_the_oracle_says(void **state) {
  (void)state;
  static const char *const RULES[] = {"all_success", "all_done", "one_success", "all_failed",
                                      "none_failed"};
  uint64_t paths = 0;
  for (uint32_t rule = 0; rule < 5; rule++) {
    for (uint32_t steps = 1; steps <= 4; steps++) {
      uint32_t edges = steps * (steps - 1) / 2;
      for (uint32_t bits = 0; bits < 1u << edges; bits++) {
        struct shape shape = {steps, bits, RULES[rule]};
        paths += play_shape(&shape);
      }
    }
  }
  assert_true(paths > 10000);
  print_message("%llu paths\n", (unsigned long long)paths);
}

static struct orr_def *ladder(uint32_t steps) {
  struct orr_def_builder *builder = orr_def_builder_new();
  struct orr_def *head = orr_def_builder_head(builder);
  head->name = "ladder";
  head->description = "";
  head->script = "";
  for (uint32_t i = 0; i < steps; i++) {
    char name[16];
    snprintf(name, sizeof(name), "s%u", i);
    struct orr_step_def step = {.name = name, .kind = ORR_STEP_LUA, .retry = {.attempts = 1}};
    orr_def_builder_step(builder, &step);
    for (uint32_t back = 1; back <= 100 && i >= back; back += 99) { // and 100 before
      snprintf(name, sizeof(name), "s%u", i - back);
      orr_def_builder_after(builder, i, orr_slice_text(name));
    }
  }
  struct orr_def *def = NULL;
  struct orr_def_problem problem;
  assert_int_equal(orr_def_builder_finish(builder, &def, &problem), ORR_OK);
  orr_def_builder_free(builder);
  return def;
}

static void a_dag_of_100000_steps_finishes(void **state) {
  (void)state;
  struct world w;
  world_open(&w, 100);
  w.unchecked = true;
  struct orr_def *def = ladder(100000);
  struct orr_id id = world_submit(&w, def);
  while (w.tasks_len > 0) {
    struct orr_task *task = w.tasks[--w.tasks_len];
    world_result(&w, task, ORR_OUTCOME_OK, "1");
  }
  assert_int_equal(world_run(&w, id)->status, ORR_RUN_SUCCEEDED);
  orr_engine_check(w.engine);
  id = world_submit(&w, def); // and a failure of the first skips all the others, without recursion
  world_result(&w, w.tasks[--w.tasks_len], ORR_OUTCOME_ERROR, "{\"message\":\"x\"}");
  assert_int_equal(world_run(&w, id)->status, ORR_RUN_FAILED);
  assert_int_equal(world_run(&w, id)->units[99999].status, ORR_STEP_STATUS_SKIPPED);
  orr_engine_check(w.engine);
  orr_def_unref(def);
  world_close(&w);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(every_small_dag_ends_as_the_oracle_says),
      cmocka_unit_test(a_dag_of_100000_steps_finishes),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
