// SPDX-License-Identifier: MIT
// Work: an attempt of a step (or a Lua route's request) on a worker, and the strands of Lua it runs: the main one, and
// one for each luv callback of it that is under way. A strand is a pooled coroutine; it runs until it ends, waits, or its
// time slice is over. What a strand waits for is an orr_wait. Ending a work, however it ends, unwinds its
// strands, cancels its waits and closes its luv handles. One worker's thread only.
#pragma once

#include "base/log.h"
#include "core/engine.h"
#include "script/lua_state.h"

enum orr_strand_status { ORR_STRAND_READY, ORR_STRAND_RUNNING, ORR_STRAND_WAITING, ORR_STRAND_ENDED };
struct orr_strand {
  struct orr_list ready;    // place in the worker's queue of strands to run
  struct orr_list of_work;
  struct orr_work *work;
  struct orr_thread thread;
  enum orr_strand_status status;
  int nargs;                // for the next resume; the function is below them if it has not started
  int failed;               // LUA_ERR... of the function, whose error value is then on top of the stack
  lua_State **inside;       // user's coroutines that an engine's yield passed through, innermost first
  uint32_t inside_len, inside_cap;
};

enum orr_work_end { // why a work must end before its main strand does
  ORR_WORK_GOES_ON,
  ORR_WORK_CANCEL,
  ORR_WORK_TIMEOUT,
  ORR_WORK_MEMORY,
  ORR_WORK_ERROR, // an error in a luv callback: `out` of the task already holds it
};
struct orr_work {
  struct orr_list all;         // worker's works
  struct orr_work *next_free;
  uint64_t serial;             // of this worker, never reused: luv callbacks find their work by it
  struct orr_lua *lua;
  struct orr_binding *binding; // of task->def in lua; NULL for a request
  struct orr_task *task;       // one of the two
  struct orr_request *request;
  struct orr_strand main;
  struct orr_list strands;     // of luv callbacks
  struct orr_list waits;
  enum orr_work_end end;
  bool ended;                  // outcome known; only waits that hold it are still open
  bool direct;                 // the main strand runs the user's function itself, without runtime.lua
  int handles_ref;             // Lua table of its luv handles, or LUA_NOREF
  int64_t bytes;               // memory its slices took, net
};

// Something that a strand waits for. The first member of a struct of the binding's own.
struct orr_wait {
  struct orr_list of_work; // in work->waits; alone when abandoned
  struct orr_work *work;   // NULL: abandoned, free it when its operation ends
  struct orr_strand *strand; // suspended on it, or NULL
  bool done;               // the operation is over; the strand's continuation may take the result
  bool holds;              // the work may not end before the operation does (children)
  bool uses_loop;          // counted in worker->io_open until orr__wait_close
  // The work ends. Stop the operation; if `holds`, call orr__wait_done when it is over. Else free now, or later (abandoned).
  void (*cancel)(struct orr_wait *wait);
};
// Raises unless the running strand may wait here (E0112 outside a task). `bytes` include the struct orr_wait.
void *orr__wait_new(lua_State *L, size_t bytes, bool uses_loop, void (*cancel)(struct orr_wait *wait));
// Raises the error orr__wait_new would, without making a wait.
void orr__wait_check(lua_State *L);
// Suspends: `return orr__wait_yield(L, wait, k)`. Goes straight to k if the operation is done already. k gets the wait as
// its context, pushes the results and then calls orr__wait_close and frees.
int orr__wait_yield(lua_State *L, struct orr_wait *wait, lua_KFunction k);
// The operation is over (a callback of the loop says so): wakes the strand.
void orr__wait_done(struct orr_wait *wait);
// Takes the wait out of its work; then the owner frees it. Once.
void orr__wait_close(struct orr_wait *wait);
// True when L may suspend now.
bool orr__may_wait(lua_State *L);

bool orr__strand_base(lua_State *L); // L is a strand's own coroutine (or the main thread): nothing of the user's around it
void orr__strand_inside(struct orr_strand *strand, lua_State *co);
void orr__strand_wake(struct orr_strand *strand);
// A new strand of `work` for the function and nargs arguments on top of `from`; ready to run.
void orr__strand_start(struct orr_work *work, lua_State *from, int nargs);

// The work of the running strand, or NULL (a script loads).
static inline struct orr_work *orr__work_of(lua_State *L) {
  struct orr_strand *strand = orr_lua_of(L)->strand;
  return strand != NULL ? strand->work : NULL;
}
struct orr_work *orr__work_find(struct orr_worker *worker, uint64_t serial);
// Ends a work that is not running now, as soon as its children are gone. For a running one: at its next hook.
void orr__work_abort(struct orr_work *work, enum orr_work_end end);
// An error outside of the main strand: text or error table on top of L, popped.
void orr__work_fail(struct orr_work *work, lua_State *L);
// Runs a ready strand for a slice.
void orr__strand_run(struct orr_strand *strand);
// Pushes what a strand runs: it calls the function that is pushed next, with the arguments after that. Errors are caught in
// there, so that the coroutine outlives them: one that died of an error raised by a hook would have its hooks
// disabled for ever (Lua 5.4.4 restores `allowhook` in pcall only), and its __close handlers could not be ended.
void orr__strand_push_body(lua_State *L);
// Begins work whose body, function and arguments stand on main.thread.
void orr__work_start(struct orr_work *work, int nargs);
void orr__slice_hook(lua_State *L, lua_Debug *frame);
// Into the log of the running step (or of the engine, when a script loads).
void orr__log_line(struct orr_lua *lua, enum orr_log_level level, const char *stream, struct orr_slice text,
                   struct orr_slice fields);
