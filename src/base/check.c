// SPDX-License-Identifier: MIT
// The end of a broken assumption: says where, then aborts so that a core file shows the rest. Any
// thread; allocates nothing, because memory may be what is broken.
#include "base/check.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

void orr_check_failed(const char *file, int line, const char *expression) {
  char text[512];
  int len = snprintf(text, sizeof text, "orrery: %s:%d: assertion failed: %s\n", file, line,
                     expression);
  if (len >= (int)sizeof text) len = (int)sizeof text - 1;
  if (len > 0) {
    ssize_t written = write(STDERR_FILENO, text, (size_t)len);
    (void)written; // nothing is left to do about a closed stderr
  }
  abort();
}
