// SPDX-License-Identifier: MIT
// Running strands and ending works. Invariant: a strand's coroutine is resumed only from here, and never again once its
// work has `end` set; a work leaves the worker only when nothing of it is open (waits that hold it included).
#include "script/task.h"

#include "base/check.h"
#include "base/clock.h"
#include "base/limits.h"
#include "script/luv_loop.h"
#include "script/worker_parts.h"

#include <stdlib.h>
#include <string.h>

// --- where a coroutine stands ------------------------------------------------------------------------------------

bool orr__strand_base(lua_State *L) {
  struct orr_lua *lua = orr_lua_of(L);
  return L == lua->L || (lua->strand != NULL && lua->strand->thread.L == L);
}

void orr__strand_inside(struct orr_strand *strand, lua_State *co) {
  orr_assert(strand != NULL);
  if (strand->inside_len == strand->inside_cap) {
    strand->inside_cap = strand->inside_cap != 0 ? strand->inside_cap * 2 : 4;
    strand->inside = orr_realloc(strand->inside, strand->inside_cap * sizeof(lua_State *));
  }
  strand->inside[strand->inside_len++] = co;
}

static bool may_suspend(const struct orr_lua *lua, lua_State *L) {
  return lua->strand != NULL && lua->unwind_us == 0 && lua->chain_ok && lua_isyieldable(L);
}

// --- time slices --------------------------------------------------------------------------------------------------

// Not while suspending is impossible: there the next tick tries again, and only an abort raises.
void orr__slice_hook(lua_State *L, lua_Debug *frame) {
  (void)frame;
  struct orr_lua *lua = orr_lua_of(L);
  if (lua->slicer == NULL || !orr_slicer_due(lua->slicer, L)) return;
  if (lua->unwind_us != 0) {
    if (orr_clock_mono_us() < lua->unwind_us) return;
    orr_slicer_strike(lua->slicer, L);
    luaL_error(L, "closing took longer than %d ms", (int)ORR_UNWIND_MS_MAX);
  }
  struct orr_strand *strand = lua->strand;
  if (strand == NULL) { // a script loads, or a predicate of the worker's own runs
    if (lua->load_us == 0 || orr_clock_mono_us() < lua->load_us) return;
    orr_slicer_strike(lua->slicer, L);
    luaL_error(L, "took longer than %d ms", (int)ORR_LOAD_MS_MAX);
    return; // luaL_error does not, but analysers cannot know
  }
  bool can_suspend = may_suspend(lua, L);
  if (!can_suspend) orr__worker_look_for_aborts(lua->worker, strand->work); // the worker cannot, meanwhile
  bool ends = strand->work->end != ORR_WORK_GOES_ON;
  if (can_suspend) {
    lua->yielded = ends ? ORR_LUA_YIELD_ABORT : ORR_LUA_YIELD_SLICE;
    lua_yield(L, 0);
    return;
  }
  if (!ends) return;
  orr_slicer_strike(lua->slicer, L); // whoever catches the error is struck again
  luaL_error(L, "the step is being ended");
}

// --- waiting --------------------------------------------------------------------------------------------------------

bool orr__may_wait(lua_State *L) { return may_suspend(orr_lua_of(L), L); }

void orr__wait_check(lua_State *L) {
  struct orr_lua *lua = orr_lua_of(L);
  if (lua->strand == NULL)
    luaL_error(L, "E0112: this does I/O: call it inside a step, not while the script loads");
  if (!may_suspend(lua, L))
    luaL_error(L, "cannot wait here: a callback of string.gsub, a metamethod or an iterator called from C is running");
}

void *orr__wait_new(lua_State *L, size_t bytes, bool uses_loop, void (*cancel)(struct orr_wait *wait)) {
  orr__wait_check(L);
  struct orr_strand *strand = orr_lua_of(L)->strand;
  struct orr_wait *wait = orr_alloc(bytes);
  wait->work = strand->work;
  wait->cancel = cancel;
  wait->uses_loop = uses_loop;
  orr_list_init(&wait->of_work);
  orr_list_push_back(&strand->work->waits, &wait->of_work);
  if (uses_loop) strand->work->lua->worker->io_open++;
  return wait;
}

int orr__wait_yield(lua_State *L, struct orr_wait *wait, lua_KFunction k) {
  if (wait->done) return k(L, LUA_OK, (lua_KContext)wait);
  struct orr_lua *lua = orr_lua_of(L);
  wait->strand = lua->strand;
  lua->yielded = ORR_LUA_YIELD_WAIT;
  return lua_yieldk(L, 0, (lua_KContext)wait, k);
}

void orr__wait_done(struct orr_wait *wait) {
  orr_assert(!wait->done);
  wait->done = true;
  struct orr_work *work = wait->work;
  if (work == NULL) return;
  if (work->ended) { // it held the work's end
    wait->cancel(wait);
    orr__work_free(work);
    return;
  }
  struct orr_strand *strand = wait->strand;
  wait->strand = NULL;
  if (strand != NULL) orr__strand_wake(strand);
}

void orr__wait_close(struct orr_wait *wait) {
  orr_assert(wait->work != NULL);
  if (wait->uses_loop) {
    orr_assert(wait->work->lua->worker->io_open > 0);
    wait->work->lua->worker->io_open--;
  }
  orr_list_remove(&wait->of_work);
  wait->work = NULL;
  wait->strand = NULL;
}

// --- strands --------------------------------------------------------------------------------------------------------

void orr__strand_wake(struct orr_strand *strand) {
  struct orr_worker *worker = strand->work->lua->worker;
  strand->status = ORR_STRAND_READY;
  orr_list_push_back(&worker->ready, &strand->ready);
  if (worker->in_loop) uv_stop(&worker->loop); // a timer's callback comes before the loop blocks
}

static int keep_traceback(lua_State *L) { // message handler: the stack of the error still stands
  struct orr_lua *lua = orr_lua_of(L);
  orr_buf_clear(&lua->traceback);
  orr_lua_traceback(L, &lua->traceback);
  return 1;
}

static int body_end(lua_State *L, int status, lua_KContext context) {
  (void)context;
  if (status != LUA_OK && status != LUA_YIELD) {
    struct orr_lua *lua = orr_lua_of(L);
    lua->strand->failed = status;
    if (status == LUA_ERRMEM) orr_buf_clear(&lua->traceback);
  }
  return lua_gettop(L) - 1;
}

static int body(lua_State *L) {
  lua_pushcfunction(L, keep_traceback);
  lua_insert(L, 1);
  return body_end(L, lua_pcallk(L, lua_gettop(L) - 2, LUA_MULTRET, 1, 0, body_end), 0);
}

void orr__strand_push_body(lua_State *L) { lua_pushcfunction(L, body); }

void orr__strand_start(struct orr_work *work, lua_State *from, int nargs) {
  struct orr_strand *strand = orr_alloc(sizeof(*strand));
  strand->work = work;
  strand->thread = orr_lua_thread_take(work->lua);
  strand->nargs = nargs + 1;
  orr_list_init(&strand->ready);
  orr_list_push_back(&work->strands, &strand->of_work);
  lua_checkstack(strand->thread.L, nargs + 2);
  orr__strand_push_body(strand->thread.L);
  lua_xmove(from, strand->thread.L, nargs + 1);
  orr__strand_wake(strand);
}

// Closes what the coroutine left open (__close), innermost first.
static void reset_thread(struct orr_lua *lua, lua_State *L) {
  struct orr_slicer *slicer = lua->slicer;
  lua_State *running = slicer->running;
  orr_slicer_enter(slicer, L);
  lua_resetthread(L);
  orr_slicer_enter(slicer, running);
  lua_settop(L, 0);
}

static void unwind(struct orr_strand *strand) {
  struct orr_lua *lua = strand->work->lua;
  lua->strand = strand;
  lua->unwind_us = orr_clock_mono_us() + (uint64_t)ORR_UNWIND_MS_MAX * 1000;
  for (uint32_t i = 0; i < strand->inside_len; i++) reset_thread(lua, strand->inside[i]);
  strand->inside_len = 0;
  reset_thread(lua, strand->thread.L);
  lua->unwind_us = 0;
  lua->strand = NULL;
}

static void strand_end(struct orr_strand *strand) { // its coroutine has ended or was reset
  if (lua_status(strand->thread.L) != LUA_OK) lua_resetthread(strand->thread.L); // no memory even for the body
  orr_list_remove(&strand->ready);
  free(strand->inside);
  strand->inside = NULL;
  strand->inside_len = strand->inside_cap = 0;
  orr_lua_thread_give(strand->work->lua, strand->thread);
  strand->status = ORR_STRAND_ENDED;
  if (strand != &strand->work->main) {
    orr_list_remove(&strand->of_work);
    free(strand);
  }
}

// --- ending a work ------------------------------------------------------------------------------------------------

// Everything but the outcome: other strands, handles, waits. False: a child is still to be waited for.
static bool close_work(struct orr_work *work) {
  while (!orr_list_empty(&work->strands)) {
    struct orr_strand *strand = ORR_CONTAINER_OF(work->strands.next, struct orr_strand, of_work);
    unwind(strand);
    strand_end(strand);
  }
  orr_luv_close_handles(work);
  struct orr_list *next;
  for (struct orr_list *at = work->waits.next; at != &work->waits; at = next) {
    next = at->next;
    struct orr_wait *wait = ORR_CONTAINER_OF(at, struct orr_wait, of_work);
    wait->strand = NULL;
    wait->cancel(wait);
  }
  return orr_list_empty(&work->waits);
}

static void work_done(struct orr_work *work) { // the outcome is known
  work->ended = true;
  bool closed = close_work(work);
  if (closed) orr__work_free(work);
}

void orr__work_free(struct orr_work *work) {
  if (!orr_list_empty(&work->waits)) return;
  orr_assert(orr_list_empty(&work->strands));
  struct orr_worker *worker = work->lua->worker;
  if (work->task != NULL) orr__task_finish(work);
  else orr__request_finish(work);
  orr_list_remove(&work->all);
  if (work->handles_ref != LUA_NOREF) luaL_unref(work->lua->L, LUA_REGISTRYINDEX, work->handles_ref);
  work->lua->works--;
  worker->works_len--;
  work->next_free = worker->free_works;
  worker->free_works = work;
}

static void outcome_of_end(struct orr_work *work) {
  if (work->task != NULL) orr__task_outcome(work, work->end);
  else orr__request_outcome(work, work->end);
}

void orr__work_abort(struct orr_work *work, enum orr_work_end end) {
  if (work->ended) return;
  if (work->end == ORR_WORK_GOES_ON) work->end = end;
  struct orr_lua *lua = work->lua;
  if (lua->strand != NULL && lua->strand->work == work) { // it runs: its hook ends it
    orr_slicer_strike(lua->slicer, lua->slicer->running);
    return;
  }
  orr_assert(lua->strand == NULL); // not from inside another strand
  unwind(&work->main);
  strand_end(&work->main);
  outcome_of_end(work);
  work_done(work);
}

void orr__work_fail(struct orr_work *work, lua_State *L) {
  bool retryable = true;
  struct orr_buf text = ORR_BUF_INIT;
  struct orr_buf *out = work->task != NULL ? &work->task->out : &text;
  struct orr_buf json = ORR_BUF_INIT;
  orr__lua_error_json(L, orr_buf_slice(&work->lua->traceback), &json, &retryable);
  orr_buf_free(out);
  *out = json;
  if (work->task != NULL) work->task->retryable = retryable;
  else orr_buf_free(&json);
  if (work->end == ORR_WORK_GOES_ON) work->end = ORR_WORK_ERROR;
}

// --- a slice ----------------------------------------------------------------------------------------------------------

static void main_ended(struct orr_work *work, int status, int nresults) {
  lua_State *L = work->main.thread.L;
  if (work->end != ORR_WORK_GOES_ON) { // too late: it was to be ended already
    outcome_of_end(work);
  } else if (status == LUA_OK) {
    if (work->task != NULL) orr__task_result(work, L, nresults - 1); // lua_resume counts ctx below them, too
    else orr__request_result(work, L, nresults);
  } else {
    if (work->task != NULL) orr__task_error(work, L, status);
    else orr__request_error(work, L, status);
  }
  strand_end(&work->main);
  work_done(work);
}

static void callback_ended(struct orr_strand *strand, int status) {
  struct orr_work *work = strand->work;
  if (status != LUA_OK) orr__work_fail(work, strand->thread.L);
  strand_end(strand);
  if (work->end != ORR_WORK_GOES_ON) orr__work_abort(work, work->end);
}

// The state is over its cap: collect, and end the work whose slices took most if that did not help.
static void relieve(struct orr_lua *lua) {
  lua->over = false;
  lua_gc(lua->L, LUA_GCCOLLECT);
  if (lua->bytes <= lua->bytes_max - lua->bytes_max / 8) return;
  struct orr_work *greediest = NULL;
  struct orr_list *works = &lua->worker->works;
  for (struct orr_list *at = works->next; at != works; at = at->next) {
    struct orr_work *work = ORR_CONTAINER_OF(at, struct orr_work, all);
    if (work->lua != lua || work->ended) continue;
    if (greediest == NULL || work->bytes > greediest->bytes) greediest = work;
  }
  if (greediest == NULL) return;
  orr__work_abort(greediest, ORR_WORK_MEMORY);
  lua_gc(lua->L, LUA_GCCOLLECT);
}

void orr__strand_run(struct orr_strand *strand) {
  struct orr_work *work = strand->work;
  struct orr_lua *lua = work->lua;
  struct orr_slicer *slicer = lua->slicer;
  lua_State *L = strand->thread.L;
  int nresults = 0;
  strand->status = ORR_STRAND_RUNNING;
  strand->inside_len = 0;
  strand->failed = LUA_OK;
  int nargs = strand->nargs;
  strand->nargs = 0;
  lua->strand = strand;
  lua->chain_ok = true;
  lua->yielded = ORR_LUA_YIELD_NONE;
  size_t bytes = lua->bytes;
  lua->enforce = true;
  orr_slicer_begin(slicer);
  orr_slicer_enter(slicer, L);
  int status = lua_resume(L, lua->L, nargs, &nresults);
  orr_slicer_enter(slicer, NULL);
  lua->enforce = false;
  lua->strand = NULL;
  work->bytes += (int64_t)(lua->bytes - bytes);
  bool over = lua->over;
  if (status == LUA_OK) status = strand->failed;
  if (status != LUA_YIELD) {
    if (strand == &work->main) main_ended(work, status, nresults);
    else callback_ended(strand, status);
  } else {
    enum orr_lua_yield yielded = lua->yielded;
    lua->yielded = ORR_LUA_YIELD_NONE;
    strand->status = ORR_STRAND_WAITING;
    switch (yielded) {
    case ORR_LUA_YIELD_SLICE: orr__strand_wake(strand); break;
    case ORR_LUA_YIELD_WAIT:
      // Done between its start and the yield? Nothing ran in between: waits end in the loop's callbacks only.
      break;
    case ORR_LUA_YIELD_ABORT:
    case ORR_LUA_YIELD_NONE: orr__work_abort(work, ORR_WORK_CANCEL); break;
    }
  }
  if (over) relieve(lua);
}

void orr__work_start(struct orr_work *work, int nargs) {
  work->main.nargs = nargs;
  orr__strand_run(&work->main);
}
