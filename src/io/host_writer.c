// SPDX-License-Identifier: MIT
// The way to disk. A batch goes straight to disk on the engine's thread if it is small and nothing
// is before it; else it queues, and the writer takes everything queued as one commit while the next
// gathers. What else needs the connection (gathering, upkeep, generations) are jobs of the writer
// too, one at a time: while a job is out the connection is the writer's, else the engine thread's.
// Invariant: effects happen in the order of the turns, and never before the rows of their turn and
// all earlier ones are committed.
#include "io/host_internal.h"

#include "base/check.h"

#include <limits.h>
#include <linux/futex.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

// --- failing
// --------------------------------------------------------------------------------------

void orr__host_put_done(struct orr__put *put, enum orr_status status) {
  put->status = status;
  atomic_store(&put->done, 1);
  syscall(SYS_futex, &put->done, FUTEX_WAKE_PRIVATE, INT_MAX, NULL, NULL, 0);
}

// Memory is ahead of disk from here on: nothing that was decided may be seen any more.
void orr__host_fail(struct orr_host *host, const char *text) {
  orr_assert(!atomic_load(&host->failed));
  snprintf(host->failure, sizeof host->failure, "%s", text);
  atomic_store(&host->failed, true);
  struct orr_link *link = host->queue_head;
  host->queue_head = host->queue_tail = NULL;
  host->queue_rows = 0;
  while (link != NULL) {
    struct orr_link *next = link->next;
    orr__batch_refuse(host, ORR_CONTAINER_OF(link, struct orr__batch, link));
    link = next;
  }
  while (host->puts_head != NULL) {
    struct orr__put *put = host->puts_head;
    host->puts_head = (struct orr__put *)(void *)put->control.link.next;
    orr__host_put_done(put, ORR_ERR_UNAVAILABLE);
  }
  host->gather_len = 0;
  if (host->options.failed != NULL)
    host->options.failed(host->options.failed_context, host->failure);
}

// --- submitting
// -----------------------------------------------------------------------------------

static void count_commit(struct orr_host *host, size_t rows, uint64_t sync_us) {
  atomic_fetch_add_explicit(&host->commits, 1, memory_order_relaxed);
  atomic_fetch_add_explicit(&host->rows, rows, memory_order_relaxed);
  // A large commit is slow by its size; that says nothing about the disk.
  if (rows <= 16 * ORR_INLINE_ROWS_MAX) host->last_sync_us = sync_us;
  host->upkeep_wanted = true;
}

static void enqueue(struct orr_host *host, struct orr__batch *batch) {
  batch->link.next = NULL;
  if (host->queue_tail == NULL)
    host->queue_head = &batch->link;
  else
    host->queue_tail->next = &batch->link;
  host->queue_tail = &batch->link;
  host->queue_rows += batch->outbox.rows_len;
  if (host->writer_busy) atomic_store(&host->commit_waiting, true);
}

void orr__host_submit(struct orr_host *host, struct orr__batch *batch) {
  if (atomic_load_explicit(&host->failed, memory_order_relaxed)) {
    orr__batch_refuse(host, batch);
    return;
  }
  size_t rows = batch->outbox.rows_len;
  if (host->queue_head != NULL || (rows > 0 && host->writer_busy) || rows > ORR_INLINE_ROWS_MAX ||
      (rows > 0 && host->last_sync_us > ORR_INLINE_SYNC_US_MAX)) {
    enqueue(host, batch);
    return;
  }
  if (rows > 0) {
    struct orr_outbox *outbox = &batch->outbox;
    uint64_t sync_us = 0;
    if (orr_store_commit(host->options.store, &outbox, 1, &sync_us) != ORR_OK) {
      orr__batch_refuse(host, batch);
      orr__host_fail(host, orr_store_error(host->options.store));
      return;
    }
    count_commit(host, rows, sync_us);
    atomic_fetch_add_explicit(&host->inline_commits, 1, memory_order_relaxed);
    host->upkeep_pressed = orr_store_pressed(host->options.store);
  }
  orr__batch_perform(host, batch);
}

// --- choosing the writer's next job
// ---------------------------------------------------------------

static void send_job(struct orr_host *host, enum orr__job_type type) {
  orr_assert(!host->writer_busy);
  host->writer_busy = true;
  host->last_job = type;
  host->job.type = type;
  host->job.status = ORR_OK;
  atomic_store(&host->commit_waiting, host->queue_rows > 0);
  orr_inbox_push(&host->writer, 0, &host->job.link, &host->job.link);
}

static void send_commit(struct orr_host *host) {
  struct orr__job *job = &host->job;
  job->outboxes_len = job->batches = 0;
  job->rows = 0;
  for (struct orr_link *link = host->queue_head; link != NULL && job->rows < ORR_BATCH_ROWS_MAX;
       link = link->next) {
    struct orr__batch *batch = ORR_CONTAINER_OF(link, struct orr__batch, link);
    job->batches++;
    if (batch->outbox.rows_len == 0) continue;
    if (job->outboxes_len == job->outboxes_cap) {
      job->outboxes_cap = job->outboxes_cap == 0 ? 64 : job->outboxes_cap * 2;
      job->outboxes = orr_realloc(job->outboxes, job->outboxes_cap * sizeof *job->outboxes);
    }
    job->outboxes[job->outboxes_len++] = &batch->outbox;
    job->rows += batch->outbox.rows_len;
  }
  host->queue_rows -= job->rows;
  send_job(host, ORR__JOB_COMMIT);
}

static void send_gather(struct orr_host *host) {
  struct orr__job *job = &host->job;
  if (job->runs == NULL) job->runs = orr_alloc(ORR__GATHER_JOB * sizeof *job->runs);
  job->runs_len = host->gather_len < ORR__GATHER_JOB ? host->gather_len : ORR__GATHER_JOB;
  job->runs_done = 0;
  job->insist = host->gather_len > ORR__GATHER_LAG;
  for (size_t i = 0; i < job->runs_len; i++)
    job->runs[i] = host->gather[(host->gather_head + i) & (host->gather_cap - 1)].run;
  send_job(host, ORR__JOB_GATHER);
}

static bool upkeep_due(const struct orr_host *host, uint64_t mono_ms) {
  if (host->upkeep_pressed) return true;
  if (!host->upkeep_wanted || mono_ms < host->upkeep_ms) return false;
  return host->queue_rows == 0 || mono_ms >= host->upkeep_ms + ORR__UPKEEP_OVERDUE_MS;
}

static bool gather_due(const struct orr_host *host, uint64_t mono_ms) {
  if (host->gather_len == 0) return false;
  if (host->queue_rows > 0)
    return host->gather_len > ORR__GATHER_LAG && host->last_job != ORR__JOB_GATHER;
  return host->gather_len >= ORR__GATHER_EAGER || host->stopping ||
         mono_ms >= host->gather_since_ms + ORR__GATHER_IDLE_MS;
}

// Batches without rows at the head of the queue have nothing before them to wait for.
static void perform_rowless(struct orr_host *host) {
  while (host->queue_head != NULL) {
    struct orr__batch *batch = ORR_CONTAINER_OF(host->queue_head, struct orr__batch, link);
    if (batch->outbox.rows_len > 0) return;
    host->queue_head = batch->link.next;
    if (host->queue_head == NULL) host->queue_tail = NULL;
    orr__batch_perform(host, batch);
  }
}

void orr__host_pump(struct orr_host *host, const struct orr_now *now) {
  if (host->writer_busy || atomic_load_explicit(&host->failed, memory_order_relaxed)) return;
  perform_rowless(host);
  if (host->puts_head != NULL) {
    host->job.put = host->puts_head;
    host->puts_head = (struct orr__put *)(void *)host->job.put->control.link.next;
    send_job(host, ORR__JOB_PUT);
  } else if (upkeep_due(host, now->mono_ms)) {
    host->job.wall_ms = now->wall_ms;
    host->upkeep_wanted = false; // a commit from now on asks for it again
    send_job(host, ORR__JOB_UPKEEP);
  } else if (gather_due(host, now->mono_ms)) {
    send_gather(host);
  } else if (host->queue_rows > 0) {
    send_commit(host);
  }
}

uint64_t orr__host_pump_deadline(const struct orr_host *host) {
  if (host->writer_busy || atomic_load_explicit(&host->failed, memory_order_relaxed))
    return UINT64_MAX;
  uint64_t deadline = UINT64_MAX;
  if (host->gather_len > 0) deadline = host->gather_since_ms + ORR__GATHER_IDLE_MS;
  if (host->upkeep_wanted && host->upkeep_ms < deadline) deadline = host->upkeep_ms;
  return deadline;
}

// --- a job came back
// ------------------------------------------------------------------------------

static void commit_done(struct orr_host *host) {
  const struct orr__job *job = &host->job;
  count_commit(host, job->rows, job->sync_us);
  for (size_t i = 0; i < job->batches; i++) {
    struct orr__batch *batch = ORR_CONTAINER_OF(host->queue_head, struct orr__batch, link);
    host->queue_head = batch->link.next;
    if (host->queue_head == NULL) host->queue_tail = NULL;
    orr__batch_perform(host, batch);
  }
}

static void gather_done(struct orr_host *host, const struct orr_now *now) {
  size_t done = host->job.runs_done;
  if (done == 0) return;
  struct orr_event *event = orr_event_new(ORR_EVENT_GATHERED);
  event->gathered.handles = orr_alloc(done * sizeof(uint64_t));
  event->gathered.len = (uint32_t)done;
  for (size_t i = 0; i < done; i++)
    event->gathered.handles[i] =
        host->gather[(host->gather_head + i) & (host->gather_cap - 1)].handle;
  host->gather_head = (host->gather_head + done) & (host->gather_cap - 1);
  host->gather_len -= done;
  host->upkeep_wanted = true;
  orr_engine_apply(host->engine, now, event);
}

void orr__host_job_done(struct orr_host *host, const struct orr_now *now) {
  orr_assert(host->writer_busy);
  struct orr__job *job = &host->job;
  host->writer_busy = false;
  if (job->status != ORR_OK) {
    if (job->type == ORR__JOB_PUT) orr__host_put_done(job->put, job->status);
    orr__host_fail(host, orr_store_error(host->options.store));
    return;
  }
  host->upkeep_pressed = orr_store_pressed(host->options.store);
  switch (job->type) {
  case ORR__JOB_COMMIT:
    commit_done(host);
    break;
  case ORR__JOB_GATHER:
    gather_done(host, now);
    break;
  case ORR__JOB_UPKEEP:
    host->upkeep_wanted |= job->more;
    host->upkeep_ms = now->mono_ms + ORR__UPKEEP_EVERY_MS;
    break;
  case ORR__JOB_PUT:
    orr__host_put_done(job->put, ORR_OK);
    break;
  case ORR__JOB_STOP:
    break;
  }
}

// --- the writer's thread
// --------------------------------------------------------------------------

static void gather(struct orr_host *host, struct orr__job *job) {
  while (job->runs_done < job->runs_len && job->status == ORR_OK) {
    size_t n = job->runs_len - job->runs_done;
    if (n > ORR__GATHER_TRANSACTION) n = ORR__GATHER_TRANSACTION;
    job->status = orr_store_gather(host->options.store, job->runs + job->runs_done, n);
    if (job->status == ORR_OK) job->runs_done += n;
    if (!job->insist && atomic_load(&host->commit_waiting)) return;
  }
}

static void work(struct orr_host *host, struct orr__job *job) {
  struct orr_store *store = host->options.store;
  switch (job->type) {
  case ORR__JOB_COMMIT:
    job->status = orr_store_commit(store, job->outboxes, job->outboxes_len, &job->sync_us);
    break;
  case ORR__JOB_GATHER:
    gather(host, job);
    break;
  case ORR__JOB_UPKEEP:
    job->more = orr_store_upkeep(store, job->wall_ms);
    if (orr_store_failed(store)) job->status = ORR_ERR_IO;
    break;
  case ORR__JOB_PUT:
    job->status = orr_store_put_generation(store, job->put->generation, job->put->blobs,
                                           job->put->blobs_len, orr_clock_now().wall_ms);
    break;
  case ORR__JOB_STOP:
    break;
  }
}

void *orr__writer_main(void *context) {
  struct orr_host *host = context;
  for (;;) {
    struct orr_link *link = orr_inbox_take(&host->writer, 0);
    if (link == NULL) {
      orr_inbox_wait(&host->writer, UINT64_MAX);
      continue;
    }
    struct orr__job *job = ORR_CONTAINER_OF(link, struct orr__job, link);
    if (job->type == ORR__JOB_STOP) return NULL;
    work(host, job);
    orr_inbox_push(&host->inbox, ORR__LANE_CONTROL, &job->control.link, &job->control.link);
  }
}
