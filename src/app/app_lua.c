// SPDX-License-Identifier: MIT
// Module "orrery.c.app" of the CLI's Lua state: what the verbs do that needs an engine in this process. Main thread.
// Functions take one table of options and return plain values; texts are JSON, decoded by the Lua side.
#include "app/app_lua.h"

#include "app/doctor.h"
#include "app/engine_app.h"
#include "app/run_once.h"
#include "app/stop_signal.h"
#include "base/json.h"
#include "server/server.h"

#include <lauxlib.h>
#include <lua.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define ORR_VERSION "0.1.0"

// --- options ------------------------------------------------------------------------------------------------

static const char *text_option(lua_State *L, const char *name) { // stays valid while the table lives
  lua_getfield(L, 1, name);
  const char *text = lua_isstring(L, -1) ? lua_tostring(L, -1) : NULL;
  lua_pop(L, 1);
  return text;
}
static lua_Integer integer_option(lua_State *L, const char *name, lua_Integer fallback) {
  lua_getfield(L, 1, name);
  lua_Integer value = lua_isnumber(L, -1) ? (lua_Integer)lua_tonumber(L, -1) : fallback;
  lua_pop(L, 1);
  return value;
}
static bool flag_option(lua_State *L, const char *name) {
  lua_getfield(L, 1, name);
  bool value = lua_toboolean(L, -1) != 0;
  lua_pop(L, 1);
  return value;
}
static struct orr_app_options app_options(lua_State *L) {
  const char *durability = text_option(L, "durability");
  return (struct orr_app_options){
      .path = text_option(L, "project"),
      .store = text_option(L, "store"),
      .listen = text_option(L, "listen"),
      .workers = (uint32_t)integer_option(L, "workers", 0),
      .durability = durability != NULL && strcmp(durability, "normal") == 0 ? ORR_DURABLE_NORMAL : ORR_DURABLE_FULL,
  };
}

static void push_problems(lua_State *L, struct orr_problems *problems, bool as_json) {
  struct orr_buf out = ORR_BUF_INIT;
  if (as_json) orr_buf_u8(&out, '[');
  for (size_t i = 0; i < problems->len; i++) {
    if (as_json) orr_json_comma(&out);
    if (as_json) orr_problem_json(&problems->items[i], &out);
    else orr_problem_render(&problems->items[i], isatty(2) && getenv("NO_COLOR") == NULL, &out);
  }
  if (as_json) orr_buf_u8(&out, ']');
  lua_pushlstring(L, (const char *)out.data, out.len);
  orr_buf_free(&out);
}

// --- serve ---------------------------------------------------------------------------------------------------

static void write_server_file(const struct orr_app *app, bool present) {
  char path[4096];
  snprintf(path, sizeof(path), "%s/server", app->project.data);
  if (!present) {
    unlink(path);
    return;
  }
  FILE *file = fopen(path, "we");
  if (file == NULL) return; // only a convenience for other verbs
  fprintf(file, "%s\n", app->listen_url);
  fclose(file);
}

static void banner(struct orr_app *app) {
  struct orr_generation *generation = orr_code_current(app->code);
  fprintf(stderr, "orrery %s  %s\n  url      %s\n  data     %s (durability %s)\n  scripts  %u, pipelines %u\n",
          ORR_VERSION, app->options.dev ? "dev (not for production)" : "serve", app->listen_url, app->store_path,
          app->options.durability == ORR_DURABLE_FULL ? "full" : "normal", generation->files_len,
          generation->defs_len);
  if (app->recovered > 0) fprintf(stderr, "  recovered %u open runs\n", app->recovered);
  orr_generation_unref(generation);
  struct orr_buf text = ORR_BUF_INIT;
  pthread_mutex_lock(&app->mutex); // the watcher may build already
  for (size_t i = 0; i < app->problems.len; i++) orr_problem_render(&app->problems.items[i], isatty(2) != 0, &text);
  pthread_mutex_unlock(&app->mutex);
  if (text.len > 0) fprintf(stderr, "%sthe last good generation serves\n", orr_buf_cstr(&text));
  orr_buf_free(&text);
  fflush(stderr);
}

// serve{project, listen, store, workers, durability, dev} -> exit code, problems JSON, rendered problems, message
static int l_serve(lua_State *L) {
  luaL_checktype(L, 1, LUA_TTABLE);
  struct orr_app_options options = app_options(L);
  if (options.listen == NULL) options.listen = "127.0.0.1:8080";
  options.dev = flag_option(L, "dev");
  options.watch = true;
  struct orr_app *app = orr_alloc(sizeof(*app));
  struct orr_problems problems = {0};
  char message[512];
  enum orr_exit code = orr_app_start(app, &options, &problems, message, sizeof(message));
  if (code == ORR_EXIT_OK) {
    banner(app);
    write_server_file(app, true);
    (void)orr_stop_signal_wait(-1);
    if (atomic_load(&app->failed)) {
      code = ORR_EXIT_FAILURE;
      snprintf(message, sizeof(message), "stopped: %s", app->failure);
    }
    write_server_file(app, false);
    if (!orr_app_stop(app)) app = NULL; // left to the end of the process
  }
  lua_pushinteger(L, code);
  push_problems(L, &problems, true);
  push_problems(L, &problems, false);
  lua_pushstring(L, message);
  orr_problems_free(&problems);
  free(app);
  return 4;
}

// --- run ------------------------------------------------------------------------------------------------------

struct progress {
  lua_State *L;
  int function; // stack index, 0: none
};
// Main thread, from orr_run_once.
static void progress(void *context, const struct orr_run_progress *event) {
  struct progress *progress = context;
  lua_State *L = progress->L;
  if (progress->function == 0) return;
  lua_pushvalue(L, progress->function);
  lua_createtable(L, 0, 8);
  lua_pushstring(L, event->run), lua_setfield(L, -2, "run");
  lua_pushstring(L, event->run_status), lua_setfield(L, -2, "run_status");
  if (event->step != NULL) lua_pushstring(L, event->step), lua_setfield(L, -2, "step");
  if (event->step_status != NULL) lua_pushstring(L, event->step_status), lua_setfield(L, -2, "step_status");
  if (event->item > 0) lua_pushinteger(L, event->item), lua_setfield(L, -2, "item");
  lua_pushinteger(L, event->steps_done), lua_setfield(L, -2, "steps_done");
  lua_pushinteger(L, event->steps_total), lua_setfield(L, -2, "steps_total");
  if (lua_pcall(L, 1, 0, 0) != LUA_OK) lua_pop(L, 1), progress->function = 0; // drawing must not stop a run
}

// run{path | project, name, input, store, workers, durability, progress} ->
//   exit code, run JSON or nil, problems JSON, rendered problems, message
static int l_run(lua_State *L) {
  luaL_checktype(L, 1, LUA_TTABLE);
  struct progress drawing = {.L = L};
  if (lua_getfield(L, 1, "progress") == LUA_TFUNCTION) drawing.function = lua_gettop(L);
  struct orr_run_once once = {
      .app = app_options(L), .name = text_option(L, "name"), .input = text_option(L, "input"),
      .progress = progress, .progress_context = &drawing,
  };
  if (text_option(L, "path") != NULL) once.app.path = text_option(L, "path");
  struct orr_problems problems = {0};
  struct orr_buf picture = ORR_BUF_INIT;
  char message[1024] = "";
  int code = orr_run_once(&once, &problems, &picture, message, sizeof(message));
  lua_pushinteger(L, code);
  if (picture.len > 0) lua_pushlstring(L, (const char *)picture.data, picture.len);
  else lua_pushnil(L);
  push_problems(L, &problems, true);
  push_problems(L, &problems, false);
  lua_pushstring(L, message);
  orr_buf_free(&picture);
  orr_problems_free(&problems);
  return 5;
}

// --- validate --------------------------------------------------------------------------------------------------

static void summary(lua_State *L, const struct orr_generation *generation) {
  struct orr_buf out = ORR_BUF_INIT;
  orr_buf_printf(&out, "{\"scripts\":%u,\"routes\":%u,\"pipelines\":[", generation->files_len, generation->routes_len);
  for (uint32_t i = 0; i < generation->defs_len; i++) {
    orr_json_comma(&out);
    orr_buf_text(&out, "{\"name\":");
    orr_json_string(&out, orr_slice_text(generation->defs[i]->name));
    orr_buf_printf(&out, ",\"steps\":%u,\"script\":", generation->defs[i]->steps_len);
    orr_json_string(&out, orr_slice_text(generation->defs[i]->script));
    orr_buf_u8(&out, '}');
  }
  orr_buf_text(&out, "]}");
  lua_pushlstring(L, (const char *)out.data, out.len);
  orr_buf_free(&out);
}

// validate{path} -> problems JSON, rendered problems, summary JSON or nil
static int l_validate(lua_State *L) {
  luaL_checktype(L, 1, LUA_TTABLE);
  const char *path = text_option(L, "path");
  struct orr_project project = {0};
  struct orr_problems problems = {0};
  struct orr_generation *generation = NULL;
  if (orr_project_open(path != NULL ? path : ".", &project, &problems) == ORR_OK) {
    struct orr_loader *loader = orr_loader_new(&project);
    if (orr_loader_build(loader, &generation, &problems) != ORR_OK) generation = NULL;
    orr_loader_free(loader);
  }
  push_problems(L, &problems, true);
  push_problems(L, &problems, false);
  if (generation != NULL) summary(L, generation);
  else lua_pushnil(L);
  if (generation != NULL) orr_generation_unref(generation);
  orr_problems_free(&problems);
  orr_project_close(&project);
  return 3;
}

static int l_version(lua_State *L) {
  lua_pushstring(L, ORR_VERSION);
  return 1;
}

// doctor{project} -> JSON list of {name, ok, detail, help}
static int l_doctor(lua_State *L) {
  luaL_checktype(L, 1, LUA_TTABLE);
  struct orr_buf out = ORR_BUF_INIT;
  const char *project = text_option(L, "project");
  orr_doctor(project != NULL ? project : ".", &out);
  lua_pushlstring(L, (const char *)out.data, out.len);
  orr_buf_free(&out);
  return 1;
}

int orr_luaopen_app(lua_State *L) {
  static const luaL_Reg functions[] = {
      {"serve", l_serve}, {"run", l_run}, {"validate", l_validate}, {"version", l_version}, {"doctor", l_doctor},
      {NULL, NULL},
  };
  luaL_newlib(L, functions);
  return 1;
}
