// SPDX-License-Identifier: MIT
// Time as a value. The core is handed `struct orr_now`; only io, script, server and app call
// orr_clock_now(). Durations run on CLOCK_BOOTTIME (suspend counts); the wall clock is for facts,
// display and instants that people name.
#pragma once

#include <stdint.h>

struct orr_now {
  int64_t wall_ms;  // Unix epoch, UTC
  uint64_t mono_ms; // since some fixed point; never goes back
};

struct orr_now orr_clock_now(void);
uint64_t orr_clock_mono_us(void);

// "2026-11-20T21:34:00.123Z" (24 characters and a NUL). Years 0000 to 9999; others clamp.
void orr_time_text(int64_t wall_ms, char text[25]);
