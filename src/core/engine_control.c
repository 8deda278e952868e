// SPDX-License-Identifier: MIT
// Cancel, pause, resume: what a person (or a deadline, or a newer run) asks of a run. The answer
// goes
// out with the batch that holds the fact.
#include "core/engine_internal.h"

static void attempts_abort(struct orr_engine *engine, struct orr_run *run) {
  for (uint32_t i = 0; run->attempts_open > 0 && i < run->def->steps_len; i++) {
    orr__unit_abort(engine, &run->units[i], ORR_ABORT_CANCEL);
    struct orr_map_items *map = run->maps != NULL ? run->maps[i] : NULL;
    for (uint32_t k = 0; map != NULL && k < map->count; k++)
      orr__unit_abort(engine, &map->units[k], ORR_ABORT_CANCEL);
  }
}

void orr__run_cancel(struct orr_engine *engine, struct orr_run *run, const char *reason) {
  orr_assert(!orr_run_status_final(run->status));
  if (run->cancel_asked) return;
  struct orr_fact fact = {.type = ORR_FACT_CANCEL};
  fact.paused.reason = orr_slice_text(reason);
  orr__record(engine, run, &fact);
  orr__notice(engine, run, NULL);
  if (!ORR_BUG(40)) attempts_abort(engine, run);
  orr__job_abort(engine, run);
  orr__touch(engine, run);
}

void orr__run_pause(struct orr_engine *engine, struct orr_run *run, const char *reason) {
  if (run->paused) return;
  struct orr_fact fact = {.type = ORR_FACT_PAUSED};
  fact.paused.reason = orr_slice_text(reason);
  orr__record(engine, run, &fact);
  orr__notice(engine, run, NULL);
  orr__touch(engine, run);
}

static void run_resume(struct orr_engine *engine, struct orr_run *run) {
  if (!run->paused) return;
  struct orr_fact fact = {.type = ORR_FACT_RESUMED};
  orr__record(engine, run, &fact);
  orr__notice(engine, run, NULL);
  orr__maps_resume(engine, run);
  orr__run_enter_gate(engine, run, false);
  if (run->gate_of != NULL) orr__gate_pump(engine, run->gate_of);
  if (!ORR_BUG(41)) orr__touch(engine, run);
}

void orr__control(struct orr_engine *engine, struct orr_event *event) {
  struct orr_run *run = orr_run_index_find(&engine->index, &event->control.id);
  if (run == NULL) {
    orr__reply(engine, event->reply_to, ORR_ERR_NOT_FOUND, "no such run");
    return;
  }
  if (orr_run_status_final(run->status)) {
    orr__reply(engine, event->reply_to, ORR_ERR_CONFLICT, "the run has already ended");
    return;
  }
  event->control.reason[sizeof(event->control.reason) - 1] = '\0';
  if (event->type == ORR_EVENT_CANCEL) {
    orr__run_cancel(engine, run, event->control.reason);
  } else if (run->cancel_asked) {
    orr__reply(engine, event->reply_to, ORR_ERR_CONFLICT, "the run is being cancelled");
    return;
  } else if (event->type == ORR_EVENT_PAUSE) {
    orr__run_pause(engine, run, event->control.reason);
  } else {
    run_resume(engine, run);
  }
  orr__reply(engine, event->reply_to, ORR_OK, NULL);
}
