// SPDX-License-Identifier: MIT
// Builds generations: reads the project's scripts, loads them in one validating Lua state (deterministic
// environment, no I/O, ORR_LOAD_MS_MAX each), validates all declarations and hands them on as plain data.
// Unchanged files are compiled from a bytecode cache by content hash (our own bytecode only). On any error the
// old generation keeps serving. Runs on the caller's thread; the watcher has a thread of its own.
#pragma once

#include "script/generation.h"
#include "script/problem.h"

struct orr_project {
  char *root;   // absolute
  char *only;   // project path of the one script to load ("etl.lua"), or NULL for the whole project
  char *data;   // root/.orrery
};
// PATH may be a folder, or a .lua file (its folder is the root; lib/ of it serves it).
enum orr_status orr_project_open(const char *path, struct orr_project *project, struct orr_problems *problems);
void orr_project_close(struct orr_project *project);

struct orr_loader; // keeps the bytecode cache between builds
struct orr_loader *orr_loader_new(const struct orr_project *project);
void orr_loader_free(struct orr_loader *loader);
// ORR_OK: *generation has one reference. ORR_ERR_INVALID: problems tell all mistakes found (not only the first).
// ORR_ERR_NOT_FOUND: no script at all (also in problems).
enum orr_status orr_loader_build(struct orr_loader *loader, struct orr_generation **generation,
                                 struct orr_problems *problems);

// Watches the project's folders (inotify through libuv, debounce ORR_RELOAD_DEBOUNCE_MS, and a slow poll for file
// systems without events) and rebuilds on change, on a thread of its own.
struct orr_watcher;
struct orr_watcher_options {
  struct orr_loader *loader; // used by the watcher's thread only, from now on
  const struct orr_project *project;
  // On the watcher's thread. generation: a reference for the callee if ORR_OK, else NULL and problems.
  void (*built)(void *context, struct orr_generation *generation, struct orr_problems *problems, double ms);
  void *context;
};
struct orr_watcher *orr_watcher_start(const struct orr_watcher_options *options);
void orr_watcher_stop(struct orr_watcher *watcher);
