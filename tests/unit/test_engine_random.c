// SPDX-License-Identifier: MIT
// Random lives: random definitions, inputs, outcomes, controls, clock jumps, lost workers and
// crashes.
// After every event the invariants hold and the stored bytes replay to the live run; in the end,
// with
// the faults off, every run is final. A failing seed is printed and can be given as an argument.
#include "engine_world.h"

#include "base/rng.h"

#include <signal.h>

#define SEEDS 300u
#define DEFS 3u

struct life {
  struct world w;
  struct orr_rng rng;
  struct orr_def *defs[DEFS];
  bool calm; // no faults any more
};

static uint32_t below(struct life *life, uint32_t bound) {
  return (uint32_t)orr_rng_below(&life->rng, bound);
}
static bool chance(struct life *life, uint32_t percent) { return below(life, 100) < percent; }

static void def_text(struct life *life, char *text, size_t size) {
  static const char *const HEADS[] = {"", "", "", "{output}", "{concurrency=2}",
      "{concurrency=1,when_full=skip}", "{concurrency=1,when_full=cancel_oldest}",
      "{concurrency=2,key_function}", "{concurrency=1,active}", "{timeout=3000}"};
  static const char *const KINDS[] = {"", "", "", "map,parallel=2,", "map,", "sleep=50,",
      "child,", "once,", "sleep=70,when,", "child,no_wait,"};
  static const char *const RULES[] = {"all_success", "all_success", "all_done", "one_success",
      "all_failed", "none_failed"};
  uint32_t steps = 1 + below(life, 6);
  size_t len = (size_t)snprintf(text, size, "%s ", HEADS[below(life, 10)]);
  for (uint32_t i = 0; i < steps; i++) {
    len += (size_t)snprintf(text + len, size - len, "s%u", i);
    const char *separator = "<";
    for (uint32_t k = 0; k < i; k++) {
      if (!chance(life, 35)) continue;
      len += (size_t)snprintf(text + len, size - len, "%ss%u", separator, k);
      separator = ",";
    }
    len += (size_t)snprintf(text + len, size - len,
                            " [%s%s%s%s%sretry=%u,delay=20,backoff=2000,jitter,"
                            "priority=%u,rule=%s]; ",
                            KINDS[below(life, 10)], chance(life, 25) ? "undo," : "",
                            chance(life, 20) ? "on_success,on_failure,on_retry," : "",
                            chance(life, 30) ? "timeout=40," : "",
                            chance(life, 10) ? "when," : "", 1 + below(life, 3), below(life, 10),
                            RULES[below(life, 6)]);
  }
}

static void expand(struct life *life, struct orr_task *task) {
  uint32_t count = below(life, 6);
  for (uint32_t i = 0; i < count; i++) orr_buf_bytes(&task->out, ORR_SLICE_LITERAL("7"));
  task->items_len = count;
}

static void outcome(struct life *life, struct orr_task *task) {
  const struct orr_step_def *step = &task->def->steps[task->step];
  task->started_ms = task->dispatched_ms;
  task->finished_ms = life->w.now.wall_ms;
  orr_buf_clear(&task->out);
  task->retryable = chance(life, 80);
  uint32_t dice = below(life, 100);
  if (dice < 12) {
    task->outcome = ORR_OUTCOME_ERROR;
    orr_buf_text(&task->out, "{\"message\":\"boom\"}");
  } else if (dice < 15) {
    task->outcome = ORR_OUTCOME_TIMEOUT;
  } else if (dice < 17) {
    task->outcome = ORR_OUTCOME_CANCELLED;
  } else if (task->op == ORR_OP_EXPAND) {
    task->outcome = ORR_OUTCOME_EXPANDED;
    expand(life, task);
  } else if (task->op == ORR_OP_STEP && dice < 25 && !task->when_decided &&
             (step->flags & ORR_STEP_HAS_WHEN)) {
    task->outcome = ORR_OUTCOME_SKIPPED;
  } else if (task->op == ORR_OP_STEP && step->kind == ORR_STEP_SLEEP) {
    task->outcome = ORR_OUTCOME_SLEEP;
    task->until_ms = life->w.now.wall_ms + below(life, 60);
  } else if (task->op == ORR_OP_STEP && step->kind == ORR_STEP_RUN) {
    task->outcome = ORR_OUTCOME_CHILD;
    // Children without a concurrency key: two that wait for each other's keys would never end.
    struct orr_def *child = life->defs[life->calm ? 0 : below(life, DEFS)];
    task->child_def = orr_def_ref(child->concurrency > 0 ? life->defs[0] : child);
    orr_buf_text(&task->out, "{}");
  } else {
    task->outcome = ORR_OUTCOME_OK;
    task->when_true = (step->flags & ORR_STEP_HAS_WHEN) != 0;
    orr_buf_text(&task->out, "{\"v\":1}");
    if (task->op == ORR_OP_STEP && chance(life, 20)) orr_buf_text(&task->state, "{\"k\":[1]}");
  }
}

static struct orr_task *twin_of(const struct orr_task *task) {
  struct orr_task *twin = orr_task_new();
  twin->serial = task->serial;
  twin->op = task->op;
  twin->step = task->step;
  twin->item = task->item;
  twin->attempt = task->attempt;
  twin->run_handle = task->run_handle;
  twin->outcome = ORR_OUTCOME_ERROR;
  return twin;
}

static void some_result(struct life *life) {
  struct world *w = &life->w;
  if (w->tasks_len == 0) return;
  uint32_t at = below(life, w->tasks_len);
  struct orr_task *task = w->tasks[at];
  w->tasks[at] = w->tasks[--w->tasks_len];
  outcome(life, task);
  struct orr_task *twin = !life->calm && chance(life, 3) ? twin_of(task) : NULL;
  orr_engine_results(w->engine, &w->now, &task->link);
  if (twin != NULL) orr_engine_results(w->engine, &w->now, &twin->link);
  world_turn(w);
}

static void some_control(struct life *life) {
  struct world *w = &life->w;
  if (w->runs_len == 0) return;
  static const enum orr_event_type TYPES[] = {ORR_EVENT_CANCEL, ORR_EVENT_PAUSE, ORR_EVENT_RESUME,
                                              ORR_EVENT_GET, ORR_EVENT_LIST, ORR_EVENT_WATCH};
  struct orr_event *event = orr_event_new(TYPES[below(life, 6)]);
  struct orr_id id = w->runs[below(life, w->runs_len)].id;
  if (event->type == ORR_EVENT_LIST) {
    event->list.limit = 5;
    event->list.status = -1;
    event->list.before = id;
  } else if (event->type == ORR_EVENT_GET) {
    event->get.id = id;
  } else if (event->type == ORR_EVENT_WATCH) {
    event->watch.id = id;
    event->watch.on = true;
  } else {
    event->control.id = id;
  }
  world_apply(w, event);
}

// World_crash recovers every stored run; those that were gathered are not in the store any more.
static void forget_gathered(struct life *life) {
  struct world *w = &life->w;
  uint32_t kept = 0;
  world_gather(w);
  for (uint32_t i = 0; i < w->runs_len; i++) {
    if (!w->runs[i].final) {
      w->runs[kept++] = w->runs[i];
      continue;
    }
    orr_buf_free(&w->runs[i].bytes);
    orr_def_unref(w->runs[i].def);
  }
  w->runs_len = kept;
}

// Nothing is stuck in silence: of every open run the engine can say what it waits for.
static void every_run_has_a_reason(struct world *w) {
  for (struct orr_run *run = orr_engine_next_run(w->engine, NULL); run != NULL;
       run = orr_engine_next_run(w->engine, run)) {
    if (orr_run_status_final(run->status)) continue;
    struct orr_event *event = orr_event_new(ORR_EVENT_GET);
    event->get.id = run->id;
    world_apply(w, event);
    assert_true(w->reply->reasons_len > 0);
  }
}

static void some_event(struct life *life) {
  struct world *w = &life->w;
  uint32_t dice = below(life, 100);
  if (dice < 60)
    some_result(life);
  else if (dice < 75)
    world_advance(w, below(life, 40));
  else if (dice < 82 && w->runs_len < 12)
    world_submit(w, life->defs[below(life, DEFS)]);
  else if (dice < 92)
    some_control(life);
  else if (dice < 94)
    world_advance(w, 1100); // an aborted attempt is given up
  else if (dice < 96)
    world_crash(w, chance(life, 70), chance(life, 50));
  else if (dice < 98)
    forget_gathered(life);
  else
    w->now.wall_ms += (int64_t)below(life, 20000) - 10000;
}

static void tell_what_lives(struct world *w) {
  for (struct orr_run *run = orr_engine_next_run(w->engine, NULL); run != NULL;
       run = orr_engine_next_run(w->engine, run)) {
    char id[ORR_ID_TEXT + 1], parent[ORR_ID_TEXT + 1];
    orr_id_text(&run->id, id);
    orr_id_text(&run->parent, parent);
    struct orr_event *event = orr_event_new(ORR_EVENT_GET);
    event->get.id = run->id;
    world_apply(w, event);
    print_error("%s of %s: %s, concurrency %u:", id, parent, orr_run_status_text(run->status),
                run->def->concurrency);
    for (uint32_t i = 0; i < w->reply->reasons_len; i++)
      print_error(" %s(%u)", orr_reason_text(w->reply->reasons[i].code), w->reply->reasons[i].step);
    print_error("\n");
  }
}

static void all_is_calm(struct life *life) {
  struct world *w = &life->w;
  life->calm = true;
  for (uint32_t i = 0; i < w->runs_len; i++) {
    struct orr_event *event = orr_event_new(ORR_EVENT_RESUME);
    event->control.id = w->runs[i].id;
    world_apply(w, event);
  }
  for (uint32_t turn = 0; turn < 20000 && orr_engine_live(w->engine) > 0; turn++) {
    some_result(life);
    if (w->tasks_len == 0) world_advance(w, 100);
  }
  if (orr_engine_live(w->engine) > 0) tell_what_lives(w);
  if (orr_engine_live(w->engine) > 0) fail_msg("%u runs never end", orr_engine_live(w->engine));
  world_gather(w);
  while (w->tasks_len > 0) some_result(life); // hooks
  world_gather(w);
  assert_null(orr_engine_next_run(w->engine, NULL));
  assert_int_equal(orr_engine_in_flight(w->engine), 0);
}

static void live(uint64_t seed) {
  struct life life = {.rng = {seed}};
  char text[2048];
  world_open(&life.w, 1 + below(&life, 12));
  for (uint32_t i = 0; i < DEFS; i++) {
    if (i == 0)
      snprintf(text, sizeof(text), "leaf");
    else
      def_text(&life, text, sizeof(text));
    life.defs[i] = world_def(text);
  }
  for (uint32_t i = 0; i < 150; i++) {
    some_event(&life);
    if (i % 10 == 0) every_run_has_a_reason(&life.w);
  }
  all_is_calm(&life);
  world_close(&life.w);
  for (uint32_t i = 0; i < DEFS; i++) orr_def_unref(life.defs[i]);
}

static uint64_t only_seed, seed_now;

static void random_lives_keep_the_invariants_and_end(void **state) {
  (void)state;
  for (uint64_t seed = 1; seed <= SEEDS; seed++) {
    if (only_seed != 0 && seed != only_seed) continue;
    seed_now = seed;
    live(seed);
  }
  seed_now = 0;
}

static void tell_seed(int signal) {
  (void)signal;
  print_error("seed %llu\n", (unsigned long long)seed_now);
}
static int tell_failed_seed(void **state) {
  (void)state;
  if (seed_now != 0) tell_seed(0);
  return 0;
}

int main(int argc, char **argv) {
  if (argc > 1) only_seed = strtoull(argv[1], NULL, 10);
  signal(SIGABRT, tell_seed); // a broken invariant aborts
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_teardown(random_lives_keep_the_invariants_and_end, tell_failed_seed),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
