// SPDX-License-Identifier: MIT
// A lua_State as Orrery makes it: allocator with a cap, libraries less what a script must not have, require of
// embedded modules and of the generation's lib/, our coroutine.*, print into the step's log. One thread at a time.
// Knows nothing of tasks: who runs in it is told by `strand` and `hooks` (script/task.h).
#pragma once

#include "base/list.h"
#include "script/generation.h"
#include "script/slice.h"

#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>

struct orr_luv_loop;
struct orr_strand;
struct orr_worker;

struct orr_thread { // a pooled coroutine
  lua_State *L;
  int ref; // keeps it alive, in the registry
};

enum orr_lua_yield { // why the running strand left its coroutine
  ORR_LUA_YIELD_NONE,
  ORR_LUA_YIELD_SLICE, // its time slice is over
  ORR_LUA_YIELD_WAIT,  // it waits for something
  ORR_LUA_YIELD_ABORT, // it must end: never resumed
};

struct orr_lua_options {
  struct orr_generation *generation; // a reference is taken; NULL: no project
  struct orr_worker *worker;         // NULL: no tasks, no waiting
  struct orr_slicer *slicer;         // NULL: no preemption
  size_t bytes_max;                  // 0: ORR_LUA_BYTES_MAX
};
struct orr_lua {
  lua_State *L; // the main thread; scripts load here, steps run in coroutines
  struct orr_worker *worker;
  struct orr_generation *generation;
  struct orr_slicer *slicer;
  // memory
  size_t bytes, bytes_max;
  bool enforce;    // a failed allocation may raise now (inside a protected call)
  bool over;       // an allocation was refused since the last look
  // who runs
  struct orr_strand *strand;      // running, or NULL
  enum orr_lua_yield yielded;     // set right before an engine's yield
  bool chain_ok;                  // every level outside the innermost coroutine can suspend
  uint64_t unwind_us, load_us;    // deadline of an unwinding, of a script's loading; 0: none
  // owned
  struct orr_buf traceback;       // of the last error in a strand
  struct orr_thread *pool;
  uint32_t pool_len, pool_cap;
  struct orr_luv_loop *luv;       // made by the first require "luv"
  struct orr_list used;           // worker's states, least recently used first
  struct orr_list bindings;       // of definitions (script/task.h)
  uint32_t works;                 // attempts and requests in it
};

// Runs on the main thread of a fresh state; adds preloaded modules. May be NULL.
typedef void (*orr_lua_setup)(struct orr_lua *lua);

struct orr_lua *orr_lua_new(const struct orr_lua_options *options, orr_lua_setup setup);
// The luv loop must be drained (script/luv_loop.h).
void orr_lua_free(struct orr_lua *lua);
static inline struct orr_lua *orr_lua_of(lua_State *L) {
  return *(struct orr_lua **)lua_getextraspace(L);
}
// A coroutine of the pool, its stack empty; give it back when it has ended or was reset.
struct orr_thread orr_lua_thread_take(struct orr_lua *lua);
void orr_lua_thread_give(struct orr_lua *lua, struct orr_thread thread);
// Protected call on the main thread with the cap enforced and ORR_LOAD_MS_MAX as its deadline. Like
// lua_pcall; an error string carries a traceback.
int orr_lua_call(struct orr_lua *lua, int nargs, int nresults);
// Loads a script of the generation as chunk "@path" (text only) and leaves the function, or an error text.
int orr_lua_load_script(struct orr_lua *lua, const char *path);
// Pushes require(name); false and an error value if it fails. Main thread.
bool orr_lua_require(struct orr_lua *lua, const char *name);
// A traceback with the user's frames only, of L and of the coroutines inside it.
void orr_lua_traceback(lua_State *L, struct orr_buf *out);
void orr_lua_preload(struct orr_lua *lua, const char *name, lua_CFunction open);
