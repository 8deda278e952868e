// SPDX-License-Identifier: MIT
// Encoding and decoding of facts. Times near the fact's own instant are stored as their distance from
// it, which takes one or two bytes; the arithmetic is modular, so any 64-bit value survives. Decoding
// trusts nothing: whatever the checksum lets through must still be complete. Pure; any thread.
#include "core/fact.h"

#include "base/check.h"

const char *orr_fact_type_text(enum orr_fact_type type) {
  switch (type) {
#define X(name, value, text) \
  case ORR_FACT_##name: return text;
    ORR_FACT_LIST(X)
#undef X
  }
  return "unknown";
}

// --- encoding ------------------------------------------------------------------------------------

static void put_time(struct orr_buf *out, const struct orr_fact *fact, int64_t ms) {
  orr_buf_svarint(out, (int64_t)((uint64_t)ms - (uint64_t)fact->at_ms));
}

static void put_unit(struct orr_buf *out, struct orr_unit_ref unit) {
  orr_buf_varint(out, unit.step);
  orr_buf_varint(out, unit.item);
}

static void put_created(struct orr_buf *out, const struct orr_fact *fact) {
  orr_buf_slice_append(out, orr_id_slice(&fact->created.id));
  orr_buf_bytes(out, fact->created.pipeline);
  orr_buf_append(out, fact->created.generation.bytes, ORR_SHA256_BYTES);
  orr_buf_append(out, fact->created.version.bytes, ORR_SHA256_BYTES);
  orr_buf_bytes(out, fact->created.input);
  bool has_parent = !orr_id_is_zero(&fact->created.parent);
  orr_buf_u8(out, has_parent);
  if (has_parent) {
    orr_buf_slice_append(out, orr_id_slice(&fact->created.parent));
    orr_buf_varint(out, fact->created.parent_step);
    orr_buf_varint(out, fact->created.parent_item);
  }
  orr_buf_bytes(out, fact->created.trigger);
  orr_buf_bytes(out, fact->created.idempotency_key);
  orr_buf_bytes(out, fact->created.concurrency_key);
  orr_buf_svarint(out, fact->created.deadline_ms);
  orr_buf_varint(out, fact->created.seed);
  orr_buf_varint(out, fact->created.depth);
}

static void put_finished(struct orr_buf *out, const struct orr_fact *fact) {
  put_unit(out, fact->finished.unit);
  orr_buf_varint(out, fact->finished.attempt);
  orr_buf_u8(out, fact->finished.status);
  orr_buf_u8(out, fact->finished.flags);
  put_time(out, fact, fact->finished.started_ms);
  put_time(out, fact, fact->finished.finished_ms);
  orr_buf_bytes(out, fact->finished.value);
  orr_buf_bytes(out, fact->finished.state);
  orr_buf_svarint(out, fact->finished.until_ms);
  orr_buf_bytes(out, fact->finished.node);
}

static void put_fields(struct orr_buf *out, const struct orr_fact *fact) {
  switch (fact->type) {
  case ORR_FACT_CREATED: put_created(out, fact); return;
  case ORR_FACT_KEY: orr_buf_bytes(out, fact->key.key); return;
  case ORR_FACT_ADMITTED: return;
  case ORR_FACT_STARTED:
    put_unit(out, fact->started.unit);
    orr_buf_varint(out, fact->started.attempt);
    return;
  case ORR_FACT_FINISHED: case ORR_FACT_RETRY: case ORR_FACT_LATE: case ORR_FACT_UNDONE:
    put_finished(out, fact);
    return;
  case ORR_FACT_WAITING:
    put_unit(out, fact->waiting.unit);
    orr_buf_varint(out, fact->waiting.attempt);
    put_time(out, fact, fact->waiting.started_ms);
    orr_buf_svarint(out, fact->waiting.until_ms);
    orr_buf_bytes(out, fact->waiting.value);
    return;
  case ORR_FACT_EXPANDED:
    orr_buf_varint(out, fact->expanded.step);
    orr_buf_varint(out, fact->expanded.count);
    orr_buf_varint(out, fact->expanded.attempt);
    put_time(out, fact, fact->expanded.started_ms);
    orr_buf_bytes(out, fact->expanded.items);
    return;
  case ORR_FACT_CHILD:
    put_unit(out, fact->child.unit);
    orr_buf_varint(out, fact->child.attempt);
    put_time(out, fact, fact->child.started_ms);
    orr_buf_slice_append(out, orr_id_slice(&fact->child.child));
    return;
  case ORR_FACT_RECOVERED:
    orr_buf_varint(out, fact->recovered.count);
    orr_buf_bytes(out, fact->recovered.units);
    return;
  case ORR_FACT_PAUSED: case ORR_FACT_RESUMED: case ORR_FACT_CANCEL:
    orr_buf_bytes(out, fact->paused.reason);
    return;
  case ORR_FACT_OUTPUT:
    orr_buf_u8(out, fact->output.status);
    orr_buf_bytes(out, fact->output.value);
    return;
  case ORR_FACT_RUN_FINISHED:
    orr_buf_u8(out, fact->run_finished.status);
    orr_buf_bytes(out, fact->run_finished.output);
    orr_buf_bytes(out, fact->run_finished.error);
    return;
  }
  orr_unreachable();
}

static size_t varint_len(uint64_t value) {
  size_t len = 1;
  for (; value >= 0x80; value >>= 7) len++;
  return len;
}

// Bytes of the long fields: what makes a record's length take more than one byte.
static size_t long_bytes(const struct orr_fact *fact) {
  switch (fact->type) {
  case ORR_FACT_CREATED: return fact->created.input.len + 128;
  case ORR_FACT_FINISHED: case ORR_FACT_RETRY: case ORR_FACT_LATE: case ORR_FACT_UNDONE:
    return fact->finished.value.len + fact->finished.state.len;
  case ORR_FACT_WAITING: return fact->waiting.value.len;
  case ORR_FACT_EXPANDED: return fact->expanded.items.len;
  case ORR_FACT_RECOVERED: return fact->recovered.units.len;
  case ORR_FACT_OUTPUT: return fact->output.value.len;
  case ORR_FACT_RUN_FINISHED: return fact->run_finished.output.len + fact->run_finished.error.len;
  case ORR_FACT_KEY: case ORR_FACT_ADMITTED: case ORR_FACT_STARTED: case ORR_FACT_CHILD:
  case ORR_FACT_PAUSED: case ORR_FACT_RESUMED: case ORR_FACT_CANCEL: return 0;
  }
  return 0;
}

void orr_fact_encode(const struct orr_fact *fact, struct orr_buf *out) {
  size_t begin = out->len;
  size_t room = varint_len(long_bytes(fact) + 32); // nearly always right; else the body moves
  orr_buf_reserve(out, room);
  out->len += room;
  orr_buf_u8(out, ORR_FACT_VERSION);
  orr_buf_u8(out, (uint8_t)fact->type);
  orr_buf_svarint(out, fact->at_ms);
  put_fields(out, fact);

  size_t body_len = out->len - begin - room;
  size_t needed = varint_len(body_len);
  if (needed != room) {
    orr_buf_reserve(out, needed);
    memmove(out->data + begin + needed, out->data + begin + room, body_len);
  }
  out->len = begin;
  orr_buf_varint(out, body_len);
  struct orr_slice body = orr_slice_of(out->data + out->len, body_len);
  uint32_t crc = orr_crc32c(0, body);
  out->len += body_len;
  orr_buf_u32le(out, crc);
}

// --- decoding ------------------------------------------------------------------------------------

static int64_t get_time(struct orr_reader *reader, const struct orr_fact *fact) {
  return (int64_t)((uint64_t)orr_read_svarint(reader) + (uint64_t)fact->at_ms);
}

static uint32_t get_u32(struct orr_reader *reader) {
  uint64_t value = orr_read_varint(reader);
  if (value > UINT32_MAX) reader->failed = true;
  return (uint32_t)value;
}

static struct orr_unit_ref get_unit(struct orr_reader *reader) {
  uint32_t step = get_u32(reader);
  return (struct orr_unit_ref){.step = step, .item = get_u32(reader)};
}

static void get_raw(struct orr_reader *reader, uint8_t *bytes, size_t len) {
  struct orr_slice raw = orr_read_raw(reader, len);
  if (raw.len == len) memcpy(bytes, raw.data, len);
}

static void get_created(struct orr_reader *reader, struct orr_fact *fact) {
  get_raw(reader, fact->created.id.bytes, ORR_ID_BYTES);
  fact->created.pipeline = orr_read_bytes(reader);
  get_raw(reader, fact->created.generation.bytes, ORR_SHA256_BYTES);
  get_raw(reader, fact->created.version.bytes, ORR_SHA256_BYTES);
  fact->created.input = orr_read_bytes(reader);
  if (orr_read_u8(reader) != 0) {
    get_raw(reader, fact->created.parent.bytes, ORR_ID_BYTES);
    if (orr_id_is_zero(&fact->created.parent)) reader->failed = true; // "none" has one form only
    fact->created.parent_step = get_u32(reader);
    fact->created.parent_item = get_u32(reader);
  }
  fact->created.trigger = orr_read_bytes(reader);
  fact->created.idempotency_key = orr_read_bytes(reader);
  fact->created.concurrency_key = orr_read_bytes(reader);
  fact->created.deadline_ms = orr_read_svarint(reader);
  fact->created.seed = orr_read_varint(reader);
  fact->created.depth = get_u32(reader);
}

static void get_finished(struct orr_reader *reader, struct orr_fact *fact) {
  fact->finished.unit = get_unit(reader);
  fact->finished.attempt = get_u32(reader);
  fact->finished.status = orr_read_u8(reader);
  fact->finished.flags = orr_read_u8(reader);
  fact->finished.started_ms = get_time(reader, fact);
  fact->finished.finished_ms = get_time(reader, fact);
  fact->finished.value = orr_read_bytes(reader);
  fact->finished.state = orr_read_bytes(reader);
  fact->finished.until_ms = orr_read_svarint(reader);
  fact->finished.node = orr_read_bytes(reader);
}

// False for a type that this version does not know.
static bool get_fields(struct orr_reader *reader, struct orr_fact *fact) {
  switch (fact->type) {
  case ORR_FACT_CREATED: get_created(reader, fact); return true;
  case ORR_FACT_KEY: fact->key.key = orr_read_bytes(reader); return true;
  case ORR_FACT_ADMITTED: return true;
  case ORR_FACT_STARTED:
    fact->started.unit = get_unit(reader);
    fact->started.attempt = get_u32(reader);
    return true;
  case ORR_FACT_FINISHED: case ORR_FACT_RETRY: case ORR_FACT_LATE: case ORR_FACT_UNDONE:
    get_finished(reader, fact);
    return true;
  case ORR_FACT_WAITING:
    fact->waiting.unit = get_unit(reader);
    fact->waiting.attempt = get_u32(reader);
    fact->waiting.started_ms = get_time(reader, fact);
    fact->waiting.until_ms = orr_read_svarint(reader);
    fact->waiting.value = orr_read_bytes(reader);
    return true;
  case ORR_FACT_EXPANDED:
    fact->expanded.step = get_u32(reader);
    fact->expanded.count = get_u32(reader);
    fact->expanded.attempt = get_u32(reader);
    fact->expanded.started_ms = get_time(reader, fact);
    fact->expanded.items = orr_read_bytes(reader);
    return true;
  case ORR_FACT_CHILD:
    fact->child.unit = get_unit(reader);
    fact->child.attempt = get_u32(reader);
    fact->child.started_ms = get_time(reader, fact);
    get_raw(reader, fact->child.child.bytes, ORR_ID_BYTES);
    return true;
  case ORR_FACT_RECOVERED:
    fact->recovered.count = get_u32(reader);
    fact->recovered.units = orr_read_bytes(reader);
    return true;
  case ORR_FACT_PAUSED: case ORR_FACT_RESUMED: case ORR_FACT_CANCEL:
    fact->paused.reason = orr_read_bytes(reader);
    return true;
  case ORR_FACT_OUTPUT:
    fact->output.status = orr_read_u8(reader);
    fact->output.value = orr_read_bytes(reader);
    return true;
  case ORR_FACT_RUN_FINISHED:
    fact->run_finished.status = orr_read_u8(reader);
    fact->run_finished.output = orr_read_bytes(reader);
    fact->run_finished.error = orr_read_bytes(reader);
    return true;
  }
  return false;
}

enum orr_status orr_fact_decode(struct orr_reader *reader, struct orr_fact *fact) {
  if (reader->failed) return ORR_ERR_CORRUPT;
  if (reader->at == reader->end) return ORR_ERR_NOT_FOUND;
  struct orr_reader record = *reader;
  struct orr_slice body = orr_read_bytes(&record);
  uint32_t crc = orr_read_u32le(&record);
  if (record.failed || crc != orr_crc32c(0, body)) return ORR_ERR_CORRUPT;

  struct orr_reader fields = orr_reader_of(body);
  struct orr_fact decoded;
  memset(&decoded, 0, sizeof decoded);
  uint8_t version = orr_read_u8(&fields);
  decoded.type = (enum orr_fact_type)orr_read_u8(&fields);
  decoded.at_ms = orr_read_svarint(&fields);
  if (version != ORR_FACT_VERSION || !get_fields(&fields, &decoded) || fields.failed)
    return ORR_ERR_CORRUPT;
  *fact = decoded;
  *reader = record;
  return ORR_OK;
}
