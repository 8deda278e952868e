// SPDX-License-Identifier: MIT
// Durations, names and suggestions against slow and obvious versions of themselves. The first byte
// chooses.
#include "base/check.h"
#include "core/def.h"
#include "fuzz_input.h"

#include <stdlib.h>

// --- durations: a grammar read by hand, in 128 bits
// ------------------------------------------------------

static bool digit(char c) { return c >= '0' && c <= '9'; }

// -1: invalid; -2: too long; else milliseconds.
static __int128 naive(const char *text) {
  static const struct {
    const char *name;
    uint64_t ms;
  } UNITS[] = {{"w", 604800000}, {"d", 86400000}, {"h", 3600000},
               {"m", 60000},     {"s", 1000},     {"ms", 1}};
  const __int128 huge = (__int128)1 << 100;
  size_t dots = 0, letters = 0;
  for (const char *at = text; *at != '\0'; at++) {
    if (*at == '.')
      dots++;
    else if (!digit(*at))
      letters++;
  }
  if (!digit(text[0])) return -1;
  __int128 sum = 0;
  if (letters == 0) { // seconds
    if (dots > 1) return -1;
    const char *at = text;
    for (; digit(*at); at++)
      if (sum < huge) sum = sum * 10 + (*at - '0');
    sum *= 1000;
    if (*at == '.') {
      if (!digit(at[1])) return -1;
      int scale = 1000;
      __int128 part = 0;
      for (at++; digit(*at) && scale > 1; at++) part += (*at - '0') * (scale /= 10);
      if (digit(*at) && *at >= '5') part++;
      sum += part;
    }
    return sum > (__int128)ORR_DURATION_MS_MAX ? -2 : sum;
  }
  if (dots > 0) return -1;
  int last = -1;
  for (const char *at = text; *at != '\0';) {
    if (!digit(*at)) return -1;
    __int128 value = 0;
    for (; digit(*at); at++)
      if (value < huge) value = value * 10 + (*at - '0');
    size_t len = 0;
    while (at[len] != '\0' && !digit(at[len])) len++;
    int found = -1;
    for (int i = 0; i < 6; i++)
      if (strlen(UNITS[i].name) == len && memcmp(UNITS[i].name, at, len) == 0) found = i;
    if (found <= last) return -1;
    last = found;
    if (sum < huge) sum += value < huge / 1000000000 ? value * UNITS[found].ms : huge;
    at += len;
  }
  return sum > (__int128)ORR_DURATION_MS_MAX ? -2 : sum;
}

static void duration(const char *text, size_t len) {
  if (strlen(text) != len) return; // a NUL inside: only that it does not break
  uint64_t ms = 4242;
  enum orr_status status = orr_duration_parse(orr_slice_of(text, len), &ms);
  __int128 expected = naive(text);
  if (expected == -1)
    orr_assert(status == ORR_ERR_INVALID && ms == 4242);
  else if (expected == -2)
    orr_assert(status == ORR_ERR_LIMIT && ms == 4242);
  else
    orr_assert(status == ORR_OK && (__int128)ms == expected);
}

// --- names
// -------------------------------------------------------------------------------------------------

static void name(const uint8_t *data, size_t len) {
  bool good = len >= 1 && len <= ORR_NAME_BYTES_MAX;
  for (size_t i = 0; i < len; i++) {
    uint8_t c = data[i];
    good = good && ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                    c == '_' || c == '-' || c == '.');
  }
  orr_assert(orr_name_valid(orr_slice_of(data, len)) == good);
}

// --- suggestions: the distance by plain recursion on short words
// -----------------------------------------------

static char low(char c) { return c >= 'A' && c <= 'Z' ? (char)(c + 32) : c; }

static size_t distance(const char *a, size_t n, const char *b, size_t m) {
  static size_t table[16][16];
  for (size_t i = 0; i <= n; i++) {
    for (size_t k = 0; k <= m; k++) {
      size_t best = i == 0   ? k
                    : k == 0 ? i
                             : table[i - 1][k - 1] + (low(a[i - 1]) != low(b[k - 1]));
      if (i > 0 && k > 0) {
        if (table[i - 1][k] + 1 < best) best = table[i - 1][k] + 1;
        if (table[i][k - 1] + 1 < best) best = table[i][k - 1] + 1;
      }
      if (i > 1 && k > 1 && low(a[i - 1]) == low(b[k - 2]) && low(a[i - 2]) == low(b[k - 1]) &&
          table[i - 2][k - 2] + 1 < best)
        best = table[i - 2][k - 2] + 1;
      table[i][k] = best;
    }
  }
  return table[n][m];
}

static void suggest(struct fuzz_input *input) {
  char words[5][13];
  const char *names[4];
  for (int i = 0; i < 5; i++) {
    size_t len = fuzz_u8(input) % 13, at = 0;
    for (; at < len; at++) words[i][at] = (char)("abcAB_x1"[fuzz_u8(input) % 8]);
    words[i][at] = '\0';
    if (i > 0) names[i - 1] = words[i];
  }
  const char *got = orr_suggest(words[0], names, 4);
  const char *want = NULL;
  size_t nearest = SIZE_MAX, n = strlen(words[0]);
  for (int i = 0; n > 0 && i < 4; i++) {
    size_t m = strlen(names[i]), most = (n > m ? n : m) / 3;
    size_t by = distance(words[0], n, names[i], m);
    if (by <= most && by < nearest) {
      nearest = by;
      want = names[i];
    }
  }
  orr_assert(got == want);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len) {
  if (len == 0) return 0;
  struct fuzz_input input = {data + 1, data + len};
  char *text = orr_slice_strdup(orr_slice_of(data + 1, len - 1));
  switch (data[0] % 3) {
  case 0:
    duration(text, len - 1);
    break;
  case 1:
    name(data + 1, len - 1);
    break;
  case 2:
    suggest(&input);
    break;
  }
  free(text);
  return 0;
}
