// SPDX-License-Identifier: MIT
// Names of statuses and the legal transitions, one table a machine: a bit mask of targets a source.
// Staying in a status that is not final is legal (a fact need not change the status, and a queued run
// is queued again after a restart); nothing leaves a final status, not even to itself. Pure.
#include "core/states.h"

#include "base/check.h"

#define RUN(name) (1u << ORR_RUN_##name)
#define RUN_FINAL (RUN(SUCCEEDED) | RUN(FAILED) | RUN(CANCELLED))
#define STEP(name) (1u << ORR_STEP_STATUS_##name)
#define STEP_FINAL (STEP(SUCCEEDED) | STEP(FAILED) | STEP(SKIPPED) | STEP(CANCELLED))

static const uint16_t RUN_TARGETS[ORR_RUN_STATUS_COUNT] = {
    // A run cannot succeed before it was admitted; it may fail (its deadline, its concurrency key).
    [ORR_RUN_QUEUED] =
        RUN(QUEUED) | RUN(RUNNING) | RUN(WAITING) | RUN(PAUSED) | RUN(FAILED) | RUN(CANCELLED),
    [ORR_RUN_RUNNING] = RUN(RUNNING) | RUN(WAITING) | RUN(PAUSED) | RUN_FINAL,
    [ORR_RUN_WAITING] = RUN(RUNNING) | RUN(WAITING) | RUN(PAUSED) | RUN_FINAL,
    // A run paused before its admission goes back to its queue when it is resumed.
    [ORR_RUN_PAUSED] = RUN(QUEUED) | RUN(RUNNING) | RUN(WAITING) | RUN(PAUSED) | RUN_FINAL,
};

static const uint16_t STEP_TARGETS[ORR_STEP_STATUS_COUNT] = {
    // Being queued and running is not recorded, so a replay goes from pending to whatever was.
    [ORR_STEP_STATUS_PENDING] = STEP(PENDING) | STEP(QUEUED) | STEP(RUNNING) | STEP(WAITING) |
                                STEP(RETRYING) | STEP_FINAL,
    [ORR_STEP_STATUS_QUEUED] = STEP(PENDING) | STEP(QUEUED) | STEP(RUNNING) | STEP(WAITING) |
                               STEP(RETRYING) | STEP_FINAL,
    // An interrupted attempt is pending or queued again.
    [ORR_STEP_STATUS_RUNNING] = STEP(PENDING) | STEP(QUEUED) | STEP(RUNNING) | STEP(WAITING) |
                                STEP(RETRYING) | STEP_FINAL,
    [ORR_STEP_STATUS_WAITING] = STEP(QUEUED) | STEP(RUNNING) | STEP(WAITING) | STEP(RETRYING) |
                                STEP_FINAL,
    [ORR_STEP_STATUS_RETRYING] = STEP(QUEUED) | STEP(RUNNING) | STEP(WAITING) | STEP(RETRYING) |
                                 STEP_FINAL,
};

static const struct {
  const char *text;
  bool final;
} RUN_STATUSES[] = {
#define X(name, status_text, is_final) {status_text, is_final},
    ORR_RUN_STATUS_LIST(X)
#undef X
}, STEP_STATUSES[] = {
#define X(name, status_text, is_final) {status_text, is_final},
    ORR_STEP_STATUS_LIST(X)
#undef X
};

const char *orr_run_status_text(enum orr_run_status status) {
  orr_assert(status < ORR_RUN_STATUS_COUNT);
  return RUN_STATUSES[status].text;
}

bool orr_run_status_parse(struct orr_slice text, enum orr_run_status *status) {
  for (uint32_t i = 0; i < ORR_RUN_STATUS_COUNT; i++) {
    if (!orr_slice_equal(text, orr_slice_text(RUN_STATUSES[i].text))) continue;
    *status = (enum orr_run_status)i;
    return true;
  }
  return false;
}

bool orr_run_status_final(enum orr_run_status status) {
  orr_assert(status < ORR_RUN_STATUS_COUNT);
  return RUN_STATUSES[status].final;
}

bool orr_run_transition_legal(enum orr_run_status from, enum orr_run_status to) {
  orr_assert(from < ORR_RUN_STATUS_COUNT && to < ORR_RUN_STATUS_COUNT);
  return (RUN_TARGETS[from] >> to & 1) != 0;
}

const char *orr_step_status_text(enum orr_step_status status) {
  orr_assert(status < ORR_STEP_STATUS_COUNT);
  return STEP_STATUSES[status].text;
}

bool orr_step_status_final(enum orr_step_status status) {
  orr_assert(status < ORR_STEP_STATUS_COUNT);
  return STEP_STATUSES[status].final;
}

bool orr_step_transition_legal(enum orr_step_status from, enum orr_step_status to) {
  orr_assert(from < ORR_STEP_STATUS_COUNT && to < ORR_STEP_STATUS_COUNT);
  return (STEP_TARGETS[from] >> to & 1) != 0;
}
