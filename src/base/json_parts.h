// SPDX-License-Identifier: MIT
// What the files of the JSON codec share among themselves; not for other floors.
#pragma once

#include "base/buf.h"

// Length of the valid UTF-8 sequence at `at` (2 to 4 bytes, first byte >= 0x80), or 0.
size_t orr__utf8_sequence(const uint8_t *at, const uint8_t *end);
// Appends the UTF-8 form of a code point.
void orr__utf8_append(struct orr_buf *out, uint32_t code_point);
// The double nearest to a number of JSON's grammar, in any locale; infinite when out of range.
double orr__number_value(struct orr_slice text);
// Value of a hex digit of either case, or -1.
static inline int orr__hex_value(uint8_t c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}
