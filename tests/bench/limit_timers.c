// SPDX-License-Identifier: MIT
// The timer wheel beside libuv's timer heap at N pending timers: add, cancel and fire, nanoseconds each.
//   limit_timers N -> "wheel ADD CANCEL FIRE BYTES" and "heap ADD CANCEL FIRE BYTES"
// Fire: all N spread over 5 ms, due, handed out in one go; the same for both.
#include "bench.h"
#include "core/wheel.h"

#include <unistd.h>
#include <uv.h>

static long fired;

static void wheel(long n) {
  struct orr_wheel *w = malloc(sizeof(*w));
  struct orr_timer *timers = malloc(sizeof(*timers) * (size_t)n);
  uint64_t seed = 99, now = 1000000;
  for (long i = 0; i < n; i++) orr_timer_init(&timers[i]);
  orr_wheel_init(w, now);
  double t0 = now_s();
  for (long i = 0; i < n; i++) orr_wheel_add(w, &timers[i], now + 60000 + random_next(&seed) % 3600000);
  double add = now_s() - t0;
  t0 = now_s();
  for (long i = 0; i < n; i++) orr_wheel_cancel(w, &timers[i]);
  double cancel = now_s() - t0;
  for (long i = 0; i < n; i++) orr_wheel_add(w, &timers[i], now + 1 + random_next(&seed) % 5);
  struct orr_list due;
  orr_list_init(&due);
  fired = 0;
  t0 = now_s();
  orr_wheel_advance(w, now + 10, &due);
  while (orr_list_pop_front(&due) != NULL) fired++;
  double fire = now_s() - t0;
  need(fired == n, "firing every timer");
  printf("wheel %.2f %.2f %.2f %zu\n", add / n * 1e9, cancel / n * 1e9, fire / n * 1e9, sizeof(struct orr_timer));
  free(timers);
  free(w);
}

static void on_timer(uv_timer_t *timer) { (void)timer, fired++; }
static void heap(long n) {
  uv_loop_t loop;
  uv_loop_init(&loop);
  uv_timer_t *timers = malloc(sizeof(*timers) * (size_t)n);
  uint64_t seed = 99;
  for (long i = 0; i < n; i++) uv_timer_init(&loop, &timers[i]);
  double t0 = now_s();
  for (long i = 0; i < n; i++) uv_timer_start(&timers[i], on_timer, 60000 + random_next(&seed) % 3600000, 0);
  double add = now_s() - t0;
  t0 = now_s();
  for (long i = 0; i < n; i++) uv_timer_stop(&timers[i]);
  double cancel = now_s() - t0;
  for (long i = 0; i < n; i++) uv_timer_start(&timers[i], on_timer, random_next(&seed) % 5, 0);
  double until = now_s() + 0.01;
  while (now_s() < until) continue; // all are due
  fired = 0;
  t0 = now_s();
  while (fired < n) uv_run(&loop, UV_RUN_NOWAIT);
  double fire = now_s() - t0;
  printf("heap %.2f %.2f %.2f %zu\n", add / n * 1e9, cancel / n * 1e9, fire / n * 1e9, sizeof(uv_timer_t));
  free(timers);
}

int main(int argc, char **argv) {
  long n = argc > 1 ? atol(argv[1]) : 10000000;
  wheel(n);
  heap(n);
  return 0;
}
