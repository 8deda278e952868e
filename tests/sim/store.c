// SPDX-License-Identifier: MIT
// The store's model and the death of the engine. Outboxes wait in `pending`; a commit takes some
// time; their effects are performed, in order, only after it. A crash keeps any prefix of what was
// pending: a batch may be on disk though its engine never heard of it.
#include "world.h"

#include "base/check.h"

#include <stdlib.h>

static uint64_t commit_delay(struct world *w) {
  if (sim_chance(w, w->faults.slow_permille)) return w->faults.slow_ms;
  return w->faults.commit_ms_max == 0 ? 0 : sim_draw(w, 0, w->faults.commit_ms_max);
}

// True if exhaustive mode wants the engine dead at this call, on this side of it.
static bool plan_hits(const struct world *w, uint8_t side) {
  const struct sim_crash_plan *plan = &w->options.plan;
  return plan->side == side &&
         (plan->call[0] == w->store_calls || plan->call[1] == w->store_calls) && w->store_calls > 0;
}

static void die(struct world *w, uint64_t kept, bool power) {
  sim_say(w, "crash %s: batches up to %llu stay, %llu were heard, %llu taken",
          power ? "(power)" : "(kill)", (unsigned long long)kept,
          (unsigned long long)w->batch_heard, (unsigned long long)w->batch_next);
  sim_trace(w, UINT64_C(0xdead) ^ kept << 16);
  w->crashes++;
  w->powered_off = power;
  workers_die(w); // first: it looks at what was heard
  orr_engine_free(w->engine);
  w->engine = NULL;
  for (uint32_t i = 0; i < w->mail_len; i++) orr_event_free(w->mail[i]);
  w->mail_len = 0;
  for (uint32_t i = 0; i < w->pending_len; i++) orr_outbox_free(&w->pending[i].outbox);
  w->pending_len = w->committing = 0;
  w->gathering_len = 0;
  oracle_crash(w, kept);
  w->batch_next = w->batch_heard = kept;
  w->epoch++;
  w->turn_at_ms = UINT64_MAX;
  w->draining = w->drain_known = false;
  uint32_t down_ms = w->faults.down_ms_max == 0 ? 1 : sim_draw(w, 1, w->faults.down_ms_max);
  sim_at(w, down_ms, SIM_RESTART, 0, 0);
}

void store_crash(struct world *w, bool power) {
  die(w, w->batch_heard + orr_rng_below(&w->rng, (uint64_t)w->pending_len + 1), power);
}

static void perform(struct world *w, struct sim_batch *batch, uint32_t effects) {
  for (; batch->effects_done < effects; batch->effects_done++) {
    struct orr_effect *effect = &batch->outbox.effects[batch->effects_done];
    enum orr_effect_type type = effect->type;
    effect->type = ORR_EFFECT_NOTICE; // its task or reply has a new owner
    switch (type) {
    case ORR_EFFECT_DISPATCH:
      workers_perform(w, effect->dispatch);
      break;
    case ORR_EFFECT_ABORT:
      workers_abort(w, effect->abort.serial, effect->abort.why);
      break;
    case ORR_EFFECT_REPLY:
      workload_reply(w, effect->reply);
      break;
    case ORR_EFFECT_GATHER: {
      uint32_t index;
      const struct orr_run *run = effect->gather.run;
      struct model_run *model = oracle_find(w, &run->id, &index);
      sim_check(w, model != NULL && model->final, "I2: a run is gathered that has not finished");
      sim_check(w, !model->gathering && !model->gathered, "a run is gathered twice");
      model->gathering = true;
      model->live = run;
      if (w->gathering_len == w->gathering_cap) {
        w->gathering_cap = w->gathering_cap == 0 ? 64 : w->gathering_cap * 2;
        w->gathering = orr_realloc(w->gathering, w->gathering_cap * sizeof(uint32_t));
      }
      w->gathering[w->gathering_len++] = index;
      if (w->gathering_len == 1) sim_at(w, sim_draw(w, 0, 50), SIM_GATHER, w->epoch, 0);
      break;
    }
    case ORR_EFFECT_NOTICE:
      sim_check(w, effect->notice.steps_done <= effect->notice.steps_total,
                "a notice counts %u of %u steps", effect->notice.steps_done,
                effect->notice.steps_total);
      break;
    }
  }
}

static void commit_start(struct world *w) {
  if (w->committing > 0 || w->pending_len == 0) return;
  w->committing = w->pending_len;
  w->store_calls++;
  if (plan_hits(w, 0)) {
    die(w, w->batch_heard, w->options.plan.power);
    return;
  }
  uint64_t delay_ms = commit_delay(w);
  if (delay_ms == 0)
    store_committed(w);
  else
    sim_at(w, delay_ms, SIM_COMMITTED, w->epoch, 0);
}

void store_committed(struct world *w) {
  orr_assert(w->committing > 0);
  uint32_t done = w->committing;
  uint64_t last = w->pending[done - 1].number;
  w->commits++;
  bool half = plan_hits(w, 2);
  if (plan_hits(w, 1)) {
    die(w, last, w->options.plan.power);
    return;
  }
  for (uint32_t i = 0; i < done; i++) {
    struct sim_batch *batch = &w->pending[i];
    perform(w, batch, half ? batch->outbox.effects_len / 2 : batch->outbox.effects_len);
    if (half) { // heard of nothing after it
      die(w, last, w->options.plan.power);
      return;
    }
    w->batch_heard = batch->number;
  }
  for (uint32_t i = 0; i < done; i++) {
    struct sim_batch *batch = &w->pending[i];
    batch->outbox.rows_len = batch->outbox.effects_len = 0; // all performed
    orr_outbox_free(&w->spare);
    w->spare = batch->outbox;
  }
  w->pending_len -= done;
  memmove(w->pending, w->pending + done, w->pending_len * sizeof(*w->pending));
  w->committing = 0;
  commit_start(w);
}

void store_take(struct world *w) {
  struct orr_outbox outbox = w->spare;
  w->spare = (struct orr_outbox){0};
  bool any = orr_engine_take(w->engine, &w->now, &outbox);
  if (!any) {
    w->spare = outbox;
    oracle_live(w, NULL);
    return;
  }
  if (w->pending_len == w->pending_cap) {
    w->pending_cap = w->pending_cap == 0 ? 16 : w->pending_cap * 2;
    w->pending = orr_realloc(w->pending, w->pending_cap * sizeof(*w->pending));
  }
  uint64_t number = ++w->batch_next;
  struct sim_batch *batch = &w->pending[w->pending_len++];
  *batch = (struct sim_batch){.number = number, .taken_ms = w->now.mono_ms, .outbox = outbox};
  oracle_rows(w, &outbox, number);
  for (uint32_t i = 0; i < outbox.effects_len; i++) {
    const struct orr_effect *effect = &outbox.effects[i];
    sim_trace(w, effect->type);
    if (effect->type == ORR_EFFECT_DISPATCH)
      workers_dispatched(w, effect->dispatch, oracle_dispatch(w, effect->dispatch), number);
    else if (effect->type == ORR_EFFECT_ABORT)
      workers_abort_asked(w, effect->abort.serial, effect->abort.why);
  }
  oracle_gates(w, &outbox);
  oracle_live(w, &outbox);
  commit_start(w);
}

// --- gathering
// -------------------------------------------------------------------------------------------

void store_gathered(struct world *w) {
  uint32_t len = w->gathering_len;
  w->store_calls++;
  if (plan_hits(w, 0)) {
    die(w, w->batch_heard, w->options.plan.power);
    return;
  }
  struct orr_event *event = orr_event_new(ORR_EVENT_GATHERED);
  event->gathered.handles = orr_alloc(len * sizeof(uint64_t));
  event->gathered.len = len;
  for (uint32_t i = 0; i < len; i++) {
    struct model_run *model = w->oracle.runs[w->gathering[i]];
    const struct orr_run *run = model->live;
    sim_check(w,
              orr_slice_equal(orr_buf_slice(&run->journal), orr_buf_slice(&model->journal)) &&
                  orr_run_fingerprint(run) == orr_run_fingerprint(model->mirror),
              "a final run changed before it was gathered");
    event->gathered.handles[i] = run->handle;
    model->gathered = true;
    model->gathering = false;
    model->live = NULL;
  }
  w->gathering_len = 0;
  if (plan_hits(w, 1) || plan_hits(w, 2)) {
    orr_event_free(event);
    die(w, w->batch_heard, w->options.plan.power);
    return;
  }
  sim_post(w, event);
}

void store_free(struct world *w) {
  for (uint32_t i = 0; i < w->pending_len; i++) orr_outbox_free(&w->pending[i].outbox);
  orr_outbox_free(&w->spare);
  free(w->pending);
  free(w->gathering);
}
