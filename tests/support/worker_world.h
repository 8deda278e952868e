// SPDX-License-Identifier: MIT
// A worker with a fake engine: a project in a temporary folder is loaded for real, tasks are made by hand, results are
// collected. The test program that includes this defines the two functions of the host that a worker calls.
#pragma once

#include "base/clock.h"
#include "base/json.h"
#include "core/engine.h"
#include "base/log.h"
#include "script/loader.h"
#include "script/worker.h"

#include <pthread.h>
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define WORLD_WAIT_MS 20000u
#define WORLD static __attribute__((unused))

struct world {
  char root[64];
  struct orr_code *code;
  struct orr_generation *generation;
  struct orr_worker *worker;
};

static struct {
  pthread_mutex_t lock;
  pthread_cond_t changed;
  struct orr_task *results[200000];
  size_t len;
  uint64_t chunks;
  uint64_t serial; // of the newest task; never reused, so that a failed test does not disturb the next
  void (*sent)(struct orr_event *event); // an event of the worker's, on its thread
} host = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

void orr_host_results(struct orr_host *unused, struct orr_link *first, struct orr_link *last) {
  (void)unused;
  (void)last;
  pthread_mutex_lock(&host.lock);
  host.chunks++;
  for (struct orr_link *next; first != NULL; first = next) {
    next = first->next;
    host.results[host.len++] = ORR_CONTAINER_OF(first, struct orr_task, link);
  }
  pthread_cond_broadcast(&host.changed);
  pthread_mutex_unlock(&host.lock);
}
void orr_host_send(struct orr_host *unused, struct orr_event *event) {
  (void)unused;
  if (host.sent != NULL) host.sent(event);
  else orr_event_free(event);
}

WORLD void world_write(struct world *world, const char *path, const char *text) {
  char full[512];
  snprintf(full, sizeof(full), "%s/%s", world->root, path);
  for (char *at = full + strlen(world->root) + 1; (at = strchr(at, '/')) != NULL; at++) {
    *at = '\0';
    mkdir(full, 0755);
    *at = '/';
  }
  FILE *file = fopen(full, "w");
  assert_non_null(file);
  fputs(text, file);
  fclose(file);
}

WORLD struct orr_generation *world_load(struct world *world) {
  struct orr_project project;
  struct orr_problems problems = {0};
  struct orr_generation *generation = NULL;
  assert_int_equal(orr_project_open(world->root, &project, &problems), ORR_OK);
  struct orr_loader *loader = orr_loader_new(&project);
  if (orr_loader_build(loader, &generation, &problems) != ORR_OK) {
    struct orr_buf text = ORR_BUF_INIT;
    for (size_t i = 0; i < problems.len; i++) orr_problem_render(&problems.items[i], false, &text);
    fprintf(stderr, "%s\n", orr_buf_cstr(&text));
    fail();
  }
  orr_loader_free(loader);
  orr_project_close(&project);
  orr_problems_free(&problems);
  return generation;
}

WORLD void world_open_with(struct world *world, const char *script, const struct orr_worker_options *more) {
  memset(world, 0, sizeof(*world));
  snprintf(world->root, sizeof(world->root), "/tmp/orrery-test-XXXXXX");
  assert_non_null(mkdtemp(world->root));
  setenv("WORLD_ROOT", world->root, 1); // no other thread yet
  world_write(world, "pipelines/p.lua", script);
  world->generation = world_load(world);
  world->code = orr_code_new(world->root, NULL);
  orr_code_swap(world->code, world->generation);
  struct orr_worker_options options = more != NULL ? *more : (struct orr_worker_options){0};
  options.host = (struct orr_host *)(void *)&host;
  options.code = world->code;
  options.name = "worker";
  options.data_dir = world->root;
  world->worker = orr_worker_new(&options);
  orr_worker_start(world->worker);
}
WORLD void world_open(struct world *world, const char *script) { world_open_with(world, script, NULL); }

WORLD void world_close(struct world *world) {
  orr_worker_stop(world->worker);
  orr_worker_free(world->worker);
  pthread_mutex_lock(&host.lock);
  for (size_t i = 0; i < host.len; i++) orr_task_free(host.results[i]);
  host.len = 0;
  host.sent = NULL;
  pthread_mutex_unlock(&host.lock);
  orr_generation_unref(world->generation);
  orr_code_free(world->code);
  char command[128];
  snprintf(command, sizeof(command), "rm -rf %s", world->root);
  assert_int_equal(system(command), 0);
}

WORLD struct orr_def *world_def(struct world *world, const char *name) {
  struct orr_def *def = orr_generation_def(world->generation, orr_slice_text(name));
  assert_non_null(def);
  return def;
}

// A task of pipeline `name`, op STEP, with an empty payload; the caller may change it before world_send.
WORLD struct orr_task *world_task(struct world *world, const char *name, const char *step) {
  struct orr_task *task = orr_task_new();
  task->serial = ++host.serial;
  task->op = ORR_OP_STEP;
  task->attempt = 1;
  task->def = orr_def_ref(world_def(world, name));
  task->step = step != NULL ? orr_def_step(task->def, orr_slice_text(step)) : UINT32_MAX;
  assert_true(step == NULL || task->step != UINT32_MAX);
  task->input = orr_blob_new(ORR_SLICE_LITERAL("{\"n\":7}"));
  task->run_id.bytes[15] = 1;
  orr_buf_varint(&task->payload, 0);
  orr_buf_bytes(&task->payload, orr_slice_of(NULL, 0));
  orr_buf_bytes(&task->payload, orr_slice_of(NULL, 0));
  orr_buf_bytes(&task->payload, orr_slice_of(NULL, 0));
  return task;
}

struct world_result { // a result that travels along
  const char *step;
  enum orr_step_status status;
  const char *value;
};
WORLD void world_payload(struct orr_task *task, const struct world_result *results, size_t len, const char *item,
                          const char *state, const char *subject) {
  orr_buf_clear(&task->payload);
  orr_buf_varint(&task->payload, len);
  for (size_t i = 0; i < len; i++) {
    orr_buf_varint(&task->payload, orr_def_step(task->def, orr_slice_text(results[i].step)));
    orr_buf_u8(&task->payload, (uint8_t)results[i].status);
    orr_buf_bytes(&task->payload, orr_slice_text(results[i].value));
  }
  orr_buf_bytes(&task->payload, orr_slice_text(item));
  orr_buf_bytes(&task->payload, orr_slice_text(state));
  orr_buf_bytes(&task->payload, orr_slice_text(subject));
}

WORLD void world_send(struct world *world, struct orr_task *task) {
  orr_inbox_push(orr_worker_inbox(world->worker), ORR_LANE_TASKS, &task->link, &task->link);
}
WORLD void world_abort(struct world *world, uint64_t serial, enum orr_abort_why why) {
  struct orr_mail *mail = orr_alloc(sizeof(*mail));
  mail->type = ORR_MAIL_ABORT;
  mail->serial = serial;
  mail->why = why;
  orr_inbox_push(orr_worker_inbox(world->worker), ORR_LANE_MAIL, &mail->link, &mail->link);
}

// The result of the attempt `serial`, which stays the world's; waits for it.
WORLD struct orr_task *world_result(uint64_t serial) {
  struct timespec until;
  clock_gettime(CLOCK_REALTIME, &until);
  until.tv_sec += WORLD_WAIT_MS / 1000;
  struct orr_task *found = NULL;
  pthread_mutex_lock(&host.lock);
  for (size_t seen = 0; found == NULL;) {
    for (; seen < host.len && found == NULL; seen++)
      if (host.results[seen]->serial == serial) found = host.results[seen];
    if (found == NULL && pthread_cond_timedwait(&host.changed, &host.lock, &until) != 0) break;
  }
  pthread_mutex_unlock(&host.lock);
  if (found == NULL) fail_msg("attempt %llu gave no result", (unsigned long long)serial);
  return found;
}
WORLD bool world_has_result(uint64_t serial) {
  bool found = false;
  pthread_mutex_lock(&host.lock);
  for (size_t i = 0; i < host.len; i++) found = found || host.results[i]->serial == serial;
  pthread_mutex_unlock(&host.lock);
  return found;
}

// Runs one step and gives its result.
WORLD struct orr_task *world_run(struct world *world, const char *name, const char *step) {
  struct orr_task *task = world_task(world, name, step);
  uint64_t serial = task->serial;
  world_send(world, task);
  return world_result(serial);
}
WORLD const char *world_out(struct orr_task *task) { return orr_buf_cstr(&task->out); }
WORLD void assert_output(struct orr_task *task, const char *json) {
  if (task->outcome != ORR_OUTCOME_OK) fail_msg("outcome %d: %s", task->outcome, world_out(task));
  assert_string_equal(world_out(task), json);
}
WORLD void assert_error(struct orr_task *task, const char *part) {
  if (task->outcome != ORR_OUTCOME_ERROR) fail_msg("outcome %d: %s", task->outcome, world_out(task));
  if (strstr(world_out(task), part) == NULL) fail_msg("no \"%s\" in %s", part, world_out(task));
}
