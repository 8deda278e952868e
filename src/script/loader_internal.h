// SPDX-License-Identifier: MIT
// Between the files of the loader: the project's files as last read, and one validating load of them.
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
};
struct orr_loader {
  struct orr_project project;
  struct orr__source **sources; // sorted by path
  uint32_t sources_len, sources_cap;
  struct orr_map by_path;
  uint32_t walk;
};

// --- files (loader_files.c)
// Brings `sources` up to date with the folders. Problems: files that cannot be read or are too large.
void orr__loader_scan(struct orr_loader *loader, struct orr_problems *problems);
struct orr__source *orr__loader_find(const struct orr_loader *loader, const char *path);
void orr__source_free(struct orr__source *source);

// --- one validating load (loader_lua.c, loader_require.c)
struct orr__load {
  struct orr_loader *loader;
  struct orr_problems *problems;
  lua_State *L;
  size_t bytes;              // allocated by the state
  uint64_t deadline_us;      // of the script that loads; 0: none
  bool late;                 // the deadline has passed
  struct orr__source *stack[200]; // files whose chunks run, innermost last
  uint32_t depth;
  int modules_ref;           // registry: name -> value of a loaded project module
  int shared_ref;            // registry: the globals that scripts share
  void *luv;                 // loop of the real luv, whose constants scripts may see; or NULL
  bool env_read;
};
bool orr__load_open(struct orr__load *load); // false: out of memory
void orr__load_close(struct orr__load *load);
// Runs one file; problems go to load->problems and source->failed is set. Leaves its one result on the stack if
// it did not fail.
bool orr__load_run(struct orr__load *load, struct orr__source *source);
// Pushes the compiled chunk with globals of its own, or an error (then false).
bool orr__load_chunk(struct orr__load *load, struct orr__source *source);
int orr__load_require(lua_State *L); // the scripts' require
static inline struct orr__load *orr__load_of(lua_State *L) { return *(struct orr__load **)lua_getextraspace(L); }
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
int orr__load_raise(lua_State *L, const char *code, const char *message, const char *help, const char *word);
void orr__load_globals(struct orr__load *load); // embedded modules, refusing ones, shared globals
int orr__load_handler(lua_State *L);            // message handler: adds a traceback of the user's frames

// --- from declarations to data (pack.c)
// For each pipeline of the registry. Appends definitions to *defs (references). Problems are added.
void orr__load_pack(struct orr__load *load, struct orr_def ***defs, uint32_t *defs_len);
void orr__load_routes(struct orr__load *load, struct orr_arena *arena, struct orr_route **routes, uint32_t *routes_len);
// The JSON of configuration and environment, or NULL.
struct orr_blob *orr__load_settings(struct orr__load *load);
