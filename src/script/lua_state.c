// SPDX-License-Identifier: MIT
// Making, filling and closing a Lua state; calls on its main thread; the pool of coroutines. The allocator counts
// always and refuses only inside our own protected calls: libraries push values outside of any.
#include "script/lua_state.h"

#include "base/check.h"
#include "base/clock.h"
#include "base/limits.h"
#include "base/log.h"
#include "script/coroutine.h"
#include "script/luv_loop.h"
#include "script/sandbox.h"

#include <stdlib.h>
#include <string.h>

// --- memory -----------------------------------------------------------------------------------------------------

static void *allocate(void *context, void *block, size_t old_bytes, size_t new_bytes) {
  struct orr_lua *lua = context;
  if (block == NULL) old_bytes = 0;
  if (new_bytes == 0) {
    free(block);
    lua->bytes -= old_bytes;
    return NULL;
  }
  if (new_bytes > old_bytes && lua->enforce && lua->bytes + (new_bytes - old_bytes) > lua->bytes_max) {
    lua->over = true;
    // A pcall may swallow the error, and near the cap every allocation costs a full collection: look soon.
    if (lua->slicer != NULL && lua->slicer->running != NULL) orr_slicer_strike(lua->slicer, lua->slicer->running);
    return NULL;
  }
  void *moved = realloc(block, new_bytes);
  if (moved != NULL) lua->bytes += new_bytes - old_bytes;
  return moved;
}

static int panic(lua_State *L) {
  orr_log(ORR_LOG_ERROR, "script", "error outside of a protected call: %s", lua_tostring(L, -1));
  return 0; // Lua aborts
}

// --- state ------------------------------------------------------------------------------------------------------

struct setup {
  struct orr_lua *lua;
  orr_lua_setup setup;
};

static int fill(lua_State *L) {
  struct setup *setup = lua_touserdata(L, 1);
  lua_settop(L, 0);
  lua_pushboolean(L, 1);
  lua_setfield(L, LUA_REGISTRYINDEX, "LUA_NOENV");
  luaL_openlibs(L);
  orr_coroutine_install(L);
  orr_sandbox_install(setup->lua);
  orr_lua_preload(setup->lua, "luv", orr_luaopen_luv);
  orr_lua_preload(setup->lua, "uv", orr_luaopen_luv);
  if (setup->setup != NULL) setup->setup(setup->lua);
  orr_sandbox_finish(setup->lua);
  return 0;
}

struct orr_lua *orr_lua_new(const struct orr_lua_options *options, orr_lua_setup setup) {
  struct orr_lua *lua = orr_alloc(sizeof(*lua));
  lua->worker = options->worker;
  lua->slicer = options->slicer;
  lua->generation = options->generation != NULL ? orr_generation_ref(options->generation) : NULL;
  lua->bytes_max = options->bytes_max != 0 ? options->bytes_max : ORR_LUA_BYTES_MAX;
  orr_list_init(&lua->used);
  orr_list_init(&lua->bindings);
  lua->L = lua_newstate(allocate, lua);
  orr_assert(lua->L != NULL);
  *(struct orr_lua **)lua_getextraspace(lua->L) = lua;
  lua_atpanic(lua->L, panic);
  lua_gc(lua->L, LUA_GCSTOP);
  lua_pushcfunction(lua->L, fill);
  struct setup context = {lua, setup};
  lua_pushlightuserdata(lua->L, &context);
  int status = lua_pcall(lua->L, 1, 0, 0);
  if (status != LUA_OK) orr_log(ORR_LOG_ERROR, "script", "a Lua state: %s", lua_tostring(lua->L, -1));
  orr_assert(status == LUA_OK);
  lua_gc(lua->L, LUA_GCRESTART);
  return lua;
}

void orr_lua_free(struct orr_lua *lua) {
  if (lua == NULL) return;
  orr_assert(lua->works == 0);
  lua_close(lua->L);
  orr_luv_free(lua->luv);
  orr_buf_free(&lua->traceback);
  free(lua->pool);
  if (lua->generation != NULL) orr_generation_unref(lua->generation);
  free(lua);
}

void orr_lua_preload(struct orr_lua *lua, const char *name, lua_CFunction open) {
  luaL_getsubtable(lua->L, LUA_REGISTRYINDEX, LUA_PRELOAD_TABLE);
  lua_pushcfunction(lua->L, open);
  lua_setfield(lua->L, -2, name);
  lua_pop(lua->L, 1);
}

// --- pool -------------------------------------------------------------------------------------------------------

struct orr_thread orr_lua_thread_take(struct orr_lua *lua) {
  if (lua->pool_len > 0) return lua->pool[--lua->pool_len];
  struct orr_thread thread;
  thread.L = lua_newthread(lua->L);
  thread.ref = luaL_ref(lua->L, LUA_REGISTRYINDEX);
  return thread;
}

void orr_lua_thread_give(struct orr_lua *lua, struct orr_thread thread) {
  orr_assert(lua_status(thread.L) == LUA_OK);
  lua_settop(thread.L, 0);
#ifndef ORR_TSAN
  if (lua_gethookmask(thread.L) != 0) lua_sethook(thread.L, NULL, 0, 0);
#endif
  if (lua->pool_len >= ORR_TASKS_PER_WORKER) {
    luaL_unref(lua->L, LUA_REGISTRYINDEX, thread.ref);
    return;
  }
  if (lua->pool_len == lua->pool_cap) {
    lua->pool_cap = lua->pool_cap != 0 ? lua->pool_cap * 2 : 16;
    lua->pool = orr_realloc(lua->pool, lua->pool_cap * sizeof(*lua->pool));
  }
  lua->pool[lua->pool_len++] = thread;
}

// --- calls on the main thread --------------------------------------------------------------------------------

void orr_lua_traceback(lua_State *L, struct orr_buf *out) {
  lua_Debug frame;
  for (int level = 0, shown = 0; shown < 30 && lua_getstack(L, level, &frame); level++) {
    lua_getinfo(L, "Sln", &frame);
    if (frame.source[0] != '@' || frame.currentline <= 0) continue; // C and the library
    if (out->len > 0) orr_buf_u8(out, '\n');
    orr_buf_printf(out, "%s:%d: in ", frame.source + 1, frame.currentline);
    if (frame.name != NULL && *frame.namewhat != '\0') orr_buf_printf(out, "%s '%s'", frame.namewhat, frame.name);
    else if (*frame.what == 'm') orr_buf_text(out, "main chunk");
    else orr_buf_printf(out, "function <%s:%d>", frame.source + 1, frame.linedefined);
    shown++;
  }
}

static int add_traceback(lua_State *L) {
  if (lua_type(L, 1) != LUA_TSTRING) return 1;
  struct orr_buf text = ORR_BUF_INIT;
  orr_lua_traceback(L, &text);
  lua_settop(L, 1);
  if (text.len > 0) {
    lua_pushliteral(L, "\n");
    lua_pushlstring(L, (const char *)text.data, text.len);
    lua_concat(L, 3);
  }
  orr_buf_free(&text);
  return 1;
}

int orr_lua_call(struct orr_lua *lua, int nargs, int nresults) {
  lua_State *L = lua->L;
  int function = lua_gettop(L) - nargs;
  lua_pushcfunction(L, add_traceback);
  lua_insert(L, function);
  bool enforce = lua->enforce;
  uint64_t load_us = lua->load_us;
  lua_State *running = lua->slicer != NULL ? lua->slicer->running : NULL;
  lua->enforce = true;
  lua->load_us = orr_clock_mono_us() + (uint64_t)ORR_LOAD_MS_MAX * 1000;
  if (lua->slicer != NULL) orr_slicer_enter(lua->slicer, L);
  int status = lua_pcall(L, nargs, nresults, function);
  if (lua->slicer != NULL) orr_slicer_enter(lua->slicer, running);
  lua->load_us = load_us;
  lua->enforce = enforce;
  lua_remove(L, function);
  return status;
}

int orr_lua_load_script(struct orr_lua *lua, const char *path) {
  const struct orr_script_file *file =
      lua->generation != NULL ? orr_generation_file(lua->generation, path) : NULL;
  if (file == NULL) {
    lua_pushfstring(lua->L, "script %s is not part of the run's generation", path);
    return LUA_ERRRUN;
  }
  lua_pushfstring(lua->L, "@%s", path);
  int status = luaL_loadbufferx(lua->L, (const char *)file->content->data, file->content->len,
                                lua_tostring(lua->L, -1), "t");
  lua_remove(lua->L, -2);
  return status;
}

bool orr_lua_require(struct orr_lua *lua, const char *name) {
  lua_getglobal(lua->L, "require");
  lua_pushstring(lua->L, name);
  return orr_lua_call(lua, 1, 1) == LUA_OK;
}
