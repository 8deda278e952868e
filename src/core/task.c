// SPDX-License-Identifier: MIT
// Tasks as objects: made and freed by whoever holds them. The pool belongs to an engine and keeps
// the
// buffers of small tasks, so that the hot path allocates nothing. Not thread-safe per task; a task
// has
// one holder at a time.
#include "core/engine_internal.h"

#include <stdlib.h>

#define POOL_TASKS_MAX 4096u
#define POOL_BUFFER_BYTES_MAX 4096u

struct orr_task *orr_task_new(void) { return orr_alloc(sizeof(struct orr_task)); }


static void drop_references(struct orr_task *task) {
  if (task->def != NULL) orr_def_unref(task->def);
  orr_blob_unref(task->input);
  if (task->child_def != NULL) orr_def_unref(task->child_def);
}

void orr_task_free(struct orr_task *task) {
  if (task == NULL) return;
  drop_references(task);
  orr_buf_free(&task->payload);
  orr_buf_free(&task->out);
  orr_buf_free(&task->state);
  orr_buf_free(&task->cache_key);
  free(task);
}

struct orr_task *orr__task_get(struct orr_engine *engine) {
  struct orr_link *link = engine->pool;
  if (link == NULL) return orr_task_new();
  engine->pool = link->next;
  engine->pool_len--;
  struct orr_task *task = ORR_CONTAINER_OF(link, struct orr_task, link);
  link->next = NULL;
  return task;
}

static struct orr_buf emptied(struct orr_buf buf) {
  if (buf.cap > POOL_BUFFER_BYTES_MAX) orr_buf_free(&buf);
  buf.len = 0;
  return buf;
}

void orr__task_put(struct orr_engine *engine, struct orr_task *task) {
  if (engine->pool_len >= POOL_TASKS_MAX) {
    orr_task_free(task);
    return;
  }
  drop_references(task);
  struct orr_buf payload = emptied(task->payload), out = emptied(task->out);
  struct orr_buf state = emptied(task->state), cache_key = emptied(task->cache_key);
  *task = (struct orr_task){.payload = payload, .out = out, .state = state, .cache_key = cache_key};
  task->link.next = engine->pool;
  engine->pool = &task->link;
  engine->pool_len++;
}

void orr__pool_free(struct orr_engine *engine) {
  while (engine->pool != NULL) {
    struct orr_link *link = engine->pool;
    engine->pool = link->next;
    orr_task_free(ORR_CONTAINER_OF(link, struct orr_task, link));
  }
  engine->pool_len = 0;
}
