// SPDX-License-Identifier: MIT
// `orrery run`: one run, to its end, in this process, on the project's own store. Main thread.
#pragma once

#include "app/engine_app.h"

struct orr_run_progress { // something of the run changed; texts valid during the call
  const char *run, *run_status;
  const char *step;        // NULL: about the run
  const char *step_status;
  uint32_t item;           // 0: the step itself
  uint32_t steps_done, steps_total;
};

struct orr_run_once {
  struct orr_app_options app;
  const char *name;  // of the pipeline; NULL: the only one of the script
  const char *input; // JSON text or NULL
  void (*progress)(void *context, const struct orr_run_progress *event); // main thread; may be NULL
  void *progress_context;
};

// Returns an exit code of DESIGN section 8 (130, 143 after a signal, which cancels the run). `picture` gets the
// run object as JSON once there is a run.
int orr_run_once(struct orr_run_once *once, struct orr_problems *problems, struct orr_buf *picture, char *message,
                 size_t message_size);
