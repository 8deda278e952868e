// SPDX-License-Identifier: MIT
// Run ids. The 128 bits are big-endian, so comparing bytes compares times; 26 characters of 5 bits
// carry 130 bits, so the first character is at most '7'.
#include "base/id.h"

static const char ALPHABET[33] = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";

static uint64_t load_be64(const uint8_t *bytes) {
  uint64_t value = 0;
  for (int i = 0; i < 8; i++) value = value << 8 | bytes[i];
  return value;
}

static void store_be64(uint8_t *bytes, uint64_t value) {
  for (int i = 7; i >= 0; i--, value >>= 8) bytes[i] = (uint8_t)value;
}

struct orr_id orr_id_next(struct orr_id_source *source, int64_t wall_ms) {
  uint64_t ms = wall_ms < 0 ? 0 : (uint64_t)wall_ms & 0xffffffffffffu;
  struct orr_id id = {{0}};
  if ((int64_t)ms > orr_id_ms(&source->last)) {
    store_be64(id.bytes, ms << 16 | (orr_rng_next(&source->rng) & 0xffff));
    store_be64(id.bytes + 8, orr_rng_next(&source->rng));
  } else {
    id = source->last;
    for (int i = ORR_ID_BYTES - 1; i >= 0 && ++id.bytes[i] == 0; i--) {}
  }
  source->last = id;
  return id;
}

void orr_id_text(const struct orr_id *id, char text[ORR_ID_TEXT + 1]) {
  uint64_t high = load_be64(id->bytes), low = load_be64(id->bytes + 8);
  for (int i = ORR_ID_TEXT - 1; i >= 0; i--) {
    text[i] = ALPHABET[low & 31];
    low = low >> 5 | high << 59;
    high >>= 5;
  }
  text[ORR_ID_TEXT] = '\0';
}

// Value of a character in either case, or -1. The letters I, L, O and U are not used.
static int digit_of(uint8_t c) {
  static const int8_t LETTERS[26] = {10, 11, 12, 13, 14, 15, 16, 17, -1, 18, 19, -1, 20,
                                     21, -1, 22, 23, 24, 25, 26, -1, 27, 28, 29, 30, 31};
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'A' && c <= 'Z') return LETTERS[c - 'A'];
  if (c >= 'a' && c <= 'z') return LETTERS[c - 'a'];
  return -1;
}

bool orr_id_parse(struct orr_slice text, struct orr_id *id) {
  if (text.len != ORR_ID_TEXT || text.data[0] > '7') return false;
  uint64_t high = 0, low = 0;
  for (size_t i = 0; i < ORR_ID_TEXT; i++) {
    int digit = digit_of(text.data[i]);
    if (digit < 0) return false;
    high = high << 5 | low >> 59;
    low = low << 5 | (uint64_t)digit;
  }
  store_be64(id->bytes, high);
  store_be64(id->bytes + 8, low);
  return true;
}

int orr_id_compare(const struct orr_id *a, const struct orr_id *b) {
  return memcmp(a->bytes, b->bytes, ORR_ID_BYTES);
}

bool orr_id_is_zero(const struct orr_id *id) {
  return (load_be64(id->bytes) | load_be64(id->bytes + 8)) == 0;
}

int64_t orr_id_ms(const struct orr_id *id) { return (int64_t)(load_be64(id->bytes) >> 16); }
