// SPDX-License-Identifier: MIT
// JSON text without a tree: a checked pull reader and a small writer. RFC 8259, UTF-8 checked, depth
// at most ORR_JSON_DEPTH_MAX, no NaN, no trailing bytes. Integers of 64 bits stay integers; a number
// with point or exponent (or beyond 64 bits) is a float. The Lua codec, the schema validator and the
// HTTP edge are built on it. No allocation except for the caller's buffers. Any thread.
#pragma once

#include "base/buf.h"
#include "base/status.h"

enum orr_json_type {
  ORR_JSON_NULL, ORR_JSON_FALSE, ORR_JSON_TRUE, ORR_JSON_INTEGER, ORR_JSON_FLOAT, ORR_JSON_STRING,
  ORR_JSON_ARRAY_BEGIN, ORR_JSON_ARRAY_END, ORR_JSON_OBJECT_BEGIN, ORR_JSON_OBJECT_END,
  ORR_JSON_KEY,   // `text` holds the raw key; a value event follows
  ORR_JSON_END,   // the whole text was one valid value
  ORR_JSON_ERROR, // `error` and `offset` say what and where; further calls repeat it
};

struct orr_json_reader {
  const uint8_t *start, *at, *end;
  uint32_t depth;
  uint8_t stack[(100 + 8) / 8 + 1]; // bit per open level: 1 object, 0 array
  uint8_t expect;                   // internal state
  // Of the last event:
  struct orr_slice text; // STRING, KEY: raw bytes between the quotes; numbers: their text
  bool escaped;          // STRING, KEY: text contains backslash escapes
  int64_t integer;       // INTEGER
  double number;         // FLOAT (and INTEGER, converted)
  const char *error;     // ERROR: static text
  size_t offset;         // byte offset of the last event's first byte
};

void orr_json_reader_init(struct orr_json_reader *reader, struct orr_slice text);
enum orr_json_type orr_json_next(struct orr_json_reader *reader);
// Reads on to the end of the value whose first event was just returned (containers only; no-op for
// scalars). Returns the slice of the whole value's text through `value` when not NULL.
enum orr_status orr_json_skip(struct orr_json_reader *reader, enum orr_json_type first,
                              struct orr_slice *value);
// Appends the unescaped bytes of a STRING or KEY event's raw text. The reader has already checked it.
void orr_json_unescape(struct orr_buf *out, struct orr_slice raw);
// ORR_OK if `text` is exactly one valid value; else *error and *offset are set (may be NULL).
enum orr_status orr_json_check(struct orr_slice text, const char **error, size_t *offset);
// Finds the raw text of the value at a dotted path of object keys ("customer.id"); array elements by
// number from 1. ORR_ERR_NOT_FOUND if absent. `text` must be valid JSON.
enum orr_status orr_json_path(struct orr_slice text, struct orr_slice path, struct orr_slice *value);

// Writer: appends text; the caller keeps commas right with `orr_json_comma`.
void orr_json_string(struct orr_buf *out, struct orr_slice text);   // quoted and escaped; bad UTF-8 -> U+FFFD
void orr_json_key(struct orr_buf *out, const char *key);            // "key":  with a comma before, unless first
void orr_json_comma(struct orr_buf *out);                           // unless the last byte opens or separates
void orr_json_number(struct orr_buf *out, double value);            // shortest that reads back; always with . or e
void orr_json_time(struct orr_buf *out, int64_t wall_ms);           // quoted ISO 8601, or null for 0
bool orr_utf8_valid(struct orr_slice text);
// Appends `text` with every invalid byte replaced by U+FFFD; returns true if anything was replaced.
bool orr_utf8_repair(struct orr_buf *out, struct orr_slice text);
