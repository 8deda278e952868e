// SPDX-License-Identifier: MIT
// Statuses of runs and steps, and the one table of legal transitions. Names go to JSON, Lua and the
// dashboard from the lists below; X(ENUM, "text", final).
#pragma once

#include "base/buf.h"

#include <stdbool.h>

#define ORR_RUN_STATUS_LIST(X)                                                                     \
  X(QUEUED, "queued", false) X(RUNNING, "running", false) X(WAITING, "waiting", false)             \
  X(PAUSED, "paused", false) X(SUCCEEDED, "succeeded", true) X(FAILED, "failed", true)             \
  X(CANCELLED, "cancelled", true)

#define ORR_STEP_STATUS_LIST(X)                                                                    \
  X(PENDING, "pending", false) X(QUEUED, "queued", false) X(RUNNING, "running", false)             \
  X(WAITING, "waiting", false) X(RETRYING, "retrying", false) X(SUCCEEDED, "succeeded", true)      \
  X(FAILED, "failed", true) X(SKIPPED, "skipped", true) X(CANCELLED, "cancelled", true)

enum orr_run_status {
#define X(name, text, final) ORR_RUN_##name,
  ORR_RUN_STATUS_LIST(X)
#undef X
  ORR_RUN_STATUS_COUNT
};
enum orr_step_status {
#define X(name, text, final) ORR_STEP_STATUS_##name,
  ORR_STEP_STATUS_LIST(X)
#undef X
  ORR_STEP_STATUS_COUNT
};

const char *orr_run_status_text(enum orr_run_status status);
bool orr_run_status_parse(struct orr_slice text, enum orr_run_status *status);
bool orr_run_status_final(enum orr_run_status status);
bool orr_run_transition_legal(enum orr_run_status from, enum orr_run_status to);
const char *orr_step_status_text(enum orr_step_status status);
bool orr_step_status_final(enum orr_step_status status);
bool orr_step_transition_legal(enum orr_step_status from, enum orr_step_status to);
