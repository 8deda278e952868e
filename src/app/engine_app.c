// SPDX-License-Identifier: MIT
// See engine_app.h. Order of the start: look whether the store is free, fork the spawner (before any thread),
// lock and open the store, load the scripts, build host and workers, recover, keep the generation, listen,
// watch. The stop is the reverse.
#include "app/engine_app.h"

#include "base/check.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/log.h"
#include "server/pipelines_json.h"
#include "server/pipelines_json.h"
#include "server/server.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define FILES_MAX 65536u

static char *join(const char *folder, const char *name) {
  struct orr_buf path = ORR_BUF_INIT;
  orr_buf_printf(&path, "%s/%s", folder, name);
  orr_buf_u8(&path, 0);
  return (char *)path.data;
}

static uint32_t cores(void) {
  long n = sysconf(_SC_NPROCESSORS_ONLN);
  return n < 1 ? 1 : (uint32_t)n;
}

// As many open files as the system lets us have: a blocked Redis reader is a connection. After the helper, whose children
// keep what they would have had.
static void raise_files(void) {
  struct rlimit files;
  if (getrlimit(RLIMIT_NOFILE, &files) != 0 || files.rlim_cur >= FILES_MAX) return;
  files.rlim_cur = files.rlim_max < FILES_MAX ? files.rlim_max : FILES_MAX;
  (void)setrlimit(RLIMIT_NOFILE, &files);
}

// --- callbacks from other threads -----------------------------------------------------------------------

static struct orr_def *find_def(void *context, const struct orr_digest *digest, struct orr_slice name) {
  struct orr_app *app = context;
  struct orr_generation *generation = orr_code_find(app->code, digest);
  if (generation == NULL) return NULL;
  struct orr_def *def = orr_def_ref(orr_generation_def(generation, name));
  orr_generation_unref(generation);
  return def;
}

static void stop_main(struct orr_app *app, const char *text) {
  if (atomic_exchange(&app->failed, true)) return;
  snprintf(app->failure, sizeof(app->failure), "%s", text);
  kill(getpid(), SIGTERM); // wakes the main thread, which looks at `failed`
}
static void host_failed(void *context, const char *text) { stop_main(context, text); }

// Sentinel thread: without the helper no child can be started or ended, so its death ends the engine.
static void *watch_spawner(void *context) {
  struct orr_app *app = context;
  siginfo_t info;
  while (waitid(P_PID, (id_t)app->spawner_pid, &info, WEXITED | WNOWAIT) != 0 && errno == EINTR) continue;
  if (!atomic_load(&app->stopping)) stop_main(app, "the helper process that starts children has died");
  return NULL;
}

// Watcher thread.
static void built(void *context, struct orr_generation *generation, struct orr_problems *problems, double ms) {
  struct orr_app *app = context;
  if (generation != NULL) {
    enum orr_status status = orr_app_keep_generation(app, generation);
    if (status == ORR_OK) orr_code_swap(app->code, generation);
    else orr_log(ORR_LOG_ERROR, "reload", "the store refused the new generation (%s)", orr_status_text(status));
    orr_generation_unref(generation);
  }
  pthread_mutex_lock(&app->mutex);
  bool was_broken = app->problems.len > 0;
  orr_problems_free(&app->problems);
  app->problems = *problems;
  *problems = (struct orr_problems){0};
  app->problems_ms = orr_clock_now().wall_ms;
  app->reload_ms = ms;
  struct orr_buf text = ORR_BUF_INIT;
  for (size_t i = 0; i < app->problems.len; i++) orr_problem_render(&app->problems.items[i], isatty(2), &text);
  if (app->problems.len > 0) orr_buf_text(&text, "the last good generation keeps serving\n");
  else if (app->options.dev || was_broken) orr_buf_printf(&text, "reloaded in %.1f ms\n", ms);
  pthread_mutex_unlock(&app->mutex);
  if (text.len > 0 && write(2, text.data, text.len) < 0) errno = 0; // a closed terminal is no reason to stop
  orr_buf_free(&text);
}

// --- generations --------------------------------------------------------------------------------------------

enum orr_status orr_app_keep_generation(struct orr_app *app, const struct orr_generation *generation) {
  struct orr_slice *blobs;
  size_t len = orr_generation_blobs(generation, &blobs);
  enum orr_status status = orr_host_put_generation(app->host, &generation->digest, blobs, len);
  free(blobs);
  return status;
}

static enum orr_status last_good(struct orr_app *app, struct orr_generation **generation) {
  struct orr_store_reader *reader;
  enum orr_status status = orr_store_reader_open(app->store_path, &reader);
  if (status != ORR_OK) return status;
  struct orr_digest digest;
  status = orr_store_last_generation(reader, &digest);
  if (status == ORR_OK) status = orr_generation_read(reader, &digest, app->project.root, generation);
  orr_store_reader_close(reader);
  return status;
}

static enum orr_exit load_scripts(struct orr_app *app, struct orr_problems *problems, bool *broken) {
  struct orr_generation *generation = NULL;
  app->loader = orr_loader_new(&app->project);
  *broken = orr_loader_build(app->loader, &generation, problems) != ORR_OK;
  if (*broken) {
    if (!app->options.watch || last_good(app, &generation) != ORR_OK) return ORR_EXIT_INVALID;
    app->problems = *problems; // shown at /api/scripts and on the terminal
    *problems = (struct orr_problems){0};
    app->problems_ms = orr_clock_now().wall_ms;
  }
  orr_code_swap(app->code, generation);
  orr_generation_unref(generation);
  return ORR_EXIT_OK;
}

// --- start ----------------------------------------------------------------------------------------------------

static enum orr_exit open_data(struct orr_app *app, char *message, size_t size) {
  const char *store = app->options.store;
  if (store != NULL && strncmp(store, "sqlite:", 7) == 0) store += 7;
  else if (store != NULL && strstr(store, "://") != NULL) {
    snprintf(message, size, "store \"%s\": only sqlite:PATH is available yet", store);
    return ORR_EXIT_USAGE;
  }
  app->store_path = store != NULL ? orr_strdup(store) : join(app->project.data, "orrery.db");
  app->runlog_path = join(app->project.data, "logs.db");
  if (mkdir(app->project.data, 0777) != 0 && errno != EEXIST) {
    snprintf(message, size, "cannot make the data folder %s: %s", app->project.data, strerror(errno));
    return ORR_EXIT_FAILURE;
  }
  if (orr_store_locked(app->store_path)) {
    snprintf(message, size, "the store %s is in use by another engine; talk to it with --server URL, or stop it",
             app->store_path);
    return ORR_EXIT_CONFLICT;
  }
  char *children = join(app->project.data, "children.lock");
  uint32_t channels = app->workers_len + 1;
  enum orr_status status = orr_spawner_start(channels, children, &app->spawner);
  free(children);
  if (status != ORR_OK) {
    snprintf(message, size, "cannot start the helper for child processes: %s", orr_status_text(status));
    return status == ORR_ERR_BUSY ? ORR_EXIT_CONFLICT : ORR_EXIT_FAILURE;
  }
  signal(SIGXFSZ, SIG_IGN); // after the helper, whose children keep the default: a full file is an error of ours to tell
  raise_files();
  app->spawner_pid = orr_spawner_pid(app->spawner);
  if (pthread_create(&app->sentinel, NULL, watch_spawner, app) != 0) app->spawner_pid = 0;
  struct orr_store_options options = {.path = app->store_path, .durability = app->options.durability};
  status = orr_store_open(&options, &app->store, message, size);
  if (status != ORR_OK) return status == ORR_ERR_BUSY ? ORR_EXIT_CONFLICT : ORR_EXIT_FAILURE;
  status = orr_runlog_open(app->runlog_path, &app->runlog, message, size);
  return status == ORR_OK ? ORR_EXIT_OK : ORR_EXIT_FAILURE;
}

static struct orr_worker *new_worker(struct orr_app *app, uint32_t index, const char *name) {
  orr_assert(app->workers_len > 0);
  uint32_t children = (ORR_CHILDREN_PER_CORE * cores() + app->workers_len - 1) / app->workers_len;
  struct orr_worker_options options = {
      .host = app->host, .code = app->code, .runlog = app->runlog, .spawner = app->spawner,
      .spawn_channel = index, .children_max = children, .store_path = app->store_path,
      .runlog_path = app->runlog_path, .name = name, .data_dir = app->project.data,
      .app_query = orr_app_query, .app_context = app,
  };
  return orr_worker_new(&options);
}

static enum orr_exit start_engine(struct orr_app *app, char *message, size_t size) {
  uint64_t seed;
  if (getrandom(&seed, sizeof(seed), 0) != (ssize_t)sizeof(seed)) seed = orr_clock_mono_us();
  char node[64] = "node";
  (void)gethostname(node, sizeof(node) - 1);
  char *in_flight = join(app->project.data, "in_flight");
  struct orr_host_options options = {
      .store = app->store, .node = node, .seed = seed, .in_flight_path = in_flight,
      .find_def = find_def, .find_def_context = app,
      .notice = app->options.notice, .notice_context = app->options.notice_context,
      .failed = host_failed, .failed_context = app,
  };
  app->host = orr_host_new(&options);
  app->store = NULL;
  for (uint32_t i = 0; i < app->workers_len; i++) {
    char *name = app->worker_names[i];
    snprintf(name, sizeof(app->worker_names[i]), "worker %u", i + 1);
    app->workers[i] = new_worker(app, i, name);
    orr_host_add_worker(app->host, orr_worker_inbox(app->workers[i]));
  }
  if (app->options.listen != NULL) app->web = new_worker(app, app->workers_len, "web");
  enum orr_status status = orr_host_start(app->host, &app->recovered);
  free(in_flight);
  if (status != ORR_OK) {
    snprintf(message, size, "cannot recover from %s: %s", app->store_path, orr_status_text(status));
    return ORR_EXIT_FAILURE;
  }
  for (uint32_t i = 0; i < app->workers_len; i++) orr_worker_start(app->workers[i]);
  if (app->web != NULL) orr_worker_start(app->web);
  struct orr_generation *generation = orr_code_current(app->code);
  status = orr_app_keep_generation(app, generation);
  orr_generation_unref(generation);
  if (status == ORR_OK) return ORR_EXIT_OK;
  snprintf(message, size, "the store %s did not take the scripts: %s", app->store_path, orr_status_text(status));
  return ORR_EXIT_FAILURE;
}

static enum orr_exit start_server(struct orr_app *app, char *message, size_t size) {
  if (app->options.listen == NULL) return ORR_EXIT_OK;
  struct orr_server_options options = {
      .listen = app->options.listen, .host = app->host, .code = app->code, .web = app->web,
      .app_query = orr_app_query, .app_context = app,
  };
  enum orr_status status = orr_server_start(&options, &app->server, message, size);
  if (status == ORR_OK) {
    app->listen_url = orr_strdup(orr_server_url(app->server));
    return ORR_EXIT_OK;
  }
  return status == ORR_ERR_INVALID ? ORR_EXIT_USAGE : ORR_EXIT_CONFLICT;
}

static enum orr_exit start_all(struct orr_app *app, struct orr_problems *problems, char *message, size_t size) {
  if (orr_project_open(app->options.path, &app->project, problems) != ORR_OK) return ORR_EXIT_INVALID;
  enum orr_exit code = open_data(app, message, size);
  if (code != ORR_EXIT_OK) return code;
  app->code = orr_code_new(app->project.root, app->store_path);
  bool broken = false;
  code = load_scripts(app, problems, &broken);
  if (code != ORR_EXIT_OK) return code;
  code = start_engine(app, message, size);
  if (code != ORR_EXIT_OK) return code;
  code = start_server(app, message, size);
  if (code != ORR_EXIT_OK || !app->options.watch) return code;
  struct orr_watcher_options watch = {.loader = app->loader, .project = &app->project, .built = built, .context = app};
  app->watcher = orr_watcher_start(&watch);
  return ORR_EXIT_OK;
}

enum orr_exit orr_app_start(struct orr_app *app, const struct orr_app_options *options,
                            struct orr_problems *problems, char *message, size_t message_size) {
  *app = (struct orr_app){.options = *options};
  message[0] = '\0';
  pthread_mutex_init(&app->mutex, NULL);
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGINT);
  sigaddset(&set, SIGTERM);
  sigaddset(&set, SIGHUP);
  pthread_sigmask(SIG_BLOCK, &set, NULL);
  signal(SIGPIPE, SIG_IGN);
  app->workers_len = options->workers != 0 ? options->workers : cores();
  if (app->workers_len > ORR_WORKERS_MAX) app->workers_len = ORR_WORKERS_MAX;
  enum orr_exit code = start_all(app, problems, message, message_size);
  if (code != ORR_EXIT_OK) (void)orr_app_stop(app); // nothing has run yet that could be stuck
  return code;
}

// --- stop -----------------------------------------------------------------------------------------------------

// The last resort: whatever hangs in a stop must not hold the process. Everything acknowledged is on disk, so it ends
// here, and the next start takes up what was in flight.
static void *end_stuck_stop(void *context) {
  (void)context;
  struct timespec wait = {.tv_sec = ORR_STOP_ALL_MS / 1000 - 1};
  while (nanosleep(&wait, &wait) != 0) continue;
  orr_log(ORR_LOG_WARN, "stop", "ended after %u ms without waiting any longer", ORR_STOP_ALL_MS);
  _exit(ORR_EXIT_OK);
}
static void watch_stop(void) {
  pthread_t thread;
  pthread_attr_t detached;
  pthread_attr_init(&detached);
  pthread_attr_setdetachstate(&detached, PTHREAD_CREATE_DETACHED);
  (void)pthread_create(&thread, &detached, end_stuck_stop, NULL); // without it a stuck stop only takes longer
  pthread_attr_destroy(&detached);
}

bool orr_app_stop(struct orr_app *app) {
  watch_stop();
  atomic_store(&app->stopping, true);
  if (app->server != NULL) orr_server_drain(app->server);
  if (app->watcher != NULL) orr_watcher_stop(app->watcher);
  if (app->server != NULL) orr_server_stop(app->server);
  if (app->host != NULL) orr_host_stop(app->host, atomic_load(&app->failed) ? 0 : ORR_STOP_STEPS_MS);
  bool ended = app->web == NULL || orr_worker_stop(app->web);
  for (uint32_t i = 0; i < app->workers_len; i++)
    if (app->workers[i] != NULL && !orr_worker_stop(app->workers[i])) ended = false;
  if (!ended) { // that thread may still use any part: the end of the process frees them, and the helper ends children
    orr_log(ORR_LOG_WARN, "stop", "a step could not be interrupted; its thread ends with the process");
    if (app->runlog != NULL) orr_runlog_flush(app->runlog);
    return false;
  }
  if (app->host != NULL) orr_host_free(app->host);
  if (app->store != NULL) orr_store_close(app->store);
  if (app->web != NULL) orr_worker_free(app->web);
  for (uint32_t i = 0; i < app->workers_len; i++)
    if (app->workers[i] != NULL) orr_worker_free(app->workers[i]);
  if (app->loader != NULL) orr_loader_free(app->loader);
  if (app->code != NULL) orr_code_free(app->code);
  if (app->runlog != NULL) orr_runlog_close(app->runlog);
  if (app->spawner != NULL) orr_spawner_stop(app->spawner);
  if (app->spawner_pid != 0) pthread_join(app->sentinel, NULL);
  orr_problems_free(&app->problems);
  orr_project_close(&app->project);
  free(app->store_path);
  free(app->runlog_path);
  free(app->listen_url);
  pthread_mutex_destroy(&app->mutex);
  return true;
}

// --- what routes may ask --------------------------------------------------------------------------------------

static void scripts_json(struct orr_app *app, struct orr_buf *out) {
  struct orr_generation *generation = orr_code_current(app->code);
  char hash[65];
  orr_buf_u8(out, '{');
  orr_json_key(out, "generation");
  orr_digest_text(&generation->digest, hash);
  orr_json_string(out, orr_slice_text(hash));
  orr_json_key(out, "loaded_at");
  orr_json_time(out, generation->loaded_ms);
  orr_json_key(out, "files");
  orr_buf_u8(out, '[');
  for (uint32_t i = 0; i < generation->files_len; i++) {
    orr_json_comma(out);
    orr_buf_u8(out, '{');
    orr_json_key(out, "path");
    orr_json_string(out, orr_slice_text(generation->files[i].path));
    orr_json_key(out, "hash");
    orr_digest_text(&generation->files[i].digest, hash);
    orr_json_string(out, orr_slice_text(hash));
    orr_buf_u8(out, '}');
  }
  orr_buf_u8(out, ']');
  orr_generation_unref(generation);
  pthread_mutex_lock(&app->mutex);
  orr_json_key(out, "healthy");
  orr_buf_text(out, app->problems.len == 0 ? "true" : "false");
  orr_json_key(out, "problems");
  orr_buf_u8(out, '[');
  for (size_t i = 0; i < app->problems.len; i++) {
    orr_json_comma(out);
    orr_problem_json(&app->problems.items[i], out);
  }
  orr_buf_u8(out, ']');
  orr_json_key(out, "problems_at");
  orr_json_time(out, app->problems.len > 0 ? app->problems_ms : 0);
  orr_json_key(out, "reload_ms");
  orr_json_number(out, app->reload_ms);
  pthread_mutex_unlock(&app->mutex);
  orr_buf_u8(out, '}');
}

static void ready_json(struct orr_app *app, struct orr_buf *out) {
  struct orr_host_counts counts = {0};
  orr_host_counts(app->host, &counts);
  bool ready = !counts.failed && !atomic_load(&app->failed);
  orr_buf_printf(out, "{\"ready\":%s,\"live_runs\":%u,\"in_flight\":%u,\"ungathered\":%u", ready ? "true" : "false",
                 counts.live, counts.in_flight, counts.ungathered);
  if (!ready) {
    orr_json_key(out, "reason");
    orr_json_string(out, orr_slice_text(app->failure[0] != '\0' ? app->failure : "the store refused a commit"));
  }
  orr_buf_u8(out, '}');
}

enum orr_status orr_app_query(void *context, const char *what, struct orr_buf *out) {
  struct orr_app *app = context;
  if (strcmp(what, "scripts") == 0) scripts_json(app, out);
  else if (strcmp(what, "ready") == 0) ready_json(app, out);
  else return orr_pipelines_query(app->code, what, out);
  return ORR_OK;
}
