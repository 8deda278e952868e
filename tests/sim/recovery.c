// SPDX-License-Identifier: MIT
// Start of an engine on what the store holds: keys, then every run that is open or not gathered,
// oldest first, with its definition decoded from bytes and what the in-flight map knew. See
// io/host.h.
#include "world.h"

#include "base/check.h"

#include <stdlib.h>

static struct orr_def *def_stored(struct world *w, const struct model_run *run) {
  struct orr_buf bytes = ORR_BUF_INIT;
  orr_def_encode(run->def, &bytes);
  struct orr_def *def = NULL;
  enum orr_status status = orr_def_decode(orr_buf_slice(&bytes), &def);
  orr_buf_free(&bytes);
  sim_check(w, status == ORR_OK, "a definition does not decode");
  orr_def_attach(def, &run->generation, NULL, NULL);
  return def;
}

static void in_flight_of(const struct world *w, uint32_t index, struct orr_event *event) {
  uint32_t count = 0;
  for (uint32_t i = 0; i < w->in_flight_len; i++) count += w->in_flight[i].run == index;
  if (count == 0) return;
  event->recover.in_flight = orr_alloc(count * sizeof(struct orr_unit_ref));
  for (uint32_t i = 0; i < w->in_flight_len; i++)
    if (w->in_flight[i].run == index)
      event->recover.in_flight[event->recover.in_flight_len++] = w->in_flight[i].unit;
}

static void recover(struct world *w, uint32_t index) {
  struct model_run *run = w->oracle.runs[index];
  struct orr_event *event = orr_event_new(ORR_EVENT_RECOVER);
  event->recover.def = def_stored(w, run);
  event->recover.journal = orr_blob_new(orr_buf_slice(&run->journal));
  event->recover.last_pos = run->rows[run->rows_len - 1].pos;
  event->recover.in_flight_known = !w->powered_off;
  if (!w->powered_off) in_flight_of(w, index, event);
  oracle_recovered(w, run);
  orr_engine_apply(w->engine, &w->now, event);
}

void recovery_start(struct world *w) {
  orr_assert(w->engine == NULL);
  w->recoveries++;
  if (w->epoch == 0) w->epoch = 1;
  w->slots = w->slots_next = w->slots_start;
  struct orr_engine_config config = {.seed = orr_rng_next(&w->rng),
                                     .next_pos = w->oracle.pos + 1,
                                     .node = "sim",
                                     .slots = sim_chance(w, 500) ? w->slots : 0,
                                     .abort_grace_ms = w->abort_grace_ms};
  w->engine = orr_engine_new(&config, &w->now);
  for (uint32_t i = 0; i < w->oracle.keys_len; i++) {
    const struct model_key *key = &w->oracle.keys[i];
    orr_engine_remember_key(w->engine, orr_slice_text(key->text), &key->run, &key->request,
                            key->expires_ms);
  }
  for (uint32_t i = 0; i < w->oracle.runs_len; i++) {
    const struct model_run *run = w->oracle.runs[i];
    if (!run->gone && !run->gathered) recover(w, i);
  }
  w->in_flight_len = 0;
  struct orr_event *event = orr_event_new(ORR_EVENT_SLOTS);
  event->slots.slots = w->slots;
  sim_post(w, event);
  sim_turn_soon(w, 0);
  sim_say(w, "engine %u is up", w->epoch);
}
