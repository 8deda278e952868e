// SPDX-License-Identifier: MIT
// See gate.h.
#include "core/gate.h"

#include "base/check.h"
#include "core/bug.h"

#include <stdlib.h>

static bool gate_empty(const struct orr_gate *gate) {
  for (uint32_t i = 0; i < ORR_PRIORITIES; i++)
    if (!orr_list_empty(&gate->queues[i])) return false;
  return orr_list_empty(&gate->holders);
}

static void gate_free(struct orr_gate *gate) {
  free((void *)(uintptr_t)gate->name.data);
  free(gate);
}

void orr_gates_free(struct orr_gates *gates) {
  size_t cursor = 0;
  struct orr_slice key;
  void *gate;
  while (orr_map_next(&gates->map, &cursor, &key, &gate)) gate_free(gate);
  orr_map_free(&gates->map);
}

static struct orr_gate *gate_of(struct orr_gates *gates, const struct orr_run *run) {
  struct orr_buf name = ORR_BUF_INIT;
  orr_buf_text(&name, run->def->name);
  orr_buf_u8(&name, 0);
  orr_buf_slice_append(&name, orr_run_bytes(run, run->concurrency_key));
  struct orr_gate *gate = orr_map_get(&gates->map, orr_buf_slice(&name));
  if (gate != NULL) {
    orr_buf_free(&name);
    return gate;
  }
  gate = orr_alloc(sizeof(*gate));
  gate->name = orr_buf_slice(&name); // the buffer's memory now belongs to the gate
  orr_list_init(&gate->holders);
  for (uint32_t i = 0; i < ORR_PRIORITIES; i++) orr_list_init(&gate->queues[i]);
  orr_map_put(&gates->map, gate->name, gate);
  return gate;
}

struct orr_gate *orr_gate_enter(struct orr_gates *gates, struct orr_run *run) {
  orr_assert(run->key_decided && run->gate_of == NULL);
  struct orr_gate *gate = gate_of(gates, run);
  run->gate_of = gate;
  uint32_t place = run->def->priority < ORR_PRIORITIES ? run->def->priority : ORR_PRIORITIES - 1;
  orr_list_push_back(run->admitted ? &gate->holders : &gate->queues[place], &run->gate);
  return gate;
}

struct orr_gate *orr_gate_leave(struct orr_gates *gates, struct orr_run *run) {
  struct orr_gate *gate = run->gate_of;
  if (gate == NULL) return NULL;
  orr_list_remove(&run->gate);
  run->gate_of = NULL;
  if (!gate_empty(gate)) return gate;
  orr_map_remove(&gates->map, gate->name);
  gate_free(gate);
  return NULL;
}

bool orr_gate_counts(const struct orr_run *run) {
  if (orr_run_status_final(run->status)) return false;
  if (!run->def->concurrency_active) return true;
  return run->attempts_open > 0 ||
         (run->status != ORR_RUN_WAITING && run->status != ORR_RUN_PAUSED);
}

uint32_t orr_gate_used(const struct orr_gate *gate, uint32_t enough) {
  uint32_t used = 0;
  for (const struct orr_list *at = gate->holders.next; at != &gate->holders && used < enough;
       at = at->next)
    if (orr_gate_counts(ORR_CONTAINER_OF(at, struct orr_run, gate))) used++;
  return used;
}

static struct orr_run *gate_head(struct orr_gate *gate) {
  for (uint32_t i = ORR_PRIORITIES; i-- > 0;) {
    for (struct orr_list *at = gate->queues[i].next; at != &gate->queues[i]; at = at->next) {
      struct orr_run *run = ORR_CONTAINER_OF(at, struct orr_run, gate);
      if (!run->paused && !run->cancel_asked) return run;
    }
  }
  return NULL;
}

struct orr_run *orr_gate_admit(struct orr_gate *gate) {
  struct orr_run *run = gate_head(gate);
  if (run == NULL) return NULL;
  uint32_t limit = run->def->concurrency;
  if (ORR_BUG(25) && limit > 0) limit++;
  if (limit > 0 && orr_gate_used(gate, limit) >= limit) return NULL;
  orr_list_remove(&run->gate);
  orr_list_push_back(&gate->holders, &run->gate);
  return run;
}

bool orr_gate_full(const struct orr_gate *gate, uint32_t limit) {
  return limit > 0 && orr_gate_used(gate, limit) >= limit;
}

struct orr_run *orr_gate_oldest(struct orr_gate *gate, const struct orr_run *arriving) {
  uint32_t staying = 0;
  struct orr_run *oldest = NULL;
  for (struct orr_list *at = gate->holders.next; at != &gate->holders; at = at->next) {
    struct orr_run *run = ORR_CONTAINER_OF(at, struct orr_run, gate);
    if (run->cancel_asked || !orr_gate_counts(run)) continue;
    if (oldest == NULL) oldest = run;
    staying++;
  }
  for (uint32_t i = 0; i < ORR_PRIORITIES; i++) {
    for (struct orr_list *at = gate->queues[i].next; at != &gate->queues[i]; at = at->next) {
      struct orr_run *run = ORR_CONTAINER_OF(at, struct orr_run, gate);
      if (run == arriving || run->cancel_asked) continue;
      if (oldest == NULL) oldest = run;
      staying++;
    }
  }
  return staying + 1 > arriving->def->concurrency ? oldest : NULL;
}
