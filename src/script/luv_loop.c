// SPDX-License-Identifier: MIT
// The embedded loop and the wrapping of luv. Traps of libuv 1.44, and how they are met: a loop without active handles
// reports timeout 0 (one referenced uv_async stays in it), and new descriptors are only registered inside uv_run (the
// worker turns every loop before it parks, and takes the loop's next timer into its own timeout).
#include "script/luv_loop.h"

#include "base/check.h"
#include "base/limits.h"
#include "script/worker_parts.h"

#include <luv/luv.h>
#include <string.h>

struct orr_luv_loop {
  uv_loop_t loop;
  uv_async_t keep;
  uv_poll_t poll; // on the worker's loop
  bool attached, detached;
  uint32_t handles;
  int close_ref, is_closing_ref; // luv's own functions
};

enum wrap_kind { WRAP_PLAIN, WRAP_NEW, WRAP_CLOSE, WRAP_SYNC };

// --- the loop ---------------------------------------------------------------------------------------------------

static void on_poll(uv_poll_t *poll, int status, int events) {
  (void)status;
  (void)events;
  orr_luv_turn(poll->data);
}
static void on_poll_closed(uv_handle_t *handle) { ((struct orr_luv_loop *)handle->data)->detached = true; }

static struct orr_luv_loop *loop_new(uv_loop_t *outer) {
  struct orr_luv_loop *luv = orr_alloc(sizeof(*luv));
  int failed = uv_loop_init(&luv->loop);
  orr_assert(failed == 0);
  failed = uv_async_init(&luv->loop, &luv->keep, NULL);
  orr_assert(failed == 0);
  luv->close_ref = luv->is_closing_ref = LUA_NOREF;
  if (outer == NULL) {
    luv->detached = true;
    return luv;
  }
  luv->poll.data = luv;
  failed = uv_poll_init(outer, &luv->poll, uv_backend_fd(&luv->loop));
  orr_assert(failed == 0);
  uv_poll_start(&luv->poll, UV_READABLE, on_poll);
  uv_unref((uv_handle_t *)&luv->poll);
  luv->attached = true;
  return luv;
}

void orr_luv_turn(struct orr_luv_loop *luv) { uv_run(&luv->loop, UV_RUN_NOWAIT); }

bool orr_luv_alive(struct orr_luv_loop *luv) {
  uv_unref((uv_handle_t *)&luv->keep);
  bool alive = uv_loop_alive(&luv->loop) != 0;
  uv_ref((uv_handle_t *)&luv->keep);
  return alive;
}

int orr_luv_timeout_ms(struct orr_luv_loop *luv) { return uv_backend_timeout(&luv->loop); }

void orr_luv_detach(struct orr_luv_loop *luv) {
  if (!luv->attached) return;
  luv->attached = false;
  uv_close((uv_handle_t *)&luv->poll, on_poll_closed);
}
bool orr_luv_detached(const struct orr_luv_loop *luv) { return luv->detached; }

void orr_luv_free(struct orr_luv_loop *luv) {
  if (luv == NULL) return;
  orr_assert(luv->detached);
  uv_close((uv_handle_t *)&luv->keep, NULL);
  uv_run(&luv->loop, UV_RUN_NOWAIT);
  int failed = uv_loop_close(&luv->loop);
  orr_assert(failed == 0);
  free(luv);
}

// --- callbacks ----------------------------------------------------------------------------------------------------

static int call_protected(lua_State *L, int nargs, int nresults, int flags) {
  (void)flags;
  int top = lua_gettop(L) - nargs - 1;
  if (lua_pcall(L, nargs, nresults, 0) != LUA_OK) {
    orr_log(ORR_LOG_WARN, "script", "in a luv callback: %s", luaL_tolstring(L, -1, NULL));
    lua_settop(L, top);
    return -LUA_ERRRUN;
  }
  return lua_gettop(L) - top;
}

// Upvalues: the function, the serial of the work that gave it. Runs on the main thread inside the loop's turn.
static int on_callback(lua_State *L) {
  struct orr_lua *lua = orr_lua_of(L);
  struct orr_work *work = orr__work_find(lua->worker, (uint64_t)lua_tointeger(L, lua_upvalueindex(2)));
  if (work == NULL || work->end != ORR_WORK_GOES_ON) return 0; // its attempt has ended
  int nargs = lua_gettop(L);
  lua_pushvalue(L, lua_upvalueindex(1));
  lua_insert(L, 1);
  orr__strand_start(work, L, nargs);
  return 0;
}

static bool callable(lua_State *L, int index) {
  if (lua_isfunction(L, index)) return true;
  if (lua_type(L, index) != LUA_TTABLE || luaL_getmetafield(L, index, "__call") == LUA_TNIL) return false;
  lua_pop(L, 1);
  return true;
}

static void own_callbacks(lua_State *L, const struct orr_work *work, int nargs) {
  for (int i = 1; i <= nargs; i++) {
    if (!callable(L, i)) continue;
    lua_pushvalue(L, i);
    lua_pushinteger(L, (lua_Integer)work->serial);
    lua_pushcclosure(L, on_callback, 2);
    lua_replace(L, i);
  }
}

// --- calls that would block: made asynchronous, and the strand waits -------------------------------------------

struct luv_wait {
  struct orr_wait wait;
  struct orr_lua *lua;
  int results_ref; // table { n = count, ... } of the callback's arguments
};

static void cancel_sync(struct orr_wait *wait) {
  bool done = wait->done;
  struct luv_wait *self = (struct luv_wait *)wait;
  orr__wait_close(wait);
  if (!done) return; // freed by its callback
  luaL_unref(self->lua->L, LUA_REGISTRYINDEX, self->results_ref);
  free(self);
}

static int on_sync_done(lua_State *L) {
  struct luv_wait *self = lua_touserdata(L, lua_upvalueindex(1));
  if (self->wait.work == NULL) {
    free(self);
    return 0;
  }
  int count = lua_gettop(L);
  lua_createtable(L, count, 1);
  lua_insert(L, 1);
  for (int i = count; i >= 1; i--) lua_rawseti(L, 1, i);
  lua_pushinteger(L, count);
  lua_setfield(L, 1, "n");
  self->results_ref = luaL_ref(L, LUA_REGISTRYINDEX);
  orr__wait_done(&self->wait);
  return 0;
}

// As the blocking form returns: results, or nil, message, name.
static int sync_results(lua_State *L, int status, lua_KContext context) {
  (void)status;
  struct luv_wait *self = (struct luv_wait *)context;
  lua_rawgeti(L, LUA_REGISTRYINDEX, self->results_ref);
  luaL_unref(L, LUA_REGISTRYINDEX, self->results_ref);
  orr__wait_close(&self->wait);
  free(self);
  int table = lua_gettop(L);
  lua_getfield(L, table, "n");
  int count = (int)lua_tointeger(L, -1);
  lua_pop(L, 1);
  if (lua_rawgeti(L, table, 1) == LUA_TSTRING) {
    const char *text = lua_tostring(L, -1);
    lua_pushnil(L);
    lua_insert(L, -2);
    lua_pushlstring(L, text, strcspn(text, ":"));
    return 3;
  }
  lua_pop(L, 1);
  luaL_checkstack(L, count, "results");
  for (int i = 2; i <= count; i++) lua_rawgeti(L, table, i);
  return count > 1 ? count - 1 : 0;
}

static int call_sync(lua_State *L, int position, int nargs) {
  struct luv_wait *self = orr__wait_new(L, sizeof(*self), false, cancel_sync);
  self->lua = orr_lua_of(L);
  self->results_ref = LUA_NOREF;
  lua_settop(L, nargs < position - 1 ? position - 1 : nargs);
  lua_pushvalue(L, lua_upvalueindex(1));
  lua_insert(L, 1);
  lua_pushlightuserdata(L, self);
  lua_pushcclosure(L, on_sync_done, 1);
  nargs = lua_gettop(L) - 1;
  int status = lua_pcall(L, nargs, LUA_MULTRET, 0);
  bool started = status == LUA_OK && lua_type(L, 1) == LUA_TUSERDATA;
  if (!started) { // refused: as the blocking form, nil, message, name; or a bad argument
    orr__wait_close(&self->wait);
    free(self);
    if (status != LUA_OK) return lua_error(L);
    return lua_gettop(L);
  }
  return orr__wait_yield(L, &self->wait, sync_results);
}

static void timer_woke(uv_timer_t *timer) { orr__wait_done(timer->data); }
struct sleep_wait {
  struct orr_wait wait;
  uv_timer_t timer;
};
static void free_timer(uv_handle_t *handle) { free(ORR_CONTAINER_OF((uv_timer_t *)handle, struct sleep_wait, timer)); }
static void cancel_sleep(struct orr_wait *wait) {
  struct sleep_wait *self = (struct sleep_wait *)wait;
  orr__wait_close(wait);
  uv_close((uv_handle_t *)&self->timer, free_timer);
}
static int slept(lua_State *L, int status, lua_KContext context) {
  (void)L;
  (void)status;
  cancel_sleep((struct orr_wait *)context);
  return 0;
}
static int sleep_ms(lua_State *L) { // uv.sleep: suspends the step, not the worker
  lua_Integer ms = luaL_checkinteger(L, 1);
  struct sleep_wait *self = orr__wait_new(L, sizeof(*self), true, cancel_sleep);
  uv_timer_init(&orr_lua_of(L)->worker->loop, &self->timer);
  self->timer.data = &self->wait;
  uv_update_time(&orr_lua_of(L)->worker->loop);
  uv_timer_start(&self->timer, timer_woke, ms > 0 ? (uint64_t)ms : 0, 0);
  return orr__wait_yield(L, &self->wait, slept);
}

// --- wrapping -----------------------------------------------------------------------------------------------------

static void own_handle(lua_State *L, struct orr_work *work, int index) {
  if (work->handles_ref == LUA_NOREF) {
    lua_newtable(L);
    work->handles_ref = luaL_ref(L, LUA_REGISTRYINDEX);
  }
  lua_rawgeti(L, LUA_REGISTRYINDEX, work->handles_ref);
  lua_pushvalue(L, index);
  lua_pushboolean(L, 1);
  lua_rawset(L, -3);
  lua_pop(L, 1);
}

// Upvalues: luv's function, kind, for WRAP_SYNC the position of the callback, the name.
static int call_wrapped(lua_State *L) {
  struct orr_lua *lua = orr_lua_of(L);
  struct orr_work *work = orr__work_of(L);
  if (work == NULL)
    return luaL_error(L, "E0112: luv's %s does I/O: call it inside a step, not while the script loads",
                      lua_tostring(L, lua_upvalueindex(4)));
  enum wrap_kind kind = (enum wrap_kind)lua_tointeger(L, lua_upvalueindex(2));
  int nargs = lua_gettop(L);
  if (kind == WRAP_NEW && lua->luv->handles >= ORR_LUA_HANDLES_MAX)
    return luaL_error(L, "too many open luv handles (%d)", (int)ORR_LUA_HANDLES_MAX);
  if (kind == WRAP_SYNC) {
    int position = (int)lua_tointeger(L, lua_upvalueindex(3));
    bool asynchronous = false;
    for (int i = 1; i <= nargs; i++) asynchronous = asynchronous || callable(L, i);
    if (!asynchronous && orr__may_wait(L)) return call_sync(L, position, nargs);
  }
  own_callbacks(L, work, nargs);
  lua_pushvalue(L, lua_upvalueindex(1));
  lua_insert(L, 1);
  lua_call(L, nargs, LUA_MULTRET);
  if (kind == WRAP_CLOSE && lua->luv->handles > 0) lua->luv->handles--;
  if (kind == WRAP_NEW) {
    for (int i = 1; i <= lua_gettop(L); i++) {
      if (lua_type(L, i) != LUA_TUSERDATA) continue;
      own_handle(L, work, i);
      lua->luv->handles++;
    }
  }
  return lua_gettop(L);
}

struct sync_form {
  const char *name;
  int position; // of the callback
};
static const struct sync_form sync_forms[] = {
    {"fs_close", 2},   {"fs_open", 4},      {"fs_read", 4},     {"fs_unlink", 2},   {"fs_write", 4},
    {"fs_mkdir", 3},   {"fs_mkdtemp", 2},   {"fs_mkstemp", 2},  {"fs_rmdir", 2},    {"fs_scandir", 2},
    {"fs_stat", 2},    {"fs_fstat", 2},     {"fs_lstat", 2},    {"fs_rename", 3},   {"fs_fsync", 2},
    {"fs_fdatasync", 2}, {"fs_ftruncate", 3}, {"fs_sendfile", 5}, {"fs_access", 3}, {"fs_chmod", 3},
    {"fs_fchmod", 3},  {"fs_utime", 4},     {"fs_futime", 4},   {"fs_lutime", 4},   {"fs_link", 3},
    {"fs_symlink", 4}, {"fs_readlink", 2},  {"fs_realpath", 2}, {"fs_chown", 4},    {"fs_fchown", 4},
    {"fs_lchown", 4},  {"fs_copyfile", 4},  {"fs_readdir", 2},  {"fs_closedir", 2}, {"fs_statfs", 2},
    {"getaddrinfo", 4}, {"getnameinfo", 2}, {"readdir", 2},     {"closedir", 2},
};

static void wrap_table(lua_State *L, int table, bool methods) {
  table = lua_absindex(L, table);
  lua_newtable(L); // changed entries: no new keys appear, but keep the walk simple
  int changed = lua_gettop(L);
  for (lua_pushnil(L); lua_next(L, table) != 0; lua_pop(L, 1)) {
    if (!lua_iscfunction(L, -1) || lua_type(L, -2) != LUA_TSTRING) continue;
    const char *name = lua_tostring(L, -2);
    enum wrap_kind kind = WRAP_PLAIN;
    int position = 0;
    if (!methods && strncmp(name, "new_", 4) == 0) kind = WRAP_NEW;
    if (strcmp(name, "close") == 0) kind = WRAP_CLOSE;
    for (size_t i = 0; i < sizeof(sync_forms) / sizeof(*sync_forms); i++) {
      if (strcmp(name, sync_forms[i].name) != 0) continue;
      kind = WRAP_SYNC;
      position = sync_forms[i].position;
    }
    lua_pushvalue(L, -2);
    lua_pushvalue(L, -2);
    lua_pushinteger(L, kind);
    lua_pushinteger(L, position);
    lua_pushstring(L, name);
    lua_pushcclosure(L, call_wrapped, 4);
    lua_rawset(L, changed);
  }
  for (lua_pushnil(L); lua_next(L, changed) != 0;) {
    lua_pushvalue(L, -2);
    lua_insert(L, -2);
    lua_rawset(L, table);
  }
  lua_pop(L, 1);
}

static int removed(lua_State *L) {
  return luaL_error(L, "luv's %s is not available in scripts: %s", lua_tostring(L, lua_upvalueindex(1)),
                    lua_tostring(L, lua_upvalueindex(2)));
}

static void remove_functions(lua_State *L, int table) {
  static const char loop[] = "the engine runs the loop";
  static const char threads[] = "steps run on workers; use o.map for work in parallel";
  static const char process[] = "it would change the whole engine process";
  static const char *const names[][2] = {
      {"run", loop}, {"stop", loop}, {"walk", loop}, {"loop_close", loop}, {"loop_configure", loop},
      {"new_thread", threads}, {"new_work", threads}, {"queue_work", threads}, {"thread_join", threads},
      {"new_sem", threads}, {"spawn", "use o.process.run, which goes through the engine's helper"},
      {"chdir", process}, {"os_setenv", process}, {"os_unsetenv", process}, {"setuid", process}, {"setgid", process},
      {"set_process_title", process}, {"os_setpriority", process}, {"disable_stdio_inheritance", process}};
  for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
    lua_pushstring(L, names[i][0]);
    lua_pushstring(L, names[i][1]);
    lua_pushcclosure(L, removed, 2);
    lua_setfield(L, table, names[i][0]);
  }
  lua_pushcfunction(L, sleep_ms);
  lua_setfield(L, table, "sleep");
}

static void wrap_all(lua_State *L, int module) {
  wrap_table(L, module, false);
  remove_functions(L, module);
  lua_getfield(L, LUA_REGISTRYINDEX, "uv_handle"); // { [metatable of a handle type] = true }
  luaL_getmetatable(L, "uv_dir");
  if (lua_istable(L, -1) && lua_istable(L, -2)) {
    lua_pushboolean(L, 1);
    lua_rawset(L, -3); // treated alike; taken out again below
  } else {
    lua_pop(L, 1);
  }
  for (lua_pushnil(L); lua_next(L, -2) != 0; lua_pop(L, 1)) {
    lua_getfield(L, -2, "__index");
    if (lua_istable(L, -1)) wrap_table(L, -1, true);
    lua_pop(L, 1);
  }
  luaL_getmetatable(L, "uv_dir");
  if (lua_istable(L, -1)) {
    lua_pushnil(L);
    lua_rawset(L, -3);
  } else {
    lua_pop(L, 1);
  }
  lua_pop(L, 1);
}

// On the main thread, whoever requires it: luv keeps the Lua thread that opened it for its callbacks.
static int open_on_main(lua_State *L) {
  struct orr_lua *lua = orr_lua_of(L);
  lua->luv = loop_new(lua->worker != NULL ? &lua->worker->loop : NULL);
  luv_set_loop(L, &lua->luv->loop);
  luv_set_callback(L, call_protected);
  lua_pushcfunction(L, luaopen_luv);
  lua_call(L, 0, 1);
  int module = lua_gettop(L);
  lua_getfield(L, module, "close");
  lua->luv->close_ref = luaL_ref(L, LUA_REGISTRYINDEX);
  lua_getfield(L, module, "is_closing");
  lua->luv->is_closing_ref = luaL_ref(L, LUA_REGISTRYINDEX);
  wrap_all(L, module);
  lua_pushvalue(L, module);
  lua_setfield(L, LUA_REGISTRYINDEX, "orrery.luv");
  return 1;
}

int orr_luaopen_luv(lua_State *L) {
  struct orr_lua *lua = orr_lua_of(L);
  if (lua->luv == NULL) {
    lua_State *main = lua->L;
    lua_pushcfunction(main, open_on_main);
    int status = lua_pcall(main, 0, 0, 0);
    if (status != LUA_OK) {
      if (main != L) lua_xmove(main, L, 1);
      return lua_error(L);
    }
  }
  lua_getfield(L, LUA_REGISTRYINDEX, "orrery.luv");
  return 1;
}

void orr_luv_close_handles(struct orr_work *work) {
  if (work->handles_ref == LUA_NOREF) return;
  struct orr_luv_loop *luv = work->lua->luv;
  lua_State *L = work->lua->L;
  lua_rawgeti(L, LUA_REGISTRYINDEX, work->handles_ref);
  for (lua_pushnil(L); lua_next(L, -2) != 0; lua_pop(L, 1)) {
    lua_rawgeti(L, LUA_REGISTRYINDEX, luv->is_closing_ref);
    lua_pushvalue(L, -3);
    bool open = lua_pcall(L, 1, 1, 0) == LUA_OK && !lua_toboolean(L, -1);
    lua_pop(L, 1);
    if (!open) continue;
    lua_rawgeti(L, LUA_REGISTRYINDEX, luv->close_ref);
    lua_pushvalue(L, -3);
    if (lua_pcall(L, 1, 0, 0) != LUA_OK) lua_pop(L, 1);
    else if (luv->handles > 0) luv->handles--;
  }
  lua_pop(L, 1);
  luaL_unref(L, LUA_REGISTRYINDEX, work->handles_ref);
  work->handles_ref = LUA_NOREF;
}
