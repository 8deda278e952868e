// SPDX-License-Identifier: MIT
// resume and wrap keep the coroutine that an engine's yield left inside them in `busy` (weak, in the registry), so
// that nobody else resumes it meanwhile, and tell the running strand (script/task.h), which closes them on abort.
#include "script/coroutine.h"

#include "base/check.h"
#include "script/lua_state.h"
#include "script/task.h"

static const char busy_key = 0;

static void set_busy(lua_State *L, lua_State *co, bool busy) {
  lua_rawgetp(L, LUA_REGISTRYINDEX, &busy_key);
  lua_pushthread(co);
  lua_xmove(co, L, 1);
  if (busy) lua_pushboolean(L, 1);
  else lua_pushnil(L);
  lua_rawset(L, -3);
  lua_pop(L, 1);
}

static bool is_busy(lua_State *L, int index) {
  lua_rawgetp(L, LUA_REGISTRYINDEX, &busy_key);
  lua_pushvalue(L, index);
  bool busy = lua_rawget(L, -2) != LUA_TNIL;
  lua_pop(L, 2);
  return busy;
}

static lua_State *check_coroutine(lua_State *L) {
  lua_State *co = lua_tothread(L, 1);
  luaL_argexpected(L, co != NULL, 1, "coroutine");
  return co;
}

enum resumed { RESUMED_OK, RESUMED_ERROR, RESUMED_PASS };

// Runs co with `nargs` values on its stack; results or the error stay there. PASS: the engine yielded inside.
static enum resumed run(lua_State *L, lua_State *co, int nargs, int *nresults) {
  struct orr_lua *lua = orr_lua_of(L);
  bool outer_ok = lua->chain_ok;
  lua->chain_ok = outer_ok && lua_isyieldable(L);
  if (lua->slicer != NULL) orr_slicer_enter(lua->slicer, co);
  if (lua_status(co) == LUA_OK) nargs++; // not started: the function is the body's first argument
  int status = lua_resume(co, L, nargs, nresults);
  lua->chain_ok = outer_ok;
  if (lua->slicer != NULL) orr_slicer_enter(lua->slicer, L);
  if (status == LUA_OK) return RESUMED_OK;
  if (status != LUA_YIELD) return RESUMED_ERROR;
  if (lua->yielded == ORR_LUA_YIELD_NONE) return RESUMED_OK;
  orr__strand_inside(lua->strand, co);
  return RESUMED_PASS;
}

// --- resume -----------------------------------------------------------------------------------------------------

// Moves the arguments over. False: an error message is on L's stack instead.
static bool start(lua_State *L, lua_State *co, int nargs) {
  const char *problem = NULL;
  if (lua_status(co) == LUA_OK && lua_gettop(co) == 0) problem = "cannot resume dead coroutine";
  else if (!lua_checkstack(co, nargs)) problem = "too many arguments to resume";
  if (problem != NULL) {
    lua_pushstring(L, problem);
    return false;
  }
  lua_xmove(L, co, nargs);
  return true;
}

static int fetch(lua_State *L, lua_State *co, int nresults) { // -1: error message on L's stack
  if (!lua_checkstack(L, nresults + 1)) {
    lua_pop(co, nresults);
    lua_pushliteral(L, "too many results to resume");
    return -1;
  }
  lua_xmove(co, L, nresults);
  return nresults;
}

static int resume_false(lua_State *L) { // the error is on top
  lua_pushboolean(L, 0);
  lua_insert(L, -2);
  return 2;
}

static int resume_again(lua_State *L, int status, lua_KContext context);

static int resume_with(lua_State *L, lua_State *co, int nargs) {
  int nresults = 0;
  switch (run(L, co, nargs, &nresults)) {
  case RESUMED_PASS:
    lua_settop(L, 1);
    set_busy(L, co, true);
    return lua_yieldk(L, 0, 0, resume_again);
  case RESUMED_ERROR:
    lua_xmove(co, L, 1);
    return resume_false(L);
  case RESUMED_OK: break;
  }
  if (fetch(L, co, nresults) < 0) return resume_false(L);
  lua_pushboolean(L, 1);
  lua_insert(L, -(nresults + 1));
  return nresults + 1;
}

static int resume_again(lua_State *L, int status, lua_KContext context) {
  (void)status;
  (void)context;
  lua_State *co = lua_tothread(L, 1);
  set_busy(L, co, false);
  return resume_with(L, co, 0);
}

static int co_resume(lua_State *L) {
  lua_State *co = check_coroutine(L);
  int nargs = lua_gettop(L) - 1;
  if (is_busy(L, 1)) {
    lua_pushliteral(L, "cannot resume non-suspended coroutine");
    return resume_false(L);
  }
  if (!start(L, co, nargs)) return resume_false(L);
  return resume_with(L, co, nargs);
}

// --- wrap -------------------------------------------------------------------------------------------------------

static int wrap_again(lua_State *L, int status, lua_KContext context);

static int wrap_error(lua_State *L, lua_State *co) { // the error is on top of L
  int status = lua_status(co);
  if (status != LUA_OK && status != LUA_YIELD) { // died: close what it left open
    lua_pop(L, 1);
    lua_resetthread(co);
    lua_xmove(co, L, 1);
  }
  if (status != LUA_ERRMEM && lua_type(L, -1) == LUA_TSTRING) {
    luaL_where(L, 1);
    lua_insert(L, -2);
    lua_concat(L, 2);
  }
  return lua_error(L);
}

static int wrap_with(lua_State *L, lua_State *co, int nargs) {
  int nresults = 0;
  switch (run(L, co, nargs, &nresults)) {
  case RESUMED_PASS:
    set_busy(L, co, true);
    return lua_yieldk(L, 0, 0, wrap_again);
  case RESUMED_ERROR:
    lua_xmove(co, L, 1);
    lua_pushvalue(L, -1);
    lua_xmove(L, co, 1); // lua_resetthread keeps it on co's stack
    return wrap_error(L, co);
  case RESUMED_OK: break;
  }
  if (fetch(L, co, nresults) < 0) return wrap_error(L, co);
  return nresults;
}

static int wrap_again(lua_State *L, int status, lua_KContext context) {
  (void)status;
  (void)context;
  lua_State *co = lua_tothread(L, lua_upvalueindex(1));
  set_busy(L, co, false);
  return wrap_with(L, co, 0);
}

static int wrapped(lua_State *L) {
  lua_State *co = lua_tothread(L, lua_upvalueindex(1));
  int nargs = lua_gettop(L);
  if (is_busy(L, lua_upvalueindex(1))) return luaL_error(L, "cannot resume non-suspended coroutine");
  if (!start(L, co, nargs)) return wrap_error(L, co);
  return wrap_with(L, co, nargs);
}

// --- the rest ---------------------------------------------------------------------------------------------------

// Catches the function's error and raises it again: a coroutine that dies of an error raised by a hook would run its
// __close handlers with hooks disabled (see orr__strand_push_body).
static int body_end(lua_State *L, int status, lua_KContext context) {
  (void)context;
  if (status != LUA_OK && status != LUA_YIELD) return lua_error(L);
  return lua_gettop(L);
}
static int body(lua_State *L) {
  return body_end(L, lua_pcallk(L, lua_gettop(L) - 1, LUA_MULTRET, 0, 0, body_end), 0);
}

static int co_create(lua_State *L) {
  luaL_checktype(L, 1, LUA_TFUNCTION);
  lua_State *co = lua_newthread(L);
  lua_pushcfunction(co, body);
  lua_pushvalue(L, 1);
  lua_xmove(L, co, 1);
  return 1;
}

static int co_wrap(lua_State *L) {
  co_create(L);
  lua_pushcclosure(L, wrapped, 1);
  return 1;
}

static int co_yield(lua_State *L) {
  if (orr__strand_base(L)) return luaL_error(L, "attempt to yield from outside a coroutine");
  orr_lua_of(L)->yielded = ORR_LUA_YIELD_NONE;
  return lua_yield(L, lua_gettop(L));
}

static const char *status_of(lua_State *L, lua_State *co) {
  if (L == co) return "running";
  if (is_busy(L, 1)) return "normal";
  switch (lua_status(co)) {
  case LUA_YIELD: return "suspended";
  case LUA_OK: {
    lua_Debug frame;
    if (lua_getstack(co, 0, &frame)) return "normal";
    return lua_gettop(co) == 0 ? "dead" : "suspended";
  }
  default: return "dead";
  }
}

static int co_status(lua_State *L) {
  lua_pushstring(L, status_of(L, check_coroutine(L)));
  return 1;
}

static int co_running(lua_State *L) {
  int main = lua_pushthread(L);
  lua_pushboolean(L, main || orr__strand_base(L));
  return 2;
}

static int co_isyieldable(lua_State *L) {
  lua_State *co = lua_isnoneornil(L, 1) ? L : check_coroutine(L);
  lua_pushboolean(L, lua_isyieldable(co) && !orr__strand_base(co));
  return 1;
}

static int co_close(lua_State *L) {
  lua_State *co = check_coroutine(L);
  const char *status = status_of(L, co);
  if (*status != 's' && *status != 'd')
    return luaL_error(L, "cannot close a %s coroutine", status);
  if (lua_resetthread(co) == LUA_OK) {
    lua_pushboolean(L, 1);
    return 1;
  }
  lua_pushboolean(L, 0);
  lua_xmove(co, L, 1);
  return 2;
}

void orr_coroutine_install(lua_State *L) {
  static const luaL_Reg functions[] = {
      {"create", co_create}, {"resume", co_resume},   {"wrap", co_wrap},
      {"yield", co_yield},   {"status", co_status},   {"running", co_running},
      {"close", co_close},   {"isyieldable", co_isyieldable}, {NULL, NULL}};
  lua_newtable(L);
  lua_createtable(L, 0, 1);
  lua_pushliteral(L, "k");
  lua_setfield(L, -2, "__mode");
  lua_setmetatable(L, -2);
  lua_rawsetp(L, LUA_REGISTRYINDEX, &busy_key);
  luaL_newlib(L, functions);
  lua_pushvalue(L, -1);
  lua_setglobal(L, "coroutine");
  lua_getfield(L, LUA_REGISTRYINDEX, LUA_LOADED_TABLE);
  lua_insert(L, -2);
  lua_setfield(L, -2, "coroutine");
  lua_pop(L, 1);
}
