// SPDX-License-Identifier: MIT
// What the host's files share. Being the engine is a role: whoever holds `role` owns everything but
// what is marked otherwise. Mostly that is the engine thread; a worker about to go idle takes it
// for one turn. The writer thread owns the store's connection and `job` from the moment it is sent
// until it comes back. Any thread may push to the inbox and read the atomics.
#pragma once

#include "io/host.h"
#include "io/in_flight.h"

#include <pthread.h>
#include <stdatomic.h>

#define ORR__GATHER_TRANSACTION 128u // runs indexed by one transaction
#define ORR__GATHER_JOB 1024u        // runs of one job; it gives way between transactions
#define ORR__GATHER_EAGER 256u       // so many waiting are gathered as soon as nothing is to commit
#define ORR__GATHER_IDLE_MS 20u      // fewer, once nothing happened for so long
#define ORR__GATHER_LAG 20000u       // above it gathering alternates with commits
#define ORR__UPKEEP_EVERY_MS 100u    // while there is something to tidy
#define ORR__UPKEEP_OVERDUE_MS 250u  // then commits wait for a piece of it

enum orr__host_lane { ORR__LANE_EVENTS, ORR__LANE_RESULTS, ORR__LANE_CONTROL };

enum orr__control_type { ORR__CONTROL_JOB, ORR__CONTROL_PUT, ORR__CONTROL_STOP };
struct orr__control { // on the host's control lane
  struct orr_link link;
  enum orr__control_type type;
};

struct orr__put { // orr_host_put_generation, on its caller's stack
  struct orr__control control;
  const struct orr_digest *generation;
  struct orr_slice const *blobs;
  size_t blobs_len;
  enum orr_status status;
  _Atomic uint32_t done; // futex
};

struct orr__batch { // the outbox of one turn on its way to disk
  struct orr_link link;
  struct orr_outbox outbox;
  uint32_t *cleared; // slots of the attempts whose results it records
  uint32_t cleared_len, cleared_cap;
  uint32_t origin; // the one worker whose results caused it, or UINT32_MAX
};

struct orr__gather_item {
  const struct orr_run *run;
  uint64_t handle;
};

enum orr__job_type {
  ORR__JOB_COMMIT,
  ORR__JOB_GATHER,
  ORR__JOB_UPKEEP,
  ORR__JOB_PUT,
  ORR__JOB_STOP
};
struct orr__job {       // the one thing the writer is doing
  struct orr_link link; // on the writer's inbox
  struct orr__control control;
  enum orr__job_type type;
  enum orr_status status;
  // COMMIT
  struct orr_outbox **outboxes;
  size_t outboxes_len, outboxes_cap;
  size_t batches; // at the head of the queue, those without rows included
  uint64_t rows, sync_us;
  // GATHER
  const struct orr_run **runs; // ORR__GATHER_JOB
  size_t runs_len, runs_done;
  bool insist; // do not give way
  // UPKEEP
  int64_t wall_ms;
  bool more;
  // PUT
  struct orr__put *put;
};

struct orr__slot { // an attempt at a worker
  uint64_t serial; // 0: free, or its result is on its way to disk
  uint32_t worker;
  uint32_t next; // free list
};

struct orr__worker {
  struct orr_inbox *inbox;
  uint32_t open;                 // attempts at it
  struct orr_link *first, *last; // tasks of this turn
};

struct orr_host {
  struct orr_host_options options;
  char *node;
  struct orr_engine *engine;
  struct orr_inbox inbox;  // any thread pushes
  struct orr_inbox writer; // engine thread pushes
  pthread_t engine_thread, writer_thread;
  pthread_mutex_t role;
  _Atomic uint64_t sleeps_until_ms; // of the engine thread; 0 while it is awake
  bool started;
  struct orr__worker workers[ORR_WORKERS_MAX];
  uint32_t workers_len, next_worker;

  struct orr_link *queue_head, *queue_tail; // batches not yet performed, oldest first
  size_t queue_rows;                        // of those not sent
  struct orr__batch *spare;                 // the turn's next one
  struct orr_link *pool;
  uint32_t pool_len;
  struct orr__job job;
  bool writer_busy;
  enum orr__job_type last_job;
  uint64_t last_sync_us;
  struct orr__put *puts_head, *puts_tail;
  struct orr__gather_item *gather; // ring
  size_t gather_head, gather_len, gather_cap;
  uint64_t gather_since_ms; // when the last one was added or the last turn did something
  bool upkeep_wanted, upkeep_pressed;
  uint64_t upkeep_ms; // not before

  struct orr__slot *slots;
  uint32_t slots_len, slots_free;
  struct orr_in_flight *in_flight;

  bool stopping;
  struct orr__control stop;
  char failure[600];
  _Atomic uint64_t stop_wait_ms;
  uint64_t stop_deadline_ms;
  bool ended;                  // the engine thread has left its loop
  _Atomic bool commit_waiting; // tells a gathering writer to give way
  _Atomic bool closed;         // the engine thread has ended
  // counts, written by the engine thread
  _Atomic uint32_t live, attempts, ungathered;
  _Atomic uint64_t commits, inline_commits, rows;
  _Atomic bool failed;
};

// host_batch.c: batches, their effects, workers.
struct orr__batch *orr__batch_get(struct orr_host *host);
void orr__batch_put(struct orr_host *host, struct orr__batch *batch);
void orr__batch_free(struct orr__batch *batch);
void orr__batch_note_results(struct orr_host *host, struct orr__batch *batch,
                             struct orr_link *tasks);
void orr__batch_perform(struct orr_host *host, struct orr__batch *batch); // it is committed
void orr__batch_refuse(struct orr_host *host, struct orr__batch *batch);  // it never will be
void orr__host_flush(struct orr_host *host); // pushes the turn's tasks to their workers
void orr__host_refuse_event(struct orr_host *host, struct orr_event *event);
void orr__host_slots_init(struct orr_host *host, uint32_t slots);

// host_writer.c: the queue to the writer, and its thread.
void orr__host_submit(struct orr_host *host, struct orr__batch *batch);
void orr__host_pump(struct orr_host *host, const struct orr_now *now);
void orr__host_job_done(struct orr_host *host, const struct orr_now *now);
uint64_t orr__host_pump_deadline(const struct orr_host *host); // mono ms, or UINT64_MAX
void orr__host_fail(struct orr_host *host, const char *text);
void orr__host_put_done(struct orr__put *put, enum orr_status status);
void *orr__writer_main(void *context);

// host_recover.c
enum orr_status orr__host_recover(struct orr_host *host, uint32_t *recovered);
