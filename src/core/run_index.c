// SPDX-License-Identifier: MIT
// See run_index.h. Linear probing at a load below one half; removal shifts later entries back, so
// there are no tombstones.
#include "core/run_index.h"

#include "base/check.h"

#include <stdlib.h>

void orr_run_index_free(struct orr_run_index *index) {
  free(index->slots);
  free(index->table);
  *index = (struct orr_run_index){0};
}

static uint32_t hash_of(const struct orr_id *id) {
  uint64_t low;
  memcpy(&low, id->bytes + 8, sizeof(low)); // the random half
  low ^= low >> 32;
  low *= UINT64_C(0x9e3779b97f4a7c15);
  return (uint32_t)(low >> 32);
}

static void table_put(struct orr_run_index *index, uint32_t slot) {
  uint32_t mask = index->table_cap - 1;
  uint32_t at = hash_of(&index->slots[slot].run->id) & mask;
  while (index->table[at] != 0) at = (at + 1) & mask;
  index->table[at] = slot + 1;
}

static void table_grow(struct orr_run_index *index) {
  free(index->table);
  index->table_cap = index->table_cap == 0 ? 256 : index->table_cap * 2;
  index->table = orr_alloc(index->table_cap * sizeof(*index->table));
  for (uint32_t i = 0; i < index->slots_len; i++)
    if (index->slots[i].run != NULL) table_put(index, i);
}

void orr_run_index_add(struct orr_run_index *index, struct orr_run *run) {
  if ((index->runs + 1) * 2 > index->table_cap) table_grow(index);
  uint32_t slot;
  if (index->free_head != 0) {
    slot = index->free_head - 1;
    index->free_head = index->slots[slot].next_free;
  } else {
    if (index->slots_len == index->slots_cap) {
      index->slots_cap = index->slots_cap == 0 ? 128 : index->slots_cap * 2;
      index->slots = orr_realloc(index->slots, index->slots_cap * sizeof(*index->slots));
    }
    slot = index->slots_len++;
    index->slots[slot] = (struct orr_run_slot){.generation = 1};
  }
  index->slots[slot].run = run;
  run->handle = (uint64_t)index->slots[slot].generation << 32 | slot;
  index->runs++;
  table_put(index, slot);
}

static uint32_t table_find(const struct orr_run_index *index, const struct orr_id *id) {
  if (index->table_cap == 0) return UINT32_MAX;
  uint32_t mask = index->table_cap - 1;
  for (uint32_t at = hash_of(id) & mask; index->table[at] != 0; at = (at + 1) & mask)
    if (memcmp(&index->slots[index->table[at] - 1].run->id, id, sizeof(*id)) == 0) return at;
  return UINT32_MAX;
}

struct orr_run *orr_run_index_find(const struct orr_run_index *index, const struct orr_id *id) {
  uint32_t at = table_find(index, id);
  return at == UINT32_MAX ? NULL : index->slots[index->table[at] - 1].run;
}

void orr_run_index_remove(struct orr_run_index *index, struct orr_run *run) {
  uint32_t hole = table_find(index, &run->id);
  orr_assert(hole != UINT32_MAX);
  uint32_t mask = index->table_cap - 1;
  index->table[hole] = 0;
  for (uint32_t at = (hole + 1) & mask; index->table[at] != 0; at = (at + 1) & mask) {
    uint32_t home = hash_of(&index->slots[index->table[at] - 1].run->id) & mask;
    if (((at - home) & mask) < ((at - hole) & mask)) continue; // its home lies after the hole
    index->table[hole] = index->table[at];
    index->table[at] = 0;
    hole = at;
  }
  uint32_t slot = (uint32_t)run->handle;
  index->slots[slot].run = NULL;
  index->slots[slot].generation++;
  index->slots[slot].next_free = index->free_head;
  index->free_head = slot + 1;
  index->runs--;
}
