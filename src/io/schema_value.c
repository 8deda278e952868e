// SPDX-License-Identifier: MIT
// Comparing JSON values by their canonical text: no white space, no needless escapes, members sorted,
// whole numbers as integers. Recursive, because the reader bounds the depth to ORR_JSON_DEPTH_MAX and a
// stack of our own would hide the grammar (an exception to rule 15). Any thread.
#include "base/arena.h"
#include "base/check.h"
#include "base/map.h"
#include "io/schema_internal.h"

#include <math.h>
#include <stdlib.h>

enum orr_json_type orr__json_type(struct orr_slice text) {
  struct orr_json_reader reader;
  orr_json_reader_init(&reader, text);
  return orr_json_next(&reader);
}

void orr__json_plain(struct orr_buf *out, struct orr_slice string) {
  struct orr_json_reader reader;
  orr_json_reader_init(&reader, string);
  if (orr_json_next(&reader) == ORR_JSON_STRING) orr_json_unescape(out, reader.text);
}

// --- numbers -------------------------------------------------------------------------------------

static struct orr__json_number number_of_event(const struct orr_json_reader *reader,
                                               enum orr_json_type type) {
  return (struct orr__json_number){type == ORR_JSON_INTEGER, reader->integer, reader->number};
}

struct orr__json_number orr__json_number_of(struct orr_slice text) {
  struct orr_json_reader reader;
  orr_json_reader_init(&reader, text);
  enum orr_json_type type = orr_json_next(&reader);
  if (type == ORR_JSON_INTEGER || type == ORR_JSON_FLOAT) return number_of_event(&reader, type);
  return (struct orr__json_number){true, 0, 0};
}

int orr__json_number_compare(struct orr__json_number a, struct orr__json_number b) {
  if (a.is_integer && b.is_integer) return (a.integer > b.integer) - (a.integer < b.integer);
  return (a.number > b.number) - (a.number < b.number);
}

// Whole numbers up to 2^53 are the same value as an integer and as a double.
bool orr__json_number_whole(struct orr__json_number number) {
  if (number.is_integer) return true;
  return fabs(number.number) <= 0x1p53 && nearbyint(number.number) == number.number;
}

bool orr__json_number_multiple(struct orr__json_number number, struct orr__json_number of) {
  if (of.number <= 0) return true; // not a schema that means anything
  if (number.is_integer && of.is_integer) return number.integer % of.integer == 0;
  double times = number.number / of.number;
  return fabs(times - nearbyint(times)) <= 1e-9 * fmax(1, fabs(times)); // 0.3 is three times 0.1
}

// --- canonical text ------------------------------------------------------------------------------

static void canonical(struct orr_buf *out, struct orr_json_reader *reader, enum orr_json_type type);

static int by_bytes(const void *a, const void *b) {
  const struct orr_slice *x = a, *y = b;
  size_t shorter = x->len < y->len ? x->len : y->len;
  int order = memcmp(x->data, y->data, shorter);
  return order != 0 ? order : (x->len > y->len) - (x->len < y->len);
}

static void canonical_object(struct orr_buf *out, struct orr_json_reader *reader) {
  struct orr_arena arena = ORR_ARENA_INIT;
  struct orr_buf members = ORR_BUF_INIT, member = ORR_BUF_INIT; // members: an array of slices
  while (orr_json_next(reader) == ORR_JSON_KEY) {
    orr_buf_clear(&member);
    struct orr_buf key = ORR_BUF_INIT;
    orr_json_unescape(&key, reader->text);
    orr_json_string(&member, orr_buf_slice(&key));
    orr_buf_free(&key);
    orr_buf_u8(&member, ':');
    enum orr_json_type type = orr_json_next(reader);
    canonical(&member, reader, type);
    struct orr_slice kept = orr_arena_slice(&arena, orr_buf_slice(&member));
    orr_buf_append(&members, &kept, sizeof kept);
  }
  struct orr_slice *sorted = (struct orr_slice *)(void *)members.data;
  size_t len = members.len / sizeof *sorted;
  if (len > 1) qsort(sorted, len, sizeof *sorted, by_bytes);
  orr_buf_u8(out, '{');
  for (size_t i = 0; i < len; i++) {
    if (i > 0) orr_buf_u8(out, ',');
    orr_buf_slice_append(out, sorted[i]);
  }
  orr_buf_u8(out, '}');
  orr_buf_free(&member);
  orr_buf_free(&members);
  orr_arena_free(&arena);
}

static void canonical_array(struct orr_buf *out, struct orr_json_reader *reader) {
  orr_buf_u8(out, '[');
  for (bool first = true;; first = false) {
    enum orr_json_type type = orr_json_next(reader);
    if (type == ORR_JSON_ARRAY_END || type == ORR_JSON_ERROR) break;
    if (!first) orr_buf_u8(out, ',');
    canonical(out, reader, type);
  }
  orr_buf_u8(out, ']');
}

static void canonical_number(struct orr_buf *out, struct orr__json_number number) {
  if (number.is_integer) {
    orr_buf_printf(out, "%lld", (long long)number.integer);
  } else if (orr__json_number_whole(number)) {
    orr_buf_printf(out, "%lld", (long long)number.number);
  } else {
    orr_json_number(out, number.number);
  }
}

static void canonical(struct orr_buf *out, struct orr_json_reader *reader, enum orr_json_type type) {
  switch (type) {
  case ORR_JSON_NULL: case ORR_JSON_FALSE: case ORR_JSON_TRUE:
    orr_buf_slice_append(out, reader->text);
    return;
  case ORR_JSON_INTEGER: case ORR_JSON_FLOAT:
    canonical_number(out, number_of_event(reader, type));
    return;
  case ORR_JSON_STRING: {
    struct orr_buf plain = ORR_BUF_INIT;
    orr_json_unescape(&plain, reader->text);
    orr_json_string(out, orr_buf_slice(&plain));
    orr_buf_free(&plain);
    return;
  }
  case ORR_JSON_ARRAY_BEGIN: canonical_array(out, reader); return;
  case ORR_JSON_OBJECT_BEGIN: canonical_object(out, reader); return;
  case ORR_JSON_KEY: case ORR_JSON_ARRAY_END: case ORR_JSON_OBJECT_END: case ORR_JSON_END:
  case ORR_JSON_ERROR: return;
  }
}

static void canonical_text(struct orr_buf *out, struct orr_slice value) {
  struct orr_json_reader reader;
  orr_json_reader_init(&reader, value);
  enum orr_json_type type = orr_json_next(&reader);
  canonical(out, &reader, type);
}

bool orr__json_equal(struct orr_slice a, struct orr_slice b) {
  if (orr_slice_equal(a, b)) return true;
  struct orr_buf x = ORR_BUF_INIT, y = ORR_BUF_INIT;
  canonical_text(&x, a);
  canonical_text(&y, b);
  bool equal = orr_slice_equal(orr_buf_slice(&x), orr_buf_slice(&y));
  orr_buf_free(&x);
  orr_buf_free(&y);
  return equal;
}

bool orr__json_all_differ(struct orr_slice array) {
  struct orr_json_reader reader;
  struct orr_map seen = ORR_MAP_INIT;
  struct orr_buf item = ORR_BUF_INIT;
  bool differ = true;
  orr_json_reader_init(&reader, array);
  orr_assert(orr_json_next(&reader) == ORR_JSON_ARRAY_BEGIN);
  while (differ) {
    enum orr_json_type type = orr_json_next(&reader);
    if (type == ORR_JSON_ARRAY_END || type == ORR_JSON_ERROR) break;
    orr_buf_clear(&item);
    canonical(&item, &reader, type);
    differ = orr_map_put(&seen, orr_buf_slice(&item), &seen) == NULL;
  }
  orr_buf_free(&item);
  orr_map_free(&seen);
  return differ;
}
