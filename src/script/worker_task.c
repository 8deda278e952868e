// SPDX-License-Identifier: MIT
// From an engine's task to a strand and back: what is called, and what its results mean. The hot path: a Lua step
// without `when` and `cache` is called directly, with a ctx that is one small table.
#include "base/check.h"
#include "base/json.h"
#include "base/limits.h"
#include "io/schema.h"
#include "script/ctx.h"
#include "script/json_lua.h"
#include "script/worker_parts.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// --- works --------------------------------------------------------------------------------------------------------------

struct orr_work *orr__work_new(struct orr_worker *worker, struct orr_lua *lua) {
  struct orr_work *work = worker->free_works;
  if (work != NULL) {
    worker->free_works = work->next_free;
    memset(work, 0, sizeof(*work));
  } else {
    work = orr_alloc(sizeof(*work));
  }
  work->serial = ++worker->next_serial;
  work->lua = lua;
  work->handles_ref = LUA_NOREF;
  orr_list_init(&work->strands);
  orr_list_init(&work->waits);
  orr_list_push_back(&worker->works, &work->all);
  orr_list_init(&work->main.ready);
  orr_list_init(&work->main.of_work);
  work->main.work = work;
  work->main.thread = orr_lua_thread_take(lua);
  lua->works++;
  worker->works_len++;
  return work;
}

struct orr_work *orr__work_find(struct orr_worker *worker, uint64_t serial) { // newest first: callbacks come soon
  for (struct orr_list *at = worker->works.prev; at != &worker->works; at = at->prev) {
    struct orr_work *work = ORR_CONTAINER_OF(at, struct orr_work, all);
    if (work->serial == serial) return work->ended ? NULL : work;
  }
  return NULL;
}

// --- beginning ----------------------------------------------------------------------------------------------------------

static void refuse(struct orr_worker *worker, struct orr_task *task, const char *error_json) {
  task->outcome = ORR_OUTCOME_ERROR;
  task->retryable = false;
  orr_buf_clear(&task->out);
  orr_buf_text(&task->out, error_json);
  task->finished_ms = orr_clock_now().wall_ms;
  orr__worker_result(worker, task);
}

static int push_direct(struct orr_work *work, lua_State *L) { // the function is on top
  struct orr_task *task = work->task;
  work->direct = true;
  lua_pushvalue(L, 1);
  if (task->item == 0) return 1;
  orr_json_push(L, orr__task_part(task, ORR__PART_ITEM));
  return 2;
}

static const char *op_name(const struct orr_task *task) {
  switch ((enum orr_task_op)task->op) {
  case ORR_OP_STEP: return "step";
  case ORR_OP_EXPAND: return "expand";
  case ORR_OP_OUTPUT: return "output";
  case ORR_OP_KEY: return "key";
  case ORR_OP_UNDO: return "undo";
  case ORR_OP_HOOK: break;
  }
  switch ((enum orr_hook)task->hook) {
  case ORR_HOOK_SUCCESS: return "on_success";
  case ORR_HOOK_FAILURE: return "on_failure";
  case ORR_HOOK_RETRY: return "on_retry";
  }
  orr_unreachable();
}

static int push_runtime(struct orr_work *work, lua_State *L) { // runtime.step(ctx, P, S, op)
  orr__ctx_push_step_function(L);
  lua_pushvalue(L, 1);
  lua_rawgeti(L, LUA_REGISTRYINDEX, work->binding->pipeline_ref);
  if (work->task->step < work->binding->def->steps_len) {
    lua_rawgeti(L, LUA_REGISTRYINDEX, work->binding->steps_ref);
    lua_rawgeti(L, -1, (lua_Integer)work->task->step + 1);
    lua_remove(L, -2);
  } else {
    lua_pushnil(L);
  }
  lua_pushstring(L, op_name(work->task));
  return 4;
}

void orr__task_begin(struct orr_worker *worker, struct orr_task *task) {
  task->started_ms = orr_clock_now().wall_ms;
  struct orr_binding *binding = orr__worker_bind(worker, task->def);
  if (binding->error != NULL) {
    refuse(worker, task, binding->error);
    return;
  }
  struct orr_work *work = orr__work_new(worker, binding->lua);
  work->task = task;
  work->binding = binding;
  task->worker_data = work;
  lua_State *L = work->main.thread.L;
  orr__ctx_push(L, work); // stays at index 1
  orr__strand_push_body(L);
  int nargs;
  if (task->op == ORR_OP_STEP && lua_rawgeti(L, LUA_REGISTRYINDEX, binding->runs_ref) == LUA_TTABLE &&
      lua_rawgeti(L, -1, (lua_Integer)task->step + 1) == LUA_TFUNCTION) {
    lua_remove(L, -2);
    nargs = push_direct(work, L);
  } else {
    lua_settop(L, 2);
    nargs = push_runtime(work, L);
  }
  orr__work_start(work, nargs + 1);
}

// --- results ------------------------------------------------------------------------------------------------------------

static void fail(struct orr_work *work, const char *code, const char *message, bool retryable) {
  struct orr_task *task = work->task;
  task->outcome = ORR_OUTCOME_ERROR;
  task->retryable = retryable;
  task->cached = false;
  orr_buf_clear(&task->out);
  orr_buf_clear(&task->cache_key);
  orr__lua_error_text(&task->out, code, message);
}

// The field of an error table that says how long to leave the other side alone (o.http: Retry-After).
static uint64_t retry_after_ms(lua_State *L) {
  if (!lua_istable(L, -1)) return 0;
  lua_pushliteral(L, "retry_after_ms");
  lua_rawget(L, -2);
  lua_Integer ms = lua_isinteger(L, -1) ? lua_tointeger(L, -1) : 0;
  lua_pop(L, 1);
  return ms > 0 ? (uint64_t)ms : 0;
}

// The error value is on top of L; retry.on may decide that it is final.
static void fail_with(struct orr_work *work, lua_State *L, struct orr_slice traceback) {
  struct orr_task *task = work->task;
  bool retryable = true;
  task->outcome = ORR_OUTCOME_ERROR;
  task->cached = false;
  orr_buf_clear(&task->out);
  orr_buf_clear(&task->cache_key);
  task->retry_after_ms = retry_after_ms(L);
  orr__lua_error_json(L, traceback, &task->out, &retryable);
  task->retryable = retryable;
  if (task->op != ORR_OP_STEP && task->op != ORR_OP_EXPAND) return;
  lua_State *main = work->lua->L;
  int top = lua_gettop(main);
  orr__ctx_push_retry_function(main);
  lua_rawgeti(main, LUA_REGISTRYINDEX, work->binding->steps_ref);
  lua_rawgeti(main, -1, (lua_Integer)task->step + 1);
  lua_remove(main, -2);
  orr_json_push(main, orr_buf_slice(&task->out));
  if (orr_lua_call(work->lua, 2, 1) == LUA_OK) {
    if (lua_isboolean(main, -1)) task->retryable = retryable && lua_toboolean(main, -1);
  } else {
    orr_log(ORR_LOG_WARN, "script", "retry.on of %s: %s", work->binding->def->name, luaL_tolstring(main, -1, NULL));
  }
  lua_settop(main, top);
}

static bool encode_output(struct orr_work *work, lua_State *L, int index, const char *root) {
  struct orr_json_problem problem;
  if (orr_json_encode(L, index, root, ORR_OUTPUT_BYTES_MAX, &work->task->out, &problem) == ORR_OK) return true;
  fail(work, problem.code, problem.message, false);
  return false;
}

static bool encode_state(struct orr_work *work, lua_State *L) {
  struct orr_task *task = work->task;
  if (!orr__ctx_push_writes(L, 1)) return true;
  struct orr_json_problem problem;
  orr_buf_clear(&task->state);
  enum orr_status status = orr_json_encode(L, -1, "state", ORR_STATE_BYTES_MAX, &task->state, &problem);
  lua_pop(L, 1);
  if (status == ORR_OK) return true;
  orr_buf_clear(&task->state);
  fail(work, problem.code, problem.message, false);
  return false;
}

static bool is_error_table(lua_State *L, int index) {
  if (!lua_istable(L, index)) return false;
  lua_pushliteral(L, "message");
  bool found = lua_rawget(L, index) == LUA_TSTRING;
  lua_pop(L, 1);
  return found;
}

// Lua's way to tell a failure: nil and why, an error table or a text.
static bool is_failure(lua_State *L, int first, int count) {
  if (count < 2 || !lua_isnil(L, first)) return false;
  return is_error_table(L, first + 1) || lua_type(L, first + 1) == LUA_TSTRING;
}

// value, or nil and why not.
static void succeed(struct orr_work *work, lua_State *L, int first, int count) {
  struct orr_task *task = work->task;
  if (is_failure(L, first, count)) {
    lua_pushvalue(L, first + 1);
    fail_with(work, L, orr_slice_of(NULL, 0));
    return;
  }
  if (count == 0) {
    orr_buf_append(&task->out, "null", 4);
  } else if (!encode_output(work, L, first, "output")) {
    return;
  }
  if (!encode_state(work, L)) return;
  task->outcome = ORR_OUTCOME_OK;
}

static void expand(struct orr_work *work, lua_State *L, int index) {
  struct orr_task *task = work->task;
  if (!lua_istable(L, index)) {
    char text[128];
    snprintf(text, sizeof(text), "over gave a %s, not a list", luaL_typename(L, index));
    fail(work, "not_a_list", text, false);
    return;
  }
  lua_pushliteral(L, "__value"); // a value of another step stands behind a proxy
  size_t len = lua_rawlen(L, index);
  lua_pop(L, 1);
  lua_pushnil(L);
  if (len == 0 && lua_next(L, index) != 0) {
    fail(work, "not_a_list", "over gave an object, not a list", false);
    return;
  }
  if (len > ORR_MAP_ITEMS_MAX) {
    fail(work, "too_large", "over gave more than 1000000 items", false);
    return;
  }
  struct orr_buf item = ORR_BUF_INIT;
  struct orr_json_problem problem;
  for (size_t i = 1; i <= len; i++) {
    char root[32];
    snprintf(root, sizeof(root), "over[%zu]", i);
    orr_buf_clear(&item);
    lua_rawgeti(L, index, (lua_Integer)i);
    enum orr_status status = orr_json_encode(L, -1, root, ORR_OUTPUT_BYTES_MAX, &item, &problem);
    lua_pop(L, 1);
    if (status == ORR_OK && task->out.len + item.len > ORR_OUTPUT_BYTES_MAX * 4) {
      problem = (struct orr_json_problem){.code = "too_large"};
      snprintf(problem.message, sizeof(problem.message), "the items of over are larger than 64 MiB in all");
      status = ORR_ERR_LIMIT;
    }
    if (status != ORR_OK) {
      fail(work, problem.code, problem.message, false);
      orr_buf_free(&item);
      return;
    }
    orr_buf_bytes(&task->out, orr_buf_slice(&item));
  }
  orr_buf_free(&item);
  task->items_len = (uint32_t)len;
  task->outcome = ORR_OUTCOME_EXPANDED;
}

static void child(struct orr_work *work, lua_State *L, int name_index, int input_index) {
  struct orr_task *task = work->task;
  struct orr_buf input = ORR_BUF_INIT, problems = ORR_BUF_INIT;
  struct orr_json_problem problem;
  size_t name_len;
  const char *name = luaL_tolstring(L, name_index, &name_len);
  struct orr_generation *generation = orr_code_current(work->lua->worker->options.code);
  struct orr_def *def =
      generation != NULL ? orr_generation_def(generation, orr_slice_of(name, name_len)) : NULL;
  if (def == NULL) {
    char text[160];
    snprintf(text, sizeof(text), "there is no pipeline \"%.64s\" any more", name);
    fail(work, "not_found", text, true);
    goto out;
  }
  if (orr_json_encode(L, input_index, "input", ORR_INPUT_BYTES_MAX, &input, &problem) != ORR_OK) {
    fail(work, problem.code, problem.message, false);
    goto out;
  }
  if (orr_schema_apply(def->input_schema, orr_buf_slice(&input), &task->out, &problems) != ORR_OK) {
    struct orr_buf text = ORR_BUF_INIT;
    orr_buf_printf(&text, "the input does not fit pipeline \"%s\": ", name);
    orr_buf_slice_append(&text, orr_buf_slice(&problems));
    fail(work, "invalid_input", orr_buf_cstr(&text), false);
    orr_buf_free(&text);
    goto out;
  }
  if (!encode_state(work, L)) goto out;
  task->child_def = orr_def_ref(def);
  task->outcome = ORR_OUTCOME_CHILD;
out:
  if (generation != NULL) orr_generation_unref(generation);
  orr_buf_free(&input);
  orr_buf_free(&problems);
}

// What runtime.step returned: the kind of outcome, then its values.
static void runtime_result(struct orr_work *work, lua_State *L, int first, int count) {
  struct orr_task *task = work->task;
  const char *kind = count > 0 && lua_type(L, first) == LUA_TSTRING ? lua_tostring(L, first) : "";
  if (strcmp(kind, "ok") == 0) succeed(work, L, first + 1, count - 1);
  else if (strcmp(kind, "skipped") == 0) task->outcome = ORR_OUTCOME_SKIPPED;
  else if (strcmp(kind, "cached") == 0) task->outcome = ORR_OUTCOME_OK; // out is there
  else if (strcmp(kind, "expanded") == 0 && count > 1) expand(work, L, first + 1);
  else if (strcmp(kind, "child") == 0 && count > 2) child(work, L, first + 1, first + 2);
  else if (strcmp(kind, "sleep") == 0 && count > 1) {
    task->until_ms = (int64_t)lua_tonumber(L, first + 1);
    task->outcome = ORR_OUTCOME_SLEEP;
  } else {
    fail(work, "internal", "the runtime gave no outcome", false);
  }
}

void orr__task_result(struct orr_work *work, lua_State *L, int nresults) {
  int first = lua_gettop(L) - nresults + 1;
  if (!work->task->cached) orr_buf_clear(&work->task->out);
  if (work->direct) succeed(work, L, first, nresults);
  else runtime_result(work, L, first, nresults);
}

void orr__task_error(struct orr_work *work, lua_State *L, int status) {
  if (status == LUA_ERRMEM) {
    fail(work, "memory", "the Lua state's memory limit was reached", true);
    return;
  }
  fail_with(work, L, orr_buf_slice(&work->lua->traceback));
}

void orr__task_outcome(struct orr_work *work, enum orr_work_end end) {
  struct orr_task *task = work->task;
  char text[96];
  switch (end) {
  case ORR_WORK_GOES_ON: orr_unreachable();
  case ORR_WORK_CANCEL:
    task->outcome = ORR_OUTCOME_CANCELLED;
    orr_buf_clear(&task->out);
    break;
  case ORR_WORK_TIMEOUT:
    snprintf(text, sizeof(text), "timed out after %llu ms", (unsigned long long)task->timeout_ms);
    fail(work, "timeout", task->timeout_ms != 0 ? text : "timed out", true);
    task->outcome = ORR_OUTCOME_TIMEOUT;
    break;
  case ORR_WORK_MEMORY:
    fail(work, "memory", "it took the most of the memory that its worker's Lua state may have", true);
    break;
  case ORR_WORK_ERROR: task->outcome = ORR_OUTCOME_ERROR; break;
  }
  orr_buf_clear(&task->cache_key);
  orr_buf_clear(&task->state);
}

void orr__task_finish(struct orr_work *work) {
  struct orr_task *task = work->task;
  orr_assert(task->outcome != ORR_OUTCOME_NONE);
  task->worker_data = NULL;
  task->finished_ms = orr_clock_now().wall_ms;
  work->task = NULL;
  orr__worker_result(work->lua->worker, task);
}
