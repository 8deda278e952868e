// SPDX-License-Identifier: MIT
// Run ids: 128 bits, 48 of milliseconds then 80 random, shown as 26 characters of Crockford base32
// (the ULID layout), so text and bytes sort by creation time. An id generator never goes backwards:
// within one millisecond, or when the clock steps back, it increments the last id.
#pragma once

#include "base/buf.h"
#include "base/rng.h"

#define ORR_ID_BYTES 16
#define ORR_ID_TEXT 26

struct orr_id {
  uint8_t bytes[ORR_ID_BYTES];
};
struct orr_id_source {
  struct orr_rng rng;
  struct orr_id last;
};

struct orr_id orr_id_next(struct orr_id_source *source, int64_t wall_ms);
void orr_id_text(const struct orr_id *id, char text[ORR_ID_TEXT + 1]);
bool orr_id_parse(struct orr_slice text, struct orr_id *id); // false unless 26 valid characters
int orr_id_compare(const struct orr_id *a, const struct orr_id *b);
bool orr_id_is_zero(const struct orr_id *id);
int64_t orr_id_ms(const struct orr_id *id); // the milliseconds in it
static inline struct orr_slice orr_id_slice(const struct orr_id *id) {
  return orr_slice_of(id->bytes, ORR_ID_BYTES);
}
