// SPDX-License-Identifier: MIT
// Between the files of the loader: the project's files as last read, and one validating load of
// them.
#pragma once

#include "base/arena.h"
#include "base/map.h"
#include "script/loader.h"

#include <lauxlib.h>
#include <lua.h>

enum orr__source_kind { ORR__SOURCE_SCRIPT, ORR__SOURCE_MODULE, ORR__SOURCE_CONFIG };

struct orr__source { // one file, kept between builds while its stamp is the same
  char *path;        // in the project, "lib/packages.lua"
  enum orr__source_kind kind;
  struct orr_digest digest;
  struct orr_blob *content;
  struct orr_blob *code; // bytecode made from `content`, or NULL
  int64_t modified_ns, changed_ns;
  uint64_t size, inode;
  bool seen;   // in this scan
  bool failed; // did not load in this build
  // In this build: the project modules that loading it required (direct ones).
  struct orr__source **needs;
  uint32_t needs_len, needs_cap;
  uint32_t mark; // visited, by number of the walk
  // Of the last good build, kept over builds while nothing that it depends on changes:
  char **env; // variables that its code read by o.env
  uint32_t env_len;
  bool good; // a script whose declarations are in loader->last
  bool kept; // taken from there in this build
  struct orr_digest version;
};
struct orr_loader {
  struct orr_project project;
  struct orr__source **sources; // sorted by path
  uint32_t sources_len, sources_cap;
  struct orr_map by_path;
  uint32_t walk;
  bool moved;     // modules came or went since the last build: names resolve anew
  uint64_t stamp; // of all files as the last scan found them
  bool looking;   // a walk that only looks: orr__loader_look
  void (*folder)(void *context,
                 const char *path); // told of each folder of the walk (project path); or NULL
  void *folder_context;
  struct orr_generation *last; // of the last good build, or NULL
};

// --- files (loader_files.c)
// Brings `sources` up to date with the folders. Problems: files that cannot be read or are too
// large.
void orr__loader_scan(struct orr_loader *loader, struct orr_problems *problems);
// The stamp of the files as they are now, without reading them. `folder` may be NULL.
uint64_t orr__loader_look(struct orr_loader *loader,
                          void (*folder)(void *context, const char *path), void *context);
struct orr__source *orr__loader_find(const struct orr_loader *loader, const char *path);
void orr__source_free(struct orr__source *source);

// --- one validating load (loader_lua.c, loader_require.c)
struct orr__load {
  struct orr_loader *loader;
  struct orr_problems *problems;
  lua_State *L;
  size_t bytes;                   // allocated by the state
  uint64_t deadline_us;           // of the script that loads; 0: none
  bool late;                      // the deadline has passed
  struct orr__source *stack[200]; // files whose chunks run, innermost last
  uint32_t depth;
  int modules_ref; // registry: name -> value of a loaded project module
  int shared_ref;  // registry: the globals that scripts share
  void *luv;       // loop of the real luv, whose constants scripts may see; or NULL
};
bool orr__load_open(struct orr__load *load); // false: out of memory
void orr__load_close(struct orr__load *load);
// Runs one file; problems go to load->problems and source->failed is set. Leaves its one result on
// the stack if it did not fail.
bool orr__load_run(struct orr__load *load, struct orr__source *source);
// Pushes the compiled chunk with globals of its own, or an error (then false).
bool orr__load_chunk(struct orr__load *load, struct orr__source *source);
int orr__load_require(lua_State *L); // the scripts' require
static inline struct orr__load *orr__load_of(lua_State *L) {
  return *(struct orr__load **)lua_getextraspace(L);
}
// Makes a problem of the error value on top of the stack and pops it. `source`: what was loading.
void orr__load_problem(struct orr__load *load, const struct orr__source *source);
// Pops a list of problem fields (registry.problems).
void orr__load_reported(struct orr__load *load);
struct orr__fields { // of a problem as a Lua value; texts borrowed, NULL: absent
  const char *code, *message, *help, *word, *script;
  uint32_t line;
};
void orr__load_push_problem(lua_State *L, const struct orr__fields *fields);
// Raises a problem from C, at the place of the calling script.
int orr__load_raise(lua_State *L, const char *code, const char *message, const char *help,
                    const char *word);
void orr__load_globals(struct orr__load *load); // embedded modules, refusing ones, shared globals
int orr__load_handler(lua_State *L); // message handler: adds a traceback of the user's frames

// --- from declarations to data (pack.c)
// For each pipeline of the registry. Appends definitions to *defs (references). Problems are added.
void orr__load_pack(struct orr__load *load, struct orr_def ***defs, uint32_t *defs_len);
void orr__load_routes(struct orr__load *load, struct orr_arena *arena, struct orr_route **routes,
                      uint32_t *routes_len);
// The JSON of configuration and environment, or NULL.
struct orr_blob *orr__load_settings(struct orr__load *load);
// The hash of a script and of the project modules that loading it required.
struct orr_digest orr__load_version(struct orr_loader *loader, struct orr__source *script);

// --- what one build takes from the last (loader_keep.c)
struct orr__built {      // what was made of the declarations, before it is a generation
  struct orr_def **defs; // references
  uint32_t defs_len;
  struct orr_route *routes; // in arena
  uint32_t routes_len;
  struct orr_blob *config; // or NULL
  struct orr_arena arena;
};
// Marks the scripts whose declarations need no loading, and tells the registry their names. After
// orrery.lua ran.
void orr__keep_mark(struct orr__load *load);
// Adds their definitions and routes to what was built.
void orr__keep_take(struct orr_loader *loader, struct orr__built *built);
// False: a name of the last build is gone, so everything must be checked again.
bool orr__keep_complete(const struct orr_loader *loader, const struct orr__built *built);
// Nothing is kept: before a build from scratch.
void orr__keep_nothing(struct orr_loader *loader);
void orr__keep_last(struct orr_loader *loader,
                    struct orr_generation *generation); // after a good build
void orr__keep_env(struct orr__source *source, const char *name);
