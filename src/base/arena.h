// SPDX-License-Identifier: MIT
// Bump allocator: many small objects with one lifetime (a definition, a parse). Objects are aligned
// to 16 bytes, zeroed, and freed together. Not thread-safe.
#pragma once

#include "base/buf.h"

struct orr_arena_block;
struct orr_arena {
  struct orr_arena_block *blocks;
};
#define ORR_ARENA_INIT ((struct orr_arena){0})

void *orr_arena_alloc(struct orr_arena *arena, size_t bytes);
char *orr_arena_text(struct orr_arena *arena, struct orr_slice text); // NUL-terminated copy
struct orr_slice orr_arena_slice(struct orr_arena *arena, struct orr_slice bytes);
void orr_arena_free(struct orr_arena *arena);
