// SPDX-License-Identifier: MIT
// See ready.h. Ten list heads are looked at per pop; a bitmap would have to be kept true by whoever
// unlinks a unit, which is the price not paid here.
#include "core/ready.h"

void orr_ready_init(struct orr_ready *ready) {
  for (uint32_t i = 0; i < ORR_PRIORITIES; i++) orr_list_init(&ready->queues[i]);
}

void orr_ready_push(struct orr_ready *ready, struct orr_unit *unit, uint8_t priority) {
  uint32_t place = priority < ORR_PRIORITIES ? priority : ORR_PRIORITIES - 1;
  orr_list_remove(&unit->ready);
  orr_list_push_back(&ready->queues[place], &unit->ready);
}

struct orr_unit *orr_ready_pop(struct orr_ready *ready) {
  for (uint32_t i = ORR_PRIORITIES; i-- > 0;) {
    struct orr_list *node = orr_list_pop_front(&ready->queues[i]);
    if (node != NULL) return ORR_CONTAINER_OF(node, struct orr_unit, ready);
  }
  return NULL;
}
