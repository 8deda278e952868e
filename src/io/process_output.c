// SPDX-License-Identifier: MIT
// What a child writes: bytes from its pipes into its result and into lines, within bounds.
// Invariant: a stream's bytes beyond output_bytes_max are read and dropped, so that the child never
// waits for us. Thread: the channel's loop. Must not know the helper or epoll.
#include "base/limits.h"
#include "io/process_channel.h"

#include <errno.h>
#include <unistd.h>

#define ERR_TAIL_BYTES 8192
#define READS_MAX 8 // of one stream in a row: others want their turn

static void line_emit(struct orr_process *process, bool is_stderr, struct orr_slice text) {
  process->line(process->context, is_stderr, text);
}

static void line_flush(struct orr_process *process, bool is_stderr, struct orr_buf *line) {
  line_emit(process, is_stderr, orr_buf_slice(line));
  orr_buf_clear(line);
}

static void lines_take(struct orr_process *process, bool is_stderr, struct orr_buf *line,
                       struct orr_slice bytes) {
  while (bytes.len > 0) {
    const uint8_t *newline = memchr(bytes.data, '\n', bytes.len);
    size_t len = newline != NULL ? (size_t)(newline - bytes.data) : bytes.len;
    size_t room = ORR_LOG_LINE_BYTES_MAX - line->len;
    bool whole = newline != NULL && len <= room;
    size_t taken = len <= room ? len : room;
    if (whole && line->len == 0) {
      line_emit(process, is_stderr, orr_slice_of(bytes.data, taken));
    } else {
      orr_buf_append(line, bytes.data, taken);
      if (whole || (line->len == ORR_LOG_LINE_BYTES_MAX && len > room))
        line_flush(process, is_stderr, line);
    }
    taken += whole;
    bytes = orr_slice_of(bytes.data + taken, bytes.len - taken);
  }
}

// Keeps the last ERR_TAIL_BYTES; lets the buffer grow to twice that, so that moving is rare.
static void tail_take(struct orr_buf *tail, struct orr_slice bytes) {
  if (bytes.len > ERR_TAIL_BYTES) {
    bytes = orr_slice_of(bytes.data + bytes.len - ERR_TAIL_BYTES, ERR_TAIL_BYTES);
  }
  orr_buf_slice_append(tail, bytes);
  if (tail->len >= 2 * ERR_TAIL_BYTES) orr__tail_trim(tail);
}

void orr__tail_trim(struct orr_buf *tail) {
  if (tail->len <= ERR_TAIL_BYTES) return;
  memmove(tail->data, tail->data + tail->len - ERR_TAIL_BYTES, ERR_TAIL_BYTES);
  tail->len = ERR_TAIL_BYTES;
}

static void bytes_take(struct orr_process *process, struct orr__stream *stream,
                       struct orr_slice bytes) {
  bool is_stderr = stream == &process->err;
  uint64_t room = process->output_bytes_max - stream->seen_bytes;
  if (process->keep_output && is_stderr) tail_take(&process->result.err, bytes);
  if (bytes.len > room) {
    bytes.len = (size_t)room;
    process->result.truncated = true;
  }
  stream->seen_bytes += bytes.len;
  if (process->keep_output && !is_stderr) orr_buf_slice_append(&process->result.out, bytes);
  if (process->line != NULL && (is_stderr || process->lines_of_stdout)) {
    lines_take(process, is_stderr, &stream->line, bytes);
  }
}

void orr__stream_close(struct orr_process *process, struct orr__stream *stream) {
  if (stream->fd < 0) return;
  close(stream->fd); // leaves the epoll set with it: nobody else has this end
  stream->fd = -1;
  if (stream->line.len > 0) line_flush(process, stream == &process->err, &stream->line);
  orr_buf_free(&stream->line);
}

void orr__stream_read(struct orr_process *process, struct orr__stream *stream) {
  uint8_t *bytes = process->scratch;
  for (int i = 0; i < READS_MAX && stream->fd >= 0; i++) {
    ssize_t n = read(stream->fd, bytes, ORR__READ_BYTES_MAX);
    if (n > 0) {
      bytes_take(process, stream, orr_slice_of(bytes, (size_t)n));
    } else if (n == 0 || (errno != EINTR && errno != EAGAIN)) {
      orr__stream_close(process, stream);
    } else if (errno == EAGAIN) {
      return;
    }
  }
}

void orr__input_write(struct orr_process *process) {
  while (process->input_at < process->input.len) {
    ssize_t n = write(process->input_fd, process->input.data + process->input_at,
                      process->input.len - process->input_at);
    if (n > 0)
      process->input_at += (size_t)n;
    else if (errno == EAGAIN)
      return;
    else if (errno != EINTR)
      break; // EPIPE: it doesn't want the rest, and that is no error
  }
  orr__input_close(process);
}

void orr__input_close(struct orr_process *process) {
  if (process->input_fd >= 0) close(process->input_fd);
  process->input_fd = -1;
  orr_buf_free(&process->input);
}
