// SPDX-License-Identifier: MIT
// UTF-8 as RFC 3629 has it: no overlong forms, no surrogates, nothing above U+10FFFF. Any thread.
#include "base/json.h"
#include "base/json_parts.h"

static bool is_tail(uint8_t byte) { return (byte & 0xc0) == 0x80; }

size_t orr__utf8_sequence(const uint8_t *at, const uint8_t *end) {
  size_t room = (size_t)(end - at);
  uint8_t first = at[0];
  if (first < 0xc2 || room < 2 || !is_tail(at[1])) return 0;
  if (first < 0xe0) return 2;
  if (room < 3 || !is_tail(at[2])) return 0;
  if (first < 0xf0) {
    if ((first == 0xe0 && at[1] < 0xa0) || (first == 0xed && at[1] >= 0xa0)) return 0;
    return 3;
  }
  if (room < 4 || !is_tail(at[3]) || first > 0xf4) return 0;
  if ((first == 0xf0 && at[1] < 0x90) || (first == 0xf4 && at[1] >= 0x90)) return 0;
  return 4;
}

void orr__utf8_append(struct orr_buf *out, uint32_t c) {
  uint8_t bytes[4];
  size_t len = 0;
  if (c < 0x80) {
    bytes[len++] = (uint8_t)c;
  } else if (c < 0x800) {
    bytes[len++] = (uint8_t)(0xc0 | c >> 6);
  } else if (c < 0x10000) {
    bytes[len++] = (uint8_t)(0xe0 | c >> 12);
    bytes[len++] = (uint8_t)(0x80 | (c >> 6 & 0x3f));
  } else {
    bytes[len++] = (uint8_t)(0xf0 | c >> 18);
    bytes[len++] = (uint8_t)(0x80 | (c >> 12 & 0x3f));
    bytes[len++] = (uint8_t)(0x80 | (c >> 6 & 0x3f));
  }
  if (c >= 0x80) bytes[len++] = (uint8_t)(0x80 | (c & 0x3f));
  orr_buf_append(out, bytes, len);
}

// Length of the longest valid prefix.
static size_t valid_prefix(struct orr_slice text) {
  if (text.len == 0) return 0;
  const uint8_t *at = text.data, *end = text.data + text.len;
  while (at < end) {
    uint64_t word;
    while (end - at >= 8) {
      memcpy(&word, at, 8);
      if ((word & 0x8080808080808080u) != 0) break;
      at += 8;
    }
    if (at == end) break;
    size_t len = *at < 0x80 ? 1 : orr__utf8_sequence(at, end);
    if (len == 0) break;
    at += len;
  }
  return (size_t)(at - text.data);
}

bool orr_utf8_valid(struct orr_slice text) { return valid_prefix(text) == text.len; }

bool orr_utf8_repair(struct orr_buf *out, struct orr_slice text) {
  bool replaced = false;
  while (text.len != 0) {
    size_t valid = valid_prefix(text);
    orr_buf_append(out, text.data, valid);
    if (valid == text.len) break;
    orr_buf_append(out, "\xef\xbf\xbd", 3);
    replaced = true;
    text = orr_slice_of(text.data + valid + 1, text.len - valid - 1);
  }
  return replaced;
}
