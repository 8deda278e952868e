// SPDX-License-Identifier: MIT
// A world for tests of the host: a store in a folder of its own, small pipelines, and workers that
// are threads without Lua: each answers every task at once with success.
#pragma once

#include "base/check.h"
#include "io/host.h"

#include <ftw.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static inline char *world_folder(void) {
  const char *base = getenv("TMPDIR");
  char text[256];
  snprintf(text, sizeof text, "%s/orrery-test-XXXXXX", base != NULL ? base : "/tmp");
  char *folder = orr_strdup(text);
  orr_assert(mkdtemp(folder) != NULL);
  return folder;
}

static inline int world_remove_one(const char *path, const struct stat *info, int flag,
                                   struct FTW *at) {
  (void)info;
  (void)flag;
  (void)at;
  return remove(path);
}
static inline void world_remove(char *folder) {
  nftw(folder, world_remove_one, 16, FTW_DEPTH | FTW_PHYS);
  free(folder);
}

static inline char *world_path(const char *folder, const char *name) {
  struct orr_buf text = ORR_BUF_INIT;
  orr_buf_printf(&text, "%s/%s", folder, name);
  char *path = orr_slice_strdup(orr_buf_slice(&text));
  orr_buf_free(&text);
  return path;
}

// A pipeline of `steps` steps, each after the one before; a step named "map" is a map.
static inline struct orr_def *world_def(const char *name, uint32_t steps, bool map_in_the_middle) {
  struct orr_def_builder *builder = orr_def_builder_new();
  struct orr_def *head = orr_def_builder_head(builder);
  head->name = name;
  head->script = "pipelines/test.lua";
  head->description = "";
  for (uint32_t i = 0; i < steps; i++) {
    char step_name[24], before[24];
    snprintf(step_name, sizeof step_name, "s%u", i);
    snprintf(before, sizeof before, "s%u", i - 1);
    struct orr_step_def step = {.name = step_name,
                                .kind = map_in_the_middle && i == 1 ? ORR_STEP_MAP : ORR_STEP_LUA,
                                .retry = {.attempts = 1, .backoff_permille = 1000},
                                .priority = 5,
                                .line = i + 1};
    uint32_t at = orr_def_builder_step(builder, &step);
    if (i > 0) orr_def_builder_after(builder, at, orr_slice_text(before));
  }
  struct orr_def *def = NULL;
  struct orr_def_problem problem = {0};
  enum orr_status status = orr_def_builder_finish(builder, &def, &problem);
  if (status != ORR_OK) fprintf(stderr, "def: %s\n", problem.message);
  orr_assert(status == ORR_OK);
  orr_def_builder_free(builder);
  struct orr_digest generation = {{1}};
  orr_def_attach(def, &generation, NULL, NULL);
  return def;
}

struct world_worker {
  struct orr_host *host;
  struct orr_inbox inbox;
  pthread_t thread;
  uint32_t items;        // of a map that it expands
  _Atomic uint64_t done; // tasks answered
  _Atomic bool hold;     // keep tasks instead of answering
  struct orr_link *held;
};

static inline void world_answer(struct world_worker *worker, struct orr_task *task) {
  task->started_ms = task->finished_ms = 1763000000000;
  if (task->op == ORR_OP_EXPAND) {
    task->outcome = ORR_OUTCOME_EXPANDED;
    task->items_len = worker->items;
    for (uint32_t i = 0; i < worker->items; i++) orr_buf_bytes(&task->out, ORR_SLICE_LITERAL("1"));
    return;
  }
  task->outcome = ORR_OUTCOME_OK;
  orr_buf_text(&task->out, "true");
}

static inline void *world_work(void *context) {
  struct world_worker *worker = context;
  for (bool stop = false; !stop;) {
    struct orr_link *link = orr_inbox_take(&worker->inbox, ORR_LANE_TASKS);
    struct orr_link *mails = orr_inbox_take(&worker->inbox, ORR_LANE_MAIL);
    if (link == NULL && mails == NULL) {
      orr_inbox_wait(&worker->inbox, UINT64_MAX);
      continue;
    }
    while (mails != NULL) {
      struct orr_mail *mail = ORR_CONTAINER_OF(mails, struct orr_mail, link);
      mails = mails->next;
      if (mail->type == ORR_MAIL_STOP) stop = true;
      if (mail->type == ORR_MAIL_REPLY) orr_reply_free(mail->reply);
      free(mail);
    }
    struct orr_link *first = NULL, *last = NULL;
    uint32_t chunk = 0;
    while (link != NULL) {
      struct orr_link *next = link->next;
      if (atomic_load_explicit(&worker->hold, memory_order_relaxed)) {
        link->next = worker->held;
        worker->held = link;
        link = next;
        continue;
      }
      world_answer(worker, ORR_CONTAINER_OF(link, struct orr_task, link));
      atomic_fetch_add_explicit(&worker->done, 1, memory_order_relaxed);
      link->next = NULL;
      if (first == NULL)
        first = link;
      else
        last->next = link;
      last = link;
      if (++chunk == ORR_RESULT_CHUNK || next == NULL) {
        orr_host_results(worker->host, first, last);
        first = last = NULL;
        chunk = 0;
      }
      link = next;
    }
    if (first != NULL) orr_host_results(worker->host, first, last);
  }
  return NULL;
}

static inline void world_worker_start(struct world_worker *worker, struct orr_host *host,
                                      uint32_t items) {
  worker->host = host;
  worker->items = items;
  worker->held = NULL;
  orr_inbox_init(&worker->inbox);
  orr_host_add_worker(host, &worker->inbox);
  orr_assert(pthread_create(&worker->thread, NULL, world_work, worker) == 0);
}

static inline void world_worker_stop(struct world_worker *worker) {
  struct orr_mail *mail = orr_alloc(sizeof *mail);
  mail->type = ORR_MAIL_STOP;
  orr_inbox_push(&worker->inbox, ORR_LANE_MAIL, &mail->link, &mail->link);
  pthread_join(worker->thread, NULL);
  while (worker->held != NULL) {
    struct orr_link *next = worker->held->next;
    orr_task_free(ORR_CONTAINER_OF(worker->held, struct orr_task, link));
    worker->held = next;
  }
  orr_inbox_close(&worker->inbox);
}

static inline struct orr_event *world_submit(struct orr_def *def, uint32_t n) {
  struct orr_event *event = orr_event_new(ORR_EVENT_SUBMIT);
  event->submit.def = orr_def_ref(def);
  event->submit.inputs = orr_alloc(n * sizeof *event->submit.inputs);
  struct orr_blob *input = orr_blob_new(ORR_SLICE_LITERAL("{}"));
  for (uint32_t i = 0; i < n; i++) event->submit.inputs[i] = orr_blob_ref(input);
  orr_blob_unref(input);
  event->submit.inputs_len = n;
  snprintf(event->submit.trigger, sizeof event->submit.trigger, "test");
  return event;
}
