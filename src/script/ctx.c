// SPDX-License-Identifier: MIT
// A ctx is { [CTX_KEY] = serial of its work } with one metatable a state. Only the step that it was made for may use it:
// its serial must be that of the running strand's work.
#include "script/ctx.h"

#include "base/check.h"
#include "base/json.h"
#include "base/limits.h"
#include "io/digest.h"
#include "script/json_lua.h"

#include <stdlib.h>
#include <string.h>

static const char ctx_key = 0, writes_key = 0, metatable_key = 0, step_key = 0, retry_key = 0;

// --- payload ------------------------------------------------------------------------------------------------------------

struct orr_slice orr__task_part(const struct orr_task *task, enum orr__part part) {
  struct orr_reader reader = orr_reader_of(orr_buf_slice(&task->payload));
  uint64_t count = orr_read_varint(&reader);
  for (uint64_t i = 0; i < count && !reader.failed; i++) {
    orr_read_varint(&reader);
    orr_read_u8(&reader);
    orr_read_bytes(&reader);
  }
  struct orr_slice value = orr_read_bytes(&reader);
  if (part >= ORR__PART_STATE) value = orr_read_bytes(&reader);
  if (part >= ORR__PART_SUBJECT) value = orr_read_bytes(&reader);
  return reader.failed ? orr_slice_of(NULL, 0) : value;
}

static bool find_result(const struct orr_task *task, uint32_t step, uint8_t *status, struct orr_slice *value) {
  struct orr_reader reader = orr_reader_of(orr_buf_slice(&task->payload));
  uint64_t count = orr_read_varint(&reader);
  for (uint64_t i = 0; i < count && !reader.failed; i++) {
    uint64_t at = orr_read_varint(&reader);
    *status = orr_read_u8(&reader);
    *value = orr_read_bytes(&reader);
    if (at == step && !reader.failed) return true;
  }
  return false;
}

// --- pushing --------------------------------------------------------------------------------------------------------------

void orr__ctx_push(lua_State *L, const struct orr_work *work) {
  lua_createtable(L, 0, 2);
  lua_pushinteger(L, (lua_Integer)work->serial);
  lua_rawsetp(L, -2, &ctx_key);
  lua_rawgetp(L, LUA_REGISTRYINDEX, &metatable_key);
  lua_setmetatable(L, -2);
}

static void push_runtime_function(lua_State *L, const void *key, const char *name) {
  if (lua_rawgetp(L, LUA_REGISTRYINDEX, key) == LUA_TFUNCTION) return;
  lua_pop(L, 1);
  luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_LOADED_TABLE); // a binding exists, so it was required
  lua_getfield(L, -1, "orrery.runtime");
  lua_getfield(L, -1, name);
  lua_remove(L, -2);
  lua_remove(L, -2);
  lua_pushvalue(L, -1);
  lua_rawsetp(L, LUA_REGISTRYINDEX, key);
}
void orr__ctx_push_step_function(lua_State *L) { push_runtime_function(L, &step_key, "step"); }
void orr__ctx_push_retry_function(lua_State *L) { push_runtime_function(L, &retry_key, "retryable"); }

bool orr__ctx_push_writes(lua_State *L, int index) {
  if (lua_rawgetp(L, index, &writes_key) == LUA_TTABLE) return true;
  lua_pop(L, 1);
  return false;
}

// --- the work of a ctx ----------------------------------------------------------------------------------------------------

static struct orr_work *check_task_work(lua_State *L) {
  struct orr_work *work = orr__work_of(L);
  if (work == NULL || work->task == NULL) luaL_error(L, "E0112: this works inside a step only");
  return work;
}

static struct orr_work *check_ctx(lua_State *L, int index) {
  struct orr_work *work = orr__work_of(L);
  lua_rawgetp(L, index, &ctx_key);
  if (work == NULL || work->task == NULL || lua_tointeger(L, -1) != (lua_Integer)work->serial)
    luaL_error(L, "this ctx belongs to a step that has ended");
  lua_pop(L, 1);
  return work;
}

static void push_idempotency_key(lua_State *L, const struct orr_task *task) {
  char id[ORR_ID_TEXT + 1];
  orr_id_text(&task->run_id, id);
  const char *step = task->step < task->def->steps_len ? task->def->steps[task->step].name : "run";
  if (task->item != 0) lua_pushfstring(L, "%s/%s/%d", id, step, (int)task->item);
  else lua_pushfstring(L, "%s/%s", id, step);
}

// Pushes the field, or pushes nothing and returns false: then ctx.lua knows it, or nobody.
static bool push_field(lua_State *L, const struct orr_work *work, const char *name) {
  const struct orr_task *task = work->task;
  if (strcmp(name, "input") == 0) {
    orr_json_push(L, orr_blob_slice(task->input));
    if (lua_isnil(L, -1)) {
      lua_pop(L, 1);
      lua_newtable(L);
    }
  } else if (strcmp(name, "item") == 0) {
    orr_json_push(L, orr__task_part(task, ORR__PART_ITEM));
  } else if (strcmp(name, "index") == 0) {
    if (task->item != 0) lua_pushinteger(L, task->item);
    else lua_pushnil(L);
  } else if (strcmp(name, "attempt") == 0) {
    lua_pushinteger(L, task->attempt);
  } else if (strcmp(name, "step") == 0) {
    if (task->step < task->def->steps_len) lua_pushstring(L, task->def->steps[task->step].name);
    else lua_pushnil(L);
  } else if (strcmp(name, "idempotency_key") == 0) {
    push_idempotency_key(L, task);
  } else if (strcmp(name, "output") == 0) {
    bool output = task->op == ORR_OP_UNDO || (task->op == ORR_OP_HOOK && task->hook == ORR_HOOK_SUCCESS);
    orr_json_push(L, output ? orr__task_part(task, ORR__PART_SUBJECT) : orr_slice_of(NULL, 0));
  } else if (strcmp(name, "error") == 0) {
    bool error = task->op == ORR_OP_HOOK && task->hook != ORR_HOOK_SUCCESS;
    orr_json_push(L, error ? orr__task_part(task, ORR__PART_SUBJECT) : orr_slice_of(NULL, 0));
  } else {
    return false;
  }
  return true;
}

// __index; upvalue: fields of ctx.lua, name -> function(ctx)
static int ctx_index(lua_State *L) {
  struct orr_work *work = check_ctx(L, 1);
  if (lua_type(L, 2) != LUA_TSTRING) return 0;
  if (!push_field(L, work, lua_tostring(L, 2))) {
    lua_pushvalue(L, 2);
    if (lua_rawget(L, lua_upvalueindex(1)) == LUA_TNIL) {
      lua_pop(L, 1);
      lua_getfield(L, lua_upvalueindex(1), "__missing");
    }
    lua_pushvalue(L, 1);
    lua_pushvalue(L, 2);
    lua_call(L, 2, 1);
  }
  lua_pushvalue(L, 2);
  lua_pushvalue(L, -2);
  lua_rawset(L, 1);
  return 1;
}

// --- module "orrery.c.task" -------------------------------------------------------------------------------------------------

static int set_fields(lua_State *L) { // fields(table): ctx.lua hands in its builders
  luaL_checktype(L, 1, LUA_TTABLE);
  lua_rawgetp(L, LUA_REGISTRYINDEX, &metatable_key);
  lua_pushvalue(L, 1);
  lua_pushcclosure(L, ctx_index, 1);
  lua_setfield(L, -2, "__index");
  return 0;
}

static int set_when_true(lua_State *L) {
  check_task_work(L)->task->when_true = true;
  return 0;
}

static int when_decided(lua_State *L) {
  lua_pushboolean(L, check_task_work(L)->task->when_decided);
  return 1;
}

static int push_value(lua_State *L, uint8_t status, struct orr_slice value) { // value or nil, status text
  if (status == ORR_STEP_STATUS_SUCCEEDED) orr_json_push(L, value);
  else lua_pushnil(L);
  lua_pushstring(L, orr_step_status_text((enum orr_step_status)status));
  return 2;
}

static int result_fetched(lua_State *L, int status, lua_KContext context) {
  (void)status;
  struct orr_ask *ask = (struct orr_ask *)context;
  struct orr_reply *reply = ask->reply;
  if (reply->status != ORR_OK) {
    lua_pushstring(L, reply->message);
    orr__ask_close(ask);
    return luaL_error(L, "ctx.results: %s", lua_tostring(L, -1));
  }
  int count = push_value(L, reply->step_status, orr_blob_slice(reply->value));
  orr__ask_close(ask);
  return count;
}

// result(name) -> value or nil, status; nothing if there is no such step, false if it is no ancestor
static int result(lua_State *L) {
  struct orr_work *work = check_task_work(L);
  struct orr_task *task = work->task;
  size_t len;
  const char *name = luaL_checklstring(L, 1, &len);
  uint32_t step = orr_def_step(task->def, orr_slice_of(name, len));
  if (step == UINT32_MAX) return 0;
  uint8_t status;
  struct orr_slice value;
  if (find_result(task, step, &status, &value)) return push_value(L, status, value);
  bool known = task->op == ORR_OP_OUTPUT || task->whole_results ||
               (task->step < task->def->steps_len && orr_def_is_ancestor(task->def, step, task->step));
  if (!known) {
    lua_pushboolean(L, 0);
    return 1;
  }
  if (work->lua->worker->options.host == NULL) return push_value(L, ORR_STEP_STATUS_PENDING, orr_slice_of(NULL, 0));
  struct orr_event *event = orr_event_new(ORR_EVENT_FETCH);
  event->fetch.run_handle = task->run_handle;
  event->fetch.run_id = task->run_id;
  event->fetch.step = step;
  return orr__ask(L, event, result_fetched);
}

static int ancestors(lua_State *L) { // names, in the order of declaration
  struct orr_task *task = check_task_work(L)->task;
  lua_newtable(L);
  lua_Integer count = 0;
  for (uint32_t i = 0; i < task->def->steps_len; i++) {
    bool all = task->op == ORR_OP_OUTPUT || task->whole_results || task->step >= task->def->steps_len;
    if (!all && !orr_def_is_ancestor(task->def, i, task->step)) continue;
    lua_pushstring(L, task->def->steps[i].name);
    lua_rawseti(L, -2, ++count);
  }
  return 1;
}

static int run_info(lua_State *L) { // id, pipeline, version
  struct orr_task *task = check_task_work(L)->task;
  char id[ORR_ID_TEXT + 1], version[65];
  orr_id_text(&task->run_id, id);
  orr_digest_text(&task->def->version, version);
  lua_pushstring(L, id);
  lua_pushstring(L, task->def->name);
  lua_pushstring(L, version);
  return 3;
}

static int state(lua_State *L) { // the run's state as a new table
  orr_json_push(L, orr__task_part(check_task_work(L)->task, ORR__PART_STATE));
  if (!lua_istable(L, -1)) lua_newtable(L);
  return 1;
}

static int set_writes(lua_State *L) { // writes(ctx, table)
  check_ctx(L, 1);
  luaL_checktype(L, 2, LUA_TTABLE);
  lua_settop(L, 2);
  lua_rawsetp(L, 1, &writes_key);
  return 0;
}

static int subject(lua_State *L) {
  orr_json_push(L, orr__task_part(check_task_work(L)->task, ORR__PART_SUBJECT));
  return 1;
}

// cache(key JSON, ttl ms) -> true if the task's output was taken from the cache; else it will be stored there
static int cache(lua_State *L) {
  struct orr_work *work = check_task_work(L);
  struct orr_task *task = work->task;
  size_t len;
  const char *key = luaL_checklstring(L, 1, &len);
  lua_Integer ttl_ms = luaL_checkinteger(L, 2);
  struct orr_buf text = ORR_BUF_INIT;
  orr_buf_append(&text, task->def->version.bytes, sizeof(task->def->version.bytes));
  orr_buf_text(&text, task->def->steps[task->step].name);
  orr_buf_u8(&text, 0);
  orr_buf_append(&text, key, len);
  struct orr_digest digest;
  orr_sha256(orr_buf_slice(&text), &digest);
  orr_buf_free(&text);
  struct orr_slice digest_bytes = orr_slice_of(digest.bytes, sizeof(digest.bytes));
  struct orr_store_reader *reader = orr__worker_reader(work->lua->worker);
  struct orr_blob *output = NULL;
  if (reader != NULL &&
      orr_store_cache(reader, digest_bytes, orr_clock_now().wall_ms, &output) == ORR_OK) {
    orr_buf_clear(&task->out);
    orr_buf_slice_append(&task->out, orr_blob_slice(output));
    orr_blob_unref(output);
    task->cached = true;
    lua_pushboolean(L, 1);
    return 1;
  }
  orr_buf_clear(&task->cache_key);
  orr_buf_slice_append(&task->cache_key, digest_bytes);
  task->cache_ttl_ms = (uint64_t)ttl_ms;
  lua_pushboolean(L, 0);
  return 1;
}

static int cancelled(lua_State *L) {
  struct orr_work *work = orr__work_of(L);
  lua_pushboolean(L, work != NULL && work->end != ORR_WORK_GOES_ON);
  return 1;
}

// script(path): runs a script of the generation, for runtime.bind. Main thread, while no strand runs.
static int run_script(lua_State *L) {
  struct orr_lua *lua = orr_lua_of(L);
  const char *path = luaL_checkstring(L, 1);
  if (L != lua->L) return luaL_error(L, "scripts load on the main thread");
  if (orr_lua_load_script(lua, path) != LUA_OK) return lua_error(L);
  lua_call(L, 0, 0);
  return 0;
}

static int settings(lua_State *L) { // { config, env } as the generation was built
  struct orr_lua *lua = orr_lua_of(L);
  if (lua->generation == NULL) return 0;
  orr_json_push(L, orr_blob_slice(lua->generation->config));
  return 1;
}

static int root(lua_State *L) {
  struct orr_lua *lua = orr_lua_of(L);
  lua_pushstring(L, lua->generation != NULL ? lua->generation->root : ".");
  return 1;
}

static int suggest(lua_State *L) { // suggest(word, list) -> nearest or nil
  const char *word = luaL_checkstring(L, 1);
  luaL_checktype(L, 2, LUA_TTABLE);
  size_t len = lua_rawlen(L, 2);
  const char **names = lua_newuserdatauv(L, (len + 1) * sizeof(*names), 0);
  size_t count = 0;
  for (size_t i = 1; i <= len; i++) {
    if (lua_rawgeti(L, 2, (lua_Integer)i) == LUA_TSTRING) names[count++] = lua_tostring(L, -1); // stays in the list
    lua_pop(L, 1);
  }
  const char *near = orr_suggest(word, names, count);
  lua_pushstring(L, near); // nil for NULL
  return 1;
}

int orr_luaopen_c_task(lua_State *L) {
  static const luaL_Reg functions[] = {
      {"fields", set_fields}, {"when_true", set_when_true}, {"when_decided", when_decided}, {"result", result},
      {"ancestors", ancestors}, {"run_info", run_info}, {"state", state}, {"writes", set_writes}, {"subject", subject},
      {"cache", cache}, {"cancelled", cancelled}, {"script", run_script}, {"settings", settings}, {"root", root},
      {"suggest", suggest}, {NULL, NULL}};
  luaL_newlib(L, functions);
  return 1;
}

void orr__ctx_install(struct orr_lua *lua) {
  lua_newtable(lua->L);
  lua_pushliteral(lua->L, "ctx");
  lua_setfield(lua->L, -2, "orrery_name");
  lua_rawsetp(lua->L, LUA_REGISTRYINDEX, &metatable_key);
  orr_lua_preload(lua, "orrery.c.task", orr_luaopen_c_task);
}
