// SPDX-License-Identifier: MIT
// What scripts can reach while they load: the orrery library (embedded, or of the folder
// ORRERY_LUA), modules of the project's lib/, cjson, and luv with its functions refusing. The
// loader's thread.
#include "base/check.h"
#include "base/log.h"
#include "script/embedded.h"
#include "script/json_lua.h"
#include "script/loader_internal.h"
#include "script/worker_parts.h"

#include <lualib.h>
#include <luv/luv.h>
#include <stdio.h>
#include <stdlib.h>

// Modules that do I/O, as scripts call them: theirs, and what only library modules require.
static const char *const REFUSING[][2] = {
    {"orrery.fs", "o.fs"},
    {"orrery.process", "o.process"},
    {"orrery.http_client", "o.http"},
    {"orrery.redis", "o.redis"},
    {"orrery.runs", "o.runs"},
    {"orrery.task", "o.task"},
    {"orrery.log", "o.log"},
    {"orrery.c.fs", "o.fs"},
    {"orrery.c.process", "o.process"},
    {"orrery.c.http", "o.http"},
    {"orrery.c.redis", "o.redis"},
    {"orrery.c.task", "o.task"},
    {"orrery.c.log", "o.log"},
    {"orrery.c.runs", "o.runs"},
    {"orrery.c.app", "o.app"},
};

// --- the library
// -------------------------------------------------------------------------------------------------

// A module of the tree ORRERY_LUA, as a chunk named like the embedded one.
static bool load_from_tree(lua_State *L, const char *root, const struct orr_embedded *module) {
  struct orr_buf text = ORR_BUF_INIT;
  char path[1024], chunk[256], piece[4096];
  snprintf(path, sizeof(path), "%s/%s", root, module->path);
  snprintf(chunk, sizeof(chunk), "=%s", module->path);
  FILE *file = fopen(path, "rbe");
  if (file == NULL) return false; // argparse, say, comes from elsewhere
  for (size_t got; (got = fread(piece, 1, sizeof(piece), file)) > 0;)
    orr_buf_append(&text, piece, got);
  fclose(file);
  int status = luaL_loadbufferx(L, orr_buf_cstr(&text), text.len, chunk, "t");
  orr_buf_free(&text);
  if (status != LUA_OK) lua_error(L);
  return true;
}

static int search_embedded(lua_State *L) {
  const char *name = luaL_checkstring(L, 1);
  const char *root = getenv("ORRERY_LUA");
  for (const struct orr_embedded *module = orr_embedded_lua; module->module != NULL; module++) {
    if (strcmp(module->module, name) != 0) continue;
    if (root != NULL && load_from_tree(L, root, module)) return 1;
    char chunk[256];
    snprintf(chunk, sizeof(chunk), "=%s", module->path);
    if (luaL_loadbufferx(L, (const char *)module->code, module->len, chunk, "b") != LUA_OK)
      return lua_error(L);
    return 1;
  }
  lua_pushfstring(L, "no module '%s' in the orrery library", name);
  return 1;
}

// require of the library's own modules; scripts never get at it.
static void library(lua_State *L, const char *name) {
  lua_getglobal(L, "require");
  lua_pushstring(L, name);
  lua_call(L, 1, 1);
}

static int open_refusing(lua_State *L) { // upvalue: what scripts call it
  library(L, "orrery.load_env");
  lua_getfield(L, -1, "refusing");
  lua_pushvalue(L, lua_upvalueindex(1));
  lua_call(L, 1, 1);
  return 1;
}

static int open_time(lua_State *L) { // what needs no clock works
  library(L, "orrery.load_env");
  lua_getfield(L, -1, "time");
  orr_luaopen_c_time(L);
  lua_call(L, 1, 1);
  return 1;
}

static void preload(lua_State *L, const char *name, lua_CFunction open, const char *upvalue) {
  luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_PRELOAD_TABLE);
  if (upvalue != NULL) {
    lua_pushstring(L, upvalue);
    lua_pushcclosure(L, open, 1);
  } else {
    lua_pushcfunction(L, open);
  }
  lua_setfield(L, -2, name);
  lua_pop(L, 1);
}

// --- cjson and luv
// ---------------------------------------------------------------------------------------------------

static int close_loop_handle(uv_loop_t *loop) {
  while (uv_loop_close(loop) == UV_EBUSY) uv_run(loop, UV_RUN_NOWAIT);
  return 0;
}

// luv as scripts see it at load: its constants, and functions that refuse.
static int open_luv(lua_State *L) {
  struct orr__load *load = orr__load_of(L);
  uv_loop_t *loop = orr_alloc(sizeof(*loop));
  orr_assert(uv_loop_init(loop) == 0);
  load->luv = loop;
  luv_set_loop(L, loop);
  luaopen_luv(L);
  int real = lua_gettop(L);
  library(L, "orrery.load_env");
  lua_getfield(L, -1, "refusing");
  lua_pushliteral(L, "luv");
  lua_newtable(L);
  for (lua_pushnil(L); lua_next(L, real) != 0;) {
    bool shown = lua_type(L, -1) != LUA_TFUNCTION && lua_type(L, -1) != LUA_TUSERDATA;
    if (shown) {
      lua_pushvalue(L, -2);
      lua_insert(L, -2);
      lua_settable(L, -4);
    } else {
      lua_pop(L, 1);
    }
  }
  lua_call(L, 2, 1);
  return 1;
}

void orr__load_close(struct orr__load *load) {
  if (load->L != NULL) lua_close(load->L);
  load->L = NULL;
  if (load->luv != NULL) {
    close_loop_handle(load->luv);
    free(load->luv);
    load->luv = NULL;
  }
}

// --- project modules
// ---------------------------------------------------------------------------------------------------

static struct orr__source *find_module(struct orr__load *load, const char *name) {
  struct orr_buf path = ORR_BUF_INIT;
  orr_buf_text(&path, "lib/");
  for (const char *at = name; *at != '\0'; at++) orr_buf_u8(&path, *at == '.' ? '/' : (uint8_t)*at);
  size_t stem = path.len;
  orr_buf_text(&path, ".lua");
  struct orr__source *source = orr__loader_find(load->loader, orr_buf_cstr(&path));
  if (source == NULL) {
    path.len = stem;
    orr_buf_text(&path, "/init.lua");
    source = orr__loader_find(load->loader, orr_buf_cstr(&path));
  }
  orr_buf_free(&path);
  return source != NULL && source->kind == ORR__SOURCE_MODULE ? source : NULL;
}

static char *module_name(const char *path) { // "lib/a/b.lua" -> "a.b"
  char *name = orr_strdup(path + strlen("lib/"));
  name[strlen(name) - strlen(".lua")] = '\0';
  size_t len = strlen(name);
  if (len > 5 && strcmp(name + len - 5, "/init") == 0) name[len - 5] = '\0';
  for (char *at = name; *at != '\0'; at++) {
    if (*at == '/') *at = '.';
  }
  return name;
}

static int unknown_module(struct orr__load *load, lua_State *L, const char *name) {
  static const char *const OTHERS[] = {"orrery", "cjson", "luv"};
  const struct orr_loader *loader = load->loader;
  const char **names = lua_newuserdatauv(L, (loader->sources_len + 3) * sizeof(*names), 0);
  size_t len = 0;
  for (; len < 3; len++) names[len] = OTHERS[len];
  for (uint32_t i = 0; i < loader->sources_len; i++) {
    if (loader->sources[i]->kind != ORR__SOURCE_MODULE) continue;
    char *text = module_name(loader->sources[i]->path);
    names[len++] = lua_pushstring(L, text);
    free(text);
    luaL_checkstack(L, 4, NULL);
  }
  const char *near = orr_suggest(name, names, len);
  const char *help = near != NULL ? lua_pushfstring(L, "did you mean \"%s\"?", near)
                                  : "modules of a project lie in its folder lib/";
  luaL_gsub(L, name, ".", "/");
  const char *path = lua_tostring(L, -1);
  lua_pushfstring(L, "module \"%s\" not found: there is neither lib/%s.lua nor lib/%s/init.lua",
                  name, path, path);
  return orr__load_raise(L, "E0104", lua_tostring(L, -1), help, name);
}

static int module_cycle(struct orr__load *load, lua_State *L, const struct orr__source *source) {
  uint32_t first = 0;
  while (load->stack[first] != source) first++;
  luaL_Buffer text;
  luaL_buffinit(L, &text);
  luaL_addstring(&text, "modules require each other: ");
  for (uint32_t i = first; i < load->depth; i++) {
    luaL_addstring(&text, load->stack[i]->path);
    luaL_addstring(&text, " -> ");
  }
  luaL_addstring(&text, source->path);
  luaL_pushresult(&text);
  return orr__load_raise(L, "E0105", lua_tostring(L, -1), "move what both need into a third module",
                         NULL);
}

static void note_need(struct orr__load *load, struct orr__source *module) {
  if (load->depth == 0) return;
  struct orr__source *user = load->stack[load->depth - 1];
  for (uint32_t i = 0; i < user->needs_len; i++) {
    if (user->needs[i] == module) return;
  }
  if (user->needs_len == user->needs_cap) {
    user->needs_cap = user->needs_cap == 0 ? 4 : user->needs_cap * 2;
    user->needs = orr_realloc(user->needs, user->needs_cap * sizeof(struct orr__source *));
  }
  user->needs[user->needs_len++] = module;
}

static int run_module(struct orr__load *load, lua_State *L, struct orr__source *source,
                      const char *name) {
  for (uint32_t i = 0; i < load->depth; i++) {
    if (load->stack[i] == source) return module_cycle(load, L, source);
  }
  if (load->depth == sizeof(load->stack) / sizeof(load->stack[0])) {
    return orr__load_raise(L, "E0105", "modules are nested too deep", NULL, name);
  }
  source->needs_len = 0;
  // The chunk is compiled on the main thread's stack's owner: L may be a coroutine of the script.
  lua_State *main = load->L;
  load->L = L;
  bool ok = orr__load_chunk(load, source);
  load->L = main;
  if (!ok) return lua_error(L);
  load->stack[load->depth++] = source;
  uint32_t depth = load->depth;
  lua_pushstring(L, name);
  int status = lua_pcall(L, 1, 1, 0);
  orr_assert(load->depth == depth);
  load->depth--;
  return status == LUA_OK ? 1 : lua_error(L);
}

static bool is_library(const char *name) {
  static const char *const FOREIGN[] = {"cjson", "cjson.safe", "luv"};
  for (size_t i = 0; i < sizeof(FOREIGN) / sizeof(FOREIGN[0]); i++) {
    if (strcmp(name, FOREIGN[i]) == 0) return true;
  }
  return strcmp(name, "orrery") == 0 || strncmp(name, "orrery.", 7) == 0;
}

int orr__load_require(lua_State *L) {
  struct orr__load *load = orr__load_of(L);
  if (lua_type(L, 1) != LUA_TSTRING) {
    return orr__load_raise(L, "E0104", "require takes the name of a module", "require \"packages\"",
                           NULL);
  }
  const char *name = lua_tostring(L, 1);
  lua_settop(L, 1);
  lua_rawgeti(L, LUA_REGISTRYINDEX, load->shared_ref);
  static const char *const STANDARD[] = {"string",    "table", "math", "utf8",
                                         "coroutine", "os",    "io",   "debug"};
  for (size_t i = 0; i < sizeof(STANDARD) / sizeof(STANDARD[0]); i++) {
    if (strcmp(name, STANDARD[i]) == 0) return lua_getfield(L, 2, name), 1;
  }
  if (is_library(name)) {
    library(L, name);
    return 1;
  }
  struct orr__source *source = find_module(load, name);
  if (source == NULL) return unknown_module(load, L, name);
  note_need(load, source);
  lua_rawgeti(L, LUA_REGISTRYINDEX, load->modules_ref); // 3
  if (lua_getfield(L, 3, source->path) != LUA_TNIL) return 1;
  lua_pop(L, 1);
  run_module(load, L, source, name);
  if (lua_isnil(L, -1)) {
    lua_pop(L, 1);
    lua_pushboolean(L, 1);
  }
  lua_pushvalue(L, -1);
  lua_setfield(L, 3, source->path);
  return 1;
}

// --- other functions of the environment
// ----------------------------------------------------------------------------------

static int load_print(lua_State *L) {
  struct orr_buf text = ORR_BUF_INIT;
  int n = lua_gettop(L);
  for (int i = 1; i <= n; i++) {
    size_t len;
    const char *part = luaL_tolstring(L, i, &len); // may raise only for a bad __tostring
    if (i > 1) orr_buf_u8(&text, '\t');
    orr_buf_append(&text, part, len < 4096 ? len : 4096);
    lua_pop(L, 1);
  }
  const struct orr__load *load = orr__load_of(L);
  const char *path = load->depth > 0 ? load->stack[load->depth - 1]->path : "load";
  orr_log(ORR_LOG_INFO, "load", "%s: %s", path, orr_buf_cstr(&text));
  orr_buf_free(&text);
  return 0;
}

static const char *read_piece(lua_State *L, void *context, size_t *len) {
  (void)context;
  luaL_checkstack(L, 2, NULL);
  lua_pushvalue(L, 1);
  lua_call(L, 0, 1);
  if (lua_isnil(L, -1)) {
    lua_pop(L, 1);
    *len = 0;
    return NULL;
  }
  if (!lua_isstring(L, -1)) luaL_error(L, "reader function must return a string");
  lua_replace(L, 5);
  return lua_tolstring(L, 5, len);
}

// load of text, with the script's globals unless others are given; never of bytecode.
static int load_text(lua_State *L) {
  struct orr__load *load = orr__load_of(L);
  bool has_env = lua_gettop(L) >= 4;
  const char *chunk =
      luaL_optstring(L, 2, lua_type(L, 1) == LUA_TSTRING ? lua_tostring(L, 1) : "=(load)");
  lua_settop(L, 5);
  int status;
  if (lua_type(L, 1) == LUA_TSTRING) {
    size_t len;
    const char *text = lua_tolstring(L, 1, &len);
    status = luaL_loadbufferx(L, text, len, chunk, "t");
  } else {
    luaL_checktype(L, 1, LUA_TFUNCTION);
    status = lua_load(L, read_piece, NULL, chunk, "t");
  }
  if (status != LUA_OK) {
    lua_pushnil(L);
    lua_insert(L, -2);
    return 2;
  }
  if (has_env)
    lua_pushvalue(L, 4);
  else
    lua_rawgeti(L, LUA_REGISTRYINDEX, load->shared_ref);
  if (lua_setupvalue(L, -2, 1) == NULL) lua_pop(L, 1);
  return 1;
}

static int load_traceback(lua_State *L) {
  luaL_traceback(L, L, luaL_optstring(L, 1, NULL), 1);
  return 1;
}

static int read_env(lua_State *L) {
  const char *name = luaL_checkstring(L, 1);
  const char *value = getenv(name);
  const struct orr__load *load = orr__load_of(L);
  if (load->depth > 0) orr__keep_env(load->stack[load->depth - 1], name);
  lua_pushstring(L, value); // nil if NULL
  return 1;
}

static const luaL_Reg HOST[] = {{"require", orr__load_require},
                                {"print", load_print},
                                {"load", load_text},
                                {"traceback", load_traceback},
                                {NULL, NULL}};

static void only_embedded(lua_State *L) { // package.searchers: preload, then ours
  lua_getglobal(L, "package");
  lua_getfield(L, -1, "searchers");
  lua_geti(L, -1, 3); // the searcher of C libraries, for cjson
  lua_seti(L, -2, 3);
  lua_pushcfunction(L, search_embedded);
  lua_seti(L, -2, 2);
  lua_pushnil(L);
  lua_seti(L, -2, 4);
  lua_pop(L, 2);
}

void orr__load_globals(struct orr__load *load) {
  lua_State *L = load->L;
  only_embedded(L);
  preload(L, "orrery.c.json", orr_luaopen_json, NULL);
  preload(L, "orrery.c.base64", orr_luaopen_c_base64, NULL);
  preload(L, "orrery.c.time", open_time, NULL);
  preload(L, "luv", open_luv, NULL);
  for (size_t i = 0; i < sizeof(REFUSING) / sizeof(REFUSING[0]); i++) {
    preload(L, REFUSING[i][0], open_refusing, REFUSING[i][1]);
  }
  library(L, "orrery.registry");
  lua_pushcfunction(L, read_env);
  lua_setfield(L, -2, "read_env");
  lua_newtable(L);
  lua_setfield(L, -2, "problems");
  library(L, "orrery.problem");
  lua_getfield(L, -1, "mt");
  lua_setfield(L, LUA_REGISTRYINDEX, "orrery.problem_mt");
  library(L, "orrery.load_env");
  lua_getfield(L, -1, "script");
  lua_setfield(L, LUA_REGISTRYINDEX, "orrery.script_env");
  lua_getfield(L, -1, "make");
  luaL_newlib(L, HOST);
  lua_call(L, 1, 1);
  load->shared_ref = luaL_ref(L, LUA_REGISTRYINDEX);
  lua_newtable(L);
  load->modules_ref = luaL_ref(L, LUA_REGISTRYINDEX);
  lua_settop(L, 0);
}
