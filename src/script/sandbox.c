// SPDX-License-Identifier: MIT
// Replacements and removals, each with a message that says what to use instead.
#include "script/sandbox.h"

#include "script/embedded.h"
#include "script/task.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// --- replaced functions --------------------------------------------------------------------------------------

static int print(lua_State *L) {
  luaL_Buffer line;
  int count = lua_gettop(L);
  luaL_buffinit(L, &line);
  for (int i = 1; i <= count; i++) {
    if (i > 1) luaL_addchar(&line, '\t');
    luaL_tolstring(L, i, NULL);
    luaL_addvalue(&line);
  }
  luaL_pushresult(&line);
  size_t len;
  const char *text = lua_tolstring(L, -1, &len);
  orr__log_line(orr_lua_of(L), ORR_LOG_INFO, "print", orr_slice_of(text, len), orr_slice_of(NULL, 0));
  return 0;
}

static int io_write(lua_State *L) { // io.write: into the log; one record a call
  lua_concat(L, lua_gettop(L));
  size_t len;
  const char *text = luaL_checklstring(L, -1, &len);
  while (len > 0 && text[len - 1] == '\n') len--;
  if (len > 0) orr__log_line(orr_lua_of(L), ORR_LOG_INFO, "print", orr_slice_of(text, len), orr_slice_of(NULL, 0));
  lua_getglobal(L, "io");
  lua_getfield(L, -1, "stderr");
  return 1;
}

static int set_metatable(lua_State *L) {
  int type = lua_type(L, 2);
  luaL_checktype(L, 1, LUA_TTABLE);
  luaL_argexpected(L, type == LUA_TNIL || type == LUA_TTABLE, 2, "nil or table");
  if (luaL_getmetafield(L, 1, "__metatable") != LUA_TNIL) return luaL_error(L, "cannot change a protected metatable");
  if (type == LUA_TTABLE) {
    lua_pushliteral(L, "__gc");
    if (lua_rawget(L, 2) != LUA_TNIL)
      return luaL_error(L, "setmetatable: __gc is not available in scripts; use a to-be-closed variable (__close)");
    lua_pop(L, 1);
  }
  lua_settop(L, 2);
  lua_setmetatable(L, 1);
  return 1;
}

static int load_text(lua_State *L) { // load(chunk, name, mode, env), mode always "t"
  bool has_env = lua_gettop(L) >= 4;
  lua_settop(L, 4);
  lua_pushvalue(L, lua_upvalueindex(1));
  lua_pushvalue(L, 1);
  lua_pushvalue(L, 2);
  lua_pushliteral(L, "t");
  if (has_env) lua_pushvalue(L, 4);
  lua_call(L, has_env ? 4 : 3, 2);
  return lua_isnil(L, -2) ? 2 : (lua_pop(L, 1), 1);
}

// xpcall as pcall and then the handler: a message handler can neither be interrupted nor wait. debug.traceback, whose point is
// the stack of the error, is the exception: it runs as a real (C) message handler.
static int handled(lua_State *L, int status, lua_KContext context) { // the handler's result is on top
  (void)status;
  (void)context;
  lua_pushboolean(L, 0);
  lua_insert(L, -2);
  return 2;
}
static int xpcall_finish(lua_State *L, int status, lua_KContext traced) {
  if (status == LUA_OK || status == LUA_YIELD) { // f, handler, results
    lua_pushboolean(L, 1);
    lua_replace(L, 1);
    lua_remove(L, 2);
    return lua_gettop(L);
  }
  if (traced) return handled(L, status, 0);
  lua_pushvalue(L, 2);
  lua_insert(L, -2);
  lua_callk(L, 1, 1, 0, handled);
  return handled(L, LUA_OK, 0);
}
static int x_pcall(lua_State *L) { // xpcall(f, handler, ...)
  luaL_checktype(L, 2, LUA_TFUNCTION);
  int nargs = lua_gettop(L) - 2;
  bool traced = lua_rawequal(L, 2, lua_upvalueindex(1)) != 0;
  lua_pushvalue(L, 1);
  lua_insert(L, 3); // f, handler, f, args
  int status = lua_pcallk(L, nargs, LUA_MULTRET, traced ? 2 : 0, traced, xpcall_finish);
  return xpcall_finish(L, status, traced);
}

static int removed(lua_State *L) {
  return luaL_error(L, "%s is not available in scripts: %s", lua_tostring(L, lua_upvalueindex(1)),
                    lua_tostring(L, lua_upvalueindex(2)));
}

// --- require --------------------------------------------------------------------------------------------------

static const struct orr_embedded *find_embedded(const char *name) {
  for (const struct orr_embedded *at = orr_embedded_lua; at->module != NULL; at++)
    if (strcmp(at->module, name) == 0) return at;
  return NULL;
}

// In development: DIR/orrery/json.lua in place of the embedded one. LUA_ERRFILE: no such file.
static int load_from_tree(lua_State *L, const char *dir, const char *name) {
  const char *stem = luaL_gsub(L, name, ".", "/");
  for (int i = 0; i < 2; i++) {
    char path[4096], chunk[1024];
    snprintf(path, sizeof(path), i == 0 ? "%s/%s.lua" : "%s/%s/init.lua", dir, stem);
    FILE *file = fopen(path, "rbe");
    if (file == NULL) continue;
    struct orr_buf text = ORR_BUF_INIT;
    char block[8192];
    size_t got;
    while ((got = fread(block, 1, sizeof(block), file)) > 0) orr_buf_append(&text, block, got);
    fclose(file);
    snprintf(chunk, sizeof(chunk), "=%s%s.lua", stem, i == 0 ? "" : "/init");
    int status = luaL_loadbufferx(L, text.len > 0 ? (const char *)text.data : "", text.len, chunk, "t");
    orr_buf_free(&text);
    return status;
  }
  return LUA_ERRFILE;
}

static int search_embedded(lua_State *L) {
  const char *name = luaL_checkstring(L, 1), *dir = getenv("ORRERY_LUA");
  int status = LUA_ERRFILE;
  if (dir != NULL && *dir != '\0') status = load_from_tree(L, dir, name);
  if (status == LUA_ERRFILE) {
    const struct orr_embedded *module = find_embedded(name);
    if (module == NULL) {
      lua_pushliteral(L, "no such module in Orrery");
      return 1;
    }
    status = luaL_loadbufferx(L, (const char *)module->code, module->len, module->path, "b");
  }
  if (status != LUA_OK) return lua_error(L);
  lua_pushvalue(L, 1);
  return 2;
}

static int search_project(lua_State *L) {
  struct orr_lua *lua = orr_lua_of(L);
  const char *name = luaL_checkstring(L, 1), *stem = luaL_gsub(L, name, ".", "/");
  for (int i = 0; i < 2; i++) {
    const char *path = lua_pushfstring(L, i == 0 ? "lib/%s.lua" : "lib/%s/init.lua", stem);
    const struct orr_script_file *file =
        lua->generation != NULL ? orr_generation_file(lua->generation, path) : NULL;
    if (file == NULL) continue;
    const char *chunk = lua_pushfstring(L, "@%s", path);
    if (luaL_loadbufferx(L, (const char *)file->content->data, file->content->len, chunk, "t") != LUA_OK)
      return lua_error(L);
    lua_pushstring(L, path);
    return 2;
  }
  lua_pushfstring(L, "no file 'lib/%s.lua' in the project", stem);
  return 1;
}

static void install_require(lua_State *L) {
  lua_getglobal(L, "package");
  for (int i = 0; i < 2; i++) { // nothing from the current folder
    const char *field = i == 0 ? "path" : "cpath";
    lua_getfield(L, -1, field);
    const char *clean = luaL_gsub(L, lua_tostring(L, -1), i == 0 ? ";./?.lua;./?/init.lua" : ";./?.so", "");
    lua_pushstring(L, clean);
    lua_setfield(L, -4, field);
    lua_pop(L, 2);
  }
  lua_getfield(L, -1, "searchers"); // preload, Lua, C, all-in-one
  lua_createtable(L, 6, 0);
  lua_rawgeti(L, -2, 1);
  lua_rawseti(L, -2, 1);
  lua_pushcfunction(L, search_embedded);
  lua_rawseti(L, -2, 2);
  lua_pushcfunction(L, search_project);
  lua_rawseti(L, -2, 3);
  for (int i = 2; i <= 4; i++) {
    lua_rawgeti(L, -2, i);
    lua_rawseti(L, -2, i + 2);
  }
  lua_setfield(L, -3, "searchers");
  lua_pop(L, 1);
  lua_pushnil(L);
  lua_setfield(L, -2, "loadlib");
  lua_pop(L, 1);
}

// --- removals -------------------------------------------------------------------------------------------------

static void remove_function(lua_State *L, const char *library, const char *name, const char *instead) {
  if (*library == '\0') lua_pushglobaltable(L);
  else lua_getglobal(L, library);
  lua_pushfstring(L, "%s%s%s", library, *library == '\0' ? "" : ".", name);
  lua_pushstring(L, instead);
  lua_pushcclosure(L, removed, 2);
  lua_setfield(L, -2, name);
  lua_pop(L, 1);
}

static void keep_only(lua_State *L, const char *library, const char *const *names) {
  lua_getglobal(L, library);
  lua_newtable(L);
  for (; *names != NULL; names++) {
    lua_getfield(L, -2, *names);
    lua_setfield(L, -2, *names);
  }
  lua_pushvalue(L, -1);
  lua_setglobal(L, library);
  lua_getfield(L, LUA_REGISTRYINDEX, LUA_LOADED_TABLE);
  lua_insert(L, -2);
  lua_setfield(L, -2, library);
  lua_pop(L, 2);
}

void orr_sandbox_install(struct orr_lua *lua) {
  lua_State *L = lua->L;
  static const char *const debug_kept[] = {"traceback", "getinfo", "getlocal", "getupvalue", NULL};
  lua_getglobal(L, "debug");
  lua_getfield(L, -1, "traceback");
  lua_pushcclosure(L, x_pcall, 1);
  lua_setglobal(L, "xpcall");
  lua_pop(L, 1);
  keep_only(L, "debug", debug_kept);
  lua_getglobal(L, "load");
  lua_pushcclosure(L, load_text, 1);
  lua_setglobal(L, "load");
  lua_register(L, "setmetatable", set_metatable);
  lua_register(L, "print", print);
  remove_function(L, "", "dofile", "use require");
  remove_function(L, "", "loadfile", "use require");
  remove_function(L, "string", "dump", "bytecode is never loaded");
  remove_function(L, "os", "exit", "return from the step, or fail with error() or o.fail");
  remove_function(L, "os", "execute", "use o.process.run or an o.shell step");
  remove_function(L, "os", "setlocale", "the locale belongs to the process");
  remove_function(L, "io", "popen", "use o.process.run or an o.shell step");
  remove_function(L, "io", "read", "there is no standard input; use o.fs.read");
  lua_getglobal(L, "io"); // stdout is data of the command line: nothing of a script goes there
  lua_pushcfunction(L, io_write);
  lua_setfield(L, -2, "write");
  lua_getfield(L, -1, "output");
  lua_getfield(L, -2, "stderr");
  lua_pushvalue(L, -1);
  lua_setfield(L, -4, "stdout");
  lua_call(L, 1, 0);
  lua_pop(L, 1);
  install_require(L);
}

void orr_sandbox_finish(struct orr_lua *lua) {
  lua_getglobal(lua->L, "require");
  lua_pushliteral(lua->L, "orrery.sort");
  lua_call(lua->L, 1, 1);
  lua_getglobal(lua->L, "table");
  lua_insert(lua->L, -2);
  lua_setfield(lua->L, -2, "sort");
  lua_pop(lua->L, 1);
}
