// SPDX-License-Identifier: MIT
// Lua routes: a request becomes work like an attempt does; its answer goes into the request, whose futex word wakes the
// thread that asked. Errors of a route become 500 with the traceback in the engine's log only.
#include "base/check.h"
#include "base/json.h"
#include "script/json_lua.h"
#include "script/worker_parts.h"

#include <errno.h>
#include <linux/futex.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static const char serve_key = 0;

struct orr_request *orr_request_new(void) {
  struct orr_request *request = orr_alloc(sizeof(*request));
  request->mail.type = ORR_MAIL_REQUEST;
  request->mail.request = request;
  atomic_init(&request->refs, 1);
  return request;
}

void orr_request_unref(struct orr_request *request) {
  if (request == NULL || atomic_fetch_sub(&request->refs, 1) != 1) return;
  if (request->generation != NULL) orr_generation_unref(request->generation);
  free(request->method);
  free(request->path);
  free(request->query);
  orr_buf_free(&request->params);
  orr_buf_free(&request->headers);
  orr_buf_free(&request->body);
  orr_buf_free(&request->answer_headers);
  orr_buf_free(&request->answer);
  free(request);
}

enum orr_status orr_request_ask(struct orr_worker *worker, struct orr_request *request, uint64_t deadline_ms) {
  uint64_t until_us = orr_clock_mono_us() + deadline_ms * 1000;
  atomic_fetch_add(&request->refs, 1); // the worker's
  orr_inbox_push(&worker->inbox, ORR_LANE_MAIL, &request->mail.link, &request->mail.link);
  while (atomic_load(&request->done) != 1) {
    uint64_t now_us = orr_clock_mono_us();
    if (now_us >= until_us) {
      uint32_t open = 0;
      if (!atomic_compare_exchange_strong(&request->done, &open, 2)) break; // it came just now
      struct orr_mail *abort = orr_alloc(sizeof(*abort)); // ends the route, if it runs
      abort->type = ORR_MAIL_ABORT;
      abort->why = ORR_ABORT_TIMEOUT;
      orr_inbox_push(&worker->inbox, ORR_LANE_MAIL, &abort->link, &abort->link);
      return ORR_ERR_TIMEOUT;
    }
    uint64_t left_us = until_us - now_us;
    struct timespec timeout = {(time_t)(left_us / 1000000), (long)(left_us % 1000000 * 1000)};
    syscall(SYS_futex, &request->done, FUTEX_WAIT_PRIVATE, 0, &timeout, NULL, 0);
  }
  return ORR_OK;
}

static void finish(struct orr_request *request) { // the worker's last touch
  uint32_t open = 0;
  if (atomic_compare_exchange_strong(&request->done, &open, 1))
    syscall(SYS_futex, &request->done, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
  orr_request_unref(request);
}

static void answer_problem(struct orr_request *request, int status, const char *title, const char *detail) {
  orr_buf_clear(&request->answer);
  orr_buf_clear(&request->answer_headers);
  request->status = status;
  orr_buf_text(&request->answer_headers, "Content-Type: application/problem+json\r\n");
  orr_buf_printf(&request->answer, "{\"type\":\"about:blank\",\"title\":\"%s\",\"status\":%d,\"detail\":", title, status);
  orr_json_string(&request->answer, orr_slice_text(detail));
  orr_buf_u8(&request->answer, '}');
}

void orr__request_refuse(struct orr_request *request) {
  answer_problem(request, 503, "Service Unavailable", "the engine is stopping");
  finish(request);
}

// --- the route's function -------------------------------------------------------------------------------------------------

static void push_json_field(lua_State *L, const char *name, struct orr_buf *json) {
  orr_json_push(L, orr_buf_slice(json));
  if (!lua_istable(L, -1)) {
    lua_pop(L, 1);
    lua_newtable(L);
  }
  lua_setfield(L, -2, name);
}

static void push_request(lua_State *L, struct orr_request *request) {
  lua_createtable(L, 0, 8);
  lua_pushstring(L, request->method);
  lua_setfield(L, -2, "method");
  lua_pushstring(L, request->path);
  lua_setfield(L, -2, "path");
  lua_pushstring(L, request->query != NULL ? request->query : "");
  lua_setfield(L, -2, "query_text");
  push_json_field(L, "params", &request->params);
  push_json_field(L, "headers", &request->headers);
  lua_pushlstring(L, request->body.len > 0 ? (const char *)request->body.data : "", request->body.len);
  lua_setfield(L, -2, "body");
}

// runtime.serve(script, index, req): a strand of its own, so the route may wait.
void orr__request_begin(struct orr_worker *worker, struct orr_request *request) {
  if (worker->stopping) {
    orr__request_refuse(request);
    return;
  }
  if (atomic_load(&request->done) != 0) { // given up before we saw it
    orr_request_unref(request);
    return;
  }
  struct orr_lua *lua = orr__worker_lua(worker, request->generation);
  if (lua_rawgetp(lua->L, LUA_REGISTRYINDEX, &serve_key) != LUA_TFUNCTION) {
    lua_pop(lua->L, 1);
    bool good = orr_lua_require(lua, "orrery.runtime");
    if (!good) {
      orr_log(ORR_LOG_ERROR, "web", "%s", luaL_tolstring(lua->L, -1, NULL));
      lua_pop(lua->L, 2);
      answer_problem(request, 500, "Internal Server Error", "the library does not load");
      finish(request);
      return;
    }
    lua_getfield(lua->L, -1, "serve");
    lua_remove(lua->L, -2);
    lua_pushvalue(lua->L, -1);
    lua_rawsetp(lua->L, LUA_REGISTRYINDEX, &serve_key);
  }
  lua_pop(lua->L, 1);
  // Scripts load on the main thread, before the strand begins.
  lua_getfield(lua->L, LUA_REGISTRYINDEX, LUA_LOADED_TABLE);
  lua_getfield(lua->L, -1, "orrery.runtime");
  lua_getfield(lua->L, -1, "route");
  lua_replace(lua->L, -3);
  lua_pop(lua->L, 1);
  lua_pushstring(lua->L, request->script);
  lua_pushinteger(lua->L, (lua_Integer)request->route_index + 1);
  if (orr_lua_call(lua, 2, 1) != LUA_OK) {
    orr_log(ORR_LOG_ERROR, "web", "%s: %s", request->script, luaL_tolstring(lua->L, -1, NULL));
    lua_pop(lua->L, 2);
    answer_problem(request, 500, "Internal Server Error", "the route's script does not load; the log says why");
    finish(request);
    return;
  }
  struct orr_work *work = orr__work_new(worker, lua);
  work->request = request;
  lua_State *L = work->main.thread.L;
  orr__strand_push_body(L);
  lua_rawgetp(L, LUA_REGISTRYINDEX, &serve_key);
  lua_xmove(lua->L, L, 1);
  push_request(L, request);
  work->main.nargs = 3;
  orr__strand_wake(&work->main);
}

// --- answers ----------------------------------------------------------------------------------------------------------------

// serve returned: status, headers text, body text.
void orr__request_result(struct orr_work *work, lua_State *L, int nresults) {
  struct orr_request *request = work->request;
  int first = lua_gettop(L) - nresults + 1;
  size_t headers_len = 0, body_len = 0;
  const char *headers = nresults > 1 && lua_type(L, first + 1) == LUA_TSTRING ? lua_tolstring(L, first + 1, &headers_len) : "";
  const char *body = nresults > 2 && lua_type(L, first + 2) == LUA_TSTRING ? lua_tolstring(L, first + 2, &body_len) : "";
  request->status = nresults > 0 ? (int)lua_tointeger(L, first) : 500;
  orr_buf_append(&request->answer_headers, headers, headers_len);
  orr_buf_append(&request->answer, body, body_len);
}

void orr__request_error(struct orr_work *work, lua_State *L, int status) {
  (void)status;
  orr_log(ORR_LOG_ERROR, "web", "%s %s: %s\n%s", work->request->method, work->request->path,
          luaL_tolstring(L, -1, NULL), orr_buf_cstr(&work->lua->traceback));
  lua_pop(L, 1);
  answer_problem(work->request, 500, "Internal Server Error", "the route failed; the engine's log has the traceback");
}

void orr__request_outcome(struct orr_work *work, enum orr_work_end end) {
  switch (end) {
  case ORR_WORK_GOES_ON: orr_unreachable();
  case ORR_WORK_CANCEL: answer_problem(work->request, 503, "Service Unavailable", "the engine is stopping"); break;
  case ORR_WORK_TIMEOUT: answer_problem(work->request, 504, "Gateway Timeout", "the route took too long"); break;
  case ORR_WORK_MEMORY:
  case ORR_WORK_ERROR:
    answer_problem(work->request, 500, "Internal Server Error", "the route failed; the engine's log has more");
    break;
  }
}

void orr__request_finish(struct orr_work *work) {
  struct orr_request *request = work->request;
  work->request = NULL;
  finish(request);
}

void orr__request_expire(struct orr_worker *worker) { // those whose asker has gone
  struct orr_list *next;
  for (struct orr_list *at = worker->works.next; at != &worker->works; at = next) {
    next = at->next;
    struct orr_work *work = ORR_CONTAINER_OF(at, struct orr_work, all);
    if (work->request != NULL && atomic_load(&work->request->done) == 2) orr__work_abort(work, ORR_WORK_TIMEOUT);
  }
}
