// SPDX-License-Identifier: MIT
// Module "orrery.c.runs": runs as the engine and the store know them, as JSON texts. What is live comes from the engine by
// an event whose reply wakes the strand; what is gathered from the store's reader. Failures are nil, { code, message }.
#include "base/check.h"
#include "base/json.h"
#include "base/limits.h"
#include "io/schema.h"
#include "script/json_lua.h"
#include "script/run_json.h"
#include "script/worker_parts.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int push_error(lua_State *L, const char *code, const char *message) {
  lua_pushnil(L);
  lua_createtable(L, 0, 2);
  lua_pushstring(L, code);
  lua_setfield(L, -2, "code");
  lua_pushstring(L, message);
  lua_setfield(L, -2, "message");
  return 2;
}
static int push_status(lua_State *L, enum orr_status status, const char *message) {
  return push_error(L, orr_status_text(status), message != NULL && *message != '\0' ? message : orr_status_text(status));
}
static int push_buf(lua_State *L, struct orr_buf *buf) {
  lua_pushlstring(L, buf->len > 0 ? (const char *)buf->data : "", buf->len);
  orr_buf_free(buf);
  return 1;
}
static lua_Integer integer_field(lua_State *L, int index, const char *name, lua_Integer fallback) {
  if (!lua_istable(L, index)) return fallback;
  lua_getfield(L, index, name);
  lua_Integer value = lua_isinteger(L, -1) ? lua_tointeger(L, -1) : fallback;
  lua_pop(L, 1);
  return value;
}
static const char *text_field(lua_State *L, int index, const char *name) { // valid while the table lives
  if (!lua_istable(L, index)) return NULL;
  lua_getfield(L, index, name);
  const char *text = lua_type(L, -1) == LUA_TSTRING ? lua_tostring(L, -1) : NULL;
  lua_pop(L, 1);
  return text;
}
static bool parse_id(lua_State *L, int index, struct orr_id *id) {
  size_t len;
  const char *text = luaL_checklstring(L, index, &len);
  return orr_id_parse(orr_slice_of(text, len), id);
}
static int no_such_run(lua_State *L) { return push_error(L, "not_found", "there is no such run"); }

// --- one run ------------------------------------------------------------------------------------------------------------

enum view { VIEW_RUN, VIEW_STEPS, VIEW_JOURNAL };

static enum orr_status draw(enum view view, struct orr_def *def, struct orr_slice journal, const struct orr_reply *live,
                            lua_State *L, struct orr_buf *out) {
  struct orr_picture_options options = {.only_steps = view == VIEW_STEPS};
  switch (view) {
  case VIEW_JOURNAL: return orr_picture_journal(def, journal, out);
  case VIEW_STEPS:
    options.steps_after = (uint32_t)integer_field(L, 2, "after", 0);
    options.steps_max = (uint32_t)integer_field(L, 2, "limit", ORR_RUN_STEPS_INLINE_MAX);
    break;
  case VIEW_RUN: options.steps_max = (uint32_t)integer_field(L, 2, "steps_max", 0); break;
  }
  return orr_picture_run(def, journal, live, &options, out);
}

// The definition a gathered run was made of: its first fact names the generation. A reference, or NULL.
static struct orr_def *def_of(struct orr_worker *worker, struct orr_slice journal) {
  struct orr_reader reader = orr_reader_of(journal);
  struct orr_fact fact;
  if (orr_fact_decode(&reader, &fact) != ORR_OK || fact.type != ORR_FACT_CREATED) return NULL;
  struct orr_generation *generation = orr_code_find(worker->options.code, &fact.created.generation);
  if (generation == NULL) return NULL;
  struct orr_def *def = orr_generation_def(generation, fact.created.pipeline);
  if (def != NULL) orr_def_ref(def);
  orr_generation_unref(generation);
  return def;
}

static int from_store(lua_State *L, enum view view, const struct orr_id *id) {
  struct orr_worker *worker = orr_lua_of(L)->worker;
  struct orr_store_reader *reader = orr__worker_reader(worker);
  struct orr_blob *journal = NULL;
  if (reader == NULL || orr_store_run(reader, id, &journal) != ORR_OK) return no_such_run(L);
  struct orr_def *def = def_of(worker, orr_blob_slice(journal));
  struct orr_buf out = ORR_BUF_INIT;
  enum orr_status status = ORR_ERR_NOT_FOUND;
  if (def != NULL) status = draw(view, def, orr_blob_slice(journal), NULL, L, &out);
  if (def != NULL) orr_def_unref(def);
  orr_blob_unref(journal);
  if (status == ORR_OK) return push_buf(L, &out);
  orr_buf_free(&out);
  return push_status(L, status, def == NULL ? "the run's code is not in the store" : "the run's journal is damaged");
}

static int got(lua_State *L, int resumed, lua_KContext context) {
  (void)resumed;
  struct orr_ask *ask = (struct orr_ask *)context;
  struct orr_reply *reply = ask->reply;
  enum view view = (enum view)lua_tointeger(L, 3);
  struct orr_id id;
  parse_id(L, 1, &id);
  if (reply->status == ORR_ERR_NOT_FOUND) {
    orr__ask_close(ask);
    return from_store(L, view, &id);
  }
  struct orr_buf out = ORR_BUF_INIT;
  enum orr_status status = reply->status;
  if (status == ORR_OK) status = draw(view, reply->def, orr_blob_slice(reply->journal), reply, L, &out);
  int count = status == ORR_OK ? push_buf(L, &out) : push_status(L, status, reply->message);
  orr_buf_free(&out);
  orr__ask_close(ask);
  return count;
}

static int get_view(lua_State *L, enum view view) { // (id, options)
  struct orr_id id;
  if (!parse_id(L, 1, &id)) return no_such_run(L);
  lua_settop(L, 2);
  lua_pushinteger(L, view);
  if (orr_lua_of(L)->worker->options.host == NULL) return from_store(L, view, &id);
  struct orr_event *event = orr_event_new(ORR_EVENT_GET);
  event->get.id = id;
  return orr__ask(L, event, got);
}
static int get(lua_State *L) { return get_view(L, VIEW_RUN); }
static int steps(lua_State *L) { return get_view(L, VIEW_STEPS); }
static int journal(lua_State *L) { return get_view(L, VIEW_JOURNAL); }

// --- lists ----------------------------------------------------------------------------------------------------------------

struct entry {
  struct orr_id id;
  struct orr_buf text;
};
struct page { // newest first, each run once; the engine's view wins
  struct entry *entries;
  size_t len, live_len, cap;
};

static struct entry *page_add(struct page *page, const struct orr_id *id) {
  if (page->len == page->cap) {
    page->cap = page->cap != 0 ? page->cap * 2 : 64;
    page->entries = orr_realloc(page->entries, page->cap * sizeof(*page->entries));
  }
  struct entry *entry = &page->entries[page->len++];
  *entry = (struct entry){.id = *id};
  return entry;
}
static void page_free(struct page *page) {
  for (size_t i = 0; i < page->len; i++) orr_buf_free(&page->entries[i].text);
  free(page->entries);
}
static void add_row(void *context, const struct orr_store_row *row) {
  struct page *page = context;
  for (size_t i = 0; i < page->live_len; i++)
    if (orr_id_compare(&page->entries[i].id, &row->id) == 0) return;
  orr_picture_row(row, &page_add(page, &row->id)->text);
}
static int newest_first(const void *a, const void *b) {
  return -orr_id_compare(&((const struct entry *)a)->id, &((const struct entry *)b)->id);
}

static int32_t status_of(const char *text) {
  enum orr_run_status status;
  return text != NULL && orr_run_status_parse(orr_slice_text(text), &status) ? (int32_t)status : -1;
}

// The store's part of the page, the merge, and the text. `reply`: the engine's part, or NULL.
static int finish_list(lua_State *L, const struct orr_reply *reply) {
  struct orr_worker *worker = orr_lua_of(L)->worker;
  struct page page = {0};
  uint32_t limit = (uint32_t)integer_field(L, 1, "limit", ORR_LIST_LIMIT_DEFAULT);
  const char *cursor = text_field(L, 1, "cursor");
  for (uint32_t i = 0; reply != NULL && i < reply->runs_len; i++)
    orr_picture_summary(&reply->runs[i], &page_add(&page, &reply->runs[i].id)->text);
  page.live_len = page.len;
  struct orr_store_list query = {.limit = limit + 1 + (uint32_t)page.live_len, .status = status_of(text_field(L, 1, "status")),
                                 .pipeline = text_field(L, 1, "pipeline")};
  if (cursor != NULL) orr_id_parse(orr_slice_text(cursor), &query.before);
  struct orr_store_reader *reader = orr__worker_reader(worker);
  if (reader != NULL) orr_store_list(reader, &query, add_row, &page);
  if (page.len > 1) qsort(page.entries, page.len, sizeof(*page.entries), newest_first);
  struct orr_buf out = ORR_BUF_INIT;
  size_t shown = page.len < limit ? page.len : limit;
  orr_buf_text(&out, "{\"items\":[");
  for (size_t i = 0; i < shown; i++) {
    if (i > 0) orr_buf_u8(&out, ',');
    orr_buf_slice_append(&out, orr_buf_slice(&page.entries[i].text));
  }
  orr_buf_text(&out, "],\"next\":");
  if (page.len > shown && shown > 0) {
    char id[ORR_ID_TEXT + 1];
    orr_id_text(&page.entries[shown - 1].id, id);
    orr_json_string(&out, orr_slice_text(id));
  } else {
    orr_buf_text(&out, "null");
  }
  orr_buf_u8(&out, '}');
  page_free(&page);
  return push_buf(L, &out);
}

static int listed(lua_State *L, int resumed, lua_KContext context) {
  (void)resumed;
  struct orr_ask *ask = (struct orr_ask *)context;
  int count = ask->reply->status == ORR_OK ? finish_list(L, ask->reply)
                                           : push_status(L, ask->reply->status, ask->reply->message);
  orr__ask_close(ask);
  return count;
}

static int list(lua_State *L) { // list{ status, pipeline, limit, cursor }
  luaL_checktype(L, 1, LUA_TTABLE);
  lua_settop(L, 1);
  lua_Integer limit = integer_field(L, 1, "limit", ORR_LIST_LIMIT_DEFAULT);
  if (limit < 1 || limit > (lua_Integer)ORR_LIST_LIMIT_MAX) return push_error(L, "invalid", "limit is from 1 to 500");
  const char *cursor = text_field(L, 1, "cursor"), *pipeline = text_field(L, 1, "pipeline");
  const char *status = text_field(L, 1, "status");
  struct orr_id before = {{0}};
  if (cursor != NULL && !orr_id_parse(orr_slice_text(cursor), &before)) return push_error(L, "invalid", "cursor is malformed");
  if (status != NULL && status_of(status) < 0) return push_error(L, "invalid", "there is no such status");
  if (orr_lua_of(L)->worker->options.host == NULL) return finish_list(L, NULL);
  struct orr_event *event = orr_event_new(ORR_EVENT_LIST);
  event->list.before = before;
  event->list.limit = (uint32_t)limit + 1;
  event->list.status = status_of(status);
  snprintf(event->list.pipeline, sizeof(event->list.pipeline), "%s", pipeline != NULL ? pipeline : "");
  return orr__ask(L, event, listed);
}

// --- control ----------------------------------------------------------------------------------------------------------------

static int controlled(lua_State *L, int resumed, lua_KContext context) {
  (void)resumed;
  struct orr_ask *ask = (struct orr_ask *)context;
  int count = 1;
  if (ask->reply->status == ORR_OK) lua_pushboolean(L, 1);
  else count = push_status(L, ask->reply->status, ask->reply->message);
  orr__ask_close(ask);
  return count;
}

static int control(lua_State *L) { // control(action, id, reason)
  static const char *const actions[] = {"cancel", "pause", "resume", NULL};
  static const enum orr_event_type types[] = {ORR_EVENT_CANCEL, ORR_EVENT_PAUSE, ORR_EVENT_RESUME};
  int action = luaL_checkoption(L, 1, NULL, actions);
  struct orr_id id;
  if (!parse_id(L, 2, &id)) return no_such_run(L);
  const char *reason = luaL_optstring(L, 3, "");
  struct orr_event *event = orr_event_new(types[action]);
  event->control.id = id;
  snprintf(event->control.reason, sizeof(event->control.reason), "%s", reason);
  return orr__ask(L, event, controlled);
}

// --- execute ----------------------------------------------------------------------------------------------------------------

static int executed(lua_State *L, int resumed, lua_KContext context) { // list of ids, existing
  (void)resumed;
  struct orr_ask *ask = (struct orr_ask *)context;
  struct orr_reply *reply = ask->reply;
  if (reply->status != ORR_OK) {
    int count = push_status(L, reply->status, reply->message);
    orr__ask_close(ask);
    return count;
  }
  lua_createtable(L, (int)reply->ids_len, 0);
  for (uint32_t i = 0; i < reply->ids_len; i++) {
    char id[ORR_ID_TEXT + 1];
    orr_id_text(&reply->ids[i], id);
    lua_pushstring(L, id);
    lua_rawseti(L, -2, (lua_Integer)i + 1);
  }
  lua_pushboolean(L, reply->existing);
  orr__ask_close(ask);
  return 2;
}

// Checks the inputs (JSON texts at index 2) against the schema. False: an error is pushed.
static bool check_inputs(lua_State *L, const struct orr_def *def, struct orr_event *event) {
  size_t len = lua_rawlen(L, 2);
  event->submit.inputs = orr_alloc((len + 1) * sizeof(struct orr_blob *));
  struct orr_buf out = ORR_BUF_INIT, problems = ORR_BUF_INIT;
  bool good = true;
  for (size_t i = 0; good && i < len; i++) {
    size_t text_len;
    lua_rawgeti(L, 2, (lua_Integer)i + 1);
    const char *text = lua_tolstring(L, -1, &text_len);
    orr_buf_clear(&out);
    orr_buf_clear(&problems);
    good = orr_schema_apply(def->input_schema, orr_slice_of(text, text_len), &out, &problems) == ORR_OK;
    lua_pop(L, 1);
    if (good) event->submit.inputs[event->submit.inputs_len++] = orr_blob_new(orr_buf_slice(&out));
  }
  if (!good) {
    struct orr_buf message = ORR_BUF_INIT;
    orr_buf_printf(&message, "the input does not fit pipeline \"%s\": ", def->name);
    orr_buf_slice_append(&message, orr_buf_slice(&problems));
    push_error(L, "invalid_input", orr_buf_cstr(&message));
    orr_buf_free(&message);
  }
  orr_buf_free(&out);
  orr_buf_free(&problems);
  return good;
}

static int execute(lua_State *L) { // execute(name, list of JSON texts, idempotency key or nil)
  struct orr_worker *worker = orr_lua_of(L)->worker;
  size_t name_len, key_len = 0;
  const char *name = luaL_checklstring(L, 1, &name_len);
  luaL_checktype(L, 2, LUA_TTABLE);
  const char *key = luaL_optlstring(L, 3, NULL, &key_len);
  size_t len = lua_rawlen(L, 2);
  if (len < 1 || len > ORR_EXECUTE_BATCH_MAX) return push_error(L, "invalid", "from 1 to 1000 inputs at once");
  orr__wait_check(L);
  if (worker->options.host == NULL) return push_error(L, "unavailable", "there is no engine here");
  struct orr_generation *generation = orr_code_current(worker->options.code);
  struct orr_def *def = generation != NULL ? orr_generation_def(generation, orr_slice_of(name, name_len)) : NULL;
  if (def == NULL) {
    if (generation != NULL) orr_generation_unref(generation);
    lua_pushfstring(L, "there is no pipeline \"%s\"", name);
    return push_error(L, "not_found", lua_tostring(L, -1));
  }
  struct orr_event *event = orr_event_new(ORR_EVENT_SUBMIT);
  event->submit.def = orr_def_ref(def);
  orr_generation_unref(generation);
  snprintf(event->submit.trigger, sizeof(event->submit.trigger), "script");
  if (!check_inputs(L, event->submit.def, event)) {
    orr_event_free(event);
    return 2;
  }
  if (key != NULL && len == 1) event->submit.idempotency_key = orr_blob_new(orr_slice_of(key, key_len));
  return orr__ask(L, event, executed);
}

// --- logs -------------------------------------------------------------------------------------------------------------------

struct log_page {
  struct orr_buf out;
  uint32_t len, limit;
  uint64_t last;
};

static void add_record(void *context, const struct orr_log_record *record) {
  static const char *const levels[] = {"debug", "info", "warn", "error", "off"};
  struct log_page *page = context;
  struct orr_buf *out = &page->out;
  if (page->len++ >= page->limit) return;
  page->last = record->seq;
  orr_json_comma(out);
  orr_buf_printf(out, "{\"seq\":%llu", (unsigned long long)record->seq);
  orr_json_key(out, "at");
  orr_json_time(out, record->at_ms);
  orr_json_key(out, "level");
  orr_json_string(out, orr_slice_text(levels[record->level]));
  orr_json_key(out, "stream");
  orr_json_string(out, record->stream);
  orr_json_key(out, "step");
  if (record->step.len > 0) orr_json_string(out, record->step);
  else orr_buf_text(out, "null");
  if (record->item != 0) orr_buf_printf(out, ",\"item\":%u", record->item);
  if (record->attempt != 0) orr_buf_printf(out, ",\"attempt\":%u", record->attempt);
  orr_json_key(out, "text");
  orr_json_string(out, record->text);
  if (record->fields.len > 0) {
    orr_json_key(out, "fields");
    orr_buf_slice_append(out, record->fields);
  }
  orr_buf_u8(out, '}');
}

static int logs(lua_State *L) { // logs(id, { after, limit, step, level })
  struct orr_worker *worker = orr_lua_of(L)->worker;
  struct orr_log_query query = {.step = text_field(L, 2, "step")};
  if (!parse_id(L, 1, &query.run)) return no_such_run(L);
  struct log_page page = {.out = ORR_BUF_INIT, .limit = (uint32_t)integer_field(L, 2, "limit", 200)};
  query.after = (uint64_t)integer_field(L, 2, "after", 0);
  query.limit = page.limit + 1;
  static const char *const levels[] = {"debug", "info", "warn", "error"};
  const char *level = text_field(L, 2, "level");
  for (int i = 0; level != NULL && i < 4; i++)
    if (strcmp(level, levels[i]) == 0) query.level_min = i;
  if (worker->log_reader == NULL && worker->options.runlog_path != NULL &&
      orr_runlog_reader_open(worker->options.runlog_path, &worker->log_reader) != ORR_OK)
    worker->log_reader = NULL;
  orr_buf_text(&page.out, "{\"items\":[");
  enum orr_status status = ORR_OK;
  if (worker->log_reader != NULL) status = orr_runlog_query(worker->log_reader, &query, add_record, &page);
  if (status != ORR_OK) {
    orr_buf_free(&page.out);
    return push_status(L, status, "the logs cannot be read");
  }
  orr_buf_text(&page.out, "],\"next\":");
  if (page.len > page.limit) orr_buf_printf(&page.out, "\"%llu\"", (unsigned long long)page.last);
  else orr_buf_text(&page.out, "null");
  orr_buf_u8(&page.out, '}');
  return push_buf(L, &page.out);
}

int orr_luaopen_c_runs(lua_State *L) {
  static const luaL_Reg functions[] = {{"get", get}, {"steps", steps}, {"journal", journal}, {"list", list},
                                       {"control", control}, {"execute", execute}, {"logs", logs}, {NULL, NULL}};
  luaL_newlib(L, functions);
  return 1;
}
