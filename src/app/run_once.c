// SPDX-License-Identifier: MIT
// See run_once.h. Notices come on the engine's thread and are queued for the main thread, which draws, listens
// for signals, and leaves when the run has ended.
#include "app/run_once.h"

#include "app/stop_signal.h"
#include "io/schema.h"
#include "script/run_json.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define ASK_MS 10000u
#define QUEUE_MAX 4096u // notices not drawn yet; older ones are skipped, the counts in newer ones are whole

struct notice_queue {
  pthread_mutex_t mutex;
  pthread_cond_t changed;
  struct orr_notice items[QUEUE_MAX];
  uint32_t head, len;
};

// Engine thread.
static void on_notice(void *context, const struct orr_notice *notice) {
  struct notice_queue *queue = context;
  pthread_mutex_lock(&queue->mutex);
  if (queue->len == QUEUE_MAX) queue->head = (queue->head + 1) % QUEUE_MAX, queue->len--;
  queue->items[(queue->head + queue->len++) % QUEUE_MAX] = *notice;
  pthread_cond_signal(&queue->changed);
  pthread_mutex_unlock(&queue->mutex);
}

static bool next_notice(struct notice_queue *queue, struct orr_notice *notice, unsigned wait_ms) {
  struct timespec until;
  clock_gettime(CLOCK_REALTIME, &until);
  until.tv_nsec += (long)wait_ms * 1000000;
  until.tv_sec += until.tv_nsec / 1000000000;
  until.tv_nsec %= 1000000000;
  pthread_mutex_lock(&queue->mutex);
  while (queue->len == 0)
    if (pthread_cond_timedwait(&queue->changed, &queue->mutex, &until) != 0) break;
  bool found = queue->len > 0;
  if (found) {
    *notice = queue->items[queue->head];
    queue->head = (queue->head + 1) % QUEUE_MAX, queue->len--;
  }
  pthread_mutex_unlock(&queue->mutex);
  return found;
}

// --- choosing and submitting ------------------------------------------------------------------------------

static struct orr_def *choose(const struct orr_run_once *once, const struct orr_generation *generation,
                              char *message, size_t size, int *code) {
  if (once->name != NULL) {
    struct orr_def *def = orr_generation_def(generation, orr_slice_text(once->name));
    if (def != NULL) return def;
    const char *near = orr_generation_suggest(generation, once->name);
    snprintf(message, size, near != NULL ? "no pipeline \"%s\" here; did you mean \"%s\"?" : "no pipeline \"%s\" here",
             once->name, near);
    *code = ORR_EXIT_NOT_FOUND;
    return NULL;
  }
  if (generation->defs_len == 1) return generation->defs[0];
  int at = snprintf(message, size, generation->defs_len == 0 ? "the script declares no pipeline"
                                                            : "several pipelines here; name one of:");
  for (uint32_t i = 0; i < generation->defs_len && at > 0 && (size_t)at < size; i++)
    at += snprintf(message + at, size - (size_t)at, " %s", generation->defs[i]->name);
  *code = generation->defs_len == 0 ? ORR_EXIT_INVALID : ORR_EXIT_USAGE;
  return NULL;
}

static struct orr_reply *submit(struct orr_app *app, struct orr_def *def, struct orr_slice input, enum orr_status *status) {
  struct orr_event *event = orr_event_new(ORR_EVENT_SUBMIT);
  event->submit.def = orr_def_ref(def);
  event->submit.inputs = orr_alloc(sizeof(*event->submit.inputs));
  event->submit.inputs[0] = orr_blob_new(input);
  event->submit.inputs_len = 1;
  snprintf(event->submit.trigger, sizeof(event->submit.trigger), "cli");
  event->submit.watch = true;
  struct orr_reply *reply = NULL;
  *status = orr_host_ask(app->host, event, ASK_MS, &reply);
  return reply;
}

static void cancel(struct orr_app *app, const struct orr_id *id, const char *reason) {
  struct orr_event *event = orr_event_new(ORR_EVENT_CANCEL);
  event->control.id = *id;
  snprintf(event->control.reason, sizeof(event->control.reason), "%s", reason);
  struct orr_reply *reply = NULL;
  if (orr_host_ask(app->host, event, ASK_MS, &reply) == ORR_OK) orr_reply_free(reply);
}

// The run may be gathered at any moment: ask the engine first, then the store.
static enum orr_status picture_of(struct orr_app *app, struct orr_def *def, const struct orr_id *id,
                                  enum orr_run_status *run_status, struct orr_buf *picture) {
  struct orr_picture_options options = {0};
  struct orr_event *event = orr_event_new(ORR_EVENT_GET);
  event->get.id = *id;
  struct orr_reply *reply = NULL;
  enum orr_status status = orr_host_ask(app->host, event, ASK_MS, &reply);
  if (status == ORR_OK && reply->status == ORR_OK) {
    status = orr_picture_run(reply->def, orr_blob_slice(reply->journal), reply, &options, picture);
    *run_status = reply->run_status;
    orr_reply_free(reply);
    return status;
  }
  if (reply != NULL) orr_reply_free(reply);
  struct orr_store_reader *reader;
  status = orr_store_reader_open(app->store_path, &reader);
  if (status != ORR_OK) return status;
  struct orr_blob *journal;
  status = orr_store_run(reader, id, &journal);
  if (status == ORR_OK) {
    struct orr_run *run = orr_run_new(def);
    status = orr_run_load(run, orr_blob_slice(journal));
    *run_status = run->status;
    orr_run_free(run);
    if (status == ORR_OK) status = orr_picture_run(def, orr_blob_slice(journal), NULL, &options, picture);
    orr_blob_unref(journal);
  }
  orr_store_reader_close(reader);
  return status;
}

// --- the wait -----------------------------------------------------------------------------------------------

static void draw(const struct orr_run_once *once, const struct orr_def *def, const struct orr_notice *notice) {
  if (once->progress == NULL) return;
  char id[ORR_ID_TEXT + 1];
  orr_id_text(&notice->run, id);
  bool about_step = notice->step < def->steps_len;
  struct orr_run_progress event = {
      .run = id, .run_status = orr_run_status_text(notice->run_status),
      .step = about_step ? def->steps[notice->step].name : NULL,
      .step_status = about_step ? orr_step_status_text(notice->step_status) : NULL,
      .item = about_step && notice->item != UINT32_MAX ? notice->item : 0,
      .steps_done = notice->steps_done, .steps_total = notice->steps_total,
  };
  once->progress(once->progress_context, &event);
}

static int wait_for_end(struct orr_run_once *once, struct orr_app *app, struct orr_def *def,
                        struct notice_queue *queue, const struct orr_id *id) {
  int signal_number = 0;
  for (;;) {
    struct orr_notice notice;
    if (next_notice(queue, &notice, 50) && orr_id_compare(&notice.run, id) == 0) {
      draw(once, def, &notice);
      if (orr_run_status_final(notice.run_status)) return signal_number;
    }
    int number = orr_stop_signal_wait(0);
    if (atomic_load(&app->failed)) return -1;
    if (number == 0) continue;
    if (signal_number != 0) return signal_number; // asked twice: do not wait for the end
    signal_number = number;
    cancel(app, id, "stopped by a signal to orrery run");
  }
}

static int exit_of(enum orr_run_status status) {
  return status == ORR_RUN_SUCCEEDED ? ORR_EXIT_OK : ORR_EXIT_RUN_FAILED;
}

static int run_started(struct orr_run_once *once, struct orr_app *app, struct notice_queue *queue,
                       struct orr_buf *picture, char *message, size_t size) {
  int code = ORR_EXIT_FAILURE;
  struct orr_generation *generation = orr_code_current(app->code);
  struct orr_def *def = choose(once, generation, message, size, &code);
  struct orr_buf input = ORR_BUF_INIT, problems = ORR_BUF_INIT;
  if (def == NULL) goto out;
  if (orr_schema_apply(def->input_schema, orr_slice_text(once->input), &input, &problems) != ORR_OK) {
    snprintf(message, size, "the input does not fit %s: %s", def->name, orr_buf_cstr(&problems));
    code = ORR_EXIT_INVALID;
    goto out;
  }
  enum orr_status status;
  struct orr_reply *reply = submit(app, def, orr_buf_slice(&input), &status);
  if (status != ORR_OK || reply->status != ORR_OK) {
    snprintf(message, size, "the engine refused the run: %s", reply != NULL ? reply->message : orr_status_text(status));
    if (reply != NULL) orr_reply_free(reply);
    goto out;
  }
  struct orr_id id = reply->ids[0];
  orr_reply_free(reply);
  int signal_number = wait_for_end(once, app, def, queue, &id);
  if (signal_number < 0) {
    snprintf(message, size, "stopped: %s", app->failure);
    goto out;
  }
  if (app->runlog != NULL) orr_runlog_flush(app->runlog);
  enum orr_run_status run_status = ORR_RUN_FAILED;
  status = picture_of(app, def, &id, &run_status, picture);
  if (status != ORR_OK) snprintf(message, size, "the run ended, but cannot be shown: %s", orr_status_text(status));
  code = signal_number == SIGINT ? 130 : signal_number != 0 ? 143 : status != ORR_OK ? ORR_EXIT_FAILURE : exit_of(run_status);
out:
  orr_buf_free(&input);
  orr_buf_free(&problems);
  orr_generation_unref(generation);
  return code;
}

int orr_run_once(struct orr_run_once *once, struct orr_problems *problems, struct orr_buf *picture, char *message,
                 size_t message_size) {
  struct notice_queue *queue = orr_alloc(sizeof(*queue));
  pthread_mutex_init(&queue->mutex, NULL);
  pthread_cond_init(&queue->changed, NULL);
  once->app.notice = on_notice;
  once->app.notice_context = queue;
  struct orr_app *app = orr_alloc(sizeof(*app));
  int code = orr_app_start(app, &once->app, problems, message, message_size);
  if (code == ORR_EXIT_OK) {
    code = run_started(once, app, queue, picture, message, message_size);
    if (!orr_app_stop(app)) return code; // its memory is left to the end of the process
  }
  free(app);
  pthread_mutex_destroy(&queue->mutex);
  pthread_cond_destroy(&queue->changed);
  free(queue);
  return code;
}
