// SPDX-License-Identifier: MIT
// The host: its life, its doors for other threads, and the engine's turns. One turn: take all mail,
// apply it, tick if a timer is due, take the outbox, send it towards disk, perform what is
// committed. Turns are the engine thread's, but a worker that hands over its last results, with
// nothing else to do, runs the turn itself: its successor starts without a wake-up across cores.
// Only the holder of the role calls the core.
#include "io/host_internal.h"

#include "base/check.h"
#include "core/wheel.h"

#include <linux/futex.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

struct orr_host *orr_host_new(const struct orr_host_options *options) {
  orr_assert(options->store != NULL);
  struct orr_host *host = orr_alloc(sizeof *host);
  host->options = *options;
  host->node = orr_strdup(options->node != NULL ? options->node : "local");
  if (host->options.tasks_per_worker == 0) host->options.tasks_per_worker = ORR_TASKS_PER_WORKER;
  orr_inbox_init(&host->inbox);
  orr_inbox_init(&host->writer);
  host->job.control.type = ORR__CONTROL_JOB;
  pthread_mutex_init(&host->role, NULL);
  host->spare = orr__batch_get(host);
  return host;
}

uint32_t orr_host_add_worker(struct orr_host *host, struct orr_inbox *inbox) {
  orr_assert(!host->started && host->workers_len < ORR_WORKERS_MAX);
  host->workers[host->workers_len].inbox = inbox;
  return host->workers_len++;
}

// --- the engine thread
// ----------------------------------------------------------------------------

static void take_put(struct orr_host *host, struct orr__put *put) {
  if (atomic_load(&host->failed)) {
    orr__host_put_done(put, ORR_ERR_UNAVAILABLE);
    return;
  }
  put->control.link.next = NULL;
  if (host->puts_head == NULL)
    host->puts_head = put;
  else
    host->puts_tail->control.link.next = &put->control.link;
  host->puts_tail = put;
}

static void take_stop(struct orr_host *host, const struct orr_now *now) {
  if (host->stopping) return;
  host->stopping = true;
  host->stop_deadline_ms = now->mono_ms + atomic_load(&host->stop_wait_ms);
  if (!atomic_load(&host->failed))
    orr_engine_apply(host->engine, now, orr_event_new(ORR_EVENT_DRAIN));
}

static void take_control(struct orr_host *host, const struct orr_now *now, struct orr_link *link) {
  while (link != NULL) {
    struct orr__control *control = ORR_CONTAINER_OF(link, struct orr__control, link);
    link = link->next;
    switch (control->type) {
    case ORR__CONTROL_JOB:
      orr__host_job_done(host, now);
      break;
    case ORR__CONTROL_PUT:
      take_put(host, ORR_CONTAINER_OF(control, struct orr__put, control));
      break;
    case ORR__CONTROL_STOP:
      take_stop(host, now);
      break;
    }
  }
}

static void drop_tasks(struct orr_link *link) {
  while (link != NULL) {
    struct orr_link *next = link->next;
    orr_task_free(ORR_CONTAINER_OF(link, struct orr_task, link));
    link = next;
  }
}

static void take_results(struct orr_host *host, const struct orr_now *now, struct orr_link *tasks) {
  if (tasks == NULL) return;
  if (atomic_load_explicit(&host->failed, memory_order_relaxed)) {
    drop_tasks(tasks);
    return;
  }
  orr__batch_note_results(host, host->spare, tasks);
  orr_engine_results(host->engine, now, tasks);
}

static void take_events(struct orr_host *host, const struct orr_now *now, struct orr_link *link) {
  while (link != NULL) {
    struct orr_event *event = ORR_CONTAINER_OF(link, struct orr_event, link);
    link = link->next;
    if (atomic_load_explicit(&host->failed, memory_order_relaxed))
      orr__host_refuse_event(host, event);
    else
      orr_engine_apply(host->engine, now, event);
  }
}

static void take_outbox(struct orr_host *host, const struct orr_now *now) {
  if (atomic_load_explicit(&host->failed, memory_order_relaxed)) return;
  bool some = orr_engine_take(host->engine, now, &host->spare->outbox);
  if (!some && host->spare->cleared_len == 0) return;
  struct orr__batch *batch = host->spare;
  host->spare = orr__batch_get(host);
  orr__host_submit(host, batch);
}

static void update_counts(struct orr_host *host) {
  atomic_store_explicit(&host->live, orr_engine_live(host->engine), memory_order_relaxed);
  atomic_store_explicit(&host->attempts, orr_engine_in_flight(host->engine), memory_order_relaxed);
  atomic_store_explicit(&host->ungathered, orr_engine_ungathered(host->engine),
                        memory_order_relaxed);
}

// `own`: results of the worker that runs the turn, or NULL.
static void turn(struct orr_host *host, const struct orr_now *now, struct orr_link *own) {
  struct orr_link *control = orr_inbox_take(&host->inbox, ORR__LANE_CONTROL);
  struct orr_link *results = orr_inbox_take(&host->inbox, ORR__LANE_RESULTS);
  struct orr_link *events = orr_inbox_take(&host->inbox, ORR__LANE_EVENTS);
  if (results != NULL || own != NULL || events != NULL) host->gather_since_ms = now->mono_ms;
  host->spare->origin = UINT32_MAX;
  take_control(host, now, control);
  orr__host_flush(host); // work for the workers before our own
  take_results(host, now, results);
  take_results(host, now, own);
  take_events(host, now, events);
  if (!atomic_load_explicit(&host->failed, memory_order_relaxed)) {
    if (now->mono_ms >= orr_engine_next_deadline(host->engine)) orr_engine_tick(host->engine, now);
    take_outbox(host, now);
    orr__host_pump(host, now);
  }
  orr__host_flush(host);
  update_counts(host);
}

// Stopping is over when no attempt is out and all is on disk and gathered, or when its time is up;
// a job at the writer is always waited for.
static bool stopped(const struct orr_host *host, const struct orr_now *now) {
  if (!host->stopping || host->writer_busy) return false;
  if (atomic_load(&host->failed)) return true;
  if (host->queue_head != NULL) return false;
  if (now->mono_ms >= host->stop_deadline_ms) return true;
  return orr_engine_in_flight(host->engine) == 0 && host->gather_len == 0 &&
         host->puts_head == NULL;
}

// When the next turn is due without mail; UINT64_MAX: never.
static uint64_t next_turn_ms(const struct orr_host *host) {
  uint64_t deadline = orr__host_pump_deadline(host);
  if (!atomic_load_explicit(&host->failed, memory_order_relaxed)) {
    uint64_t next = orr_engine_next_deadline(host->engine);
    if (next < deadline) deadline = next;
  }
  if (host->stopping && !host->writer_busy && host->stop_deadline_ms < deadline)
    deadline = host->stop_deadline_ms;
  return deadline;
}

static void *engine_main(void *context) {
  struct orr_host *host = context;
  for (;;) {
    atomic_store(&host->sleeps_until_ms, 0);
    pthread_mutex_lock(&host->role);
    struct orr_now now = orr_clock_now();
    turn(host, &now, NULL);
    host->ended = stopped(host, &now);
    bool ended = host->ended;
    uint64_t next_ms = next_turn_ms(host);
    // Under the role, so that a worker's turn from here on sees until when we sleep.
    atomic_store(&host->sleeps_until_ms, next_ms);
    pthread_mutex_unlock(&host->role);
    if (ended) break;
    if (next_ms == UINT64_MAX)
      orr_inbox_wait(&host->inbox, UINT64_MAX);
    else if (next_ms > now.mono_ms)
      orr_inbox_wait(&host->inbox, (next_ms - now.mono_ms) * 1000);
  }
  return NULL;
}

// --- a worker's turn
// ------------------------------------------------------------------------------

// With other attempts at the worker it has better things to do than to wait for a disk.
static bool last_results(const struct orr_host *host, const struct orr_link *first) {
  uint32_t n = 0;
  for (const struct orr_link *link = first; link != NULL && n <= ORR_INLINE_ROWS_MAX;
       link = link->next)
    n++;
  const struct orr_task *task = ORR_CONTAINER_OF(first, const struct orr_task, link);
  return n <= ORR_INLINE_ROWS_MAX && host->workers[task->worker].open == n;
}

static bool run_turn(struct orr_host *host, struct orr_link *first) {
  if (pthread_mutex_trylock(&host->role) != 0) return false;
  if (host->stopping || host->ended || host->writer_busy || !last_results(host, first)) {
    pthread_mutex_unlock(&host->role);
    return false;
  }
  // A signal meant for this thread's scripts must not interrupt a write to disk.
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  struct orr_now now = orr_clock_now();
  turn(host, &now, first);
  bool wake = next_turn_ms(host) < atomic_load(&host->sleeps_until_ms);
  pthread_mutex_unlock(&host->role);
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  if (wake) orr_inbox_wake(&host->inbox); // its alarm is set too late
  return true;
}

void orr_host_results(struct orr_host *host, struct orr_link *first, struct orr_link *last) {
  last->next = NULL;
  if (!run_turn(host, first)) orr_inbox_push(&host->inbox, ORR__LANE_RESULTS, first, last);
}

// --- start and stop
// -------------------------------------------------------------------------------

enum orr_status orr_host_start(struct orr_host *host, uint32_t *recovered) {
  orr_assert(!host->started);
  uint32_t open = 0;
  enum orr_status status = orr__host_recover(host, &open);
  if (status != ORR_OK) return status;
  host->started = true;
  host->upkeep_wanted = true;
  update_counts(host);
  if (pthread_create(&host->writer_thread, NULL, orr__writer_main, host) != 0 ||
      pthread_create(&host->engine_thread, NULL, engine_main, host) != 0) {
    // Cannot be undone by halves, and a process that cannot start two threads has no use for us.
    orr_check_failed(__FILE__, __LINE__, "pthread_create");
  }
  if (recovered != NULL) *recovered = open;
  return ORR_OK;
}

// Mail that came too late for the engine thread.
static void drain_inbox(struct orr_host *host) {
  struct orr_link *link = orr_inbox_take(&host->inbox, ORR__LANE_CONTROL);
  while (link != NULL) {
    struct orr__control *control = ORR_CONTAINER_OF(link, struct orr__control, link);
    link = link->next;
    if (control->type == ORR__CONTROL_PUT)
      orr__host_put_done(ORR_CONTAINER_OF(control, struct orr__put, control), ORR_ERR_UNAVAILABLE);
  }
  drop_tasks(orr_inbox_take(&host->inbox, ORR__LANE_RESULTS));
  link = orr_inbox_take(&host->inbox, ORR__LANE_EVENTS);
  while (link != NULL) {
    struct orr_event *event = ORR_CONTAINER_OF(link, struct orr_event, link);
    link = link->next;
    orr__host_refuse_event(host, event);
  }
}

void orr_host_stop(struct orr_host *host, uint64_t wait_ms) {
  if (!host->started || atomic_load(&host->closed)) return;
  atomic_store(&host->stop_wait_ms, wait_ms);
  host->stop.type = ORR__CONTROL_STOP;
  orr_inbox_push(&host->inbox, ORR__LANE_CONTROL, &host->stop.link, &host->stop.link);
  pthread_join(host->engine_thread, NULL);
  host->job.type = ORR__JOB_STOP;
  orr_inbox_push(&host->writer, 0, &host->job.link, &host->job.link);
  pthread_join(host->writer_thread, NULL);
  atomic_store(&host->closed, true);
  drain_inbox(host);
}

static void free_batches(struct orr_link *link) {
  while (link != NULL) {
    struct orr_link *next = link->next;
    orr__batch_free(ORR_CONTAINER_OF(link, struct orr__batch, link));
    link = next;
  }
}

void orr_host_free(struct orr_host *host) {
  if (host == NULL) return;
  orr_host_stop(host, 0);
  drain_inbox(host);
  free_batches(host->pool);
  free_batches(host->queue_head);
  orr__batch_free(host->spare);
  orr_engine_free(host->engine);
  orr_store_close(host->options.store);
  orr_in_flight_close(host->in_flight);
  orr_inbox_close(&host->inbox);
  orr_inbox_close(&host->writer);
  pthread_mutex_destroy(&host->role);
  free(host->job.outboxes);
  free(host->job.runs);
  free(host->gather);
  free(host->slots);
  free(host->node);
  free(host);
}

// --- doors
// ----------------------------------------------------------------------------------------

void orr_host_send(struct orr_host *host, struct orr_event *event) {
  if (atomic_load(&host->closed)) {
    orr__host_refuse_event(host, event);
    return;
  }
  orr_inbox_push(&host->inbox, ORR__LANE_EVENTS, &event->link, &event->link);
}

static void futex_wait(_Atomic uint32_t *word, uint32_t value, uint64_t timeout_us) {
  struct timespec timeout = {(time_t)(timeout_us / 1000000), (long)(timeout_us % 1000000 * 1000)};
  syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, value, &timeout, NULL, 0);
}

enum orr_status orr_host_put_generation(struct orr_host *host, const struct orr_digest *generation,
                                        struct orr_slice const *blobs, size_t blobs_len) {
  if (!host->started) // the store is still the caller's
    return orr_store_put_generation(host->options.store, generation, blobs, blobs_len,
                                    orr_clock_now().wall_ms);
  if (atomic_load(&host->closed)) return ORR_ERR_UNAVAILABLE;
  struct orr__put put = {.control = {.type = ORR__CONTROL_PUT},
                         .generation = generation,
                         .blobs = blobs,
                         .blobs_len = blobs_len};
  orr_inbox_push(&host->inbox, ORR__LANE_CONTROL, &put.control.link, &put.control.link);
  while (atomic_load(&put.done) == 0) futex_wait(&put.done, 0, 1000000);
  return put.status;
}

void orr_host_counts(struct orr_host *host, struct orr_host_counts *counts) {
  *counts = (struct orr_host_counts){
      .live = atomic_load_explicit(&host->live, memory_order_relaxed),
      .in_flight = atomic_load_explicit(&host->attempts, memory_order_relaxed),
      .ungathered = atomic_load_explicit(&host->ungathered, memory_order_relaxed),
      .commits = atomic_load_explicit(&host->commits, memory_order_relaxed),
      .inline_commits = atomic_load_explicit(&host->inline_commits, memory_order_relaxed),
      .rows = atomic_load_explicit(&host->rows, memory_order_relaxed),
      .failed = atomic_load(&host->failed),
  };
}

// --- asking
// ---------------------------------------------------------------------------------------

// Shared by the one who asks and the reply on its way; whoever lets go last frees it, so a reply
// that comes too late finds it alive.
struct waiter {
  struct orr_port port;
  _Atomic uint32_t refs;
  _Atomic uint32_t state; // futex: 0 waiting, 1 answered, 2 given up
  struct orr_reply *reply;
};

static void waiter_unref(struct waiter *waiter) {
  if (atomic_fetch_sub(&waiter->refs, 1) == 1) free(waiter);
}

static void waiter_deliver(struct orr_port *port, struct orr_reply *reply) {
  struct waiter *waiter = ORR_CONTAINER_OF(port, struct waiter, port);
  waiter->reply = reply;
  uint32_t waiting = 0;
  if (atomic_compare_exchange_strong(&waiter->state, &waiting, 1))
    syscall(SYS_futex, &waiter->state, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
  else
    orr_reply_free(reply);
  waiter_unref(waiter);
}

enum orr_status orr_host_ask(struct orr_host *host, struct orr_event *event, uint64_t timeout_ms,
                             struct orr_reply **reply) {
  orr_assert(event->type < ORR_EVENT_WATCH && event->type != ORR_EVENT_RESULT);
  struct waiter *waiter = orr_alloc(sizeof *waiter);
  waiter->port.deliver = waiter_deliver;
  atomic_init(&waiter->refs, 2);
  event->reply_to.port = &waiter->port;
  uint64_t deadline_us = orr_clock_mono_us() + timeout_ms * 1000;
  orr_host_send(host, event);
  for (;;) {
    uint64_t now_us = orr_clock_mono_us();
    if (atomic_load(&waiter->state) == 1 || now_us >= deadline_us) break;
    futex_wait(&waiter->state, 0, deadline_us - now_us);
  }
  uint32_t waiting = 0;
  enum orr_status status = ORR_ERR_TIMEOUT;
  if (!atomic_compare_exchange_strong(&waiter->state, &waiting, 2)) {
    *reply = waiter->reply;
    status = ORR_OK;
  }
  waiter_unref(waiter);
  return status;
}
