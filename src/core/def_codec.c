// SPDX-License-Identifier: MIT
// The stored form of a definition: a version byte and all fields in order of the struct, texts with
// their lengths, dependencies as indices. A definition has exactly one form: decoding goes through the
// builder's checks and refuses bytes that would not be written again as they are. Pure.
#include "core/def_internal.h"

#define CODEC_VERSION 1

// --- encoding ------------------------------------------------------------------------------------

static void put_text(struct orr_buf *out, const char *text) {
  orr_buf_bytes(out, orr_slice_text(text));
}

static void put_head(struct orr_buf *out, const struct orr_def *def) {
  put_text(out, def->name);
  put_text(out, def->description);
  put_text(out, def->script);
  orr_buf_append(out, def->version.bytes, ORR_SHA256_BYTES);
  orr_buf_bytes(out, def->input_schema);
  orr_buf_bytes(out, def->meta);
  orr_buf_varint(out, def->tags_len);
  for (uint32_t i = 0; i < def->tags_len; i++) put_text(out, def->tags[i]);
  orr_buf_varint(out, def->timeout_ms);
  orr_buf_u8(out, def->priority);
  orr_buf_u8(out, def->has_output);
  orr_buf_varint(out, def->concurrency);
  orr_buf_u8(out, def->concurrency_active);
  orr_buf_u8(out, (uint8_t)def->when_full);
  orr_buf_bytes(out, def->concurrency_key_path);
  orr_buf_u8(out, def->concurrency_key_function);
}

static void put_step(struct orr_buf *out, const struct orr_step_def *step) {
  put_text(out, step->name);
  orr_buf_u8(out, (uint8_t)step->kind);
  orr_buf_u8(out, (uint8_t)step->rule);
  orr_buf_varint(out, step->flags);
  orr_buf_varint(out, step->retry.attempts);
  orr_buf_varint(out, step->retry.delay_ms);
  orr_buf_varint(out, step->retry.backoff_permille);
  orr_buf_varint(out, step->retry.delay_ms_max);
  orr_buf_u8(out, step->retry.jitter);
  orr_buf_varint(out, step->timeout_ms);
  orr_buf_u8(out, step->priority);
  orr_buf_varint(out, step->parallel);
  orr_buf_varint(out, step->sleep_ms);
  if (step->kind == ORR_STEP_RUN) put_text(out, step->child);
  orr_buf_varint(out, step->line);
  orr_buf_varint(out, step->after_len);
  for (uint32_t i = 0; i < step->after_len; i++) orr_buf_varint(out, step->after[i]);
}

void orr_def_encode(const struct orr_def *def, struct orr_buf *out) {
  orr_buf_u8(out, CODEC_VERSION);
  put_head(out, def);
  orr_buf_varint(out, def->steps_len);
  for (uint32_t i = 0; i < def->steps_len; i++) put_step(out, &def->steps[i]);
}

// --- decoding ------------------------------------------------------------------------------------

// A text of the builder's arena. A NUL inside would shorten it, so it is malformed.
static const char *get_text(struct orr_reader *reader, struct orr_def_builder *builder) {
  struct orr_slice text = orr_read_bytes(reader);
  if (text.len != 0 && memchr(text.data, 0, text.len) != NULL) reader->failed = true;
  return orr_arena_text(&builder->arena, text);
}

static uint32_t get_u32(struct orr_reader *reader, uint32_t most) {
  uint64_t value = orr_read_varint(reader);
  if (value > most) reader->failed = true;
  return reader->failed ? 0 : (uint32_t)value;
}

static uint8_t get_u8(struct orr_reader *reader, uint8_t most) {
  uint8_t value = orr_read_u8(reader);
  if (value > most) reader->failed = true;
  return reader->failed ? 0 : value;
}

static void get_head(struct orr_reader *reader, struct orr_def_builder *builder) {
  struct orr_def *head = &builder->head;
  head->name = get_text(reader, builder);
  head->description = get_text(reader, builder);
  head->script = get_text(reader, builder);
  struct orr_slice version = orr_read_raw(reader, ORR_SHA256_BYTES);
  if (version.len != 0) memcpy(head->version.bytes, version.data, ORR_SHA256_BYTES);
  head->input_schema = orr_read_bytes(reader);
  head->meta = orr_read_bytes(reader);
  // A tag takes a byte at least, so this bounds the memory by the input's size.
  head->tags_len = get_u32(reader, UINT32_MAX);
  if (head->tags_len > (size_t)(reader->end - reader->at)) reader->failed = true;
  if (reader->failed) head->tags_len = 0;
  const char **tags = orr_arena_alloc(&builder->arena, head->tags_len * sizeof *tags);
  for (uint32_t i = 0; i < head->tags_len; i++) tags[i] = get_text(reader, builder);
  head->tags = tags;
  head->timeout_ms = orr_read_varint(reader);
  head->priority = orr_read_u8(reader);
  head->has_output = get_u8(reader, 1) != 0;
  head->concurrency = get_u32(reader, UINT32_MAX);
  head->concurrency_active = get_u8(reader, 1) != 0;
  head->when_full = (enum orr_when_full)get_u8(reader, ORR_WHEN_FULL_CANCEL_OLDEST);
  head->concurrency_key_path = orr_read_bytes(reader);
  head->concurrency_key_function = get_u8(reader, 1) != 0;
}

static void get_step(struct orr_reader *reader, struct orr_def_builder *builder, uint32_t steps_len) {
  struct orr_step_def step = {0};
  step.name = get_text(reader, builder);
  step.kind = (enum orr_step_kind)get_u8(reader, ORR_STEP_KIND_LAST);
  step.rule = (enum orr_rule)get_u8(reader, ORR_RULE_NONE_FAILED);
  step.flags = get_u32(reader, UINT32_MAX);
  step.retry.attempts = get_u32(reader, UINT32_MAX);
  step.retry.delay_ms = orr_read_varint(reader);
  step.retry.backoff_permille = get_u32(reader, UINT32_MAX);
  step.retry.delay_ms_max = orr_read_varint(reader);
  step.retry.jitter = get_u8(reader, 1) != 0;
  step.timeout_ms = orr_read_varint(reader);
  step.priority = orr_read_u8(reader);
  step.parallel = get_u32(reader, UINT32_MAX);
  step.sleep_ms = orr_read_varint(reader);
  if (step.kind == ORR_STEP_RUN) step.child = get_text(reader, builder);
  step.line = get_u32(reader, UINT32_MAX);
  uint32_t index = orr_def_builder_step(builder, &step);
  uint32_t after_len = get_u32(reader, steps_len);
  for (uint32_t i = 0; i < after_len && !reader->failed; i++) {
    uint32_t target = get_u32(reader, steps_len - 1);
    if (!reader->failed) orr__def_builder_edge(builder, index, target, NULL);
  }
}

static bool encodes_to(const struct orr_def *def, struct orr_slice bytes) {
  struct orr_buf again = ORR_BUF_INIT;
  orr_def_encode(def, &again);
  bool same = orr_slice_equal(orr_buf_slice(&again), bytes);
  orr_buf_free(&again);
  return same;
}

enum orr_status orr_def_decode(struct orr_slice bytes, struct orr_def **def) {
  struct orr_def_builder *builder = orr_def_builder_new();
  struct orr_reader reader = orr_reader_of(bytes);
  struct orr_def *decoded = NULL;
  enum orr_status status = ORR_ERR_CORRUPT;
  if (orr_read_u8(&reader) != CODEC_VERSION) goto out;
  get_head(&reader, builder);
  uint32_t steps_len = get_u32(&reader, ORR_STEPS_MAX);
  for (uint32_t i = 0; i < steps_len && !reader.failed; i++) get_step(&reader, builder, steps_len);
  if (reader.failed || reader.at != reader.end) goto out;
  if (orr_def_builder_finish(builder, &decoded, NULL) != ORR_OK) goto out;
  if (encodes_to(decoded, bytes)) {
    *def = decoded;
    status = ORR_OK;
  } else {
    orr_def_unref(decoded);
  }
out:
  orr_def_builder_free(builder);
  return status;
}
