// SPDX-License-Identifier: MIT
// The engine's own talk, to stderr: one line each, "HH:MM:SS.mmm level area: text". Runs' logs are
// another thing (io/runlog.h). Any thread; a line is one write(2).
#pragma once

#include <stdarg.h>

enum orr_log_level { ORR_LOG_DEBUG, ORR_LOG_INFO, ORR_LOG_WARN, ORR_LOG_ERROR, ORR_LOG_OFF };

void orr_log_set_level(enum orr_log_level level); // at start, before threads; default WARN
void orr_log(enum orr_log_level level, const char *area, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
