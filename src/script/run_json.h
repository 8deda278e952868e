// SPDX-License-Identifier: MIT
// The JSON pictures of runs that CLI and API show, made from a journal by the engine's own fold.
#pragma once

#include "core/engine.h"
#include "io/store.h"

struct orr_picture_options {
  uint32_t steps_max;   // entries of "steps" at most; 0: ORR_RUN_STEPS_INLINE_MAX. More: "steps_next" is set
  uint32_t steps_after; // skip that many entries (paging of /api/runs/{id}/steps)
  bool only_steps;      // {"items": [...], "next": cursor or null}
};
// The run object of DESIGN section 8. `attempts` and `reasons` of a live reply may be empty.
// ORR_ERR_CORRUPT if the journal does not fold.
enum orr_status orr_picture_run(struct orr_def *def, struct orr_slice journal, const struct orr_reply *live,
                                const struct orr_picture_options *options, struct orr_buf *out);
// One entry of a list: id, pipeline, version, status, created_at, started_at, finished_at, parent, trigger, error.
void orr_picture_summary(const struct orr_run_summary *summary, struct orr_buf *out);
void orr_picture_row(const struct orr_store_row *row, struct orr_buf *out);
// {"items": [facts], "next": null}: the journal fact by fact. ORR_ERR_CORRUPT after the good ones before a bad record.
enum orr_status orr_picture_journal(const struct orr_def *def, struct orr_slice journal, struct orr_buf *out);
