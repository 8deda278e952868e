// SPDX-License-Identifier: MIT
// Buffers, slices, the allocation functions that abort, and the varint codec. A buffer's capacity
// grows by doubling, so appending is amortised O(1). A reader that failed stays at its end.
#include "base/buf.h"

#include "base/check.h"

#include <stdio.h>
#include <stdlib.h>

// --- memory --------------------------------------------------------------------------------------

void *orr_alloc(size_t bytes) {
  void *memory = calloc(1, bytes != 0 ? bytes : 1);
  if (memory == NULL) orr_check_failed(__FILE__, __LINE__, "out of memory");
  return memory;
}

void *orr_realloc(void *old, size_t bytes) {
  void *memory = realloc(old, bytes != 0 ? bytes : 1);
  if (memory == NULL) orr_check_failed(__FILE__, __LINE__, "out of memory");
  return memory;
}

char *orr_strdup(const char *text) {
  orr_assert(text != NULL);
  return orr_slice_strdup(orr_slice_text(text));
}

char *orr_slice_strdup(struct orr_slice slice) {
  char *copy = orr_realloc(NULL, slice.len + 1);
  if (slice.len != 0) memcpy(copy, slice.data, slice.len);
  copy[slice.len] = '\0';
  return copy;
}

bool orr_slice_equal(struct orr_slice a, struct orr_slice b) {
  return a.len == b.len && (a.len == 0 || memcmp(a.data, b.data, a.len) == 0);
}

// --- writing -------------------------------------------------------------------------------------

void orr_buf_free(struct orr_buf *buf) {
  free(buf->data);
  *buf = ORR_BUF_INIT;
}

void orr_buf_clear(struct orr_buf *buf) { buf->len = 0; }

void orr_buf_reserve(struct orr_buf *buf, size_t more) {
  if (buf->cap - buf->len >= more) return;
  orr_assert(more <= SIZE_MAX / 4 && buf->len <= SIZE_MAX / 4);
  size_t cap = buf->cap != 0 ? buf->cap : 64;
  while (cap - buf->len < more) cap *= 2;
  buf->data = orr_realloc(buf->data, cap);
  buf->cap = cap;
}

void orr_buf_append(struct orr_buf *buf, const void *data, size_t len) {
  if (len == 0) return;
  orr_buf_reserve(buf, len);
  memcpy(buf->data + buf->len, data, len);
  buf->len += len;
}

void orr_buf_slice_append(struct orr_buf *buf, struct orr_slice slice) {
  orr_buf_append(buf, slice.data, slice.len);
}

void orr_buf_text(struct orr_buf *buf, const char *text) { orr_buf_append(buf, text, strlen(text)); }

void orr_buf_u8(struct orr_buf *buf, uint8_t value) {
  orr_buf_reserve(buf, 1);
  buf->data[buf->len++] = value;
}

void orr_buf_u32le(struct orr_buf *buf, uint32_t value) {
  const uint8_t bytes[4] = {(uint8_t)value, (uint8_t)(value >> 8), (uint8_t)(value >> 16),
                            (uint8_t)(value >> 24)};
  orr_buf_append(buf, bytes, sizeof bytes);
}

void orr_buf_varint(struct orr_buf *buf, uint64_t value) {
  orr_buf_reserve(buf, 10);
  uint8_t *at = buf->data + buf->len;
  while (value >= 0x80) {
    *at++ = (uint8_t)(value | 0x80);
    value >>= 7;
  }
  *at++ = (uint8_t)value;
  buf->len = (size_t)(at - buf->data);
}

void orr_buf_svarint(struct orr_buf *buf, int64_t value) {
  orr_buf_varint(buf, ((uint64_t)value << 1) ^ (value < 0 ? UINT64_MAX : 0));
}

void orr_buf_bytes(struct orr_buf *buf, struct orr_slice slice) {
  orr_buf_varint(buf, slice.len);
  orr_buf_append(buf, slice.data, slice.len);
}

void orr_buf_printf(struct orr_buf *buf, const char *format, ...) {
  va_list args;
  va_start(args, format);
  orr_buf_vprintf(buf, format, args);
  va_end(args);
}

void orr_buf_vprintf(struct orr_buf *buf, const char *format, va_list args) {
  va_list again;
  va_copy(again, args);
  orr_buf_reserve(buf, 64);
  size_t room = buf->cap - buf->len;
  int len = vsnprintf((char *)buf->data + buf->len, room, format, args);
  orr_assert(len >= 0);
  if ((size_t)len >= room) {
    orr_buf_reserve(buf, (size_t)len + 1);
    len = vsnprintf((char *)buf->data + buf->len, buf->cap - buf->len, format, again);
    orr_assert(len >= 0);
  }
  buf->len += (size_t)len;
  va_end(again);
}

const char *orr_buf_cstr(struct orr_buf *buf) {
  orr_buf_reserve(buf, 1);
  buf->data[buf->len] = '\0';
  return (const char *)buf->data;
}

// --- reading -------------------------------------------------------------------------------------

static void reader_fail(struct orr_reader *reader) {
  reader->failed = true;
  reader->at = reader->end;
}

uint8_t orr_read_u8(struct orr_reader *reader) {
  if (reader->at == reader->end) {
    reader_fail(reader);
    return 0;
  }
  return *reader->at++;
}

uint32_t orr_read_u32le(struct orr_reader *reader) {
  struct orr_slice raw = orr_read_raw(reader, 4);
  if (raw.len != 4) return 0;
  return (uint32_t)raw.data[0] | (uint32_t)raw.data[1] << 8 | (uint32_t)raw.data[2] << 16 |
         (uint32_t)raw.data[3] << 24;
}

// A value has one encoding only: overlong forms and more than 64 bits are malformed.
uint64_t orr_read_varint(struct orr_reader *reader) {
  uint64_t value = 0;
  for (unsigned shift = 0; reader->at != reader->end && shift < 64; shift += 7) {
    uint8_t byte = *reader->at++;
    if (shift == 63 && byte > 1) break;
    value |= (uint64_t)(byte & 0x7f) << shift;
    if (byte < 0x80) {
      if (byte == 0 && shift != 0) break;
      return value;
    }
  }
  reader_fail(reader);
  return 0;
}

int64_t orr_read_svarint(struct orr_reader *reader) {
  uint64_t raw = orr_read_varint(reader);
  return (int64_t)((raw >> 1) ^ (raw & 1 ? UINT64_MAX : 0));
}

struct orr_slice orr_read_bytes(struct orr_reader *reader) {
  uint64_t len = orr_read_varint(reader);
  return orr_read_raw(reader, len);
}

struct orr_slice orr_read_raw(struct orr_reader *reader, size_t len) {
  if ((size_t)(reader->end - reader->at) < len) {
    reader_fail(reader);
    return orr_slice_of(NULL, 0);
  }
  if (len == 0) return orr_slice_of(NULL, 0);
  struct orr_slice slice = orr_slice_of(reader->at, len);
  reader->at += len;
  return slice;
}
