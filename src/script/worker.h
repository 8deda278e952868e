// SPDX-License-Identifier: MIT
// A worker: an OS thread with its own uv loop and Lua states by generation; runs many coroutines. The same
// machinery runs steps (step workers) and Lua routes (the web worker). A coroutine that waits for I/O costs no
// thread; one that computes yields every ORR_SLICE_MS by a per-thread timer signal.
#pragma once

#include "io/host.h"
#include "io/process.h"
#include "io/runlog.h"
#include "script/generation.h"

struct orr_worker;
struct orr_worker_options {
  struct orr_host *host;     // may be NULL for a worker that serves routes without an engine
  struct orr_code *code;
  struct orr_runlog *runlog; // or NULL
  struct orr_spawner *spawner;
  uint32_t spawn_channel;    // index of this worker's channel
  uint32_t children_max;
  const char *store_path;    // for readers (o.runs, cache, routes); or NULL
  const char *runlog_path;   // for log readers; or NULL
  const char *name;          // thread name, "worker 1"
  const char *data_dir;
  size_t lua_bytes_max;      // memory of one Lua state; 0: ORR_LUA_BYTES_MAX
  // Answers that Lua routes and CLI may ask of the app as JSON ("scripts", "health" ...): writes JSON to out.
  enum orr_status (*app_query)(void *context, const char *what, struct orr_buf *out);
  void *app_context;
};
struct orr_worker *orr_worker_new(const struct orr_worker_options *options);
struct orr_inbox *orr_worker_inbox(struct orr_worker *worker); // give it to orr_host_add_worker
void orr_worker_start(struct orr_worker *worker);
// Ends open coroutines (their tasks come back as cancelled), closes loops and states, joins.
// False if its thread did not end within ORR_STOP_WORKER_MS, because code runs there that nothing can interrupt (a
// pathological pattern): then the worker, and all it was given, must be left alone until the process ends.
bool orr_worker_stop(struct orr_worker *worker);
void orr_worker_free(struct orr_worker *worker);

// --- requests for Lua routes -------------------------------------------------------------------------------
// A built-in route module (lua/orrery/routes/NAME.lua, module "orrery.routes.NAME") returns a plain list of
// { method = "GET", pattern = "/api/runs/{id}", run = function(req) ... end }; route_index counts from 0. Project routes
// are those of the registry (o.get ...) with that script, in order of declaration.
//   req    { method, path, query = {name = text} (decoded, last one wins), params = {name = text}, headers = {lower-case
//          name = text}, body = text ("" if none), json = function(self) -> value | nil, err }
//   answer { status = 200, json = any value | body = text, headers = {Name = text} }; nil is 204. Without a Content-Type of its own
//          an answer is application/json. error() is a 500 with the message in problem+json.

struct orr_request { // civetweb thread -> web worker and back; reference-counted: two holders
  struct orr_mail mail;  // type ORR_MAIL_REQUEST, request = this
  _Atomic uint32_t refs;
  struct orr_generation *generation; // whose project routes; NULL for built-in routes
  const char *script;    // of the route (see struct orr_route), static or owned by generation
  uint32_t route_index;
  char *method, *path, *query;    // path decoded
  struct orr_buf params;  // JSON object of path parameters
  struct orr_buf headers; // JSON object, names lower-case
  struct orr_buf body;
  // answer, valid once `done` is 1
  _Atomic uint32_t done;  // futex word
  int status;
  struct orr_buf answer_headers; // "Name: value\r\n" lines, checked
  struct orr_buf answer;
};
struct orr_request *orr_request_new(void); // refs 1
void orr_request_unref(struct orr_request *request);
// Sends it and waits. ORR_ERR_TIMEOUT after deadline_ms (the route is then aborted).
enum orr_status orr_request_ask(struct orr_worker *worker, struct orr_request *request, uint64_t deadline_ms);
