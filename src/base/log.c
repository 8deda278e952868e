// SPDX-License-Identifier: MIT
// Lines on stderr. A line is built on the stack and written by one write(2), so threads never mix
// within a line; control characters become spaces, so nobody's text can start a line or paint the
// terminal. The level is the one global here: set at start, only read afterwards.
#include "base/log.h"

#include "base/clock.h"

#include <stdio.h>
#include <time.h>
#include <unistd.h>

#define LINE_BYTES_MAX 4096

static enum orr_log_level log_level = ORR_LOG_WARN;

void orr_log_set_level(enum orr_log_level level) { log_level = level; }

static const char *level_text(enum orr_log_level level) {
  switch (level) {
  case ORR_LOG_DEBUG: return "debug";
  case ORR_LOG_INFO: return "info";
  case ORR_LOG_WARN: return "warn";
  case ORR_LOG_ERROR: return "error";
  case ORR_LOG_OFF: return "off";
  }
  return "off";
}

static size_t clamp_len(int len, size_t room) {
  if (len < 0) return 0;
  return (size_t)len < room ? (size_t)len : room - 1;
}

void orr_log(enum orr_log_level level, const char *area, const char *format, ...) {
  if (level < log_level || level >= ORR_LOG_OFF) return;
  int64_t wall_ms = orr_clock_now().wall_ms;
  time_t seconds = (time_t)(wall_ms / 1000);
  struct tm local;
  if (localtime_r(&seconds, &local) == NULL) local = (struct tm){0};

  char line[LINE_BYTES_MAX];
  size_t len = clamp_len(snprintf(line, sizeof line, "%02d:%02d:%02d.%03d %s %s: ", local.tm_hour,
                                  local.tm_min, local.tm_sec, (int)(wall_ms % 1000),
                                  level_text(level), area),
                         sizeof line);
  va_list args;
  va_start(args, format);
  len += clamp_len(vsnprintf(line + len, sizeof line - len, format, args), sizeof line - len);
  va_end(args);
  for (size_t i = 0; i < len; i++) {
    if ((unsigned char)line[i] < 0x20 || line[i] == 0x7f) line[i] = ' ';
  }
  line[len++] = '\n'; // over the NUL
  ssize_t written = write(STDERR_FILENO, line, len);
  (void)written; // a closed stderr is nobody's problem
}
