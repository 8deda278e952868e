// SPDX-License-Identifier: MIT
// Growing byte buffer and borrowed slice. A failed small malloc aborts the process (limits elsewhere
// keep sizes sane), so appending cannot fail. Not thread-safe; owner frees.
#pragma once

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct orr_slice { // borrowed bytes; valid as long as their owner says
  const uint8_t *data;
  size_t len;
};

struct orr_buf {
  uint8_t *data; // NULL while cap is 0
  size_t len;
  size_t cap;
};

#define ORR_BUF_INIT ((struct orr_buf){0})
#define ORR_SLICE_LITERAL(text) ((struct orr_slice){(const uint8_t *)(text), sizeof(text) - 1})

static inline struct orr_slice orr_slice_of(const void *data, size_t len) {
  return (struct orr_slice){(const uint8_t *)data, len};
}
static inline struct orr_slice orr_slice_text(const char *text) {
  return orr_slice_of(text, text != NULL ? strlen(text) : 0);
}
static inline struct orr_slice orr_buf_slice(const struct orr_buf *buf) {
  return orr_slice_of(buf->data, buf->len);
}
bool orr_slice_equal(struct orr_slice a, struct orr_slice b);

void *orr_alloc(size_t bytes);                  // zeroed; aborts when memory runs out
void *orr_realloc(void *old, size_t bytes);     // aborts when memory runs out
char *orr_strdup(const char *text);             // heap; caller frees
char *orr_slice_strdup(struct orr_slice slice); // heap, NUL-terminated; caller frees

void orr_buf_free(struct orr_buf *buf);  // and resets to ORR_BUF_INIT
void orr_buf_clear(struct orr_buf *buf); // keeps the memory
void orr_buf_reserve(struct orr_buf *buf, size_t more);
void orr_buf_append(struct orr_buf *buf, const void *data, size_t len);
void orr_buf_slice_append(struct orr_buf *buf, struct orr_slice slice);
void orr_buf_text(struct orr_buf *buf, const char *text);
void orr_buf_u8(struct orr_buf *buf, uint8_t value);
void orr_buf_u32le(struct orr_buf *buf, uint32_t value);
void orr_buf_varint(struct orr_buf *buf, uint64_t value);  // LEB128
void orr_buf_svarint(struct orr_buf *buf, int64_t value);  // zigzag LEB128
void orr_buf_bytes(struct orr_buf *buf, struct orr_slice slice); // varint length, then the bytes
void orr_buf_printf(struct orr_buf *buf, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
void orr_buf_vprintf(struct orr_buf *buf, const char *format, va_list args)
    __attribute__((format(printf, 2, 0)));
const char *orr_buf_cstr(struct orr_buf *buf); // NUL-terminates (not counted in len)

// Cursor over encoded bytes. After any short or malformed read `failed` is true, and every later
// read returns 0 or an empty slice: check once, at the end.
struct orr_reader {
  const uint8_t *at;
  const uint8_t *end;
  bool failed;
};
static inline struct orr_reader orr_reader_of(struct orr_slice slice) {
  // No offset to a null pointer, not even zero.
  const uint8_t *end = slice.len != 0 ? slice.data + slice.len : slice.data;
  return (struct orr_reader){slice.data, end, false};
}
uint8_t orr_read_u8(struct orr_reader *reader);
uint32_t orr_read_u32le(struct orr_reader *reader);
uint64_t orr_read_varint(struct orr_reader *reader);
int64_t orr_read_svarint(struct orr_reader *reader);
struct orr_slice orr_read_bytes(struct orr_reader *reader);           // varint length + bytes
struct orr_slice orr_read_raw(struct orr_reader *reader, size_t len); // exactly len bytes
