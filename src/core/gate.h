// SPDX-License-Identifier: MIT
// Concurrency keys: one gate per (pipeline, key), with the runs that hold it and those that queue
// for
// it. How full a gate is, is counted by walking its holders; there is no counter that could drift.
// Priority first, then first in first out. Owner thread only; decides nothing but admission.
#pragma once

#include "core/ready.h"

struct orr_gate {
  struct orr_slice name; // owned by the gate: pipeline, NUL, key
  struct orr_list holders;
  struct orr_list queues[ORR_PRIORITIES];
};
struct orr_gates {
  struct orr_map map;
};

void orr_gates_free(struct orr_gates *gates);
// Puts the run into its gate's queue, or among the holders if it is admitted. Its key is decided.
struct orr_gate *orr_gate_enter(struct orr_gates *gates, struct orr_run *run);
// The run no longer holds or waits. Gives its gate, or NULL if it had none or the gate is now
// empty.
struct orr_gate *orr_gate_leave(struct orr_gates *gates, struct orr_run *run);
// True if the run counts against the limit of its pipeline.
bool orr_gate_counts(const struct orr_run *run);
// How many holders count; stops at `enough`.
uint32_t orr_gate_used(const struct orr_gate *gate, uint32_t enough);
// The next run that may be admitted now and its move to the holders, or NULL.
struct orr_run *orr_gate_admit(struct orr_gate *gate);
// Would a run that arrives now have to wait?
bool orr_gate_full(const struct orr_gate *gate, uint32_t limit);
// The run to cancel so that a new one finds a place (holders first, oldest first), or NULL: none
// needed.
struct orr_run *orr_gate_oldest(struct orr_gate *gate, const struct orr_run *arriving);
