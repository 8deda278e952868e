// SPDX-License-Identifier: MIT
// The simulator's loop: a heap of (time, seq, event), the clock, the engine's mailbox and turns.
// Phase S lets anything go wrong; phase L heals everything and asks that all runs end. See world.h.
#include "world.h"

#include "base/check.h"

#include <stdio.h>
#include <stdlib.h>

#define LIVENESS_MS ((uint64_t)24 * 3600 * 1000) // of simulated time, for phase L
#define LIVENESS_EVENTS 400000u

void sim_fail(struct world *w, const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(w->failure, sizeof(w->failure), format, arguments);
  va_end(arguments);
  longjmp(w->failed, 1);
}

void sim_say(struct world *w, const char *format, ...) {
  if (!w->options.verbose) return;
  printf("%10llu ", (unsigned long long)w->now.mono_ms);
  va_list arguments;
  va_start(arguments, format);
  vprintf(format, arguments);
  va_end(arguments);
  putchar('\n');
}

uint32_t sim_draw(struct world *w, uint32_t low, uint32_t high) {
  return low + (uint32_t)orr_rng_below(&w->rng, (uint64_t)high - low + 1);
}
bool sim_chance(struct world *w, uint32_t permille) {
  return permille != 0 && orr_rng_below(&w->rng, 1000) < permille;
}

// --- heap
// ----------------------------------------------------------------------------------------------

static bool earlier(const struct sim_event *a, const struct sim_event *b) {
  return a->at_ms < b->at_ms || (a->at_ms == b->at_ms && a->seq < b->seq);
}

void sim_at(struct world *w, uint64_t delay_ms, enum sim_kind kind, uint32_t epoch, uint64_t arg) {
  if (w->heap_len == w->heap_cap) {
    w->heap_cap = w->heap_cap == 0 ? 256 : w->heap_cap * 2;
    w->heap = orr_realloc(w->heap, w->heap_cap * sizeof(*w->heap));
  }
  struct sim_event event = {w->now.mono_ms + delay_ms, ++w->seq, kind, epoch, arg};
  uint32_t at = w->heap_len++;
  while (at > 0 && earlier(&event, &w->heap[(at - 1) / 2])) {
    w->heap[at] = w->heap[(at - 1) / 2];
    at = (at - 1) / 2;
  }
  w->heap[at] = event;
}

static struct sim_event heap_pop(struct world *w) {
  struct sim_event top = w->heap[0], last = w->heap[--w->heap_len];
  uint32_t at = 0;
  for (;;) {
    uint32_t child = at * 2 + 1;
    if (child >= w->heap_len) break;
    if (child + 1 < w->heap_len && earlier(&w->heap[child + 1], &w->heap[child])) child++;
    if (!earlier(&w->heap[child], &last)) break;
    w->heap[at] = w->heap[child];
    at = child;
  }
  if (w->heap_len > 0) w->heap[at] = last;
  return top;
}

// --- the engine's mailbox and turns
// ----------------------------------------------------------------------

void sim_turn_soon(struct world *w, uint64_t delay_ms) {
  if (w->engine == NULL) return;
  uint64_t at_ms = w->now.mono_ms + delay_ms;
  if (at_ms >= w->turn_at_ms) return;
  w->turn_at_ms = at_ms;
  sim_at(w, delay_ms, SIM_TURN, w->epoch, 0);
}

static uint64_t turn_delay(struct world *w) {
  return w->faults.turn_ms_max == 0 ? 0 : sim_draw(w, 0, w->faults.turn_ms_max);
}

void sim_post(struct world *w, struct orr_event *event) {
  if (w->engine == NULL) { // nobody is there to take it
    orr_event_free(event);
    return;
  }
  if (w->mail_len == w->mail_cap) {
    w->mail_cap = w->mail_cap == 0 ? 64 : w->mail_cap * 2;
    w->mail = orr_realloc(w->mail, w->mail_cap * sizeof(struct orr_event *));
  }
  w->mail[w->mail_len++] = event;
  sim_turn_soon(w, turn_delay(w));
}

static void turn(struct world *w) {
  w->turn_at_ms = UINT64_MAX;
  w->turns++;
  for (uint32_t i = 0; i < w->mail_len; i++) {
    struct orr_event *event = w->mail[i];
    w->mail[i] = NULL;
    if (event->type == ORR_EVENT_DRAIN) w->drain_known = true;
    orr_engine_apply(w->engine, &w->now, event);
  }
  w->mail_len = 0;
  w->slots = w->slots_next;
  if (w->results != NULL) {
    struct orr_link *chain = w->results;
    w->results = NULL;
    w->results_end = &w->results;
    workers_applied(w);
    orr_engine_results(w->engine, &w->now, chain);
  }
  for (uint32_t i = 0; orr_engine_next_deadline(w->engine) <= w->now.mono_ms; i++) {
    sim_check(w, i < 100, "I23: after %u ticks the next deadline is still due", i);
    orr_engine_tick(w->engine, &w->now);
  }
  store_take(w);
  if (w->engine == NULL) return; // died at the store
  if (w->turns % 16 == 0) orr_engine_check(w->engine);
  uint64_t deadline = orr_engine_next_deadline(w->engine);
  if (deadline != ORR_WHEEL_NEVER) {
    uint64_t late = w->faults.turn_ms_max == 0 ? 0 : sim_draw(w, 0, w->faults.turn_ms_max);
    sim_turn_soon(w, (deadline > w->now.mono_ms ? deadline - w->now.mono_ms : 0) + late);
  }
}

// --- faults that come by themselves
// ------------------------------------------------------------------------

static void again(struct world *w, enum sim_kind kind, uint32_t mean_ms) {
  if (mean_ms > 0) sim_at(w, sim_draw(w, 1, mean_ms * 2), kind, 0, 0);
}

static void clock_step(struct world *w) {
  int64_t step = (int64_t)sim_draw(w, 0, 2 * w->faults.clock_step_ms) - w->faults.clock_step_ms;
  w->now.wall_ms += step;
  w->wall_steps++;
  sim_say(w, "clock steps by %lld ms", (long long)step);
  again(w, SIM_CLOCK, w->faults.clock_every_ms);
}

static void slots_change(struct world *w) {
  again(w, SIM_SLOTS, w->faults.slots_every_ms);
  if (w->engine == NULL) return;
  struct orr_event *event = orr_event_new(ORR_EVENT_SLOTS);
  event->slots.slots = sim_draw(w, 1, 24);
  w->slots = event->slots.slots > w->slots ? event->slots.slots : w->slots; // until it is applied
  w->slots_next = event->slots.slots;
  sim_post(w, event);
}

static void drain(struct world *w) {
  again(w, SIM_DRAIN, w->faults.drain_every_ms);
  if (w->engine == NULL || w->draining) return;
  sim_say(w, "drain");
  w->drains++;
  w->draining = true;
  sim_post(w, orr_event_new(ORR_EVENT_DRAIN));
  workers_drain(w);
  sim_at(w, sim_draw(w, 10, 3000), SIM_CRASH, w->epoch, 1);
}

static void heal(struct world *w) {
  sim_say(w, "--- healed");
  w->healed = true;
  sim_faults_heal(&w->faults);
  workers_heal(w);
  if (w->engine == NULL) return;
  struct orr_event *event = orr_event_new(ORR_EVENT_SLOTS);
  event->slots.slots = 16;
  w->slots = w->slots > 16 ? w->slots : 16;
  w->slots_next = 16;
  sim_post(w, event);
  workload_resume_all(w);
}

// --- the loop
// ------------------------------------------------------------------------------------------------

static void handle(struct world *w, const struct sim_event *event) {
  switch (event->kind) {
  case SIM_TURN:
    turn(w);
    break;
  case SIM_COMMITTED:
    store_committed(w);
    break;
  case SIM_RESULT:
    workers_result(w, event->arg);
    break;
  case SIM_SUBMIT:
    if (!w->healed) workload_submit(w);
    break;
  case SIM_CONTROL:
    if (!w->healed) workload_control(w);
    again(w, SIM_CONTROL, w->faults.control_every_ms);
    break;
  case SIM_QUERY:
    if (!w->healed) workload_query(w);
    again(w, SIM_QUERY, w->faults.query_every_ms);
    break;
  case SIM_CLOCK:
    if (!w->healed) clock_step(w);
    break;
  case SIM_RELOAD:
    if (!w->healed) workload_reload(w);
    again(w, SIM_RELOAD, w->faults.reload_every_ms);
    break;
  case SIM_SLOTS:
    if (!w->healed) slots_change(w);
    break;
  case SIM_CRASH: {
    bool drained = event->arg == 1;
    if (!drained) again(w, SIM_CRASH, w->faults.crash_every_ms);
    if (w->engine == NULL || (w->healed && !drained)) break;
    store_crash(w, !drained && sim_chance(w, w->faults.power_permille));
    break;
  }
  case SIM_RESTART:
    recovery_start(w);
    if (w->healed) workload_resume_all(w);
    break;
  case SIM_DRAIN:
    if (!w->healed) drain(w);
    break;
  case SIM_GATHER:
    store_gathered(w);
    break;
  }
}

static bool step(struct world *w) {
  if (w->heap_len == 0) return false;
  struct sim_event event = heap_pop(w);
  w->now.wall_ms += (int64_t)(event.at_ms - w->now.mono_ms);
  w->now.mono_ms = event.at_ms;
  if (event.epoch != 0 && event.epoch != w->epoch) return true;
  if (event.kind == SIM_TURN && event.at_ms != w->turn_at_ms) return true; // an earlier one was set
  w->events++;
  sim_trace(w, event.at_ms ^ (uint64_t)event.kind << 56 ^ event.arg << 40);
  handle(w, &event);
  return true;
}

static bool quiet(struct world *w) {
  return w->engine != NULL && !w->draining && w->pending_len == 0 && w->gathering_len == 0 &&
         w->mail_len == 0 && w->results == NULL && w->open_len == 0 && oracle_all_final(w);
}

static void live(struct world *w) {
  uint64_t until_ms = w->now.mono_ms + LIVENESS_MS, most = w->events + LIVENESS_EVENTS;
  while (!quiet(w) && w->now.mono_ms < until_ms && w->events < most && step(w)) {}
  if (!quiet(w)) oracle_end(w);
  sim_check(w, quiet(w), "I34: liveness: engine %s, %u batches, %u mails, %u open attempts",
            w->engine != NULL ? "up" : "down", w->pending_len, w->mail_len, w->open_len);
  oracle_end(w);
}

static void start(struct world *w) {
  w->rng.state = w->options.seed * UINT64_C(0x9e3779b97f4a7c15) + 1;
  w->trace = w->options.seed;
  w->now = (struct orr_now){INT64_C(1795000000000) + sim_draw(w, 0, 100000), 1000};
  w->now.mono_ms += sim_draw(w, 0, 100000);
  w->results_end = &w->results;
  w->turn_at_ms = UINT64_MAX;
  sim_faults_draw(&w->faults, &w->rng, !w->options.small);
  w->abort_grace_ms = sim_draw(w, 200, 10000);
  w->slots_start = sim_draw(w, 1, 24);
  workload_start(w);
  recovery_start(w);
  again(w, SIM_CRASH, w->faults.crash_every_ms);
  again(w, SIM_DRAIN, w->faults.drain_every_ms);
  again(w, SIM_CLOCK, w->faults.clock_every_ms);
  again(w, SIM_RELOAD, w->faults.reload_every_ms);
  again(w, SIM_CONTROL, w->faults.control_every_ms);
  again(w, SIM_QUERY, w->faults.query_every_ms);
  again(w, SIM_SLOTS, w->faults.slots_every_ms);
}

static void finish(struct world *w) {
  orr_engine_free(w->engine);
  for (uint32_t i = 0; i < w->mail_len; i++) orr_event_free(w->mail[i]);
  workers_die(w);
  store_free(w);
  oracle_free(w);
  workload_free(w);
  free(w->mail);
  free(w->heap);
  free(w->attempts);
  free(w->open);
  free(w->arriving);
  free(w->by_serial);
  free(w->in_flight);
}

bool sim_run(const struct sim_options *options, struct sim_report *report, char *message,
             size_t message_size) {
  struct world *w = orr_alloc(sizeof(*w));
  w->options = *options;
  if (setjmp(w->failed) != 0) { // what was broken may be anywhere: its memory is left alone
    snprintf(message, message_size, "at %llu ms, event %llu, epoch %u: %s",
             (unsigned long long)w->now.mono_ms, (unsigned long long)w->events, w->epoch,
             w->failure);
    return false;
  }
  start(w);
  uint64_t budget = options->events - options->events * 3 / 10;
  while ((options->small ? w->submitted < w->submit_max : w->events < budget) && step(w)) {}
  if (!w->options.small) heal(w);
  w->healed = true;
  live(w);
  *report = (struct sim_report){.trace = w->trace,
                                .events = w->events,
                                .runs = w->oracle.runs_len,
                                .crashes = w->crashes,
                                .store_calls = w->store_calls,
                                .simulated_ms = w->now.mono_ms,
                                .facts = w->oracle.facts};
  finish(w);
  free(w);
  return true;
}
