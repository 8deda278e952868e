// SPDX-License-Identifier: MIT
// Building from the last generation: loading is deterministic, so a script whose text, required
// modules and configuration are what they were declares what it declared. Its definitions are taken
// from the last good generation and only the changed scripts are loaded. Whenever that leaves a
// doubt (a problem, a name that went), the loader builds from scratch, so what people see never
// depends on what was kept. The loader's thread.
#include "script/loader_internal.h"

#include "base/check.h"
#include "base/json.h"
#include "script/generation_parts.h"

#include <stdlib.h>

void orr__keep_env(struct orr__source *source, const char *name) {
  for (uint32_t i = 0; i < source->env_len; i++) {
    if (strcmp(source->env[i], name) == 0) return;
  }
  source->env = orr_realloc(source->env, (source->env_len + 1) * sizeof(char *));
  source->env[source->env_len++] = orr_strdup(name);
}

static void forget_env(struct orr__source *source) {
  for (uint32_t i = 0; i < source->env_len; i++) free(source->env[i]);
  source->env_len = 0;
}

void orr__keep_nothing(struct orr_loader *loader) {
  for (uint32_t i = 0; i < loader->sources_len; i++) {
    struct orr__source *source = loader->sources[i];
    source->good = source->kept = false;
    source->needs_len = 0;
    forget_env(source);
  }
  orr_generation_unref(loader->last);
  loader->last = NULL;
  loader->moved = false;
}

// The configuration that orrery.lua has just given, against the last: both as the JSON of the
// settings.
static bool same_config(struct orr__load *load) {
  struct orr_slice now = orr_slice_of(NULL, 0), before = now, value;
  struct orr_blob *settings = orr__load_settings(load);
  if (settings != NULL &&
      orr_json_path(orr_blob_slice(settings), ORR_SLICE_LITERAL("config"), &value) == ORR_OK)
    now = value;
  struct orr_blob *last = load->loader->last->config;
  if (last != NULL &&
      orr_json_path(orr_blob_slice(last), ORR_SLICE_LITERAL("config"), &value) == ORR_OK)
    before = value;
  bool same = orr_slice_equal(now, before);
  orr_blob_unref(settings);
  return same;
}

static void call_registry(lua_State *L, const char *function, const char *first,
                          const char *second) {
  lua_getfield(L, LUA_REGISTRYINDEX, LUA_LOADED_TABLE);
  lua_getfield(L, -1, "orrery.registry");
  lua_getfield(L, -1, function);
  lua_pushstring(L, first);
  lua_pushstring(L, second);
  lua_call(L, 2, 0);
  lua_pop(L, 2);
}

// The variables that a kept script's code reads belong to the settings still. Its modules follow
// over `needs`.
static void read_env_again(struct orr__load *load, struct orr__source *script) {
  struct orr_loader *loader = load->loader;
  struct orr__source *stack[64];
  uint32_t len = 0;
  stack[len++] = script;
  while (len > 0) {
    struct orr__source *source = stack[--len];
    for (uint32_t i = 0; i < source->env_len; i++)
      call_registry(load->L, "env", source->env[i], NULL);
    for (uint32_t i = 0; i < source->needs_len; i++) {
      if (source->needs[i]->mark == loader->walk || len == sizeof(stack) / sizeof(stack[0]))
        continue;
      source->needs[i]->mark = loader->walk;
      stack[len++] = source->needs[i];
    }
  }
}

void orr__keep_mark(struct orr__load *load) {
  struct orr_loader *loader = load->loader;
  for (uint32_t i = 0; i < loader->sources_len; i++) loader->sources[i]->kept = false;
  if (loader->last == NULL || !same_config(load)) return;
  for (uint32_t i = 0; i < loader->sources_len; i++) {
    struct orr__source *source = loader->sources[i];
    if (source->kind != ORR__SOURCE_SCRIPT || !source->good) continue;
    struct orr_digest version = orr__load_version(loader, source);
    source->kept = orr_digest_equal(&version, &source->version);
  }
  loader->walk++;
  for (uint32_t i = 0; i < loader->sources_len; i++) {
    if (loader->sources[i]->kept)
      read_env_again(load, loader->sources[i]);
    else if (loader->sources[i]->kind == ORR__SOURCE_SCRIPT)
      forget_env(loader->sources[i]);
  }
  const struct orr_generation *last = loader->last;
  for (uint32_t i = 0; i < last->defs_len; i++) {
    const struct orr__source *source = orr__loader_find(loader, last->defs[i]->script);
    if (source != NULL && source->kept)
      call_registry(load->L, "keep_pipeline", last->defs[i]->name, NULL);
  }
  for (uint32_t i = 0; i < last->routes_len; i++) {
    const struct orr__source *source = orr__loader_find(loader, last->routes[i].script);
    if (source != NULL && source->kept)
      call_registry(load->L, "keep_route", last->routes[i].method, last->routes[i].pattern);
  }
}

static int by_script(const void *a, const void *b) {
  const struct orr_route *x = a, *y = b;
  int order = strcmp(x->script, y->script);
  return order != 0 ? order : (x->index > y->index) - (x->index < y->index);
}

static void take_routes(struct orr_loader *loader, struct orr__built *built) {
  const struct orr_generation *last = loader->last;
  uint32_t most = built->routes_len + (last != NULL ? last->routes_len : 0);
  struct orr_route *routes = orr_arena_alloc(&built->arena, (most + 1) * sizeof(*routes));
  uint32_t len = 0;
  for (uint32_t i = 0; i < built->routes_len; i++) routes[len++] = built->routes[i];
  for (uint32_t i = 0; last != NULL && i < last->routes_len; i++) {
    const struct orr__source *source = orr__loader_find(loader, last->routes[i].script);
    if (source != NULL && source->kept) routes[len++] = last->routes[i]; // texts live with `last`
  }
  qsort(routes, len, sizeof(*routes), by_script);
  built->routes = routes;
  built->routes_len = len;
}

void orr__keep_take(struct orr_loader *loader, struct orr__built *built) {
  const struct orr_generation *last = loader->last;
  take_routes(loader, built);
  if (last == NULL) return;
  built->defs =
      orr_realloc(built->defs, (built->defs_len + last->defs_len + 1) * sizeof(struct orr_def *));
  for (uint32_t i = 0; i < last->defs_len; i++) {
    const struct orr__source *source = orr__loader_find(loader, last->defs[i]->script);
    if (source == NULL || !source->kept) continue;
    struct orr_def *def;
    enum orr_status status = orr_def_decode(orr_blob_slice(orr__generation_encoded(last, i)), &def);
    orr_assert(status == ORR_OK); // we encoded it
    built->defs[built->defs_len++] = def;
  }
}

bool orr__keep_complete(const struct orr_loader *loader, const struct orr__built *built) {
  const struct orr_generation *last = loader->last;
  if (last == NULL) return true;
  struct orr_map names = ORR_MAP_INIT;
  for (uint32_t i = 0; i < built->defs_len; i++)
    orr_map_put(&names, orr_slice_text(built->defs[i]->name), built->defs[i]);
  bool complete = true;
  for (uint32_t i = 0; i < last->defs_len; i++) {
    complete = complete && orr_map_get(&names, orr_slice_text(last->defs[i]->name)) != NULL;
  }
  orr_map_free(&names);
  return complete;
}

void orr__keep_last(struct orr_loader *loader, struct orr_generation *generation) {
  for (uint32_t i = 0; i < loader->sources_len; i++) {
    struct orr__source *source = loader->sources[i];
    if (source->kind != ORR__SOURCE_SCRIPT) continue;
    source->good = true;
    source->version = orr__load_version(loader, source);
  }
  orr_generation_ref(generation);
  orr_generation_unref(loader->last);
  loader->last = generation;
  loader->moved = false;
}
