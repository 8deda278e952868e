// SPDX-License-Identifier: MIT
// File operations as jobs of libuv's thread pool. Invariant: a job belongs to the pool's thread
// while it works and to the loop's thread before and after, so nothing in it needs a lock;
// cancelling only touches `done`, which the pool never reads. Must not know how an operation is
// done (file_ops.c, file_folders.c).
#include "io/file_ops.h"

#include "base/check.h"
#include "base/limits.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

struct orr_file_job {
  uv_work_t work;
  enum orr_file_op op;
  char *path, *to;
  struct orr_buf data;
  size_t bytes_max;
  uint64_t offset;
  bool sync, recursive;
  void (*done)(void *context, struct orr_file_result *result); // NULL: cancelled
  void *context;
  struct orr_file_result result;
};

static int operate(struct orr_file_job *job) {
  struct orr_file_result *result = &job->result;
  switch (job->op) {
  case ORR_FILE_READ:
    return orr__file_read(job->path, job->bytes_max, &result->data);
  case ORR_FILE_READ_AT:
    return orr__file_read_at(job->path, job->offset, job->bytes_max, &result->data);
  case ORR_FILE_WRITE:
    return orr__file_write(job->path, orr_buf_slice(&job->data), job->sync);
  case ORR_FILE_APPEND:
    return orr__file_append(job->path, orr_buf_slice(&job->data), job->sync);
  case ORR_FILE_STAT:
    return orr__file_stat(job->path, result);
  case ORR_FILE_LIST:
    return orr__file_list(job->path, result);
  case ORR_FILE_MKDIR:
    return orr__file_mkdir(job->path);
  case ORR_FILE_REMOVE:
    return orr__file_remove(job->path, job->recursive);
  case ORR_FILE_RENAME:
    return rename(job->path, job->to) < 0 ? errno : 0;
  case ORR_FILE_COPY:
    return orr__file_copy(job->path, job->to, job->sync);
  case ORR_FILE_TEMP_DIR:
    return orr__file_temp_dir(job->path, &result->data);
  }
  orr_unreachable();
}

static void work(uv_work_t *work_request) {
  struct orr_file_job *job = work_request->data;
  job->result.error_number = operate(job);
}

static void job_free(struct orr_file_job *job) {
  orr_buf_free(&job->result.data);
  for (size_t i = 0; i < job->result.entries_len; i++) free(job->result.entries[i].name);
  free(job->result.entries);
  orr_buf_free(&job->data);
  free(job->path);
  free(job->to);
  free(job);
}

static void after_work(uv_work_t *work_request, int status) {
  (void)status; // UV_ECANCELED comes with done == NULL only
  struct orr_file_job *job = work_request->data;
  if (job->done != NULL) job->done(job->context, &job->result);
  job_free(job);
}

struct orr_file_job *orr_file_start(uv_loop_t *loop, const struct orr_file_options *options,
                                    void (*done)(void *context, struct orr_file_result *result),
                                    void *context) {
  orr_assert(done != NULL);
  orr_assert(options->path != NULL || options->op == ORR_FILE_TEMP_DIR);
  orr_assert(options->to != NULL ||
             (options->op != ORR_FILE_RENAME && options->op != ORR_FILE_COPY));
  struct orr_file_job *job = orr_alloc(sizeof *job);
  job->work.data = job;
  job->op = options->op;
  job->path = options->path != NULL ? orr_strdup(options->path) : NULL;
  job->to = options->to != NULL ? orr_strdup(options->to) : NULL;
  orr_buf_slice_append(&job->data, options->data);
  job->bytes_max = options->bytes_max != 0 ? options->bytes_max : ORR_OUTPUT_BYTES_MAX;
  job->offset = options->offset;
  job->sync = options->sync;
  job->recursive = options->recursive;
  job->done = done;
  job->context = context;
  int error = uv_queue_work(loop, &job->work, work, after_work);
  orr_assert(error == 0);
  return job;
}

void orr_file_cancel(struct orr_file_job *job) {
  job->done = NULL;
  uv_cancel((uv_req_t *)&job->work); // refuses when a thread has it already
}
