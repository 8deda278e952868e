// SPDX-License-Identifier: MIT
// SIGINT, SIGTERM and SIGHUP as something the main thread waits for. They are blocked in every thread by
// orr_app_start before any thread exists.
#pragma once

#include <stdint.h>

// Waits for one of the three. timeout_ms < 0: for ever. Returns the signal's number, or 0 after the time.
int orr_stop_signal_wait(int64_t timeout_ms);
