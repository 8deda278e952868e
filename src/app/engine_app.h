// SPDX-License-Identifier: MIT
// The composition root: builds one engine process out of the floors below (project, store, spawner, host,
// workers, loader, server) in the one order that is safe, and takes it down in reverse. Main thread.
#pragma once

#include "script/loader.h"
#include "script/worker.h"

#include <pthread.h>

struct orr_server;

struct orr_app_options {
  const char *path;    // project folder or single script
  const char *store;   // "sqlite:PATH" or NULL: PROJECT/.orrery/orrery.db
  const char *listen;  // "127.0.0.1:8080"; NULL: no HTTP
  uint32_t workers;    // 0: one a core
  enum orr_durability durability;
  bool dev;            // talk about reloads on the terminal
  bool watch;          // hot reload
  void (*notice)(void *context, const struct orr_notice *notice); // see struct orr_host_options
  void *notice_context;
};

struct orr_app {
  struct orr_app_options options;
  struct orr_project project;
  char *store_path, *runlog_path, *listen_url;
  struct orr_spawner *spawner;
  struct orr_store *store; // owned by the host once that exists
  struct orr_runlog *runlog;
  struct orr_code *code;
  struct orr_loader *loader;
  struct orr_host *host;
  struct orr_worker *workers[ORR_WORKERS_MAX];
  uint32_t workers_len;
  char worker_names[ORR_WORKERS_MAX][24]; // workers keep the pointer
  struct orr_worker *web; // runs Lua routes
  struct orr_server *server;
  struct orr_watcher *watcher;
  uint32_t recovered;
  pthread_mutex_t mutex;        // guards the three below
  struct orr_problems problems; // of the last build; empty when it was good
  int64_t problems_ms;
  double reload_ms;
  int64_t spawner_pid;          // 0: nobody watches it
  pthread_t sentinel;           // waits for the helper's end
  _Atomic bool stopping;
  _Atomic bool failed;          // a commit failed, or the helper died
  char failure[256];
};

// Exit codes of DESIGN section 8.
enum orr_exit {
  ORR_EXIT_OK = 0, ORR_EXIT_FAILURE = 1, ORR_EXIT_USAGE = 2, ORR_EXIT_NOT_FOUND = 3,
  ORR_EXIT_INVALID = 4, ORR_EXIT_RUN_FAILED = 5, ORR_EXIT_CONFLICT = 6, ORR_EXIT_TIMEOUT = 7,
};

// Starts everything. On failure nothing is left running, the exit code is returned, `problems` holds mistakes in
// scripts and `message` (size) any other reason. Blocks SIGINT, SIGTERM and SIGHUP for all threads to come.
enum orr_exit orr_app_start(struct orr_app *app, const struct orr_app_options *options,
                            struct orr_problems *problems, char *message, size_t message_size);
// Stops taking work, lets steps end for up to ORR_STOP_STEPS_MS, records, joins, closes. False: a thread could not be
// ended; `app` and what its options point at must stay as they are until the process ends.
bool orr_app_stop(struct orr_app *app);
// Puts a generation into the store and makes it the newest good one. Any thread.
enum orr_status orr_app_keep_generation(struct orr_app *app, const struct orr_generation *generation);
// Answers of app_query (script/worker.h): "scripts", "ready".
enum orr_status orr_app_query(void *context, const char *what, struct orr_buf *out);
