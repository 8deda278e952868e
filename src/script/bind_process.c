// SPDX-License-Identifier: MIT
// Module "orrery.c.process": a child process as straight code. The child belongs to the attempt: when that ends, its group
// is told to end (TERM, KILL after the grace time), and the attempt's result waits until it is gone.
#include "base/json.h"
#include "base/limits.h"
#include "io/process.h"
#include "script/worker_parts.h"

#include <stdlib.h>
#include <string.h>

struct process_wait {
  struct orr_wait wait;
  struct orr_process *process;
  struct orr_process_result result;
  struct orr_worker *worker;
  bool log_stdout;
};

static void process_free(struct process_wait *self) {
  if (self->wait.work != NULL) orr__wait_close(&self->wait);
  orr_buf_free(&self->result.out);
  orr_buf_free(&self->result.err);
  free(self);
}

static void process_cancel(struct orr_wait *wait) { // first: end it; then, once it has ended: let go
  struct process_wait *self = (struct process_wait *)wait;
  if (wait->done) process_free(self);
  else orr_process_kill(self->process, ORR_CHILD_KILL_GRACE_MS);
}

static void on_done(void *context, struct orr_process_result *result) {
  struct process_wait *self = context;
  self->result = *result;
  memset(&result->out, 0, sizeof(result->out)); // taken over
  memset(&result->err, 0, sizeof(result->err));
  self->process = NULL;
  orr__wait_done(&self->wait);
}

static void on_line(void *context, bool is_stderr, struct orr_slice text) {
  struct process_wait *self = context;
  struct orr_work *work = self->wait.work;
  if (work == NULL || work->task == NULL) return;
  orr__log_task(self->worker, work->task, is_stderr ? ORR_LOG_INFO : ORR_LOG_DEBUG, is_stderr ? "stderr" : "stdout", text,
                orr_slice_of(NULL, 0));
}

// { code, signal, stdout, stderr, truncated, repaired } or nil, { code, message }
static int results(lua_State *L, int status, lua_KContext context) {
  (void)status;
  struct process_wait *self = (struct process_wait *)context;
  struct orr_process_result *result = &self->result;
  if (result->status != ORR_OK) {
    lua_pushnil(L);
    lua_createtable(L, 0, 2);
    lua_pushstring(L, "spawn");
    lua_setfield(L, -2, "code");
    lua_pushfstring(L, "could not be started: %s",
                    result->error_number != 0 ? strerror(result->error_number) : orr_status_text(result->status));
    lua_setfield(L, -2, "message");
    process_free(self);
    return 2;
  }
  lua_createtable(L, 0, 6);
  lua_pushinteger(L, result->exit_code);
  lua_setfield(L, -2, "code");
  if (result->signal != 0) {
    lua_pushinteger(L, result->signal);
    lua_setfield(L, -2, "signal");
  }
  lua_pushlstring(L, result->out.len > 0 ? (const char *)result->out.data : "", result->out.len);
  lua_setfield(L, -2, "stdout");
  lua_pushlstring(L, result->err.len > 0 ? (const char *)result->err.data : "", result->err.len);
  lua_setfield(L, -2, "stderr");
  lua_pushboolean(L, result->truncated);
  lua_setfield(L, -2, "truncated");
  process_free(self);
  return 1;
}

// Strings of the list at `index`, in a userdata that keeps the array; they stay valid while the list does.
static const char *const *string_list(lua_State *L, int index) {
  size_t len = lua_rawlen(L, index);
  const char **list = lua_newuserdatauv(L, (len + 1) * sizeof(*list), 0);
  for (size_t i = 0; i < len; i++) {
    lua_rawgeti(L, index, (lua_Integer)i + 1);
    size_t text_len;
    const char *text = lua_type(L, -1) == LUA_TSTRING ? lua_tolstring(L, -1, &text_len) : NULL;
    if (text == NULL || strlen(text) != text_len) luaL_error(L, "item %d must be a string without NUL", (int)i + 1);
    list[i] = text;
    lua_pop(L, 1);
  }
  list[len] = NULL;
  return list;
}

// run(argv, env list or nil, cwd or nil, stdin or nil, log stdout, bytes max)
static int run(lua_State *L) {
  struct orr_lua *lua = orr_lua_of(L);
  size_t input_len = 0;
  luaL_checktype(L, 1, LUA_TTABLE);
  luaL_argcheck(L, lua_rawlen(L, 1) > 0, 1, "a program's name expected");
  const char *cwd = luaL_optstring(L, 3, NULL), *input = luaL_optlstring(L, 4, NULL, &input_len);
  bool log_stdout = lua_toboolean(L, 5) != 0;
  lua_Integer bytes_max = luaL_optinteger(L, 6, (lua_Integer)ORR_CHILD_OUTPUT_BYTES_MAX);
  const char *const *argv = string_list(L, 1);
  const char *const *env = lua_istable(L, 2) ? string_list(L, 2) : NULL;
  struct orr_worker *worker = lua->worker;
  orr__wait_check(L);
  if (worker->options.spawner == NULL) return luaL_error(L, "processes are not available here");
  if (worker->processes == NULL) {
    uint32_t max = worker->options.children_max != 0 ? worker->options.children_max : ORR_CHILDREN_PER_CORE;
    worker->processes = orr_process_channel_open(worker->options.spawner, worker->options.spawn_channel, &worker->loop, max);
  }
  struct process_wait *self = orr__wait_new(L, sizeof(*self), true, process_cancel);
  self->wait.holds = true;
  self->worker = worker;
  struct orr_process_options options = {.argv = argv, .env = env, .cwd = cwd, .input = orr_slice_of(input, input_len),
                                        .output_bytes_max = (size_t)bytes_max, .line = on_line,
                                        .lines_of_stdout = log_stdout, .keep_output = true};
  self->process = orr_process_start(worker->processes, &options, on_done, self);
  return orr__wait_yield(L, &self->wait, results);
}

static int repair(lua_State *L) { // repair(bytes) -> UTF-8 text, whether anything was replaced
  size_t len;
  const char *text = luaL_checklstring(L, 1, &len);
  if (orr_utf8_valid(orr_slice_of(text, len))) {
    lua_settop(L, 1);
    lua_pushboolean(L, 0);
    return 2;
  }
  struct orr_buf out = ORR_BUF_INIT;
  orr_utf8_repair(&out, orr_slice_of(text, len));
  lua_pushlstring(L, (const char *)out.data, out.len);
  orr_buf_free(&out);
  lua_pushboolean(L, 1);
  return 2;
}

int orr_luaopen_c_process(lua_State *L) {
  static const luaL_Reg functions[] = {{"run", run}, {"repair", repair}, {NULL, NULL}};
  luaL_newlib(L, functions);
  return 1;
}
