// SPDX-License-Identifier: MIT
// Blocks that double in size, newest first; an object larger than a block gets a block of its own,
// behind the newest, so that the free room in front is not lost.
#include "base/arena.h"

#include "base/check.h"

#include <stdlib.h>

#define ALIGN_BYTES 16u
#define BLOCK_BYTES_MIN 1024u
#define BLOCK_BYTES_MAX (256u * 1024u)

struct orr_arena_block {
  struct orr_arena_block *next;
  size_t used;
  size_t cap;
  _Alignas(ALIGN_BYTES) uint8_t data[];
};

static struct orr_arena_block *block_new(size_t cap) {
  struct orr_arena_block *block = orr_alloc(sizeof *block + cap);
  block->cap = cap;
  return block;
}

void *orr_arena_alloc(struct orr_arena *arena, size_t bytes) {
  orr_assert(bytes <= SIZE_MAX / 4);
  bytes = (bytes + ALIGN_BYTES - 1) & ~(size_t)(ALIGN_BYTES - 1);
  struct orr_arena_block *top = arena->blocks;
  if (top == NULL || top->cap - top->used < bytes) {
    size_t cap = top == NULL ? BLOCK_BYTES_MIN : top->cap * 2;
    if (cap > BLOCK_BYTES_MAX) cap = BLOCK_BYTES_MAX;
    struct orr_arena_block *block = block_new(bytes > cap ? bytes : cap);
    if (top != NULL && bytes > cap) {
      block->next = top->next;
      top->next = block;
    } else {
      block->next = top;
      arena->blocks = block;
    }
    top = block;
  }
  void *memory = top->data + top->used;
  top->used += bytes;
  return memory;
}

char *orr_arena_text(struct orr_arena *arena, struct orr_slice text) {
  char *copy = orr_arena_alloc(arena, text.len + 1); // zeroed, so terminated
  if (text.len != 0) memcpy(copy, text.data, text.len);
  return copy;
}

struct orr_slice orr_arena_slice(struct orr_arena *arena, struct orr_slice bytes) {
  if (bytes.len == 0) return orr_slice_of(NULL, 0);
  uint8_t *copy = orr_arena_alloc(arena, bytes.len);
  memcpy(copy, bytes.data, bytes.len);
  return orr_slice_of(copy, bytes.len);
}

void orr_arena_free(struct orr_arena *arena) {
  for (struct orr_arena_block *block = arena->blocks, *next; block != NULL; block = next) {
    next = block->next;
    free(block);
  }
  arena->blocks = NULL;
}
