// SPDX-License-Identifier: MIT
// The JSON writer: appends to a buffer and looks only at its last byte to set commas. Any thread.
#include "base/clock.h"
#include "base/json.h"
#include "base/json_parts.h"

// What follows the backslash: 0 for bytes that stand as they are, 'u' for \u00XX.
static const uint8_t ESCAPES[128] = {
    'u', 'u', 'u', 'u', 'u', 'u', 'u', 'u', 'b', 't', 'n',  'u',        'f', 'r', 'u', 'u',
    'u', 'u', 'u', 'u', 'u', 'u', 'u', 'u', 'u', 'u', 'u',  'u',        'u', 'u', 'u', 'u',
    [34] = '"', [92] = '\\',
};

// Escapes text whose UTF-8 is valid.
static void string_body(struct orr_buf *out, const uint8_t *at, const uint8_t *end) {
  static const char HEX[17] = "0123456789abcdef";
  const uint8_t *run = at;
  for (; at < end; at++) {
    if (*at >= 0x80 || ESCAPES[*at] == 0) continue;
    orr_buf_append(out, run, (size_t)(at - run));
    run = at + 1;
    char escape[6] = {'\\', (char)ESCAPES[*at], '0', '0', HEX[*at >> 4], HEX[*at & 15]};
    orr_buf_append(out, escape, ESCAPES[*at] == 'u' ? 6 : 2);
  }
  orr_buf_append(out, run, (size_t)(at - run));
}

void orr_json_string(struct orr_buf *out, struct orr_slice text) {
  orr_buf_reserve(out, text.len + 2);
  orr_buf_u8(out, '"');
  if (orr_utf8_valid(text)) {
    if (text.len != 0) string_body(out, text.data, text.data + text.len);
  } else {
    struct orr_buf repaired = ORR_BUF_INIT;
    orr_utf8_repair(&repaired, text);
    string_body(out, repaired.data, repaired.data + repaired.len);
    orr_buf_free(&repaired);
  }
  orr_buf_u8(out, '"');
}

void orr_json_key(struct orr_buf *out, const char *key) {
  orr_json_comma(out);
  orr_json_string(out, orr_slice_text(key));
  orr_buf_u8(out, ':');
}

void orr_json_comma(struct orr_buf *out) {
  if (out->len == 0) return;
  uint8_t last = out->data[out->len - 1];
  if (last == '{' || last == '[' || last == ',' || last == ':') return;
  orr_buf_u8(out, ',');
}

void orr_json_time(struct orr_buf *out, int64_t wall_ms) {
  if (wall_ms == 0) {
    orr_buf_append(out, "null", 4);
    return;
  }
  char text[25];
  orr_time_text(wall_ms, text);
  orr_buf_u8(out, '"');
  orr_buf_append(out, text, 24);
  orr_buf_u8(out, '"');
}
