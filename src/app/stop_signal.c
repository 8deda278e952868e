// SPDX-License-Identifier: MIT
// See stop_signal.h.
#include "app/stop_signal.h"

#include <errno.h>
#include <signal.h>
#include <stddef.h>
#include <time.h>

int orr_stop_signal_wait(int64_t timeout_ms) {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGINT);
  sigaddset(&set, SIGTERM);
  sigaddset(&set, SIGHUP);
  struct timespec wait = {.tv_sec = timeout_ms / 1000, .tv_nsec = (timeout_ms % 1000) * 1000000};
  for (;;) {
    int number = timeout_ms < 0 ? sigwaitinfo(&set, NULL) : sigtimedwait(&set, NULL, &wait);
    if (number > 0) return number;
    if (errno != EINTR) return 0;
  }
}
