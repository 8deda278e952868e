// SPDX-License-Identifier: MIT
// One build: files, one validating load of all scripts, definitions, a generation. The caller's
// thread.
#include "script/loader.h"

#include "base/check.h"
#include "base/clock.h"
#include "script/generation_parts.h"
#include "script/loader_internal.h"

#include <stdlib.h>

struct orr_loader *orr_loader_new(const struct orr_project *project) {
  struct orr_loader *loader = orr_alloc(sizeof(*loader));
  loader->project.root = orr_strdup(project->root);
  loader->project.only = project->only != NULL ? orr_strdup(project->only) : NULL;
  loader->project.data = orr_strdup(project->data);
  return loader;
}

void orr_loader_free(struct orr_loader *loader) {
  if (loader == NULL) return;
  for (uint32_t i = 0; i < loader->sources_len; i++) orr__source_free(loader->sources[i]);
  free(loader->sources);
  orr_map_free(&loader->by_path);
  orr_generation_unref(loader->last);
  orr_project_close(&loader->project);
  free(loader);
}

static bool any_script(struct orr_loader *loader) {
  for (uint32_t i = 0; i < loader->sources_len; i++) {
    if (loader->sources[i]->kind == ORR__SOURCE_SCRIPT) return true;
  }
  return false;
}

static void set_registry(struct orr__load *load, const char *field, const char *text) {
  lua_State *L = load->L;
  lua_getfield(L, LUA_REGISTRYINDEX, LUA_LOADED_TABLE);
  lua_getfield(L, -1, "orrery.registry");
  lua_pushstring(L, text);
  lua_setfield(L, -2, field);
  lua_pop(L, 2);
}

// registry.set_config(value of orrery.lua, which is on top of the stack); pops it.
static void keep_config(struct orr__load *load, struct orr__source *source) {
  lua_State *L = load->L;
  lua_getfield(L, LUA_REGISTRYINDEX, LUA_LOADED_TABLE);
  lua_getfield(L, -1, "orrery.registry");
  lua_getfield(L, -1, "set_config");
  lua_pushvalue(L, -4);
  if (lua_pcall(L, 1, 0, 0) != LUA_OK) {
    source->failed = true;
    orr__load_problem(load, source);
  }
  lua_pop(L, 3);
}

static void load_all(struct orr__load *load) {
  struct orr_loader *loader = load->loader;
  struct orr__source *config = orr__loader_find(loader, "orrery.lua");
  if (config != NULL && config->kind == ORR__SOURCE_CONFIG) {
    set_registry(load, "current_script", config->path);
    if (orr__load_run(load, config)) keep_config(load, config);
  }
  orr__keep_mark(load);
  for (uint32_t i = 0; i < loader->sources_len; i++) {
    struct orr__source *source = loader->sources[i];
    if (source->kind != ORR__SOURCE_SCRIPT || source->kept) continue;
    set_registry(load, "current_script", source->path);
    if (orr__load_run(load, source)) lua_pop(load->L, 1);
  }
}

// declare.finish(failed), then what was reported on the way.
static int finish_protected(lua_State *L) {
  struct orr__load *load = orr__load_of(L);
  lua_getfield(L, LUA_REGISTRYINDEX, LUA_LOADED_TABLE);
  lua_getfield(L, -1, "orrery.declare");
  if (lua_istable(L, 3)) { // a project whose scripts never required the library declares nothing
    lua_getfield(L, -1, "finish");
    lua_newtable(L);
    for (uint32_t i = 0; i < load->loader->sources_len; i++) {
      if (!load->loader->sources[i]->failed) continue;
      lua_pushboolean(L, 1);
      lua_setfield(L, -2, load->loader->sources[i]->path);
    }
    lua_call(L, 1, 0);
  }
  lua_getfield(L, 2, "orrery.registry");
  lua_getfield(L, -1, "problems");
  orr__load_reported(load);
  return 0;
}

static int pack_protected(lua_State *L) {
  struct orr__load *load = orr__load_of(L);
  struct orr__built *built = lua_touserdata(L, 1);
  lua_getglobal(L, "require");
  lua_pushliteral(L, "orrery.describe");
  lua_call(L, 1, 0);
  orr__load_pack(load, &built->defs, &built->defs_len);
  orr__load_routes(load, &built->arena, &built->routes, &built->routes_len);
  built->config = orr__load_settings(load);
  return 0;
}

static void call_protected(struct orr__load *load, lua_CFunction function, void *argument) {
  lua_State *L = load->L;
  lua_pushcfunction(L, orr__load_handler);
  int handler = lua_gettop(L);
  lua_pushcfunction(L, function);
  lua_pushlightuserdata(L, argument);
  if (lua_pcall(L, 1, 0, handler) != LUA_OK) orr__load_problem(load, NULL);
  lua_settop(L, handler - 1);
}

static int by_place(const void *a, const void *b) {
  const struct orr_problem *x = a, *y = b;
  int order = strcmp(x->file != NULL ? x->file : "", y->file != NULL ? y->file : "");
  if (order == 0) order = (x->line > y->line) - (x->line < y->line);
  if (order == 0) order = (x->column > y->column) - (x->column < y->column);
  if (order == 0) order = strcmp(x->code, y->code);
  return order != 0 ? order : strcmp(x->message, y->message);
}

static struct orr_generation *make(struct orr_loader *loader, struct orr__built *built) {
  struct orr_script_file *files = orr_alloc((loader->sources_len + 1) * sizeof(*files));
  for (uint32_t i = 0; i < loader->sources_len; i++) {
    struct orr__source *source = loader->sources[i];
    files[i] =
        (struct orr_script_file){source->path, source->digest, orr_blob_ref(source->content)};
  }
  struct orr__parts parts = {loader->project.root, files,           loader->sources_len,
                             built->defs,          built->defs_len, built->routes,
                             built->routes_len,    built->config};
  struct orr_generation *generation = orr__generation_make(&parts, orr_clock_now().wall_ms);
  free(files);
  return generation;
}

// One load of what is not kept. False: problems were found, or the kept part cannot stand beside
// it.
static bool build(struct orr_loader *loader, struct orr__built *built,
                  struct orr_problems *problems) {
  size_t before = problems->len;
  struct orr__load *load = orr_alloc(sizeof(*load));
  load->loader = loader;
  load->problems = problems;
  for (uint32_t i = 0; i < loader->sources_len; i++) loader->sources[i]->failed = false;
  if (orr__load_open(load)) {
    if (problems->len == before) load_all(load);
    call_protected(load, finish_protected, NULL);
    call_protected(load, pack_protected, built);
  } else {
    orr_problems_add(problems, "E0106", "no memory for a Lua state");
  }
  orr__load_close(load);
  free(load);
  if (problems->len != before) return false;
  orr__keep_take(loader, built);
  return orr__keep_complete(loader, built);
}

static void forget(struct orr__built *built) {
  for (uint32_t i = 0; i < built->defs_len; i++) orr_def_unref(built->defs[i]);
  orr_blob_unref(built->config);
  free(built->defs);
  orr_arena_free(&built->arena);
  *built = (struct orr__built){0};
}

// What only a partial build complains about may be due to what was left out: the whole one decides.
static bool build_from_last(struct orr_loader *loader, struct orr__built *built) {
  struct orr_problems ignored = {0};
  if (loader->last == NULL || loader->moved) return false;
  bool good = build(loader, built, &ignored);
  orr_problems_free(&ignored);
  if (!good) forget(built);
  return good;
}

enum orr_status orr_loader_build(struct orr_loader *loader, struct orr_generation **generation,
                                 struct orr_problems *problems) {
  size_t before = problems->len;
  struct orr__built built = {0};
  orr__loader_scan(loader, problems);
  if (problems->len == before && !any_script(loader)) {
    struct orr_problem *problem = orr_problems_add(problems, "E0110", "the project has no scripts");
    problem->help = orr_strdup("put a script into the folder pipelines/, or name a .lua file");
    return ORR_ERR_NOT_FOUND;
  }
  bool good = problems->len == before && build_from_last(loader, &built);
  if (!good) {
    orr__keep_nothing(loader);
    good = build(loader, &built, problems) && problems->len == before;
  }
  if (good) {
    *generation = make(loader, &built);
    orr__keep_last(loader, *generation);
  } else {
    for (uint32_t i = 0; i < built.defs_len; i++) orr_def_unref(built.defs[i]);
    orr_blob_unref(built.config);
    qsort(problems->items + before, problems->len - before, sizeof(*problems->items), by_place);
  }
  free(built.defs);
  orr_arena_free(&built.arena);
  return good ? ORR_OK : ORR_ERR_INVALID;
}
