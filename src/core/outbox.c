// SPDX-License-Identifier: MIT
// What the engine hands out: rows and effects of a turn, and the packing of a run's new facts into
// one
// row. Invariant: a row's position is dense over all runs, and names the run's row before it.
#include "core/engine_internal.h"

#include "base/check.h"

#include <stdlib.h>

void orr_outbox_free(struct orr_outbox *outbox) {
  for (uint32_t i = 0; i < outbox->effects_len; i++) {
    struct orr_effect *effect = &outbox->effects[i];
    switch (effect->type) {
    case ORR_EFFECT_DISPATCH: orr_task_free(effect->dispatch); break;
    case ORR_EFFECT_REPLY: orr_reply_free(effect->reply); break;
    case ORR_EFFECT_ABORT:
    case ORR_EFFECT_GATHER:
    case ORR_EFFECT_NOTICE: break;
    }
  }
  orr_buf_free(&outbox->bytes);
  free(outbox->rows);
  free(outbox->effects);
  *outbox = (struct orr_outbox){0};
}

struct orr_effect *orr__effect(struct orr_engine *engine, enum orr_effect_type type) {
  struct orr_outbox *out = &engine->out;
  if (out->effects_len == out->effects_cap) {
    out->effects_cap = out->effects_cap == 0 ? 64 : out->effects_cap * 2;
    out->effects = orr_realloc(out->effects, out->effects_cap * sizeof(*out->effects));
  }
  struct orr_effect *effect = &out->effects[out->effects_len++];
  effect->type = type;
  return effect;
}

struct orr_row *orr__row(struct orr_engine *engine, enum orr_row_type type) {
  struct orr_outbox *out = &engine->out;
  if (out->rows_len == out->rows_cap) {
    out->rows_cap = out->rows_cap == 0 ? 64 : out->rows_cap * 2;
    out->rows = orr_realloc(out->rows, out->rows_cap * sizeof(*out->rows));
  }
  struct orr_row *row = &out->rows[out->rows_len++];
  *row = (struct orr_row){.type = type};
  return row;
}

void orr__row_bytes(struct orr_engine *engine, struct orr_slice bytes, uint64_t *offset,
                    uint64_t *len) {
  *offset = engine->out.bytes.len;
  *len = bytes.len;
  orr_buf_slice_append(&engine->out.bytes, bytes);
}

void orr__outbox_pack(struct orr_engine *engine) {
  struct orr_list *node;
  if (ORR_BUG(2) && engine->next_serial % 7 == 0) return;
  while ((node = orr_list_pop_front(&engine->dirty)) != NULL) {
    struct orr_run *run = ORR_CONTAINER_OF(node, struct orr_run, dirty);
    orr_assert(run->persisted < run->journal.len);
    struct orr_row *row = orr__row(engine, ORR_ROW_JOURNAL);
    row->run = run->id;
    row->pos = engine->next_pos++;
    row->prev = ORR_BUG(1) && run->last_pos > 1 ? run->last_pos - 1 : run->last_pos;
    row->final = orr_run_status_final(run->status);
    struct orr_slice facts =
        orr_slice_of(run->journal.data + run->persisted, run->journal.len - run->persisted);
    orr__row_bytes(engine, facts, &row->offset, &row->len);
    run->last_pos = row->pos;
    run->persisted = run->journal.len;
    if (row->final) {
      struct orr_effect *effect = orr__effect(engine, ORR_EFFECT_GATHER);
      effect->gather.run = run;
      effect->gather.handle = run->handle;
    }
  }
}

void orr__notice(struct orr_engine *engine, const struct orr_run *run,
                 const struct orr_unit *unit) {
  if (!run->watched && !engine->watch_all) return;
  struct orr_effect *effect = orr__effect(engine, ORR_EFFECT_NOTICE);
  effect->notice.run = run->id;
  effect->notice.run_status = (uint8_t)orr__run_status(run);
  effect->notice.step = unit != NULL ? unit->step : UINT32_MAX;
  effect->notice.item = unit != NULL ? unit->item : UINT32_MAX;
  effect->notice.step_status = unit != NULL ? (uint8_t)orr__unit_status(unit) : 0;
  effect->notice.steps_done = run->def->steps_len - run->units_open + run->items_done;
  effect->notice.steps_total = run->def->steps_len + run->items_total;
}
