// SPDX-License-Identifier: MIT
// File operations off the worker's loop: each runs whole on libuv's thread pool, its callback on the loop.
// Writes are atomic (temporary file in the same folder, fsync when asked, rename). Foreign library: libuv.
#pragma once

#include "base/buf.h"
#include "base/status.h"

#include <uv.h>

enum orr_file_op {
  ORR_FILE_READ, ORR_FILE_READ_AT, ORR_FILE_WRITE, ORR_FILE_APPEND, ORR_FILE_STAT, ORR_FILE_LIST, ORR_FILE_MKDIR, // with parents
  ORR_FILE_REMOVE, ORR_FILE_RENAME, ORR_FILE_COPY, ORR_FILE_TEMP_DIR,
};
struct orr_file_entry { char *name; bool is_dir; uint64_t size; int64_t modified_ms; };
struct orr_file_result {
  int error_number;      // 0 done, else errno
  struct orr_buf data;   // READ, READ_AT: the bytes; TEMP_DIR: the path; taken over by the callback
  bool exists;           // STAT; a missing file is no error there
  bool is_dir;
  uint64_t size;
  int64_t modified_ms;
  struct orr_file_entry *entries; // LIST, sorted by name
  size_t entries_len;
};
struct orr_file_options {
  enum orr_file_op op;
  const char *path, *to;   // borrowed until the start returns; TEMP_DIR: its parent, NULL: $TMPDIR or /tmp
  struct orr_slice data;   // WRITE, APPEND; copied
  size_t bytes_max;        // READ: EFBIG beyond; READ_AT: as many, fewer only at the end; 0: ORR_OUTPUT_BYTES_MAX
  uint64_t offset;         // READ_AT
  bool sync, recursive;    // REMOVE: recursive
};
// `done` comes exactly once, never from inside this call, unless the job is cancelled: then it doesn't come, and the
// result is dropped. An operation that no thread has begun doesn't happen then; one that has can't be stopped.
struct orr_file_job;
struct orr_file_job *orr_file_start(uv_loop_t *loop, const struct orr_file_options *options,
                                    void (*done)(void *context, struct orr_file_result *result), void *context);
void orr_file_cancel(struct orr_file_job *job);
