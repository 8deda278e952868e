// SPDX-License-Identifier: MIT
// See pipelines_json.h.
#include "server/pipelines_json.h"

#include "base/check.h"
#include "base/json.h"
#include "base/map.h"
#include "script/generation.h"

#include <stdlib.h>

static void text_member(struct orr_buf *out, const char *key, const char *text) {
  orr_json_key(out, key);
  if (text == NULL) orr_buf_text(out, "null");
  else orr_json_string(out, orr_slice_text(text));
}

static void raw_member(struct orr_buf *out, const char *key, struct orr_slice json) {
  orr_json_key(out, key);
  if (json.len == 0) orr_buf_text(out, "null");
  else orr_buf_slice_append(out, json);
}

static void integer_member(struct orr_buf *out, const char *key, uint64_t value) {
  orr_json_key(out, key);
  orr_buf_printf(out, "%llu", (unsigned long long)value);
}

static void head_members(const struct orr_def *def, struct orr_buf *out) {
  char version[65];
  orr_digest_text(&def->version, version);
  text_member(out, "name", def->name);
  text_member(out, "kind", "pipeline");
  text_member(out, "description", def->description);
  text_member(out, "version", version);
  text_member(out, "script", def->script);
  orr_json_key(out, "tags");
  orr_buf_u8(out, '[');
  for (uint32_t i = 0; i < def->tags_len; i++) {
    orr_json_comma(out);
    orr_json_string(out, orr_slice_text(def->tags[i]));
  }
  orr_buf_u8(out, ']');
  integer_member(out, "steps_count", def->steps_len);
  raw_member(out, "input", def->input_schema);
}

void orr_pipelines_json(const struct orr_generation *generation, struct orr_buf *out) {
  orr_buf_u8(out, '[');
  for (uint32_t i = 0; generation != NULL && i < generation->defs_len; i++) {
    orr_json_comma(out);
    orr_buf_u8(out, '{');
    head_members(generation->defs[i], out);
    orr_buf_u8(out, '}');
  }
  orr_buf_u8(out, ']');
}

// --- steps ------------------------------------------------------------------------------------------------

static void retry_member(const struct orr_retry *retry, struct orr_buf *out) {
  orr_json_key(out, "retry");
  if (retry->attempts <= 1) {
    orr_buf_text(out, "null");
    return;
  }
  orr_buf_u8(out, '{');
  integer_member(out, "attempts", retry->attempts);
  integer_member(out, "delay_ms", retry->delay_ms);
  orr_json_key(out, "backoff");
  orr_json_number(out, (double)retry->backoff_permille / 1000.0);
  integer_member(out, "max_delay_ms", retry->delay_ms_max);
  orr_json_key(out, "jitter");
  orr_buf_text(out, retry->jitter ? "true" : "false");
  orr_buf_u8(out, '}');
}

static void flag_members(uint32_t flags, struct orr_buf *out) {
  static const struct { uint32_t flag; const char *key; } table[] = {
      {ORR_STEP_ONCE, "once"}, {ORR_STEP_UNDO, "has_undo"}, {ORR_STEP_HAS_WHEN, "has_when"}};
  for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
    orr_json_key(out, table[i].key);
    orr_buf_text(out, (flags & table[i].flag) != 0 ? "true" : "false");
  }
}

static void step_json(const struct orr_def *def, const struct orr_step_def *step, struct orr_slice options,
                      struct orr_buf *out) {
  orr_buf_u8(out, '{');
  text_member(out, "name", step->name);
  text_member(out, "kind", orr_step_kind_text(step->kind));
  orr_json_key(out, "after");
  orr_buf_u8(out, '[');
  for (uint32_t i = 0; i < step->after_len; i++) {
    orr_json_comma(out);
    orr_json_string(out, orr_slice_text(def->steps[step->after[i]].name));
  }
  orr_buf_u8(out, ']');
  text_member(out, "rule", orr_rule_text(step->rule));
  retry_member(&step->retry, out);
  orr_json_key(out, "timeout_ms");
  if (step->timeout_ms == 0) orr_buf_text(out, "null");
  else orr_buf_printf(out, "%llu", (unsigned long long)step->timeout_ms);
  integer_member(out, "priority", step->priority);
  if (step->kind == ORR_STEP_MAP) integer_member(out, "parallel", step->parallel);
  if (step->kind == ORR_STEP_RUN) text_member(out, "pipeline", step->child);
  flag_members(step->flags, out);
  integer_member(out, "line", step->line);
  raw_member(out, "options", options);
  orr_buf_u8(out, '}');
}

// What the declaration said of each step, by name: slices into meta.
static struct orr_slice *read_options(const struct orr_def *def) {
  struct orr_slice *options = orr_alloc(sizeof(*options) * (def->steps_len + 1u));
  struct orr_slice steps;
  struct orr_map index = ORR_MAP_INIT;
  if (orr_json_path(def->meta, ORR_SLICE_LITERAL("steps"), &steps) != ORR_OK) return options;
  for (uint32_t i = 0; i < def->steps_len; i++)
    orr_map_put(&index, orr_slice_text(def->steps[i].name), &options[i]);
  struct orr_json_reader reader;
  orr_json_reader_init(&reader, steps);
  if (orr_json_next(&reader) == ORR_JSON_OBJECT_BEGIN) {
    while (orr_json_next(&reader) == ORR_JSON_KEY) { // names need no unescaping
      struct orr_slice *place = orr_map_get(&index, reader.text), value;
      if (orr_json_skip(&reader, orr_json_next(&reader), &value) != ORR_OK) break;
      if (place != NULL) *place = value;
    }
  }
  orr_map_free(&index);
  return options;
}

static void meta_member(const struct orr_def *def, const char *key, struct orr_buf *out) {
  struct orr_slice value = {0};
  if (orr_json_path(def->meta, orr_slice_text(key), &value) != ORR_OK) value.len = 0;
  raw_member(out, key, value);
}

void orr_pipeline_json(const struct orr_def *def, struct orr_buf *out) {
  char generation[65];
  orr_digest_text(&def->generation, generation);
  struct orr_slice *options = read_options(def);
  orr_buf_u8(out, '{');
  head_members(def, out);
  text_member(out, "generation", generation);
  integer_member(out, "timeout_ms", def->timeout_ms);
  integer_member(out, "priority", def->priority);
  meta_member(def, "output", out);
  meta_member(def, "concurrency", out);
  orr_json_key(out, "steps");
  orr_buf_u8(out, '[');
  for (uint32_t i = 0; i < def->steps_len; i++) {
    orr_json_comma(out);
    step_json(def, &def->steps[i], options[i], out);
  }
  orr_buf_text(out, "]}");
  free(options);
}

enum orr_status orr_pipelines_query(struct orr_code *code, const char *what, struct orr_buf *out) {
  static const char one[] = "pipeline ";
  struct orr_generation *generation = orr_code_current(code);
  enum orr_status status = ORR_ERR_NOT_FOUND;
  if (strcmp(what, "pipelines") == 0) {
    orr_pipelines_json(generation, out);
    status = ORR_OK;
  } else if (generation != NULL && strncmp(what, one, sizeof(one) - 1) == 0) {
    struct orr_def *def = orr_generation_def(generation, orr_slice_text(what + sizeof(one) - 1));
    if (def != NULL) orr_pipeline_json(def, out);
    if (def != NULL) status = ORR_OK;
  }
  if (generation != NULL) orr_generation_unref(generation);
  return status;
}
