// SPDX-License-Identifier: MIT
// See cli_lua.h. Module "orrery.c.cli":
//   http(method, url, headers {"Name: value"}, body or nil, timeout_ms) -> {status, headers, body} | nil, message, code
//   tty(fd) -> boolean     columns(fd) -> integer or nil     write(fd, text) -> boolean     sleep(ms)     now_ms()
//   real(path) -> absolute path or nil     kind(path) -> "file", "folder" or nil
#include "app/cli_lua.h"

#include "app/app_lua.h"
#include "base/json.h"
#include "base/buf.h"
#include "base/clock.h"
#include "io/http_client.h"
#include "script/embedded.h"
#include "script/json_lua.h"

#include <errno.h>
#include <lauxlib.h>
#include <lualib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define HEADERS_MAX 16

// --- http ---------------------------------------------------------------------------------------------------

struct client { // userdata, upvalue of l_http: one loop, its connections stay open between calls
  bool open;
  uv_loop_t loop;
  struct orr_http_client *http;
};
struct answer {
  bool done;
  struct orr_http_result result;
};

static int client_gc(lua_State *L) {
  struct client *client = lua_touserdata(L, 1);
  if (!client->open) return 0;
  client->open = false;
  orr_http_client_free(client->http);
  uv_run(&client->loop, UV_RUN_DEFAULT);
  uv_loop_close(&client->loop);
  return 0;
}

static void on_done(void *context, struct orr_http_result *result) {
  struct answer *answer = context;
  answer->result = *result;
  answer->result.url = NULL; // the client's own
  result->body = ORR_BUF_INIT;
  result->headers = ORR_BUF_INIT;
  answer->done = true;
}

static int push_answer(lua_State *L, struct answer *answer) {
  struct orr_http_result *result = &answer->result;
  int count = 1;
  if (result->status == ORR_OK) {
    lua_createtable(L, 0, 3);
    lua_pushinteger(L, result->http_status), lua_setfield(L, -2, "status");
    lua_pushlstring(L, (const char *)result->headers.data, result->headers.len), lua_setfield(L, -2, "headers");
    lua_pushlstring(L, (const char *)result->body.data, result->body.len), lua_setfield(L, -2, "body");
  } else {
    lua_pushnil(L);
    lua_pushstring(L, result->message);
    lua_pushstring(L, result->code);
    count = 3;
  }
  orr_buf_free(&result->headers);
  orr_buf_free(&result->body);
  return count;
}

static int l_http(lua_State *L) {
  struct client *client = lua_touserdata(L, lua_upvalueindex(1));
  const char *headers[HEADERS_MAX + 1] = {0};
  struct orr_http_options options = {.method = luaL_checkstring(L, 1), .url = luaL_checkstring(L, 2), .headers = headers};
  luaL_checktype(L, 3, LUA_TTABLE);
  lua_Integer count = luaL_len(L, 3);
  luaL_argcheck(L, count <= HEADERS_MAX, 3, "too many headers");
  luaL_checkstack(L, HEADERS_MAX, NULL);
  size_t len = 0;
  const char *body = luaL_optlstring(L, 4, NULL, &len);
  options.timeout_ms = (uint64_t)luaL_optinteger(L, 5, 30000);
  for (lua_Integer i = 0; i < count; i++) { // the strings stay on the stack
    lua_rawgeti(L, 3, i + 1);
    headers[i] = luaL_checkstring(L, -1);
  }
  options.has_body = body != NULL;
  options.body = orr_slice_of(body, len);
  if (!client->open) {
    if (uv_loop_init(&client->loop) != 0) return luaL_error(L, "no event loop");
    client->http = orr_http_client_new(&client->loop);
    client->open = true;
  }
  struct answer answer = {0};
  if (orr_http_start(client->http, &options, on_done, &answer) == NULL && !answer.done)
    return luaL_error(L, "the request could not be made");
  while (!answer.done) uv_run(&client->loop, UV_RUN_ONCE);
  return push_answer(L, &answer);
}

// --- the terminal and the like ---------------------------------------------------------------------------------

static int l_tty(lua_State *L) {
  lua_pushboolean(L, isatty((int)luaL_checkinteger(L, 1)));
  return 1;
}

static int l_columns(lua_State *L) {
  struct winsize size;
  if (ioctl((int)luaL_checkinteger(L, 1), TIOCGWINSZ, &size) == 0 && size.ws_col > 0) lua_pushinteger(L, size.ws_col);
  else lua_pushnil(L);
  return 1;
}

static int l_write(lua_State *L) {
  int fd = (int)luaL_checkinteger(L, 1);
  size_t len, at = 0;
  const char *text = luaL_checklstring(L, 2, &len);
  while (at < len) {
    ssize_t n = write(fd, text + at, len - at);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) break;
    at += (size_t)n;
  }
  lua_pushboolean(L, at == len);
  return 1;
}

static int l_sleep(lua_State *L) {
  lua_Integer ms = luaL_checkinteger(L, 1);
  struct timespec time = {.tv_sec = ms / 1000, .tv_nsec = (ms % 1000) * 1000000};
  nanosleep(&time, NULL);
  return 0;
}

static int l_now(lua_State *L) {
  lua_pushinteger(L, orr_clock_now().wall_ms);
  return 1;
}

static int l_real(lua_State *L) {
  char *path = realpath(luaL_checkstring(L, 1), NULL);
  if (path != NULL) lua_pushstring(L, path);
  else lua_pushnil(L);
  free(path);
  return 1;
}

static int l_kind(lua_State *L) {
  struct stat info;
  if (stat(luaL_checkstring(L, 1), &info) != 0) lua_pushnil(L);
  else lua_pushstring(L, S_ISDIR(info.st_mode) ? "folder" : "file");
  return 1;
}

// raw(json, path) -> the text of the value there, as it stands; nil if there is none
static int l_raw(lua_State *L) {
  size_t len, path_len;
  const char *text = luaL_checklstring(L, 1, &len), *path = luaL_checklstring(L, 2, &path_len);
  struct orr_slice value;
  if (orr_json_path(orr_slice_of(text, len), orr_slice_of(path, path_len), &value) != ORR_OK) return 0;
  lua_pushlstring(L, (const char *)value.data, value.len);
  return 1;
}

static int open_cli(lua_State *L) {
  static const luaL_Reg functions[] = {{"tty", l_tty}, {"columns", l_columns}, {"write", l_write}, {"sleep", l_sleep},
                                       {"now_ms", l_now}, {"raw", l_raw}, {"real", l_real}, {"kind", l_kind}, {NULL, NULL}};
  luaL_newlib(L, functions);
  struct client *client = lua_newuserdatauv(L, sizeof(*client), 0);
  client->open = false;
  lua_createtable(L, 0, 1);
  lua_pushcfunction(L, client_gc);
  lua_setfield(L, -2, "__gc");
  lua_setmetatable(L, -2);
  lua_pushcclosure(L, l_http, 1);
  lua_setfield(L, -2, "http");
  return 1;
}

// --- the state ------------------------------------------------------------------------------------------------

// Searcher of the embedded library; ORRERY_LUA=DIR takes modules from a tree first, for development.
static int search_embedded(lua_State *L) {
  const char *name = luaL_checkstring(L, 1);
  for (const struct orr_embedded *module = orr_embedded_lua; module->module != NULL; module++) {
    if (strcmp(module->module, name) != 0) continue;
    if (luaL_loadbufferx(L, (const char *)module->code, module->len, module->path, "b") != LUA_OK) return lua_error(L);
    lua_pushstring(L, module->path);
    return 2;
  }
  lua_pushfstring(L, "no embedded module '%s'", name);
  return 1;
}

static void preload(lua_State *L, const char *name, lua_CFunction open) {
  luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_PRELOAD_TABLE);
  lua_pushcfunction(L, open);
  lua_setfield(L, -2, name);
  lua_pop(L, 1);
}

static void set_searchers(lua_State *L) {
  const char *tree = getenv("ORRERY_LUA");
  lua_getglobal(L, "package");
  lua_pushstring(L, ""); // nothing from the machine's own Lua folders
  lua_setfield(L, -2, "cpath");
  if (tree != NULL && tree[0] != 0) lua_pushfstring(L, "%s/?.lua;%s/?/init.lua", tree, tree);
  else lua_pushstring(L, "");
  lua_setfield(L, -2, "path");
  lua_getfield(L, -1, "searchers");
  lua_pushcfunction(L, search_embedded);
  lua_rawseti(L, -2, luaL_len(L, -2) + 1);
  lua_pop(L, 2);
}

static int traceback(lua_State *L) {
  const char *message = lua_tostring(L, 1);
  luaL_traceback(L, L, message != NULL ? message : luaL_tolstring(L, 1, NULL), 1);
  return 1;
}

// main(args) of "orrery.cli", under the traceback; argv as light userdata.
static int call_main(lua_State *L) {
  int argc = (int)lua_tointeger(L, 1);
  char **argv = lua_touserdata(L, 2);
  luaL_openlibs(L);
  preload(L, "orrery.c.app", orr_luaopen_app);
  preload(L, "orrery.c.json", orr_luaopen_json);
  preload(L, "orrery.c.cli", open_cli);
  set_searchers(L);
  lua_getglobal(L, "require");
  lua_pushliteral(L, "orrery.cli");
  lua_call(L, 1, 1);
  lua_getfield(L, -1, "main");
  lua_createtable(L, argc, 0);
  for (int i = 1; i < argc; i++) {
    lua_pushstring(L, argv[i]);
    lua_rawseti(L, -2, i);
  }
  lua_call(L, 1, 1);
  return 1;
}

int orr_cli_main(int argc, char **argv) {
  lua_State *L = luaL_newstate();
  if (L == NULL) return 1;
  lua_pushcfunction(L, traceback);
  lua_pushcfunction(L, call_main);
  lua_pushinteger(L, argc);
  lua_pushlightuserdata(L, argv);
  int code = 1;
  if (lua_pcall(L, 2, 1, 1) == LUA_OK) code = (int)lua_tointeger(L, -1);
  else fprintf(stderr, "error: %s\nThis is a mistake in orrery itself; please report it.\n", lua_tostring(L, -1));
  lua_close(L);
  return fflush(stdout) == 0 ? code : 1;
}
