// SPDX-License-Identifier: MIT
// Open addressing with linear probing. Invariant: between an entry's home slot and its place no slot is
// free (removal shifts entries back, so there are no tombstones). At most three quarters are used.
// Short keys (run ids, most names) lie in the entry itself, so a look-up touches one cache line.
#include "base/map.h"

#include "base/check.h"
#include "base/hash.h"

#include <stdlib.h>

#define KEY_INLINE_BYTES 20u
#define HASH_SEED 0x6f72726572790001u

struct orr_map_entry {
  uint64_t hash;
  void *value; // NULL: the slot is free
  uint32_t key_len;
  uint8_t key[KEY_INLINE_BYTES]; // the bytes, or the heap pointer of a longer key
};

static uint8_t *key_heap(const struct orr_map_entry *entry) {
  uint8_t *pointer;
  memcpy(&pointer, entry->key, sizeof pointer);
  return pointer;
}

static const uint8_t *key_bytes(const struct orr_map_entry *entry) {
  return entry->key_len <= KEY_INLINE_BYTES ? entry->key : key_heap(entry);
}

static void key_set(struct orr_map_entry *entry, struct orr_slice key) {
  orr_assert(key.len <= UINT32_MAX);
  entry->key_len = (uint32_t)key.len;
  if (key.len == 0) return;
  uint8_t *to = entry->key;
  if (key.len > KEY_INLINE_BYTES) {
    to = orr_realloc(NULL, key.len);
    memcpy(entry->key, &to, sizeof to);
  }
  memcpy(to, key.data, key.len);
}

static void key_free(struct orr_map_entry *entry) {
  if (entry->key_len > KEY_INLINE_BYTES) free(key_heap(entry));
}

// The slot of `key`, or the free slot where it belongs. The map has a free slot.
static size_t find_slot(const struct orr_map *map, uint64_t hash, struct orr_slice key) {
  size_t mask = map->cap - 1;
  size_t slot = (size_t)hash & mask;
  for (;; slot = (slot + 1) & mask) {
    const struct orr_map_entry *entry = &map->entries[slot];
    if (entry->value == NULL) return slot;
    if (entry->hash == hash && entry->key_len == key.len &&
        (key.len == 0 || memcmp(key_bytes(entry), key.data, key.len) == 0))
      return slot;
  }
}

static void map_grow(struct orr_map *map) {
  struct orr_map_entry *old = map->entries;
  size_t old_cap = map->cap;
  map->cap = old_cap != 0 ? old_cap * 2 : 8;
  map->entries = orr_alloc(map->cap * sizeof *map->entries);
  size_t mask = map->cap - 1;
  for (size_t i = 0; i < old_cap; i++) {
    if (old[i].value == NULL) continue;
    size_t slot = (size_t)old[i].hash & mask;
    while (map->entries[slot].value != NULL) slot = (slot + 1) & mask;
    map->entries[slot] = old[i];
  }
  free(old);
}

void orr_map_free(struct orr_map *map) {
  for (size_t i = 0; i < map->cap; i++) {
    if (map->entries[i].value != NULL) key_free(&map->entries[i]);
  }
  free(map->entries);
  *map = ORR_MAP_INIT;
}

void *orr_map_get(const struct orr_map *map, struct orr_slice key) {
  if (map->len == 0) return NULL;
  return map->entries[find_slot(map, orr_hash64(HASH_SEED, key), key)].value;
}

void *orr_map_put(struct orr_map *map, struct orr_slice key, void *value) {
  orr_assert(value != NULL);
  if (map->len + 1 > map->cap / 4 * 3) map_grow(map);
  uint64_t hash = orr_hash64(HASH_SEED, key);
  struct orr_map_entry *entry = &map->entries[find_slot(map, hash, key)];
  void *old = entry->value;
  if (old == NULL) {
    entry->hash = hash;
    key_set(entry, key);
    map->len++;
  }
  entry->value = value;
  return old;
}

void *orr_map_remove(struct orr_map *map, struct orr_slice key) {
  if (map->len == 0) return NULL;
  size_t mask = map->cap - 1;
  size_t hole = find_slot(map, orr_hash64(HASH_SEED, key), key);
  void *old = map->entries[hole].value;
  if (old == NULL) return NULL;
  key_free(&map->entries[hole]);
  map->len--;
  // Entries behind the hole that may not stand before their home slot stay; others move into it.
  for (size_t slot = (hole + 1) & mask; map->entries[slot].value != NULL; slot = (slot + 1) & mask) {
    size_t home = (size_t)map->entries[slot].hash & mask;
    if (((slot - home) & mask) < ((slot - hole) & mask)) continue;
    map->entries[hole] = map->entries[slot];
    hole = slot;
  }
  map->entries[hole].value = NULL;
  return old;
}

bool orr_map_next(const struct orr_map *map, size_t *cursor, struct orr_slice *key, void **value) {
  for (; *cursor < map->cap; (*cursor)++) {
    const struct orr_map_entry *entry = &map->entries[*cursor];
    if (entry->value == NULL) continue;
    if (key != NULL) *key = orr_slice_of(key_bytes(entry), entry->key_len);
    if (value != NULL) *value = entry->value;
    (*cursor)++;
    return true;
  }
  return false;
}
