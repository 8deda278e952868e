// SPDX-License-Identifier: MIT
// The pull reader: one event a call, a state and a bit stack instead of recursion. It checks everything
// (grammar, UTF-8, escapes, depth), so whoever consumes its events need not. Any thread.
#include "base/json.h"

#include "base/check.h"
#include "base/json_parts.h"
#include "base/limits.h"

#include <math.h>

enum expect {
  EXPECT_VALUE,
  EXPECT_VALUE_OR_CLOSE, // after '['
  EXPECT_KEY,            // after ',' of an object
  EXPECT_KEY_OR_CLOSE,   // after '{'
  EXPECT_COMMA_OR_CLOSE, // after a value inside a container
  EXPECT_END,            // after the whole value
  EXPECT_NOTHING,        // after END or ERROR
};

_Static_assert(sizeof((struct orr_json_reader *)0)->stack * 8 > ORR_JSON_DEPTH_MAX, "a bit a level");

void orr_json_reader_init(struct orr_json_reader *reader, struct orr_slice text) {
  const uint8_t *data = text.len != 0 ? text.data : (const uint8_t *)"";
  *reader = (struct orr_json_reader){.start = data, .at = data, .end = data + text.len};
}

static enum orr_json_type fail_at(struct orr_json_reader *reader, const uint8_t *at,
                                  const char *error) {
  reader->error = error;
  reader->offset = (size_t)(at - reader->start);
  reader->expect = EXPECT_NOTHING;
  return ORR_JSON_ERROR;
}

static bool in_object(const struct orr_json_reader *reader) {
  return (reader->stack[reader->depth >> 3] >> (reader->depth & 7) & 1) != 0;
}

static void after_value(struct orr_json_reader *reader) {
  reader->expect = reader->depth == 0 ? EXPECT_END : EXPECT_COMMA_OR_CLOSE;
}

static enum orr_json_type open_container(struct orr_json_reader *reader, bool object) {
  if (reader->depth == ORR_JSON_DEPTH_MAX) return fail_at(reader, reader->at, "nested too deeply");
  reader->depth++;
  uint8_t bit = (uint8_t)(1u << (reader->depth & 7));
  uint8_t *byte = &reader->stack[reader->depth >> 3];
  *byte = (uint8_t)(object ? *byte | bit : *byte & ~bit);
  reader->at++;
  reader->expect = object ? EXPECT_KEY_OR_CLOSE : EXPECT_VALUE_OR_CLOSE;
  return object ? ORR_JSON_OBJECT_BEGIN : ORR_JSON_ARRAY_BEGIN;
}

static enum orr_json_type close_container(struct orr_json_reader *reader, bool object) {
  reader->depth--;
  reader->at++;
  after_value(reader);
  return object ? ORR_JSON_OBJECT_END : ORR_JSON_ARRAY_END;
}

// --- strings -------------------------------------------------------------------------------------

static bool hex4(const uint8_t *at, const uint8_t *end, uint32_t *value) {
  if (end - at < 4) return false;
  *value = 0;
  for (int i = 0; i < 4; i++) {
    int digit = orr__hex_value(at[i]);
    if (digit < 0) return false;
    *value = *value << 4 | (uint32_t)digit;
  }
  return true;
}

// Checks the escape at `at` (a backslash) and gives its length, or 0 and *error.
static size_t escape_length(const uint8_t *at, const uint8_t *end, const char **error) {
  *error = "invalid escape";
  if (end - at < 2) return 0;
  switch (at[1]) {
  case '"': case '\\': case '/': case 'b': case 'f': case 'n': case 'r': case 't': return 2;
  case 'u': break;
  default: return 0;
  }
  uint32_t first, second;
  if (!hex4(at + 2, end, &first)) return 0;
  if (first < 0xd800 || first > 0xdfff) return 6;
  *error = "lone surrogate";
  bool pair = first < 0xdc00 && end - at >= 12 && at[6] == '\\' && at[7] == 'u' &&
              hex4(at + 8, end, &second) && second >= 0xdc00 && second <= 0xdfff;
  return pair ? 12 : 0;
}

// Bytes at which scanning of a string stops: quote, backslash, controls, and all of UTF-8's tails.
static bool stops(uint8_t byte) { return byte < 0x20 || byte >= 0x80 || byte == '"' || byte == '\\'; }

// The same for eight bytes at once; bit 7 of a byte is set where it (or one before it) stops.
static uint64_t stops8(uint64_t word) {
  const uint64_t ones = 0x0101010101010101u, highs = 0x8080808080808080u;
  uint64_t quote = word ^ ones * '"', slash = word ^ ones * '\\';
  return (word | (word - ones * 0x20) | (quote - ones) | (slash - ones)) & highs;
}

// Reads from the opening quote; reader->at ends behind the closing one.
static bool read_string(struct orr_json_reader *reader) {
  const uint8_t *at = reader->at + 1, *end = reader->end;
  reader->escaped = false;
  for (;;) {
    uint64_t word;
    while (end - at >= 8) {
      memcpy(&word, at, 8);
      uint64_t hit = stops8(word);
      if (hit == 0) {
        at += 8;
        continue;
      }
      at += __builtin_ctzll(hit) >> 3; // the lowest hit is exact; borrows reach only higher bytes
      break;
    }
    while (at < end && !stops(*at)) at++;
    if (at == end) {
      fail_at(reader, reader->at, "string without an end");
      return false;
    }
    if (*at == '"') break;
    const char *error = "control character in a string";
    size_t len = 0;
    if (*at == '\\') {
      len = escape_length(at, end, &error);
      reader->escaped = true;
    } else if (*at >= 0x80) {
      error = "invalid UTF-8";
      len = orr__utf8_sequence(at, end);
    }
    if (len == 0) {
      fail_at(reader, at, error);
      return false;
    }
    at += len;
  }
  reader->text = orr_slice_of(reader->at + 1, (size_t)(at - reader->at - 1));
  reader->at = at + 1;
  return true;
}

void orr_json_unescape(struct orr_buf *out, struct orr_slice raw) {
  if (raw.len == 0) return;
  orr_buf_reserve(out, raw.len);
  const uint8_t *at = raw.data, *end = raw.data + raw.len;
  while (at < end) {
    const uint8_t *slash = memchr(at, '\\', (size_t)(end - at));
    if (slash == NULL) slash = end;
    orr_buf_append(out, at, (size_t)(slash - at));
    if (slash == end) return;
    at = slash + 2;
    switch (slash[1]) {
    case 'b': orr_buf_u8(out, '\b'); continue;
    case 'f': orr_buf_u8(out, '\f'); continue;
    case 'n': orr_buf_u8(out, '\n'); continue;
    case 'r': orr_buf_u8(out, '\r'); continue;
    case 't': orr_buf_u8(out, '\t'); continue;
    case 'u': break;
    default: orr_buf_u8(out, slash[1]); continue; // " \ /
    }
    uint32_t first = 0, second = 0;
    bool valid = hex4(slash + 2, end, &first);
    at = slash + 6;
    if (valid && first >= 0xd800 && first < 0xdc00) {
      valid = end - slash >= 12 && hex4(slash + 8, end, &second);
      first = 0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00);
      at = slash + 12;
    }
    orr_assert(valid); // the reader has checked it
    orr__utf8_append(out, first);
  }
}

// --- numbers and words ---------------------------------------------------------------------------

static bool is_digit(const uint8_t *at, const uint8_t *end) {
  return at < end && *at >= '0' && *at <= '9';
}

static enum orr_json_type read_number(struct orr_json_reader *reader) {
  const uint8_t *at = reader->at, *end = reader->end;
  bool negative = *at == '-', floating = false;
  if (negative) at++;
  if (!is_digit(at, end)) return fail_at(reader, at, "digit expected");
  const uint8_t *digits = at;
  uint64_t whole = 0;
  for (; is_digit(at, end); at++) whole = whole * 10 + (uint64_t)(*at - '0');
  bool fits = at - digits <= 19; // so many cannot overflow
  if (*digits == '0' && at - digits > 1) return fail_at(reader, digits, "leading zero");
  if (at < end && *at == '.') {
    floating = true;
    if (!is_digit(++at, end)) return fail_at(reader, at, "digit expected");
    while (is_digit(at, end)) at++;
  }
  if (at < end && (*at == 'e' || *at == 'E')) {
    floating = true;
    at++;
    if (at < end && (*at == '+' || *at == '-')) at++;
    if (!is_digit(at, end)) return fail_at(reader, at, "digit expected");
    while (is_digit(at, end)) at++;
  }
  reader->text = orr_slice_of(reader->at, (size_t)(at - reader->at));
  if (!floating && fits && whole <= (uint64_t)INT64_MAX + (negative ? 1 : 0)) {
    reader->integer = (int64_t)(negative ? 0 - whole : whole);
    reader->number = (double)reader->integer;
    reader->at = at;
    after_value(reader);
    return ORR_JSON_INTEGER;
  }
  double value = orr__number_value(reader->text);
  if (isinf(value)) return fail_at(reader, reader->at, "number out of range");
  reader->number = value;
  reader->at = at;
  after_value(reader);
  return ORR_JSON_FLOAT;
}

static enum orr_json_type read_word(struct orr_json_reader *reader, const char *word, size_t len,
                                    enum orr_json_type type) {
  if ((size_t)(reader->end - reader->at) < len || memcmp(reader->at, word, len) != 0)
    return fail_at(reader, reader->at, "value expected");
  reader->text = orr_slice_of(reader->at, len);
  reader->at += len;
  after_value(reader);
  return type;
}

// --- events --------------------------------------------------------------------------------------

static const uint8_t *skip_space(const uint8_t *at, const uint8_t *end) {
  while (at < end && (*at == ' ' || *at == '\n' || *at == '\t' || *at == '\r')) at++;
  return at;
}

static enum orr_json_type read_value(struct orr_json_reader *reader) {
  switch (*reader->at) {
  case '"':
    if (!read_string(reader)) return ORR_JSON_ERROR;
    after_value(reader);
    return ORR_JSON_STRING;
  case '{': return open_container(reader, true);
  case '[': return open_container(reader, false);
  case 't': return read_word(reader, "true", 4, ORR_JSON_TRUE);
  case 'f': return read_word(reader, "false", 5, ORR_JSON_FALSE);
  case 'n': return read_word(reader, "null", 4, ORR_JSON_NULL);
  case '-': case '0': case '1': case '2': case '3': case '4':
  case '5': case '6': case '7': case '8': case '9': return read_number(reader);
  default: return fail_at(reader, reader->at, "value expected");
  }
}

static enum orr_json_type read_key(struct orr_json_reader *reader) {
  if (*reader->at != '"') return fail_at(reader, reader->at, "key expected");
  if (!read_string(reader)) return ORR_JSON_ERROR;
  reader->at = skip_space(reader->at, reader->end);
  if (reader->at == reader->end || *reader->at != ':')
    return fail_at(reader, reader->at, "':' expected");
  reader->at++;
  reader->expect = EXPECT_VALUE;
  return ORR_JSON_KEY;
}

// Moves over a comma; otherwise the closing bracket of the innermost container must stand here.
static enum orr_json_type comma_or_close(struct orr_json_reader *reader, bool *closed) {
  bool object = in_object(reader);
  *closed = *reader->at != ',';
  if (*closed) {
    if (*reader->at == (object ? '}' : ']')) return close_container(reader, object);
    return fail_at(reader, reader->at, object ? "',' or '}' expected" : "',' or ']' expected");
  }
  reader->at = skip_space(reader->at + 1, reader->end);
  reader->expect = object ? EXPECT_KEY : EXPECT_VALUE;
  return ORR_JSON_NULL; // not an event
}

enum orr_json_type orr_json_next(struct orr_json_reader *reader) {
  if (reader->expect == EXPECT_NOTHING) return reader->error != NULL ? ORR_JSON_ERROR : ORR_JSON_END;
  reader->at = skip_space(reader->at, reader->end);
  if (reader->expect == EXPECT_COMMA_OR_CLOSE && reader->at < reader->end) {
    bool closed;
    reader->offset = (size_t)(reader->at - reader->start);
    enum orr_json_type type = comma_or_close(reader, &closed);
    if (closed) return type;
  }
  if (reader->expect == EXPECT_END) {
    if (reader->at != reader->end) return fail_at(reader, reader->at, "text after the value");
    reader->offset = (size_t)(reader->at - reader->start);
    reader->expect = EXPECT_NOTHING;
    return ORR_JSON_END;
  }
  if (reader->at == reader->end) return fail_at(reader, reader->at, "text ends too early");
  reader->offset = (size_t)(reader->at - reader->start);
  switch ((enum expect)reader->expect) {
  case EXPECT_VALUE: return read_value(reader);
  case EXPECT_VALUE_OR_CLOSE:
    return *reader->at == ']' ? close_container(reader, false) : read_value(reader);
  case EXPECT_KEY: return read_key(reader);
  case EXPECT_KEY_OR_CLOSE:
    return *reader->at == '}' ? close_container(reader, true) : read_key(reader);
  case EXPECT_COMMA_OR_CLOSE: case EXPECT_END: case EXPECT_NOTHING: break;
  }
  orr_unreachable();
}

// --- whole values --------------------------------------------------------------------------------

enum orr_status orr_json_skip(struct orr_json_reader *reader, enum orr_json_type first,
                              struct orr_slice *value) {
  const uint8_t *begin = reader->start + reader->offset;
  if (first == ORR_JSON_ERROR) return ORR_ERR_INVALID;
  orr_assert(first != ORR_JSON_KEY && first != ORR_JSON_END);
  orr_assert(first != ORR_JSON_ARRAY_END && first != ORR_JSON_OBJECT_END);
  if (first == ORR_JSON_ARRAY_BEGIN || first == ORR_JSON_OBJECT_BEGIN) {
    uint32_t outside = reader->depth - 1;
    while (reader->depth != outside) {
      if (orr_json_next(reader) == ORR_JSON_ERROR) return ORR_ERR_INVALID;
    }
  }
  if (value != NULL) *value = orr_slice_of(begin, (size_t)(reader->at - begin));
  return ORR_OK;
}

enum orr_status orr_json_check(struct orr_slice text, const char **error, size_t *offset) {
  struct orr_json_reader reader;
  orr_json_reader_init(&reader, text);
  for (;;) {
    enum orr_json_type type = orr_json_next(&reader);
    if (type == ORR_JSON_END) return ORR_OK;
    if (type != ORR_JSON_ERROR) continue;
    if (error != NULL) *error = reader.error;
    if (offset != NULL) *offset = reader.offset;
    return ORR_ERR_INVALID;
  }
}
