// SPDX-License-Identifier: MIT
// Time slices: a per-thread timer signal arms a one-shot hook on the Lua thread that runs, so code without the signal
// runs at full speed (a permanent count hook costs 35 to 100 %). Armed while a worker is busy, never per task.
// One slicer a thread, used on that thread only. Under ThreadSanitizer (ORR_TSAN) a count hook looks at the clock instead.
#pragma once

#include "base/status.h"

#include <lua.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <time.h>

struct orr_slicer {
  lua_State *volatile running;     // innermost Lua thread, or NULL
  volatile sig_atomic_t expired;   // a tick came since the slice began
  lua_State *volatile struck;      // whose hook the handler has set and which has not run yet
  volatile uint32_t ticks;         // all of them, for who wants to know roughly that time has passed
  lua_Hook hook;
  timer_t timer;
  bool armed, open;
  uint64_t slice_us;               // ORR_TSAN: when the slice began
};

// On the thread that will run Lua. `hook` is called on a count event of a thread whose slice is over.
enum orr_status orr_slicer_open(struct orr_slicer *slicer, lua_Hook hook);
void orr_slicer_close(struct orr_slicer *slicer);
void orr_slicer_arm(struct orr_slicer *slicer);    // harmless when armed
void orr_slicer_disarm(struct orr_slicer *slicer); // before parking
// L runs from here on; NULL: none. A tick that came since the slice began strikes L at once.
void orr_slicer_enter(struct orr_slicer *slicer, lua_State *L);
static inline void orr_slicer_begin(struct orr_slicer *slicer) {
  slicer->expired = 0;
  slicer->struck = NULL;
}
// For the hook: true unless this count event comes from ORR_TSAN's permanent hook too early.
bool orr_slicer_due(struct orr_slicer *slicer, lua_State *L);
// For the hook: strike again at the next instruction.
void orr_slicer_strike(struct orr_slicer *slicer, lua_State *L);
