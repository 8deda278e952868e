// SPDX-License-Identifier: MIT
// One successfully loaded snapshot of all project scripts, immutable, reference-counted (atomic), readable
// by any thread. Stored like a git tree: `tree` is a text whose SHA-256 is the generation's id:
//   "orrery tree 1\n", then sorted lines "file HASH PATH\n", "def HASH NAME\n", at most one "config HASH\n" and
//   "route METHOD INDEX PATTERN SCRIPT\n".
// A definition's blob is orr_def_encode's bytes, a file's blob its text. Runs pin a generation: their code,
// `require` and names resolve in it, to their end, over edits and restarts.
#pragma once

#include "base/blob.h"
#include "base/map.h"
#include "core/def.h"
#include "io/store.h"

struct orr_script_file {
  const char *path; // relative to the project, "pipelines/etl.lua"
  struct orr_digest digest;
  struct orr_blob *content;
};
struct orr_route { // a Lua route, in order of declaration
  const char *method;  // "GET"
  const char *pattern; // "/api/custom/{name}": exact segments and {parameters}
  const char *script;  // project path, or "orrery/routes/runs.lua" for built-in ones
  uint32_t index;      // of the route within its script, from 1
};
struct orr_generation {
  uint32_t refs; // atomic
  struct orr_digest digest;
  struct orr_blob *tree;
  const char *root;      // project folder, absolute: cwd of steps, base of relative paths
  struct orr_script_file *files; // sorted by path
  uint32_t files_len;
  struct orr_def **defs; // sorted by name; attached to this generation
  uint32_t defs_len;
  struct orr_route *routes; // of the project only
  uint32_t routes_len;
  struct orr_blob *config; // JSON of orrery.lua's result and o.env values seen at load, or NULL
  int64_t loaded_ms;
};
// (A definition holds its generation through def->code; the generation holds its definitions weakly for that
// reason: `defs` are the generation's own references, and def->code is counted apart. orr_generation_unref
// frees when only its own definitions refer to it. See generation.c.)
struct orr_generation *orr_generation_ref(struct orr_generation *generation);
void orr_generation_unref(struct orr_generation *generation);
// Every blob of it, for orr_host_put_generation: tree, configuration, definitions, files. The slices are borrowed from
// the generation, the array is the caller's to free.
size_t orr_generation_blobs(const struct orr_generation *generation, struct orr_slice **blobs);
// Borrowed; NULL if absent. A generation that was reached through def->code alone, after its last holder let go,
// serves its files but resolves no names any more.
const struct orr_script_file *orr_generation_file(const struct orr_generation *generation, const char *path);
struct orr_def *orr_generation_def(const struct orr_generation *generation, struct orr_slice name);
// The nearest pipeline's name, if it is near enough to suggest, borrowed from the generation; else NULL.
const char *orr_generation_suggest(const struct orr_generation *generation, const char *name);

// Rebuilds a generation from the store (for pinned runs and for a start with a broken project).
// `root` is copied. ORR_ERR_NOT_FOUND, ORR_ERR_CORRUPT.
enum orr_status orr_generation_read(struct orr_store_reader *reader, const struct orr_digest *digest,
                                    const char *root, struct orr_generation **generation);

// The current generation, swapped by the loader, read by everybody; and old ones by digest, cached.
struct orr_code; // one per process
struct orr_code *orr_code_new(const char *root, const char *store_path); // store_path NULL: no old ones
void orr_code_free(struct orr_code *code);
struct orr_generation *orr_code_current(struct orr_code *code); // a reference, or NULL
void orr_code_swap(struct orr_code *code, struct orr_generation *generation); // takes a reference of its own
uint64_t orr_code_serial(const struct orr_code *code); // grows with each swap: cheap check for news
// Current or cached or read from the store. A reference, or NULL.
struct orr_generation *orr_code_find(struct orr_code *code, const struct orr_digest *digest);
