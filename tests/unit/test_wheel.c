// SPDX-License-Identifier: MIT
// The timer wheel against a sorted list: after every operation both hold the same timers, and fire
// the same ones in the same order.
#include "base/check.h"
#include "base/rng.h"
#include "core/wheel.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#define SPAN ((uint64_t)1 << 48)
#define TIMERS 200u

struct model_timer {
  struct orr_timer timer;
  uint64_t deadline, serial; // serial: when it was set
  bool pending;
};
struct model {
  struct orr_wheel wheel;
  struct orr_rng rng;
  struct model_timer timers[TIMERS];
  uint64_t serial;
};

static struct model *model_new(uint64_t seed, uint64_t now) {
  struct model *model = calloc(1, sizeof *model);
  assert_non_null(model);
  model->rng.state = seed;
  orr_wheel_init(&model->wheel, now);
  return model;
}

static void model_check(struct model *model) {
  uint64_t count = 0, earliest = ORR_WHEEL_NEVER;
  for (unsigned i = 0; i < TIMERS; i++) {
    struct model_timer *at = &model->timers[i];
    assert_int_equal(orr_timer_pending(&at->timer), at->pending);
    if (!at->pending) continue;
    count++;
    if (at->deadline < earliest) earliest = at->deadline;
  }
  assert_int_equal(model->wheel.count, count);
  uint64_t next = orr_wheel_next(&model->wheel);
  if (count == 0) {
    assert_true(next == ORR_WHEEL_NEVER);
  } else {
    assert_true(next <= earliest || earliest <= model->wheel.now_ms);
    assert_true(next >= model->wheel.now_ms);
  }
}

static void model_add(struct model *model, unsigned i, uint64_t deadline) {
  struct model_timer *at = &model->timers[i];
  orr_wheel_add(&model->wheel, &at->timer, deadline);
  at->deadline = deadline;
  at->serial = ++model->serial;
  at->pending = true;
}

static void model_cancel(struct model *model, unsigned i) {
  orr_wheel_cancel(&model->wheel, &model->timers[i].timer);
  model->timers[i].pending = false;
}

static int by_deadline(const void *a, const void *b) {
  const struct model_timer *x = *(struct model_timer *const *)a, *y = *(struct model_timer *const *)b;
  if (x->deadline != y->deadline) return x->deadline < y->deadline ? -1 : 1;
  return x->serial < y->serial ? -1 : 1;
}

// Advances both; with `cancels`, firing one timer cancels some of those that are to fire after it.
static void model_advance(struct model *model, uint64_t now, bool cancels) {
  struct model_timer *due[TIMERS];
  unsigned due_len = 0;
  uint64_t reached = now > model->wheel.now_ms ? now : model->wheel.now_ms;
  for (unsigned i = 0; i < TIMERS; i++) {
    if (model->timers[i].pending && model->timers[i].deadline <= reached)
      due[due_len++] = &model->timers[i];
  }
  qsort(due, due_len, sizeof *due, by_deadline);
  struct orr_list fired;
  orr_list_init(&fired);
  orr_wheel_advance(&model->wheel, now, &fired);
  assert_int_equal(model->wheel.now_ms, reached);
  for (unsigned i = 0; i < due_len; i++) {
    if (!due[i]->pending) continue; // cancelled by an earlier one
    struct orr_list *node = orr_list_pop_front(&fired);
    assert_non_null(node);
    struct orr_timer *timer = ORR_CONTAINER_OF(node, struct orr_timer, link);
    assert_ptr_equal(timer, &due[i]->timer);
    assert_true(timer->deadline_ms == due[i]->deadline && timer->deadline_ms <= reached);
    due[i]->pending = false;
    if (cancels && i + 1 < due_len && orr_rng_below(&model->rng, 2) == 0) {
      unsigned other = i + 1 + (unsigned)orr_rng_below(&model->rng, due_len - i - 1);
      model_cancel(model, (unsigned)(due[other] - model->timers));
    }
  }
  assert_true(orr_list_empty(&fired));
}

struct setting { // of one series of random operations
  uint64_t start, delay, step; // delays and steps are drawn below 2^(1 .. bits)
};

static void random_operations(uint64_t seed, struct setting setting, unsigned operations) {
  struct model *model = model_new(seed, setting.start);
  for (unsigned i = 0; i < operations; i++) {
    unsigned at = (unsigned)orr_rng_below(&model->rng, TIMERS);
    uint64_t now = model->wheel.now_ms;
    switch (orr_rng_below(&model->rng, 8)) {
    case 0: case 1: case 2: {
      uint64_t delay = orr_rng_below(&model->rng, setting.delay);
      delay >>= orr_rng_below(&model->rng, 40); // near ones as often as far ones
      uint64_t deadline = now + delay;
      model_add(model, at, deadline < SPAN ? deadline : SPAN - 1);
      break;
    }
    case 3: // the deadline of another timer, from another distance
      if (model->timers[at].pending) {
        uint64_t deadline = model->timers[at].deadline;
        model_add(model, (unsigned)orr_rng_below(&model->rng, TIMERS), deadline);
      }
      break;
    case 4: { // already due
      uint64_t back = orr_rng_below(&model->rng, 100);
      model_add(model, at, back < now ? now - back : 0);
      break;
    }
    case 5: model_cancel(model, at); break;
    case 6: {
      uint64_t next = orr_wheel_next(&model->wheel);
      if (next != ORR_WHEEL_NEVER) model_advance(model, next, i % 2 == 0);
      break;
    }
    default: {
      uint64_t step = orr_rng_below(&model->rng, setting.step) >> orr_rng_below(&model->rng, 40);
      uint64_t to = now + step;
      model_advance(model, to < SPAN ? to : SPAN - 1, i % 2 == 0);
    }
    }
    model_check(model);
  }
  model_advance(model, SPAN - 1, false);
  model_check(model);
  free(model);
}

static void wheel_agrees_with_a_sorted_list_over_random_operations(void **state) {
  (void)state;
  const struct setting settings[] = {
      {0, 2, 2},
      {0, 100, 100},
      {1, 5000, 700},
      {63, 1 << 13, 1 << 7},
      {4095, 1 << 20, 1 << 20},
      {123456789, (uint64_t)1 << 30, (uint64_t)1 << 31},
      {0, SPAN / 2, SPAN / 1024},
      {(uint64_t)1 << 40, (uint64_t)1 << 47, (uint64_t)1 << 44},
      {SPAN - 100000, 200000, 300},
      {SPAN - 200, 300, 3},
  };
  for (unsigned i = 0; i < sizeof settings / sizeof *settings; i++) {
    for (uint64_t seed = 1; seed <= 3; seed++) random_operations(seed * 1000 + i, settings[i], 4000);
  }
}

static void equal_deadlines_fire_in_the_order_of_setting_whatever_level_they_began_in(void **state) {
  (void)state;
  struct model *model = model_new(1, 0);
  const uint64_t deadline = ((uint64_t)1 << 42) + 12345;
  const uint64_t times[] = {0,          1,           64,           4096,         1 << 18,
                            1 << 24,    1ull << 36,  deadline - 5000, deadline - 4096, deadline - 65,
                            deadline - 64, deadline - 2, deadline - 1};
  unsigned len = sizeof times / sizeof *times;
  for (unsigned i = 0; i < len; i++) {
    model_advance(model, times[i], false);
    model_add(model, len - i, deadline);
  }
  model_advance(model, deadline - 1, false); // fires nothing: checked by the model
  assert_int_equal(model->wheel.count, len);
  model_advance(model, deadline, false);
  assert_int_equal(model->wheel.count, 0);
  free(model);
}

static void no_timer_fires_early_at_any_distance(void **state) {
  (void)state;
  for (unsigned bit = 0; bit < 48; bit++) {
    for (uint64_t extra = 0; extra < 3; extra++) {
      uint64_t start = orr_rng_below(&(struct orr_rng){bit}, 1000);
      uint64_t deadline = ((uint64_t)1 << bit) + start + extra;
      if (deadline >= SPAN) continue;
      struct model *model = model_new(1, start);
      model_add(model, 0, deadline);
      model_advance(model, deadline - 1, false);
      assert_true(orr_timer_pending(&model->timers[0].timer));
      model_advance(model, deadline, false);
      assert_false(orr_timer_pending(&model->timers[0].timer));
      free(model);
    }
  }
}

static void a_far_timer_is_woken_for_at_most_once_a_level(void **state) {
  (void)state;
  struct model *model = model_new(1, 7);
  model_add(model, 0, SPAN - 3);
  unsigned wakes = 0;
  for (; model->wheel.count > 0; wakes++) model_advance(model, orr_wheel_next(&model->wheel), false);
  assert_true(wakes <= ORR_WHEEL_LEVELS);
  assert_int_equal(model->wheel.now_ms, SPAN - 3);
  free(model);
}

static void empty_time_is_jumped_over_in_one_step(void **state) {
  (void)state;
  struct model *model = model_new(1, 0);
  for (uint64_t now = 0; now < SPAN; now += (uint64_t)1 << 40) model_advance(model, now, false);
  model_add(model, 0, model->wheel.now_ms + 10);
  model_advance(model, model->wheel.now_ms + 9, false);
  model_check(model);
  free(model);
}

static void time_never_goes_back(void **state) {
  (void)state;
  struct model *model = model_new(1, 1000);
  model_add(model, 0, 2000);
  model_advance(model, 1500, false);
  model_advance(model, 3, false);
  assert_int_equal(model->wheel.now_ms, 1500);
  model_add(model, 1, 5); // in the past: due at the next advance, whatever that says
  assert_int_equal(orr_wheel_next(&model->wheel), 1500);
  model_advance(model, 0, false);
  assert_false(orr_timer_pending(&model->timers[1].timer));
  assert_true(orr_timer_pending(&model->timers[0].timer));
  free(model);
}

static void a_timer_cancelled_before_first_use_is_harmless(void **state) {
  (void)state;
  struct orr_timer zeroed = {0}, ready;
  struct orr_wheel wheel;
  orr_timer_init(&ready);
  orr_wheel_init(&wheel, 5);
  orr_wheel_cancel(&wheel, &zeroed);
  orr_wheel_cancel(&wheel, &ready);
  assert_false(orr_timer_pending(&zeroed) || orr_timer_pending(&ready));
  assert_int_equal(wheel.count, 0);
}

static void a_fired_timer_can_be_set_again_before_it_is_taken(void **state) {
  (void)state;
  struct orr_wheel wheel;
  struct orr_timer first = {0}, second = {0};
  struct orr_list fired;
  orr_list_init(&fired);
  orr_wheel_init(&wheel, 0);
  orr_wheel_add(&wheel, &first, 10);
  orr_wheel_add(&wheel, &second, 10);
  orr_wheel_advance(&wheel, 10, &fired);
  orr_wheel_add(&wheel, &second, 20);
  assert_int_equal(wheel.count, 1);
  assert_ptr_equal(orr_list_pop_front(&fired), &first.link);
  assert_true(orr_list_empty(&fired));
  orr_wheel_advance(&wheel, 20, &fired);
  assert_ptr_equal(orr_list_pop_front(&fired), &second.link);
  assert_int_equal(wheel.count, 0);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(wheel_agrees_with_a_sorted_list_over_random_operations),
      cmocka_unit_test(equal_deadlines_fire_in_the_order_of_setting_whatever_level_they_began_in),
      cmocka_unit_test(no_timer_fires_early_at_any_distance),
      cmocka_unit_test(a_far_timer_is_woken_for_at_most_once_a_level),
      cmocka_unit_test(empty_time_is_jumped_over_in_one_step),
      cmocka_unit_test(time_never_goes_back),
      cmocka_unit_test(a_timer_cancelled_before_first_use_is_harmless),
      cmocka_unit_test(a_fired_timer_can_be_set_again_before_it_is_taken),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
