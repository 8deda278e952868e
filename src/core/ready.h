// SPDX-License-Identifier: MIT
// Units that may be dispatched, by priority, first in first out. Intrusive over orr_unit.ready: a
// unit
// leaves by orr_list_remove from anywhere, so an outcome needs no search. Owner thread only.
#pragma once

#include "core/run.h"

#define ORR_PRIORITIES 10

struct orr_ready {
  struct orr_list queues[ORR_PRIORITIES];
};

void orr_ready_init(struct orr_ready *ready);
void orr_ready_push(struct orr_ready *ready, struct orr_unit *unit, uint8_t priority);
struct orr_unit *orr_ready_pop(struct orr_ready *ready); // highest priority first; NULL when empty
