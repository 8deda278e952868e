// SPDX-License-Identifier: MIT
// POST /api/pipelines/{name}/execute?wait=30s: the answer is the end of the run, 200 with its output, if it comes in
// time; else the 202 of any other execute. Each wait holds a civetweb thread, so at most ORR_HTTP_LIVE_MAX wait at a
// time; beyond that nobody waits. Any civetweb thread.
#pragma once

#include "base/id.h"
#include "base/status.h"
#include "server/problem_json.h"

struct orr_host;

// The duration of "wait=" in a raw query, at most ORR_HTTP_WAIT_MS_MAX; 0: none asked. ORR_ERR_INVALID: not a duration.
enum orr_status orr_await_parse(const char *query, uint64_t *wait_ms);
// Replaces the 202 in `answer` if the run ends in time.
void orr_await_answer(struct orr_host *host, const struct orr_id *id, uint64_t wait_ms, struct orr_answer *answer);
