// SPDX-License-Identifier: MIT
// POST /api/pipelines/{name}/execute: from a body to an answer, with one event to the engine in between. The fast
// path of the HTTP door: no Lua, no thread hop but the engine's. Any thread. Must not know civetweb.
#pragma once

#include "core/engine.h"
#include "server/problem_json.h"

struct orr_execute {
  struct orr_def *def;          // borrowed
  struct orr_slice body;
  const char *idempotency_key;  // header's value, or NULL
  uint64_t timeout_ms;
  // orr_host_ask, or a test's.
  enum orr_status (*ask)(void *context, struct orr_event *event, uint64_t timeout_ms, struct orr_reply **reply);
  void *ask_context;
};
// Fills the answer: 202, or a problem of 400, 409, 413, 422, 429 or 503. *existing: the key was known, *id is its run.
void orr_execute_answer(const struct orr_execute *execute, struct orr_answer *answer, bool *existing,
                        struct orr_id *id);
