// SPDX-License-Identifier: MIT
// The worker's inside, shared by worker*.c, task.c, request.c and the bindings. One worker's thread only, but for what
// worker.h offers to others.
#pragma once

#include "base/clock.h"
#include "base/limits.h"
#include "base/map.h"
#include "io/http_client.h"
#include "script/bind_redis.h"
#include "script/task.h"
#include "script/worker.h"

#include <pthread.h>
#include <uv.h>

struct orr_binding { // a definition in a Lua state: its script is loaded, its functions are known
  struct orr_list link;    // in lua->bindings
  struct orr_lua *lua;
  struct orr_def *def;     // a reference
  int pipeline_ref, steps_ref, runs_ref; // P; list of S; list of functions that C may call directly, or false
  char *error;             // error JSON when the script does not load, else NULL
};

struct orr_worker {
  struct orr_worker_options options;
  struct orr_inbox inbox;
  pthread_t thread;
  bool started, stopping;
  uint64_t stop_at_ms;       // mono: works still open then are dropped
  uv_loop_t loop;
  uv_poll_t inbox_poll;
  uv_timer_t park_timer;
  bool in_loop;              // inside uv_run
  struct orr_slicer slicer;
  struct orr_list states;    // struct orr_lua by `used`, least recently used first
  struct orr_list dying;     // states to be closed when their luv loops are drained
  uint32_t states_len;
  struct orr_map bindings;   // def pointer -> struct orr_binding
  struct orr_binding *last_binding;
  struct orr_list works;
  struct orr_map by_serial;  // luv callbacks and aborts: worker serial and task serial
  uint32_t works_len;
  uint64_t next_serial;
  struct orr_list ready;     // strands
  struct orr_link *mail, *mail_last; // taken from the inbox, not yet read
  struct orr_link *incoming, *incoming_last; // tasks not yet begun
  struct orr_work *free_works;
  uint32_t io_open;          // operations on the loop that somebody waits for
  // results on their way to the host
  struct orr_link *results_first, *results_last;
  uint32_t results_len;
  uint32_t flushed_ticks;    // slicer.ticks when they were last handed over
  int64_t now_ms;            // wall, read when work begins and ends
  // opened when first needed
  struct orr_process_channel *processes;
  struct orr_http_client *http;
  struct orr__redis_set *redis;
  struct orr_store_reader *reader;
  struct orr_runlog_reader *log_reader;
  struct orr_port port;      // replies to our own events come back as mail
  struct orr_list asks;      // open questions to the engine
  uint64_t next_ask;
};

struct orr_lua *orr__worker_lua(struct orr_worker *worker, struct orr_generation *generation);
struct orr_binding *orr__worker_bind(struct orr_worker *worker, struct orr_def *def);
void orr__binding_free(struct orr_binding *binding);
void orr__worker_drop_states(struct orr_worker *worker); // beyond the limit, least recently used first
void orr__worker_close_states(struct orr_worker *worker);
bool orr__worker_turn_states(struct orr_worker *worker, int *timeout_ms); // luv loops: true if one is alive

struct orr_work *orr__work_new(struct orr_worker *worker, struct orr_lua *lua);
void orr__work_free(struct orr_work *work);
void orr__task_begin(struct orr_worker *worker, struct orr_task *task);
// The outcome is in the task: gives it back.
void orr__task_finish(struct orr_work *work);
void orr__task_result(struct orr_work *work, lua_State *L, int nresults); // main strand returned
void orr__task_error(struct orr_work *work, lua_State *L, int status);    // main strand raised; error on top of L
void orr__task_outcome(struct orr_work *work, enum orr_work_end end);     // ended from outside
void orr__worker_result(struct orr_worker *worker, struct orr_task *task);
void orr__worker_flush(struct orr_worker *worker);
// From the hook of `running`: if mail asks for its end, notes that. The mail stays to be read.
void orr__worker_look_for_aborts(struct orr_worker *worker, struct orr_work *running);

// Error JSON of the error value on top of L (popped). *retryable: as the error table says, else unchanged.
void orr__lua_error_json(lua_State *L, struct orr_slice traceback, struct orr_buf *out, bool *retryable);
void orr__lua_error_text(struct orr_buf *out, const char *code, const char *message);

void orr__request_begin(struct orr_worker *worker, struct orr_request *request);
void orr__request_result(struct orr_work *work, lua_State *L, int nresults);
void orr__request_error(struct orr_work *work, lua_State *L, int status);
void orr__request_outcome(struct orr_work *work, enum orr_work_end end);
void orr__request_finish(struct orr_work *work);
void orr__request_expire(struct orr_worker *worker); // ends routes whose asker has gone
void orr__request_refuse(struct orr_request *request); // 503: the worker stops

// Into the log of the task's step; for callbacks, where no strand runs.
void orr__log_task(struct orr_worker *worker, const struct orr_task *task, enum orr_log_level level,
                   const char *stream, struct orr_slice text, struct orr_slice fields);

// A reply to one of our own events arrived.
void orr__ask_reply(struct orr_worker *worker, struct orr_reply *reply);
// Sends `event` to the engine and suspends; k finds the reply in the wait (see bind_runs.c).
struct orr_ask {
  struct orr_wait wait;
  struct orr_list link;
  uint64_t token;
  struct orr_reply *reply;
};
int orr__ask(lua_State *L, struct orr_event *event, lua_KFunction k);
void orr__ask_close(struct orr_ask *ask);

struct orr_store_reader *orr__worker_reader(struct orr_worker *worker); // NULL: no store
void orr__worker_setup(struct orr_lua *lua); // preloads the bindings

int orr_luaopen_c_task(lua_State *L);
int orr_luaopen_c_fs(lua_State *L);
int orr_luaopen_c_process(lua_State *L);
int orr_luaopen_c_http(lua_State *L);
int orr_luaopen_c_time(lua_State *L);
int orr_luaopen_c_base64(lua_State *L);
int orr_luaopen_c_log(lua_State *L);
int orr_luaopen_c_runs(lua_State *L);
int orr_luaopen_c_app(lua_State *L);
