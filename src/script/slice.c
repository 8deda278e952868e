// SPDX-License-Identifier: MIT
// The timer (CLOCK_MONOTONIC, SIGEV_THREAD_ID) and its handler, which only does what lua.c does for Ctrl-C:
// lua_sethook on the running thread. Only the thread that owns the slicer touches it, the handler included.
#include "script/slice.h"

#include "base/check.h"
#include "base/clock.h"
#include "base/limits.h"

#include <stddef.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define TICK_SIGNAL (SIGRTMIN + 5)
#define TSAN_COUNT 1000

static _Thread_local struct orr_slicer *here;

#ifdef ORR_TSAN

enum orr_status orr_slicer_open(struct orr_slicer *slicer, lua_Hook hook) {
  *slicer = (struct orr_slicer){.hook = hook, .open = true};
  here = slicer;
  return ORR_OK;
}
void orr_slicer_close(struct orr_slicer *slicer) {
  if (slicer->open) here = NULL;
  slicer->open = false;
}
void orr_slicer_arm(struct orr_slicer *slicer) { slicer->armed = true; }
void orr_slicer_disarm(struct orr_slicer *slicer) { slicer->armed = false; }

void orr_slicer_enter(struct orr_slicer *slicer, lua_State *L) {
  if (L != NULL && slicer->running == NULL) slicer->slice_us = orr_clock_mono_us();
  slicer->running = L;
  if (L != NULL) lua_sethook(L, slicer->hook, LUA_MASKCOUNT, TSAN_COUNT);
}
bool orr_slicer_due(struct orr_slicer *slicer, lua_State *L) {
  if (slicer->expired != 0) { // struck: back to the usual count
    lua_sethook(L, slicer->hook, LUA_MASKCOUNT, TSAN_COUNT);
    return true;
  }
  uint64_t now_us = orr_clock_mono_us();
  if (now_us - slicer->slice_us < ORR_SLICE_MS * 1000) return false;
  slicer->slice_us = now_us;
  slicer->ticks = slicer->ticks + 1;
  return true;
}
void orr_slicer_strike(struct orr_slicer *slicer, lua_State *L) {
  slicer->expired = 1;
  lua_sethook(L, slicer->hook, LUA_MASKCOUNT, 1);
}

#else

static void on_tick(int number) {
  (void)number;
  struct orr_slicer *slicer = here;
  if (slicer == NULL) return;
  slicer->expired = 1;
  slicer->ticks = slicer->ticks + 1;
  lua_State *L = slicer->running;
  // Setting a hook walks all calls of L, milliseconds of them in a deep recursion: never twice for one slice, or the
  // signals would leave no time between them.
  if (L == NULL || slicer->struck == L) return;
  slicer->struck = L;
  lua_sethook(L, slicer->hook, LUA_MASKCOUNT, 1);
}

enum orr_status orr_slicer_open(struct orr_slicer *slicer, lua_Hook hook) {
  *slicer = (struct orr_slicer){.hook = hook};
  struct sigaction action = {.sa_handler = on_tick, .sa_flags = SA_RESTART};
  sigemptyset(&action.sa_mask);
  if (sigaction(TICK_SIGNAL, &action, NULL) != 0) return ORR_ERR_IO;
  struct sigevent event;
  memset(&event, 0, sizeof(event));
  event.sigev_notify = SIGEV_THREAD_ID;
  event.sigev_signo = TICK_SIGNAL;
  event._sigev_un._tid = (pid_t)syscall(SYS_gettid);
  here = slicer;
  if (timer_create(CLOCK_MONOTONIC, &event, &slicer->timer) != 0) {
    here = NULL;
    return ORR_ERR_IO;
  }
  slicer->open = true;
  return ORR_OK;
}

void orr_slicer_close(struct orr_slicer *slicer) {
  if (!slicer->open) return;
  orr_slicer_disarm(slicer);
  timer_delete(slicer->timer);
  slicer->open = false;
  here = NULL;
}

static void set_period(struct orr_slicer *slicer, uint32_t ms) {
  struct timespec period = {.tv_nsec = (long)ms * 1000000};
  struct itimerspec spec = {.it_interval = period, .it_value = period};
  int failed = timer_settime(slicer->timer, 0, &spec, NULL);
  orr_assert(failed == 0);
}

void orr_slicer_arm(struct orr_slicer *slicer) {
  if (slicer->armed || !slicer->open) return;
  set_period(slicer, ORR_SLICE_MS);
  slicer->armed = true;
}

void orr_slicer_disarm(struct orr_slicer *slicer) {
  if (!slicer->armed) return;
  set_period(slicer, 0);
  slicer->armed = false;
}

// Order matters: a tick between the two lines strikes L itself; one before them is seen by the second.
void orr_slicer_enter(struct orr_slicer *slicer, lua_State *L) {
  slicer->running = L;
  if (L != NULL && slicer->expired != 0) lua_sethook(L, slicer->hook, LUA_MASKCOUNT, 1);
}

bool orr_slicer_due(struct orr_slicer *slicer, lua_State *L) {
  slicer->struck = NULL;
  lua_sethook(L, NULL, 0, 0);
  return true;
}

void orr_slicer_strike(struct orr_slicer *slicer, lua_State *L) {
  slicer->expired = 1;
  lua_sethook(L, slicer->hook, LUA_MASKCOUNT, 1);
}

#endif
