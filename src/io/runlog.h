// SPDX-License-Identifier: MIT
// Logs of runs: ctx.log, print and shell output, in a SQLite file of their own (logs.db, synchronous
// NORMAL, batches by a writer thread of its own, at the latest 50 ms after the line). Bounded: a line by
// ORR_LOG_LINE_BYTES_MAX, a run by ORR_LOG_RUN_BYTES_MAX (then one last record says so). Any thread may
// append; when the writer is 64 MiB behind, append waits up to 100 ms and then drops, counting what it dropped into the next record.
#pragma once

#include "base/blob.h"
#include "base/id.h"
#include "base/log.h"
#include "base/status.h"

struct orr_runlog;

struct orr_log_record {
  uint64_t seq; // position, given by the log; also the cursor
  struct orr_id run;
  struct orr_slice step; // name, or empty: about the run
  uint32_t item, attempt;
  int64_t at_ms;
  enum orr_log_level level;
  struct orr_slice stream; // "log", "print", "stdout", "stderr", "engine"
  struct orr_slice text;   // UTF-8
  struct orr_slice fields; // JSON object or empty
};

enum orr_status orr_runlog_open(const char *path, struct orr_runlog **log, char *message,
                                size_t message_size);
void orr_runlog_close(struct orr_runlog *log); // flushes
// Copies the record. Repairs invalid UTF-8 (and flags it in fields), cuts over-long lines.
void orr_runlog_append(struct orr_runlog *log, const struct orr_log_record *record);
// Waits until everything appended before is written (for tests and for `run` before it prints).
void orr_runlog_flush(struct orr_runlog *log);

struct orr_log_query {
  struct orr_id run;
  uint64_t after;       // seq; 0 from the start
  uint32_t limit;
  const char *step;     // NULL any
  int level_min;        // enum orr_log_level
};
struct orr_runlog_reader; // one thread, read-only connection
enum orr_status orr_runlog_reader_open(const char *path, struct orr_runlog_reader **reader);
void orr_runlog_reader_close(struct orr_runlog_reader *reader);
enum orr_status orr_runlog_query(struct orr_runlog_reader *reader, const struct orr_log_query *query,
                                 void (*row)(void *context, const struct orr_log_record *record),
                                 void *context);
