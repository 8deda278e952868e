// SPDX-License-Identifier: MIT
// A journal as JSON, fact by fact, for people and the API. Any thread.
#include "base/json.h"
#include "core/fact.h"
#include "core/states.h"
#include "script/run_json.h"

static void integer(struct orr_buf *out, const char *key, int64_t value) {
  orr_json_key(out, key);
  orr_buf_printf(out, "%lld", (long long)value);
}
static void text(struct orr_buf *out, const char *key, struct orr_slice value) {
  orr_json_key(out, key);
  orr_json_string(out, value);
}
static void value_of(struct orr_buf *out, const char *key, struct orr_slice json) {
  if (json.len == 0) return;
  orr_json_key(out, key);
  orr_buf_slice_append(out, json);
}
static void instant(struct orr_buf *out, const char *key, int64_t wall_ms) {
  if (wall_ms == 0) return;
  orr_json_key(out, key);
  orr_json_time(out, wall_ms);
}
static void id_of(struct orr_buf *out, const char *key, const struct orr_id *id) {
  char digits[ORR_ID_TEXT + 1];
  if (orr_id_is_zero(id)) return;
  orr_id_text(id, digits);
  text(out, key, orr_slice_text(digits));
}
static void unit_of(struct orr_buf *out, const struct orr_def *def, uint32_t step, uint32_t item) {
  if (step < def->steps_len) text(out, "step", orr_slice_text(def->steps[step].name));
  if (item != 0) integer(out, "item", item);
}

static void write_created(struct orr_buf *out, const struct orr_fact *fact) {
  char digits[65];
  id_of(out, "id", &fact->created.id);
  text(out, "pipeline", fact->created.pipeline);
  orr_digest_text(&fact->created.version, digits);
  text(out, "version", orr_slice_text(digits));
  orr_digest_text(&fact->created.generation, digits);
  text(out, "generation", orr_slice_text(digits));
  value_of(out, "input", fact->created.input);
  id_of(out, "parent", &fact->created.parent);
  text(out, "trigger", fact->created.trigger);
  if (fact->created.idempotency_key.len > 0) text(out, "idempotency_key", fact->created.idempotency_key);
  instant(out, "deadline", fact->created.deadline_ms);
}

static void write_finished(struct orr_buf *out, const struct orr_def *def, const struct orr_fact *fact) {
  enum orr_step_status status = (enum orr_step_status)fact->finished.status;
  unit_of(out, def, fact->finished.unit.step, fact->finished.unit.item);
  integer(out, "attempt", fact->finished.attempt);
  text(out, "status", orr_slice_text(orr_step_status_text(status)));
  instant(out, "started_at", fact->finished.started_ms);
  instant(out, "finished_at", fact->finished.finished_ms);
  value_of(out, status == ORR_STEP_STATUS_SUCCEEDED ? "output" : "error", fact->finished.value);
  value_of(out, "state", fact->finished.state);
  instant(out, "until", fact->finished.until_ms);
  if ((fact->finished.flags & ORR_FINISHED_CACHED) != 0) value_of(out, "cached", ORR_SLICE_LITERAL("true"));
  text(out, "node", fact->finished.node);
}

static void write_items(struct orr_buf *out, struct orr_slice items, uint32_t count) {
  struct orr_reader reader = orr_reader_of(items);
  orr_json_key(out, "items");
  orr_buf_u8(out, '[');
  for (uint32_t i = 0; i < count && i < 1000 && !reader.failed; i++) { // the rest is in the steps' pages
    struct orr_slice item = orr_read_bytes(&reader);
    if (i > 0) orr_buf_u8(out, ',');
    orr_buf_slice_append(out, item);
  }
  orr_buf_u8(out, ']');
}

static void write_fields(struct orr_buf *out, const struct orr_def *def, const struct orr_fact *fact) {
  switch (fact->type) {
  case ORR_FACT_CREATED: write_created(out, fact); return;
  case ORR_FACT_KEY: text(out, "key", fact->key.key); return;
  case ORR_FACT_ADMITTED: return;
  case ORR_FACT_STARTED:
    unit_of(out, def, fact->started.unit.step, fact->started.unit.item);
    integer(out, "attempt", fact->started.attempt);
    return;
  case ORR_FACT_FINISHED:
  case ORR_FACT_RETRY:
  case ORR_FACT_LATE:
  case ORR_FACT_UNDONE: write_finished(out, def, fact); return;
  case ORR_FACT_WAITING:
    unit_of(out, def, fact->waiting.unit.step, fact->waiting.unit.item);
    integer(out, "attempt", fact->waiting.attempt);
    instant(out, "until", fact->waiting.until_ms);
    return;
  case ORR_FACT_EXPANDED:
    unit_of(out, def, fact->expanded.step, 0);
    integer(out, "count", fact->expanded.count);
    write_items(out, fact->expanded.items, fact->expanded.count);
    return;
  case ORR_FACT_CHILD:
    unit_of(out, def, fact->child.unit.step, fact->child.unit.item);
    id_of(out, "child", &fact->child.child);
    return;
  case ORR_FACT_RECOVERED: integer(out, "count", fact->recovered.count); return;
  case ORR_FACT_PAUSED:
  case ORR_FACT_RESUMED:
  case ORR_FACT_CANCEL: text(out, "reason", fact->paused.reason); return;
  case ORR_FACT_OUTPUT: value_of(out, "value", fact->output.value); return;
  case ORR_FACT_RUN_FINISHED:
    text(out, "status", orr_slice_text(orr_run_status_text((enum orr_run_status)fact->run_finished.status)));
    value_of(out, "output", fact->run_finished.output);
    value_of(out, "error", fact->run_finished.error);
    return;
  }
}

enum orr_status orr_picture_journal(const struct orr_def *def, struct orr_slice journal, struct orr_buf *out) {
  struct orr_reader reader = orr_reader_of(journal);
  struct orr_fact fact;
  enum orr_status status;
  orr_buf_text(out, "{\"items\":[");
  while ((status = orr_fact_decode(&reader, &fact)) == ORR_OK) {
    orr_json_comma(out);
    orr_buf_u8(out, '{');
    text(out, "type", orr_slice_text(orr_fact_type_text(fact.type)));
    instant(out, "at", fact.at_ms);
    write_fields(out, def, &fact);
    orr_buf_u8(out, '}');
  }
  orr_buf_text(out, "],\"next\":null}");
  return status == ORR_ERR_NOT_FOUND ? ORR_OK : ORR_ERR_CORRUPT;
}
