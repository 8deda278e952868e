// SPDX-License-Identifier: MIT
// "Did you mean": the nearest name by edit distance (insert, delete, replace, swap of neighbours, case
// ignored), if at most a third of it differs. Names longer than ORR_NAME_BYTES_MAX are never near. Pure.
#include "core/def.h"

#define BYTES_MAX ORR_NAME_BYTES_MAX

static uint32_t least(uint32_t a, uint32_t b) { return a < b ? a : b; }

static uint8_t lower(char c) { return (uint8_t)(c >= 'A' && c <= 'Z' ? c + 32 : c); }

// Distance of two texts of at most BYTES_MAX bytes (optimal string alignment).
static uint32_t distance(const char *a, size_t a_len, const char *b, size_t b_len) {
  uint32_t rows[3][BYTES_MAX + 1] = {{0}};
  for (uint32_t j = 0; j <= b_len; j++) rows[0][j] = j;
  for (uint32_t i = 1; i <= a_len; i++) {
    uint32_t *row = rows[i % 3];
    const uint32_t *above = rows[(i + 2) % 3], *above2 = rows[(i + 1) % 3];
    row[0] = i;
    for (uint32_t j = 1; j <= b_len; j++) {
      bool same = lower(a[i - 1]) == lower(b[j - 1]);
      row[j] = least(least(above[j], row[j - 1]) + 1, above[j - 1] + (same ? 0 : 1));
      bool swapped = i > 1 && j > 1 && lower(a[i - 1]) == lower(b[j - 2]) &&
                     lower(a[i - 2]) == lower(b[j - 1]);
      if (swapped) row[j] = least(row[j], above2[j - 2] + 1);
    }
  }
  return rows[a_len % 3][b_len];
}

const char *orr_suggest(const char *word, const char *const *names, size_t names_len) {
  size_t word_len = strlen(word);
  if (word_len == 0 || word_len > BYTES_MAX) return NULL;
  const char *nearest = NULL;
  uint32_t nearest_by = UINT32_MAX;
  for (size_t i = 0; i < names_len && nearest_by > 0; i++) {
    size_t len = strlen(names[i]);
    size_t longer = len > word_len ? len : word_len, shorter = len > word_len ? word_len : len;
    if (longer > BYTES_MAX || longer - shorter > longer / 3) continue;
    uint32_t by = distance(word, word_len, names[i], len);
    if (by > longer / 3 || by >= nearest_by) continue;
    nearest = names[i];
    nearest_by = by;
  }
  return nearest;
}
