// SPDX-License-Identifier: MIT
// The table of ungathered runs, by id. One look-up per journal row and one removal per gathered run
// are on the hot path, so keys lie inside the slots. Owner of the store's connection only.
#include "io/store_internal.h"

#include "base/check.h"

#include <stdlib.h>

static size_t place(const struct orr__open_runs *runs, const struct orr_id *id) {
  uint64_t high, low;
  memcpy(&high, id->bytes, 8);
  memcpy(&low, id->bytes + 8, 8);
  // Ids of one moment differ in their last bytes only, which are the high ones of `low` here.
  uint64_t mixed = (__builtin_bswap64(low) ^ high * 0x9e3779b97f4a7c15ull) * 0xbf58476d1ce4e5b9ull;
  return (size_t)(mixed >> 32) & (runs->cap - 1);
}

struct orr__open_run *orr__open_get(const struct orr__open_runs *runs, const struct orr_id *id) {
  if (runs->len == 0) return NULL;
  for (size_t i = place(runs, id);; i = (i + 1) & (runs->cap - 1)) {
    struct orr__open_run *slot = &runs->slots[i];
    if (!slot->used) return NULL;
    if (memcmp(&slot->id, id, sizeof *id) == 0) return slot;
  }
}

static struct orr__open_run *claim(struct orr__open_runs *runs, const struct orr_id *id) {
  for (size_t i = place(runs, id);; i = (i + 1) & (runs->cap - 1)) {
    struct orr__open_run *slot = &runs->slots[i];
    if (slot->used && memcmp(&slot->id, id, sizeof *id) != 0) continue;
    if (!slot->used) {
      *slot = (struct orr__open_run){.id = *id, .used = true};
      runs->len++;
    }
    return slot;
  }
}

struct orr__open_run *orr__open_put(struct orr__open_runs *runs, const struct orr_id *id) {
  if (runs->len + 1 > runs->cap / 4 * 3) {
    struct orr__open_runs larger = {.cap = runs->cap == 0 ? 1024 : runs->cap * 2};
    larger.slots = orr_alloc(larger.cap * sizeof *larger.slots);
    for (size_t i = 0; i < runs->cap; i++)
      if (runs->slots[i].used) *claim(&larger, &runs->slots[i].id) = runs->slots[i];
    orr_assert(larger.len == runs->len);
    free(runs->slots);
    *runs = larger;
  }
  return claim(runs, id);
}

void orr__open_remove(struct orr__open_runs *runs, struct orr__open_run *run) {
  orr_assert(run->used);
  size_t hole = (size_t)(run - runs->slots);
  for (size_t i = (hole + 1) & (runs->cap - 1); runs->slots[i].used;
       i = (i + 1) & (runs->cap - 1)) {
    size_t ideal = place(runs, &runs->slots[i].id);
    // Moves back only what would otherwise be cut off from its ideal place by the hole.
    if (((i - ideal) & (runs->cap - 1)) < ((i - hole) & (runs->cap - 1))) continue;
    runs->slots[hole] = runs->slots[i];
    hole = i;
  }
  runs->slots[hole].used = false;
  runs->len--;
}

void orr__open_free(struct orr__open_runs *runs) {
  free(runs->slots);
  *runs = (struct orr__open_runs){0};
}
