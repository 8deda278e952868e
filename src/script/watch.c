// SPDX-License-Identifier: MIT
// Watches the project and rebuilds: inotify (through libuv) on every folder of it tells that
// something happened, a look at the files' stamps tells whether it matters, and every two seconds a
// look serves file systems that tell nothing. Editors that save by renaming and new folders are
// covered, because folders are watched and not files, and the set of folders is brought up to date
// after each event. A thread of its own. Foreign library: libuv.
#include "script/loader.h"

#include "base/check.h"
#include "base/clock.h"
#include "base/log.h"
#include "script/loader_internal.h"

#include <pthread.h>
#include <stdlib.h>
#include <uv.h>

#define LOOK_MS 2000u
#define DEBOUNCE_MS_MAX 200u // under a stream of events, build at least that often

struct folder {
  uv_fs_event_t event; // first: a handle is its folder
  char *path;          // in the project; "" is the root
  bool seen;
};
struct orr_watcher {
  struct orr_watcher_options options;
  pthread_t thread;
  uv_loop_t loop;
  uv_async_t stop;
  uv_timer_t debounce, look;
  struct folder **folders;
  uint32_t folders_len;
  uint64_t first_event_ms;  // of the burst that waits; 0: none
  struct orr_digest digest; // of the last good generation
  bool good;                // the last build was good, and that is `digest`
};

static void on_debounced(uv_timer_t *timer);

static void on_event(uv_fs_event_t *event, const char *name, int events, int status) {
  struct orr_watcher *watcher = event->data;
  (void)name, (void)events, (void)status;
  uint64_t now = uv_now(&watcher->loop);
  if (watcher->first_event_ms == 0) watcher->first_event_ms = now != 0 ? now : 1;
  if (now - watcher->first_event_ms > DEBOUNCE_MS_MAX) return; // the timer that runs may fire
  uv_timer_start(&watcher->debounce, on_debounced, ORR_RELOAD_DEBOUNCE_MS, 0);
}

static void free_folder(uv_handle_t *handle) {
  struct folder *folder = (struct folder *)handle;
  free(folder->path);
  free(folder);
}

static void watch_folder(void *context, const char *path) {
  struct orr_watcher *watcher = context;
  for (uint32_t i = 0; i < watcher->folders_len; i++) {
    if (strcmp(watcher->folders[i]->path, path) == 0) {
      watcher->folders[i]->seen = true;
      return;
    }
  }
  struct folder *folder = orr_alloc(sizeof(*folder));
  struct orr_buf full = ORR_BUF_INIT;
  folder->path = orr_strdup(path);
  folder->seen = true;
  orr_assert(uv_fs_event_init(&watcher->loop, &folder->event) == 0);
  folder->event.data = watcher;
  orr_buf_printf(&full, "%s/%s", watcher->options.project->root, path);
  int error = uv_fs_event_start(&folder->event, on_event, orr_buf_cstr(&full), 0);
  if (error != 0)
    orr_log(ORR_LOG_WARN, "reload", "cannot watch %s: %s", orr_buf_cstr(&full), uv_strerror(error));
  orr_buf_free(&full);
  watcher->folders =
      orr_realloc(watcher->folders, (watcher->folders_len + 1) * sizeof(struct folder *));
  watcher->folders[watcher->folders_len++] = folder;
}

// Brings the set of watched folders up to date; returns the files' stamp. A folder that was deleted
// and made again is a new one to inotify: its old watch has gone silent, so one that vanished for a
// look is dropped.
static uint64_t look(struct orr_watcher *watcher) {
  for (uint32_t i = 0; i < watcher->folders_len; i++) watcher->folders[i]->seen = false;
  uint64_t stamp = orr__loader_look(watcher->options.loader, watch_folder, watcher);
  uint32_t kept = 0;
  for (uint32_t i = 0; i < watcher->folders_len; i++) {
    struct folder *folder = watcher->folders[i];
    if (folder->seen)
      watcher->folders[kept++] = folder;
    else
      uv_close((uv_handle_t *)&folder->event, free_folder);
  }
  watcher->folders_len = kept;
  return stamp;
}

static void rebuild(struct orr_watcher *watcher) {
  struct orr_problems problems = {0};
  struct orr_generation *generation = NULL;
  uint64_t start_us = orr_clock_mono_us();
  enum orr_status status = orr_loader_build(watcher->options.loader, &generation, &problems);
  double ms = (double)(orr_clock_mono_us() - start_us) / 1000;
  bool good = status == ORR_OK;
  bool same = good && watcher->good && orr_digest_equal(&watcher->digest, &generation->digest);
  watcher->good = good;
  if (good) watcher->digest = generation->digest;
  if (same)
    orr_generation_unref(generation); // touched, not changed
  else
    watcher->options.built(watcher->options.context, good ? generation : NULL, &problems, ms);
  orr_problems_free(&problems);
}

static void look_and_build(struct orr_watcher *watcher) {
  watcher->first_event_ms = 0;
  if (look(watcher) != watcher->options.loader->stamp) rebuild(watcher);
}

static void on_debounced(uv_timer_t *timer) { look_and_build(timer->data); }

static void on_look(uv_timer_t *timer) {
  struct orr_watcher *watcher = timer->data;
  if (watcher->first_event_ms == 0) look_and_build(watcher);
}

static void on_stop(uv_async_t *async) {
  struct orr_watcher *watcher = async->data;
  for (uint32_t i = 0; i < watcher->folders_len; i++) {
    uv_close((uv_handle_t *)&watcher->folders[i]->event, free_folder);
  }
  watcher->folders_len = 0;
  uv_close((uv_handle_t *)&watcher->debounce, NULL);
  uv_close((uv_handle_t *)&watcher->look, NULL);
  uv_close((uv_handle_t *)&watcher->stop, NULL);
}

static void *watcher_main(void *argument) {
  struct orr_watcher *watcher = argument;
  pthread_setname_np(pthread_self(), "loader");
  look_and_build(watcher); // what changed since the loader's last build
  uv_run(&watcher->loop, UV_RUN_DEFAULT);
  return NULL;
}

struct orr_watcher *orr_watcher_start(const struct orr_watcher_options *options) {
  struct orr_watcher *watcher = orr_alloc(sizeof(*watcher));
  const struct orr_generation *last = options->loader->last;
  watcher->options = *options;
  watcher->good = last != NULL;
  if (last != NULL) watcher->digest = last->digest;
  orr_assert(uv_loop_init(&watcher->loop) == 0);
  orr_assert(uv_async_init(&watcher->loop, &watcher->stop, on_stop) == 0);
  uv_timer_init(&watcher->loop, &watcher->debounce);
  uv_timer_init(&watcher->loop, &watcher->look);
  watcher->stop.data = watcher->debounce.data = watcher->look.data = watcher;
  uv_timer_start(&watcher->look, on_look, LOOK_MS, LOOK_MS);
  orr_assert(pthread_create(&watcher->thread, NULL, watcher_main, watcher) == 0);
  return watcher;
}

void orr_watcher_stop(struct orr_watcher *watcher) {
  if (watcher == NULL) return;
  uv_async_send(&watcher->stop);
  pthread_join(watcher->thread, NULL);
  orr_assert(uv_loop_close(&watcher->loop) == 0);
  free(watcher->folders);
  free(watcher);
}
