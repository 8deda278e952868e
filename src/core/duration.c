// SPDX-License-Identifier: MIT
// Durations in words. Whole numbers with units, each unit at most once and in falling order, or a bare
// decimal number of seconds, rounded to the millisecond. Pure.
#include "core/def.h"

struct unit {
  const char *text;
  uint64_t ms;
};
static const struct unit UNITS[] = {{"w", 604800000}, {"d", 86400000}, {"h", 3600000},
                                    {"m", 60000},     {"s", 1000},     {"ms", 1}};
#define UNITS_LEN (sizeof UNITS / sizeof *UNITS)

static bool is_digit(struct orr_slice text, size_t at) {
  return at < text.len && text.data[at] >= '0' && text.data[at] <= '9';
}

// Reads digits; stops growing above every bound, so any number of them is safe.
static uint64_t read_number(struct orr_slice text, size_t *at) {
  uint64_t value = 0;
  for (; is_digit(text, *at); (*at)++) {
    if (value <= ORR_DURATION_MS_MAX) value = value * 10 + (uint64_t)(text.data[*at] - '0');
  }
  return value;
}

static enum orr_status add_ms(uint64_t *sum, uint64_t value, uint64_t unit_ms) {
  if (value > ORR_DURATION_MS_MAX / unit_ms) return ORR_ERR_LIMIT;
  *sum += value * unit_ms;
  return *sum > ORR_DURATION_MS_MAX ? ORR_ERR_LIMIT : ORR_OK;
}

// ".25" of a number of seconds, in milliseconds; the fourth digit rounds.
static uint64_t read_fraction(struct orr_slice text, size_t *at) {
  uint64_t ms = 0;
  unsigned digits = 0;
  bool round_up = false;
  for (; is_digit(text, *at); (*at)++, digits++) {
    if (digits < 3) ms = ms * 10 + (uint64_t)(text.data[*at] - '0');
    if (digits == 3) round_up = text.data[*at] >= '5';
  }
  for (; digits < 3; digits++) ms *= 10;
  return ms + round_up;
}

// The index of the unit at `at`, not before `from`, or UNITS_LEN.
static size_t read_unit(struct orr_slice text, size_t *at, size_t from) {
  size_t begin = *at;
  while (*at < text.len && !is_digit(text, *at)) (*at)++;
  struct orr_slice word = orr_slice_of(text.data + begin, *at - begin);
  for (size_t i = from; i < UNITS_LEN; i++) {
    if (orr_slice_equal(word, orr_slice_text(UNITS[i].text))) return i;
  }
  return UNITS_LEN;
}

enum orr_status orr_duration_parse(struct orr_slice text, uint64_t *ms) {
  size_t at = 0, unit = 0;
  uint64_t sum = 0;
  bool over = false; // looked at last: a malformed text is invalid whatever its size
  if (!is_digit(text, 0)) return ORR_ERR_INVALID;
  while (at < text.len) {
    if (!is_digit(text, at)) return ORR_ERR_INVALID;
    uint64_t value = read_number(text, &at);
    bool bare = sum == 0 && unit == 0;
    if (bare && (at == text.len || text.data[at] == '.')) {
      if (add_ms(&sum, value, 1000) != ORR_OK) over = true;
      if (at < text.len && !is_digit(text, ++at)) return ORR_ERR_INVALID;
      if (at < text.len && add_ms(&sum, read_fraction(text, &at), 1) != ORR_OK) over = true;
      if (at != text.len) return ORR_ERR_INVALID;
      break;
    }
    unit = read_unit(text, &at, unit);
    if (unit == UNITS_LEN) return ORR_ERR_INVALID;
    if (add_ms(&sum, value, UNITS[unit].ms) != ORR_OK) over = true;
    unit++;
  }
  if (over) return ORR_ERR_LIMIT;
  *ms = sum;
  return ORR_OK;
}
