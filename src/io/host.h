// SPDX-License-Identifier: MIT
// The engine's place in the world: its thread, its inbox, its store. Per turn: take all mail, apply it,
// take the outbox, commit, and only then perform the effects. A small batch (<= ORR_INLINE_ROWS_MAX rows)
// is committed inline when nothing is at the writer and syncs are quick; else the writer thread takes
// everything present, one commit in flight while the next gathers. The connection is owned by whichever
// of the two is committing; ownership passes through their inboxes. Gathering runs on the writer when it
// has nothing to commit. Being the engine is a role under a lock: the engine thread has it, and a worker
// that hands over its last few results, with nothing else open, takes it for that one turn.
#pragma once

#include "core/engine.h"
#include "io/inbox.h"
#include "io/store.h"

struct orr_host;

// Receives replies from whoever runs the engine's turn: the engine thread, or a worker inside its own
// orr_host_results. One at a time; must not block nor call the host. Frees the reply when done with it.
struct orr_port {
  void (*deliver)(struct orr_port *port, struct orr_reply *reply);
};

// Lanes of a worker's inbox.
enum orr_worker_lane { ORR_LANE_TASKS, ORR_LANE_MAIL };

enum orr_mail_type { ORR_MAIL_ABORT, ORR_MAIL_REPLY, ORR_MAIL_REQUEST, ORR_MAIL_STOP };
struct orr_mail { // on ORR_LANE_MAIL
  struct orr_link link;
  enum orr_mail_type type;
  uint64_t serial;          // ABORT
  enum orr_abort_why why;   // ABORT
  struct orr_reply *reply;  // REPLY: answer to the worker's own event; token says to whom
  void *request;            // REQUEST: struct orr_request of script/web.h
};

struct orr_notice { // copy of ORR_EFFECT_NOTICE
  struct orr_id run;
  uint8_t run_status, step_status;
  uint32_t step, item, steps_done, steps_total;
};

struct orr_host_options {
  struct orr_store *store;     // owned by the host from start to stop
  const char *node;            // name of this node
  uint64_t seed;
  uint32_t tasks_per_worker;   // 0: ORR_TASKS_PER_WORKER
  const char *in_flight_path;  // small shared map of attempts in flight, survives kill -9; or NULL
  // Finds the definition a recovered run needs. Called on the starting thread. NULL: run is left closed
  // and reported in the log (its code is lost).
  struct orr_def *(*find_def)(void *context, const struct orr_digest *generation,
                              struct orr_slice pipeline);
  void *find_def_context;
  // As a port's deliver: whoever runs the turn, one at a time; must be quick. May be NULL.
  void (*notice)(void *context, const struct orr_notice *notice);
  void *notice_context;
  // A commit failed: nothing is acknowledged any more. Called once, like notice; the process
  // should exit 1 soon. `text` says what and where.
  void (*failed)(void *context, const char *text);
  void *failed_context;
};

struct orr_host *orr_host_new(const struct orr_host_options *options);
// Before start. The worker's inbox receives tasks and mail. Returns the worker's index.
uint32_t orr_host_add_worker(struct orr_host *host, struct orr_inbox *inbox);
// Recovers open runs from the store, then starts the engine and writer threads. *recovered: open runs.
enum orr_status orr_host_start(struct orr_host *host, uint32_t *recovered);
// Any thread. Takes the event over. Replies go to reply_to.port (struct orr_port) when that is not NULL.
void orr_host_send(struct orr_host *host, struct orr_event *event);
// The worker that the tasks were given to: chain of finished tasks. May run the engine's turn, and then
// push the next tasks to this worker's own inbox before it returns.
void orr_host_results(struct orr_host *host, struct orr_link *first, struct orr_link *last);
// Puts a generation's blobs into the store on the thread that owns the connection; waits for the commit.
enum orr_status orr_host_put_generation(struct orr_host *host, const struct orr_digest *generation,
                                        struct orr_slice const *blobs, size_t blobs_len);
// Stops taking work, waits up to `wait_ms` for attempts in flight, commits, joins both threads. Workers must
// still be alive; stop them afterwards. Then orr_host_free closes the store.
void orr_host_stop(struct orr_host *host, uint64_t wait_ms);
void orr_host_free(struct orr_host *host);

struct orr_host_counts { // approximate, from any thread
  uint32_t live, in_flight, ungathered;
  uint64_t commits, inline_commits, rows;
  bool failed;
};
void orr_host_counts(struct orr_host *host, struct orr_host_counts *counts);

// Convenience for threads that may block (civetweb, CLI): sends the event and waits for its reply.
// ORR_ERR_TIMEOUT: the reply, when it comes, is dropped.
enum orr_status orr_host_ask(struct orr_host *host, struct orr_event *event, uint64_t timeout_ms,
                             struct orr_reply **reply);
