// SPDX-License-Identifier: MIT
// The worker's thread: mail, tasks, ready strands, its uv loop, and where it parks. It parks on the futex as long as nothing
// ever needed its loop, and in the loop when somebody waits for I/O. Results go back in chunks, at the latest
// before it parks. The slice timer runs while the worker is busy and never otherwise.
#include "script/worker.h"

#include "base/check.h"
#include "base/limits.h"
#include "script/luv_loop.h"
#include "script/worker_parts.h"

#include <poll.h>
#include <stdlib.h>
#include <string.h>

#define TASKS_PER_TURN 64u // begun between two looks at mail, ready strands and the loop
#define STOP_WAIT_MS 2000u

// --- results ----------------------------------------------------------------------------------------------------------

void orr__worker_flush(struct orr_worker *worker) {
  if (worker->results_len == 0) return;
  orr_host_results(worker->options.host, worker->results_first, worker->results_last);
  worker->results_first = worker->results_last = NULL;
  worker->results_len = 0;
}

void orr__worker_result(struct orr_worker *worker, struct orr_task *task) {
  task->link.next = NULL;
  if (worker->results_last != NULL) worker->results_last->next = &task->link;
  else worker->results_first = &task->link;
  worker->results_last = &task->link;
  if (worker->in_loop) uv_stop(&worker->loop); // do not block on it
  if (++worker->results_len >= ORR_RESULT_CHUNK) orr__worker_flush(worker);
}

// --- mail -------------------------------------------------------------------------------------------------------------

static struct orr_task *take_incoming(struct orr_worker *worker, uint64_t serial) {
  struct orr_link *before = NULL;
  for (struct orr_link *at = worker->incoming; at != NULL; before = at, at = at->next) {
    struct orr_task *task = ORR_CONTAINER_OF(at, struct orr_task, link);
    if (task->serial != serial) continue;
    if (before != NULL) before->next = at->next;
    else worker->incoming = at->next;
    if (worker->incoming_last == at) worker->incoming_last = before;
    return task;
  }
  return NULL;
}

static void abort_task(struct orr_worker *worker, uint64_t serial, enum orr_abort_why why) {
  struct orr_task *task = take_incoming(worker, serial);
  if (task != NULL) { // not begun
    task->started_ms = task->finished_ms = orr_clock_now().wall_ms;
    task->outcome = why == ORR_ABORT_CANCEL ? ORR_OUTCOME_CANCELLED : ORR_OUTCOME_TIMEOUT;
    if (why == ORR_ABORT_TIMEOUT) orr__lua_error_text(&task->out, "timeout", "timed out before it began");
    task->retryable = true;
    orr__worker_result(worker, task);
    return;
  }
  for (struct orr_list *at = worker->works.next; at != &worker->works; at = at->next) {
    struct orr_work *work = ORR_CONTAINER_OF(at, struct orr_work, all);
    if (work->task == NULL || work->task->serial != serial) continue;
    orr__work_abort(work, why == ORR_ABORT_CANCEL ? ORR_WORK_CANCEL : ORR_WORK_TIMEOUT);
    return;
  }
}

static void begin_stop(struct orr_worker *worker) {
  worker->stopping = true;
  worker->stop_at_ms = orr_clock_now().mono_ms + ORR_CHILD_KILL_GRACE_MS + STOP_WAIT_MS;
  while (worker->incoming != NULL) {
    struct orr_task *task = ORR_CONTAINER_OF(worker->incoming, struct orr_task, link);
    abort_task(worker, task->serial, ORR_ABORT_CANCEL);
  }
  struct orr_list *next;
  for (struct orr_list *at = worker->works.next; at != &worker->works; at = next) {
    next = at->next;
    orr__work_abort(ORR_CONTAINER_OF(at, struct orr_work, all), ORR_WORK_CANCEL);
  }
}

static void fetch_mail(struct orr_worker *worker) {
  struct orr_link *first = orr_inbox_take(&worker->inbox, ORR_LANE_MAIL);
  if (first == NULL) return;
  struct orr_link *last = first;
  while (last->next != NULL) last = last->next;
  if (worker->mail != NULL) worker->mail_last->next = first;
  else worker->mail = first;
  worker->mail_last = last;
}

void orr__worker_look_for_aborts(struct orr_worker *worker, struct orr_work *running) {
  fetch_mail(worker);
  for (struct orr_link *at = worker->mail; at != NULL && running->end == ORR_WORK_GOES_ON; at = at->next) {
    const struct orr_mail *mail = ORR_CONTAINER_OF(at, struct orr_mail, link);
    if (mail->type == ORR_MAIL_STOP) running->end = ORR_WORK_CANCEL;
    if (mail->type != ORR_MAIL_ABORT) continue;
    bool meant = running->task != NULL ? mail->serial == running->task->serial
                                       : mail->serial == 0 && atomic_load(&running->request->done) == 2;
    if (meant) running->end = mail->why == ORR_ABORT_CANCEL ? ORR_WORK_CANCEL : ORR_WORK_TIMEOUT;
  }
}

static void take_mail(struct orr_worker *worker) {
  fetch_mail(worker);
  struct orr_link *next, *first = worker->mail;
  if (first == NULL) return;
  orr_slicer_arm(&worker->slicer); // an abort runs __close handlers
  worker->mail = worker->mail_last = NULL;
  for (struct orr_link *at = first; at != NULL; at = next) {
    struct orr_mail *mail = ORR_CONTAINER_OF(at, struct orr_mail, link);
    next = at->next;
    switch (mail->type) {
    case ORR_MAIL_ABORT:
      if (mail->serial == 0) orr__request_expire(worker);
      else abort_task(worker, mail->serial, mail->why);
      break;
    case ORR_MAIL_REPLY: orr__ask_reply(worker, mail->reply); break;
    case ORR_MAIL_REQUEST: orr__request_begin(worker, mail->request); continue; // its mail is part of it
    case ORR_MAIL_STOP: begin_stop(worker); break;
    }
    free(mail);
  }
}

static void take_tasks(struct orr_worker *worker) {
  struct orr_link *first = orr_inbox_take(&worker->inbox, ORR_LANE_TASKS);
  if (first == NULL) return;
  struct orr_link *last = first;
  while (last->next != NULL) last = last->next;
  if (worker->incoming != NULL) worker->incoming_last->next = first;
  else worker->incoming = first;
  worker->incoming_last = last;
  if (worker->stopping) begin_stop(worker);
}

// --- turns --------------------------------------------------------------------------------------------------------------

static void run_ready(struct orr_worker *worker) { // each strand that is ready now, once
  struct orr_list now;
  orr_list_init(&now);
  orr_list_splice_back(&now, &worker->ready);
  struct orr_list *at;
  while ((at = orr_list_pop_front(&now)) != NULL)
    orr__strand_run(ORR_CONTAINER_OF(at, struct orr_strand, ready));
}

static void begin_tasks(struct orr_worker *worker) {
  for (uint32_t i = 0; i < TASKS_PER_TURN && worker->incoming != NULL; i++) {
    struct orr_task *task = ORR_CONTAINER_OF(worker->incoming, struct orr_task, link);
    worker->incoming = task->link.next;
    if (worker->incoming == NULL) worker->incoming_last = NULL;
    orr__task_begin(worker, task);
    if (i % 8 == 7 && !orr_list_empty(&worker->ready)) break; // somebody computes: take turns
  }
}

static bool busy(const struct orr_worker *worker) {
  return worker->incoming != NULL || !orr_list_empty(&worker->ready);
}

static void on_inbox(uv_poll_t *poll, int status, int events) { // the mail is taken in the next turn
  (void)poll;
  (void)status;
  (void)events;
}
static void on_park_timer(uv_timer_t *timer) { (void)timer; }

static void use_loop(struct orr_worker *worker) { // from now on the inbox wakes by its eventfd
  if (worker->inbox.event_fd >= 0) return;
  int fd = orr_inbox_use_fd(&worker->inbox);
  orr_assert(fd >= 0);
  int failed = uv_poll_init(&worker->loop, &worker->inbox_poll, fd);
  orr_assert(failed == 0);
  uv_poll_start(&worker->inbox_poll, UV_READABLE, on_inbox);
}

static void turn_loop(struct orr_worker *worker, uv_run_mode mode) {
  worker->in_loop = true;
  uv_run(&worker->loop, mode);
  worker->in_loop = false;
}

static void park_in_loop(struct orr_worker *worker, int timeout_ms) {
  if (timeout_ms == 0 || !orr_inbox_park(&worker->inbox)) {
    turn_loop(worker, UV_RUN_NOWAIT);
    return;
  }
  if (timeout_ms > 0) {
    uv_update_time(&worker->loop);
    uv_timer_start(&worker->park_timer, on_park_timer, (uint64_t)timeout_ms, 0);
  }
  turn_loop(worker, UV_RUN_ONCE);
  uv_timer_stop(&worker->park_timer);
  orr_inbox_unpark(&worker->inbox);
}

static void park(struct orr_worker *worker) {
  int timeout_ms = -1;
  bool luv = orr__worker_turn_states(worker, &timeout_ms);
  if (busy(worker)) return; // the turn woke somebody
  orr__worker_flush(worker);
  orr_slicer_disarm(&worker->slicer);
  if (worker->stopping) timeout_ms = 20;
  if (luv || worker->io_open > 0 || !orr_list_empty(&worker->dying)) {
    use_loop(worker);
    park_in_loop(worker, timeout_ms);
  } else if (worker->inbox.event_fd < 0) {
    orr_inbox_wait(&worker->inbox, timeout_ms < 0 ? UINT64_MAX : (uint64_t)timeout_ms * 1000);
  } else if (orr_inbox_park(&worker->inbox)) { // the loop has nothing to do: cheaper without it
    struct pollfd fd = {.fd = worker->inbox.event_fd, .events = POLLIN};
    poll(&fd, 1, timeout_ms);
    orr_inbox_unpark(&worker->inbox);
  }
}

static void run_loop(struct orr_worker *worker) {
  for (;;) {
    take_mail(worker);
    take_tasks(worker);
    if (worker->stopping && worker->works_len == 0 && worker->incoming == NULL) break;
    if (worker->stopping && orr_clock_now().mono_ms > worker->stop_at_ms) break;
    if (!busy(worker)) {
      orr__worker_drop_states(worker);
      park(worker);
      continue;
    }
    orr_slicer_arm(&worker->slicer);
    run_ready(worker);
    begin_tasks(worker);
    // Results wait for company only while tasks are begun quickly.
    if (worker->incoming == NULL || worker->slicer.ticks != worker->flushed_ticks) {
      worker->flushed_ticks = worker->slicer.ticks;
      orr__worker_flush(worker);
    }
    if (worker->io_open > 0) turn_loop(worker, UV_RUN_NOWAIT);
    int timeout_ms = -1;
    orr__worker_turn_states(worker, &timeout_ms);
  }
  orr__worker_flush(worker);
}

static void *thread_main(void *context) {
  struct orr_worker *worker = context;
  pthread_setname_np(pthread_self(), worker->options.name != NULL ? worker->options.name : "worker");
  enum orr_status status = orr_slicer_open(&worker->slicer, orr__slice_hook);
  orr_assert(status == ORR_OK);
  run_loop(worker);
  orr_slicer_disarm(&worker->slicer);
  orr__worker_close_states(worker);
  orr_slicer_close(&worker->slicer);
  return NULL;
}

// --- from outside ---------------------------------------------------------------------------------------------------------

// Replies to our own events become mail: the engine's thread must not touch our works.
static void deliver(struct orr_port *port, struct orr_reply *reply) {
  struct orr_worker *worker = ORR_CONTAINER_OF(port, struct orr_worker, port);
  struct orr_mail *mail = orr_alloc(sizeof(*mail));
  mail->type = ORR_MAIL_REPLY;
  mail->reply = reply;
  orr_inbox_push(&worker->inbox, ORR_LANE_MAIL, &mail->link, &mail->link);
}

struct orr_worker *orr_worker_new(const struct orr_worker_options *options) {
  struct orr_worker *worker = orr_alloc(sizeof(*worker));
  worker->options = *options;
  orr_inbox_init(&worker->inbox);
  int failed = uv_loop_init(&worker->loop);
  orr_assert(failed == 0);
  uv_timer_init(&worker->loop, &worker->park_timer);
  orr_list_init(&worker->states);
  orr_list_init(&worker->dying);
  orr_list_init(&worker->works);
  orr_list_init(&worker->ready);
  orr_list_init(&worker->asks);
  worker->port.deliver = deliver;
  return worker;
}

struct orr_inbox *orr_worker_inbox(struct orr_worker *worker) { return &worker->inbox; }

void orr_worker_start(struct orr_worker *worker) {
  orr_assert(!worker->started);
  int failed = pthread_create(&worker->thread, NULL, thread_main, worker);
  orr_assert(failed == 0);
  worker->started = true;
}

bool orr_worker_stop(struct orr_worker *worker) {
  if (!worker->started) return true;
  struct orr_mail *mail = orr_alloc(sizeof(*mail));
  mail->type = ORR_MAIL_STOP;
  orr_inbox_push(&worker->inbox, ORR_LANE_MAIL, &mail->link, &mail->link);
  struct timespec until;
  clock_gettime(CLOCK_REALTIME, &until);
  until.tv_sec += ORR_STOP_WORKER_MS / 1000;
  if (pthread_timedjoin_np(worker->thread, NULL, &until) != 0) return false;
  worker->started = false;
  return true;
}

static void drop_mail(struct orr_worker *worker) {
  struct orr_link *next;
  fetch_mail(worker);
  for (struct orr_link *at = worker->mail; at != NULL; at = next) {
    struct orr_mail *mail = ORR_CONTAINER_OF(at, struct orr_mail, link);
    next = at->next;
    if (mail->type == ORR_MAIL_REQUEST) {
      orr__request_refuse(mail->request);
      continue;
    }
    if (mail->type == ORR_MAIL_REPLY) orr_reply_free(mail->reply);
    free(mail);
  }
  for (struct orr_link *at = orr_inbox_take(&worker->inbox, ORR_LANE_TASKS); at != NULL; at = next) {
    next = at->next;
    orr_task_free(ORR_CONTAINER_OF(at, struct orr_task, link));
  }
}

void orr_worker_free(struct orr_worker *worker) {
  if (worker == NULL) return;
  orr_assert(!worker->started);
  drop_mail(worker);
  orr_inbox_close(&worker->inbox);
  while (worker->free_works != NULL) {
    struct orr_work *work = worker->free_works;
    worker->free_works = work->next_free;
    free(work);
  }
  orr_map_free(&worker->bindings);
  free(worker);
}
