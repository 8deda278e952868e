// SPDX-License-Identifier: MIT
// See run_json.h. A picture is the fold of a journal plus what only a live engine knows (attempts in flight,
// reasons for waiting). Any thread; touches no engine.
#include "script/run_json.h"

#include "base/json.h"

#include <stdlib.h>
#include <string.h>

struct picture {
  struct orr_run *run;
  const struct orr_reply *live; // or NULL
  struct orr_slice *nodes;      // of each step's newest outcome; run->def->steps_len
  struct orr_buf *out;
};

static void text_field(struct orr_buf *out, const char *key, struct orr_slice text) {
  orr_json_key(out, key);
  if (text.len == 0) orr_buf_text(out, "null");
  else orr_json_string(out, text);
}
static void raw_field(struct orr_buf *out, const char *key, struct orr_slice json) {
  orr_json_key(out, key);
  if (json.len == 0) orr_buf_text(out, "null");
  else orr_buf_slice_append(out, json);
}
static void time_field(struct orr_buf *out, const char *key, int64_t wall_ms) {
  orr_json_key(out, key);
  orr_json_time(out, wall_ms);
}
static void id_field(struct orr_buf *out, const char *key, const struct orr_id *id) {
  char text[ORR_ID_TEXT + 1] = "";
  if (!orr_id_is_zero(id)) orr_id_text(id, text);
  text_field(out, key, orr_slice_text(text));
}
static void digest_field(struct orr_buf *out, const char *key, const struct orr_digest *digest) {
  char text[65];
  orr_digest_text(digest, text);
  text_field(out, key, orr_slice_text(text));
}

// --- steps ------------------------------------------------------------------------------------------------

static const struct orr_attempt_view *attempt_of(const struct picture *picture, uint32_t step, uint32_t item) {
  for (uint32_t i = 0; picture->live != NULL && i < picture->live->attempts_len; i++) {
    const struct orr_attempt_view *attempt = &picture->live->attempts[i];
    if (attempt->step == step && attempt->item == item) return attempt;
  }
  return NULL;
}

// Why a step is skipped: skips are derived, not recorded, so the reason is derived here, too.
static void skip_reason(struct picture *picture, const struct orr_unit *unit) {
  const struct orr_run *run = picture->run;
  const struct orr_step_def *def = &run->def->steps[unit->step];
  struct orr_buf text = ORR_BUF_INIT;
  if (unit->item > 0) orr_buf_text(&text, "another item of the map failed");
  else if (unit->attempts > 0) orr_buf_text(&text, "`when` was false");
  for (uint32_t i = 0; text.len == 0 && i < def->after_len; i++) {
    const struct orr_unit *before = &run->units[def->after[i]];
    bool met = before->status == ORR_STEP_STATUS_SUCCEEDED && def->rule != ORR_RULE_ALL_FAILED;
    if (!met)
      orr_buf_printf(&text, "rule %s: step \"%s\" is %s", orr_rule_text(def->rule), run->def->steps[before->step].name,
                     orr_step_status_text((enum orr_step_status)before->status));
  }
  if (text.len == 0) orr_buf_printf(&text, "rule %s does not hold", orr_rule_text(def->rule));
  text_field(picture->out, "reason", orr_buf_slice(&text));
  orr_buf_free(&text);
}

static void step_entry(struct picture *picture, const struct orr_unit *unit) {
  struct orr_buf *out = picture->out;
  const struct orr_step_def *def = &picture->run->def->steps[unit->step];
  const struct orr_attempt_view *attempt = attempt_of(picture, unit->step, unit->item);
  enum orr_step_status status = attempt != NULL ? ORR_STEP_STATUS_RUNNING : (enum orr_step_status)unit->status;
  struct orr_slice value = unit->value.len > 0 ? orr_run_bytes(picture->run, unit->value) : (struct orr_slice){0};
  struct orr_slice none = {0};
  orr_json_comma(out);
  orr_buf_u8(out, '{');
  text_field(out, "name", orr_slice_text(def->name));
  orr_json_key(out, "item");
  if (unit->item > 0) orr_buf_printf(out, "%u", unit->item);
  else orr_buf_text(out, "null");
  text_field(out, "kind", orr_slice_text(orr_step_kind_text(def->kind)));
  text_field(out, "status", orr_slice_text(orr_step_status_text(status)));
  orr_json_key(out, "attempt");
  orr_buf_printf(out, "%u", attempt != NULL ? attempt->attempt : unit->attempts);
  time_field(out, "started_at", attempt != NULL ? attempt->dispatched_ms : unit->started_ms);
  time_field(out, "finished_at", attempt != NULL ? 0 : unit->finished_ms);
  if (unit->until_ms > 0 && !orr_step_status_final(status)) time_field(out, "until", unit->until_ms);
  if (unit->flags & ORR_UNIT_CACHED) orr_json_key(out, "cached"), orr_buf_text(out, "true");
  if (status == ORR_STEP_STATUS_SKIPPED) skip_reason(picture, unit);
  raw_field(out, "output", status == ORR_STEP_STATUS_SUCCEEDED ? value : none);
  bool failed = status == ORR_STEP_STATUS_FAILED || status == ORR_STEP_STATUS_RETRYING || status == ORR_STEP_STATUS_CANCELLED;
  raw_field(out, "error", failed ? value : none);
  text_field(out, "node", picture->nodes[unit->step]);
  orr_buf_u8(out, '}');
}

// Entries from number `after` on, at most `max`; returns the number of the first one left out, or 0.
static uint64_t steps(struct picture *picture, uint64_t after, uint64_t max) {
  uint64_t number = 0, shown = 0;
  struct orr_run *run = picture->run;
  for (uint32_t i = 0; i < run->def->steps_len; i++) {
    const struct orr_map_items *map = run->maps != NULL ? run->maps[i] : NULL;
    uint32_t entries = 1 + (map != NULL ? map->count : 0);
    if (number + entries <= after) {
      number += entries;
      continue;
    }
    for (uint32_t k = 0; k < entries; k++, number++) {
      if (number < after) continue;
      if (shown == max) return number;
      step_entry(picture, k == 0 ? &run->units[i] : &map->units[k - 1]);
      shown++;
    }
  }
  return 0;
}

// --- the run ------------------------------------------------------------------------------------------------

static void reasons(struct picture *picture) {
  struct orr_buf *out = picture->out;
  orr_json_key(out, "reasons");
  orr_buf_u8(out, '[');
  for (uint32_t i = 0; picture->live != NULL && i < picture->live->reasons_len; i++) {
    const struct orr_reason *reason = &picture->live->reasons[i];
    orr_json_comma(out);
    orr_buf_u8(out, '{');
    text_field(out, "code", orr_slice_text(orr_reason_text(reason->code)));
    bool about_step = reason->step < picture->run->def->steps_len;
    if (about_step) text_field(out, "step", orr_slice_text(picture->run->def->steps[reason->step].name));
    if (about_step && reason->item > 0 && reason->item != UINT32_MAX) orr_json_key(out, "item"), orr_buf_printf(out, "%u", reason->item);
    if (reason->until_ms > 0) time_field(out, "until", reason->until_ms);
    if (reason->limit > 0 || reason->used > 0)
      orr_buf_printf(out, ",\"limit\":%llu,\"used\":%llu", (unsigned long long)reason->limit, (unsigned long long)reason->used);
    orr_buf_u8(out, '}');
  }
  orr_buf_u8(out, ']');
}

static void run_fields(struct picture *picture) {
  struct orr_buf *out = picture->out;
  struct orr_run *run = picture->run;
  enum orr_run_status status = picture->live != NULL && picture->live->journal != NULL ? picture->live->run_status
                                                                                      : (enum orr_run_status)run->status;
  id_field(out, "id", &run->id);
  text_field(out, "pipeline", orr_slice_text(run->def->name));
  digest_field(out, "version", &run->def->version);
  text_field(out, "status", orr_slice_text(orr_run_status_text(status)));
  raw_field(out, "input", orr_blob_slice(run->input));
  raw_field(out, "output", run->status == ORR_RUN_SUCCEEDED ? orr_run_bytes(run, run->output) : (struct orr_slice){0});
  bool failed = orr_run_status_final(run->status) && run->error.len > 0;
  raw_field(out, "error", failed ? orr_run_bytes(run, run->error) : (struct orr_slice){0});
  time_field(out, "created_at", run->created_ms);
  time_field(out, "started_at", run->started_ms);
  time_field(out, "finished_at", run->finished_ms);
  id_field(out, "parent", &run->parent);
  text_field(out, "trigger", orr_run_bytes(run, run->trigger));
  raw_field(out, "state", run->state.len > 0 ? orr_buf_slice(&run->state) : ORR_SLICE_LITERAL("{}"));
  if (run->paused) text_field(out, "pause_reason", orr_run_bytes(run, run->pause_reason));
  if (run->cancel_asked) text_field(out, "cancel_reason", orr_run_bytes(run, run->cancel_reason));
  reasons(picture);
}

// The fold does not keep who ran a step, because nothing is decided by it: read it from the outcomes.
static void nodes_fill(struct picture *picture, struct orr_slice journal) {
  struct orr_reader reader = orr_reader_of(journal);
  struct orr_fact fact;
  while (orr_fact_decode(&reader, &fact) == ORR_OK)
    if ((fact.type == ORR_FACT_FINISHED || fact.type == ORR_FACT_RETRY) && fact.finished.unit.step < picture->run->def->steps_len)
      picture->nodes[fact.finished.unit.step] = fact.finished.node;
}

enum orr_status orr_picture_run(struct orr_def *def, struct orr_slice journal, const struct orr_reply *live,
                                const struct orr_picture_options *options, struct orr_buf *out) {
  struct orr_run *run = orr_run_new(def);
  enum orr_status status = orr_run_load(run, journal);
  if (status == ORR_OK) {
    struct picture picture = {.run = run, .live = live, .out = out,
                              .nodes = orr_alloc(sizeof(struct orr_slice) * (def->steps_len + 1))};
    uint32_t max = options->steps_max > 0 ? options->steps_max : ORR_RUN_STEPS_INLINE_MAX;
    nodes_fill(&picture, journal);
    orr_buf_u8(out, '{');
    if (!options->only_steps) run_fields(&picture);
    orr_json_key(out, options->only_steps ? "items" : "steps");
    orr_buf_u8(out, '[');
    uint64_t next = steps(&picture, options->steps_after, max);
    orr_buf_u8(out, ']');
    orr_json_key(out, options->only_steps ? "next" : "steps_next");
    if (next > 0) orr_buf_printf(out, "\"%llu\"", (unsigned long long)next);
    else orr_buf_text(out, "null");
    orr_buf_u8(out, '}');
    free(picture.nodes);
  }
  orr_run_free(run);
  return status;
}

// --- lists -----------------------------------------------------------------------------------------------------

static void line(struct orr_buf *out, const struct orr_store_row *row) {
  orr_buf_u8(out, '{');
  id_field(out, "id", &row->id);
  text_field(out, "pipeline", orr_slice_text(row->pipeline));
  digest_field(out, "version", &row->version);
  text_field(out, "status", orr_slice_text(orr_run_status_text((enum orr_run_status)row->status)));
  time_field(out, "created_at", row->created_ms);
  time_field(out, "started_at", row->started_ms);
  time_field(out, "finished_at", row->finished_ms);
  id_field(out, "parent", &row->parent);
  text_field(out, "trigger", orr_slice_text(row->trigger));
  text_field(out, "error", orr_slice_text(row->error));
  orr_buf_u8(out, '}');
}

void orr_picture_row(const struct orr_store_row *row, struct orr_buf *out) { line(out, row); }

void orr_picture_summary(const struct orr_run_summary *summary, struct orr_buf *out) {
  struct orr_store_row row = {
      .id = summary->id, .pipeline = summary->def->name, .version = summary->def->version, .status = summary->status,
      .created_ms = summary->created_ms, .started_ms = summary->started_ms, .finished_ms = summary->finished_ms,
      .parent = summary->parent, .trigger = summary->trigger, .error = summary->error,
  };
  line(out, &row);
}
