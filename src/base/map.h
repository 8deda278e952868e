// SPDX-License-Identifier: MIT
// Hash map from byte strings to pointers: open addressing, linear probing, power-of-two size. Keys
// are copied in. Iteration order is insertion-independent and must not reach any output: sort first.
// Hash seed is fixed, so that simulations repeat. Not thread-safe.
#pragma once

#include "base/buf.h"

struct orr_map_entry;
struct orr_map {
  struct orr_map_entry *entries; // NULL while empty
  size_t len;
  size_t cap;
};
#define ORR_MAP_INIT ((struct orr_map){0})

void orr_map_free(struct orr_map *map); // frees keys, not values
void *orr_map_get(const struct orr_map *map, struct orr_slice key);               // NULL: absent
void *orr_map_put(struct orr_map *map, struct orr_slice key, void *value);         // old value or NULL
void *orr_map_remove(struct orr_map *map, struct orr_slice key);                   // old value or NULL
// Walks all entries: start with *cursor = 0; false at the end. No change of the map while walking.
bool orr_map_next(const struct orr_map *map, size_t *cursor, struct orr_slice *key, void **value);
