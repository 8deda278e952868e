// SPDX-License-Identifier: MIT
// All run objects of an engine: by handle (slot and generation: a stale handle finds nothing) and
// by
// id (open addressing, no key copies). Owner thread only.
#pragma once

#include "core/run.h"

struct orr_run_slot {
  struct orr_run *run;
  uint32_t generation;
  uint32_t next_free; // slot + 1; 0 ends
};
struct orr_run_index {
  struct orr_run_slot *slots;
  uint32_t slots_len, slots_cap;
  uint32_t free_head; // slot + 1
  uint32_t *table;    // slot + 1; 0: empty
  uint32_t table_cap; // power of two
  uint32_t runs;
};

void orr_run_index_free(struct orr_run_index *index); // not the runs
void orr_run_index_add(struct orr_run_index *index, struct orr_run *run); // sets run->handle
void orr_run_index_remove(struct orr_run_index *index, struct orr_run *run);
struct orr_run *orr_run_index_find(const struct orr_run_index *index, const struct orr_id *id);
static inline struct orr_run *orr_run_index_get(const struct orr_run_index *index,
                                                uint64_t handle) {
  uint32_t slot = (uint32_t)handle;
  if (slot >= index->slots_len || index->slots[slot].generation != (uint32_t)(handle >> 32))
    return NULL;
  return index->slots[slot].run;
}
