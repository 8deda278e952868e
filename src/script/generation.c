// SPDX-License-Identifier: MIT
// Generations: immutable once made, any thread reads them.
//
// Life. A definition points at its generation (def->code) and a generation at its definitions,
// which would keep both forever. So there are two counts: `refs` are the holders from outside,
// `parts` are those plus one for each living definition. When the last holder lets go, the
// generation gives up its own references to its definitions (once: `released`); those that runs
// still hold live on and keep the generation's files readable through def->code; the last of them
// frees it. A holder that comes back through def->code gets the files, while names are no longer
// resolved there (orr_generation_def gives NULL): whoever needs names finds the generation by
// digest.
#include "script/generation.h"

#include "base/arena.h"
#include "base/check.h"
#include "base/clock.h"
#include "io/digest.h"
#include "script/generation_parts.h"

#include <stdio.h>
#include <stdlib.h>

static const char TREE_HEAD[] = "orrery tree 1\n";

struct generation {
  struct orr_generation shared; // first: what the header shows
  uint32_t parts;               // atomic: holders and living definitions
  uint32_t released;            // atomic: own references to definitions were given up
  struct orr_blob **encoded;    // of each definition, parallel to shared.defs
  struct orr_arena arena;
};

static struct generation *inside(struct orr_generation *generation) {
  return (struct generation *)(void *)generation;
}

static void destroy(struct generation *g) {
  for (uint32_t i = 0; i < g->shared.files_len; i++) orr_blob_unref(g->shared.files[i].content);
  for (uint32_t i = 0; i < g->shared.defs_len; i++) orr_blob_unref(g->encoded[i]);
  orr_blob_unref(g->shared.tree);
  orr_blob_unref(g->shared.config);
  orr_arena_free(&g->arena);
  free(g);
}

static void drop_part(struct generation *g) {
  uint32_t before = __atomic_fetch_sub(&g->parts, 1, __ATOMIC_ACQ_REL);
  orr_assert(before > 0);
  if (before == 1) destroy(g);
}

static void definition_gone(void *code) { drop_part(code); }

// Whoever sets `released` gives the references up; nobody else looks at them afterwards.
static void release_definitions(struct generation *g) {
  if (__atomic_exchange_n(&g->released, 1, __ATOMIC_ACQ_REL) != 0) return;
  for (uint32_t i = 0; i < g->shared.defs_len; i++) orr_def_unref(g->shared.defs[i]);
}

struct orr_generation *orr_generation_ref(struct orr_generation *generation) {
  struct generation *g = inside(generation);
  __atomic_fetch_add(&g->parts, 1, __ATOMIC_RELAXED);
  if (__atomic_fetch_add(&g->shared.refs, 1, __ATOMIC_ACQ_REL) == 0) release_definitions(g);
  return generation;
}

void orr_generation_unref(struct orr_generation *generation) {
  if (generation == NULL) return;
  struct generation *g = inside(generation);
  uint32_t before = __atomic_fetch_sub(&g->shared.refs, 1, __ATOMIC_ACQ_REL);
  orr_assert(before > 0);
  if (before == 1) release_definitions(g);
  drop_part(g);
}

const struct orr_script_file *orr_generation_file(const struct orr_generation *generation,
                                                  const char *path) {
  uint32_t low = 0, high = generation->files_len;
  while (low < high) {
    uint32_t middle = low + (high - low) / 2;
    int order = strcmp(path, generation->files[middle].path);
    if (order == 0) return &generation->files[middle];
    if (order < 0)
      high = middle;
    else
      low = middle + 1;
  }
  return NULL;
}

static int compare_name(struct orr_slice name, const char *other) {
  size_t len = strlen(other);
  size_t common = name.len < len ? name.len : len;
  int order = common == 0 ? 0 : memcmp(name.data, other, common);
  if (order != 0) return order;
  return (name.len > len) - (name.len < len);
}

struct orr_def *orr_generation_def(const struct orr_generation *generation, struct orr_slice name) {
  const struct generation *g = (const struct generation *)(const void *)generation;
  if (__atomic_load_n(&g->released, __ATOMIC_ACQUIRE) != 0) return NULL;
  uint32_t low = 0, high = generation->defs_len;
  while (low < high) {
    uint32_t middle = low + (high - low) / 2;
    int order = compare_name(name, generation->defs[middle]->name);
    if (order == 0) return generation->defs[middle];
    if (order < 0)
      high = middle;
    else
      low = middle + 1;
  }
  return NULL;
}

const char *orr_generation_suggest(const struct orr_generation *generation, const char *name) {
  const char **names = orr_alloc(sizeof(*names) * (generation->defs_len + 1u));
  for (uint32_t i = 0; i < generation->defs_len; i++) names[i] = generation->defs[i]->name;
  const char *near = orr_suggest(name, names, generation->defs_len);
  free(names);
  return near;
}

size_t orr_generation_blobs(const struct orr_generation *generation, struct orr_slice **blobs) {
  const struct generation *g = (const struct generation *)(const void *)generation;
  size_t len = 0;
  *blobs = orr_alloc((generation->files_len + generation->defs_len + 2) * sizeof(**blobs));
  (*blobs)[len++] = orr_blob_slice(generation->tree);
  if (generation->config != NULL) (*blobs)[len++] = orr_blob_slice(generation->config);
  for (uint32_t i = 0; i < generation->defs_len; i++)
    (*blobs)[len++] = orr_blob_slice(g->encoded[i]);
  for (uint32_t i = 0; i < generation->files_len; i++)
    (*blobs)[len++] = orr_blob_slice(generation->files[i].content);
  return len;
}

struct orr_blob *orr__generation_encoded(const struct orr_generation *generation, uint32_t index) {
  orr_assert(index < generation->defs_len);
  return ((const struct generation *)(const void *)generation)->encoded[index];
}

// --- making
// ---------------------------------------------------------------------------------------------------

static int by_path(const void *a, const void *b) {
  return strcmp(((const struct orr_script_file *)a)->path,
                ((const struct orr_script_file *)b)->path);
}

static int by_name(const void *a, const void *b) {
  return strcmp((*(struct orr_def *const *)a)->name, (*(struct orr_def *const *)b)->name);
}

static int by_text(const void *a, const void *b) {
  return strcmp(*(char *const *)a, *(char *const *)b);
}

static char *tree_line(const char *kind, const struct orr_digest *digest, const char *name) {
  char hex[65];
  struct orr_buf line = ORR_BUF_INIT;
  orr_digest_text(digest, hex);
  orr_buf_printf(&line, "%s %s%s%s\n", kind, hex, name[0] != '\0' ? " " : "", name);
  char *text = orr_strdup(orr_buf_cstr(&line));
  orr_buf_free(&line);
  return text;
}

static char *route_line(const struct orr_route *route) {
  struct orr_buf line = ORR_BUF_INIT;
  orr_buf_printf(&line, "route %s %06u %s %s\n", route->method, route->index, route->pattern,
                 route->script);
  char *text = orr_strdup(orr_buf_cstr(&line));
  orr_buf_free(&line);
  return text;
}

static void make_tree(struct generation *g) {
  struct orr_generation *s = &g->shared;
  char **lines = orr_alloc((s->files_len + s->defs_len + s->routes_len + 1) * sizeof(*lines));
  size_t len = 0;
  struct orr_digest digest;
  if (s->config != NULL) {
    orr_sha256(orr_blob_slice(s->config), &digest);
    lines[len++] = tree_line("config", &digest, "");
  }
  for (uint32_t i = 0; i < s->defs_len; i++) {
    orr_sha256(orr_blob_slice(g->encoded[i]), &digest);
    lines[len++] = tree_line("def", &digest, s->defs[i]->name);
  }
  for (uint32_t i = 0; i < s->files_len; i++)
    lines[len++] = tree_line("file", &s->files[i].digest, s->files[i].path);
  for (uint32_t i = 0; i < s->routes_len; i++) lines[len++] = route_line(&s->routes[i]);
  qsort(lines, len, sizeof(*lines), by_text);
  struct orr_buf tree = ORR_BUF_INIT;
  orr_buf_text(&tree, TREE_HEAD);
  for (size_t i = 0; i < len; i++) {
    orr_buf_text(&tree, lines[i]);
    free(lines[i]);
  }
  free(lines);
  s->tree = orr_blob_new(orr_buf_slice(&tree));
  orr_sha256(orr_blob_slice(s->tree), &s->digest);
  orr_buf_free(&tree);
}

static void take_files(struct generation *g, const struct orr__parts *parts) {
  g->shared.files_len = parts->files_len;
  g->shared.files = orr_arena_alloc(&g->arena, (parts->files_len + 1) * sizeof(*g->shared.files));
  for (uint32_t i = 0; i < parts->files_len; i++) {
    g->shared.files[i] = parts->files[i];
    g->shared.files[i].path = orr_arena_text(&g->arena, orr_slice_text(parts->files[i].path));
  }
  qsort(g->shared.files, parts->files_len, sizeof(*g->shared.files), by_path);
}

static void take_routes(struct generation *g, const struct orr__parts *parts) {
  g->shared.routes_len = parts->routes_len;
  g->shared.routes =
      orr_arena_alloc(&g->arena, (parts->routes_len + 1) * sizeof(*g->shared.routes));
  for (uint32_t i = 0; i < parts->routes_len; i++) {
    const struct orr_route *from = &parts->routes[i];
    g->shared.routes[i] = (struct orr_route){
        .method = orr_arena_text(&g->arena, orr_slice_text(from->method)),
        .pattern = orr_arena_text(&g->arena, orr_slice_text(from->pattern)),
        .script = orr_arena_text(&g->arena, orr_slice_text(from->script)),
        .index = from->index,
    };
  }
}

static void take_definitions(struct generation *g, const struct orr__parts *parts) {
  g->shared.defs_len = parts->defs_len;
  g->shared.defs = orr_arena_alloc(&g->arena, (parts->defs_len + 1) * sizeof(struct orr_def *));
  g->encoded = orr_arena_alloc(&g->arena, (parts->defs_len + 1) * sizeof(struct orr_blob *));
  if (parts->defs_len > 0)
    memcpy(g->shared.defs, parts->defs, parts->defs_len * sizeof(struct orr_def *));
  qsort(g->shared.defs, parts->defs_len, sizeof(struct orr_def *), by_name);
  for (uint32_t i = 0; i < parts->defs_len; i++) {
    struct orr_buf bytes = ORR_BUF_INIT;
    orr_def_encode(g->shared.defs[i], &bytes);
    g->encoded[i] = orr_blob_new(orr_buf_slice(&bytes));
    orr_buf_free(&bytes);
  }
}

struct orr_generation *orr__generation_make(const struct orr__parts *parts, int64_t loaded_ms) {
  struct generation *g = orr_alloc(sizeof(*g));
  g->shared.refs = 1;
  g->parts = 1 + parts->defs_len;
  g->shared.loaded_ms = loaded_ms;
  g->shared.root = orr_arena_text(&g->arena, orr_slice_text(parts->root));
  g->shared.config = parts->config;
  take_files(g, parts);
  take_routes(g, parts);
  take_definitions(g, parts);
  make_tree(g);
  for (uint32_t i = 0; i < g->shared.defs_len; i++) {
    orr_def_attach(g->shared.defs[i], &g->shared.digest, g, definition_gone);
  }
  return &g->shared;
}
