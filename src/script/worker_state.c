// SPDX-License-Identifier: MIT
// Lua states of a worker, by generation: made when first needed, dropped least recently used; and bindings of
// definitions to them, found by the definition's address (a binding holds a reference, so the address stays its own).
#include "base/check.h"
#include "base/json.h"
#include "base/limits.h"
#include "io/process.h"
#include "script/luv_loop.h"
#include "script/worker_parts.h"

#include <stdlib.h>
#include <string.h>

// --- states -----------------------------------------------------------------------------------------------------------

static bool same_generation(const struct orr_generation *a, const struct orr_generation *b) {
  if (a == b) return true;
  return a != NULL && b != NULL && orr_digest_equal(&a->digest, &b->digest);
}

struct orr_lua *orr__worker_lua(struct orr_worker *worker, struct orr_generation *generation) {
  for (struct orr_list *at = worker->states.prev; at != &worker->states; at = at->prev) { // newest first
    struct orr_lua *lua = ORR_CONTAINER_OF(at, struct orr_lua, used);
    if (!same_generation(lua->generation, generation)) continue;
    if (at->next != &worker->states) {
      orr_list_remove(at);
      orr_list_push_back(&worker->states, at);
    }
    return lua;
  }
  struct orr_lua_options options = {.generation = generation, .worker = worker, .slicer = &worker->slicer,
                                    .bytes_max = worker->options.lua_bytes_max};
  struct orr_lua *lua = orr_lua_new(&options, orr__worker_setup);
  orr_list_push_back(&worker->states, &lua->used);
  worker->states_len++;
  return lua;
}

static void retire(struct orr_worker *worker, struct orr_lua *lua) {
  while (!orr_list_empty(&lua->bindings))
    orr__binding_free(ORR_CONTAINER_OF(lua->bindings.next, struct orr_binding, link));
  orr_list_remove(&lua->used);
  worker->states_len--;
  if (lua->luv == NULL) {
    orr_lua_free(lua);
    return;
  }
  orr_luv_detach(lua->luv);
  orr_list_push_back(&worker->dying, &lua->used);
}

void orr__worker_drop_states(struct orr_worker *worker) {
  struct orr_list *next;
  for (struct orr_list *at = worker->states.next;
       at != &worker->states && worker->states_len > ORR_LUA_STATES_PER_WORKER; at = next) {
    next = at->next;
    struct orr_lua *lua = ORR_CONTAINER_OF(at, struct orr_lua, used);
    if (lua->works == 0) retire(worker, lua);
  }
}

bool orr__worker_turn_states(struct orr_worker *worker, int *timeout_ms) {
  bool alive = false;
  struct orr_list *next;
  for (struct orr_list *at = worker->dying.next; at != &worker->dying; at = next) {
    next = at->next;
    struct orr_lua *lua = ORR_CONTAINER_OF(at, struct orr_lua, used);
    orr_luv_turn(lua->luv);
    if (orr_luv_alive(lua->luv) || !orr_luv_detached(lua->luv)) {
      if (*timeout_ms < 0 || *timeout_ms > 10) *timeout_ms = 10;
      continue;
    }
    orr_list_remove(at);
    orr_lua_free(lua);
  }
  for (struct orr_list *at = worker->states.next; at != &worker->states; at = at->next) {
    struct orr_lua *lua = ORR_CONTAINER_OF(at, struct orr_lua, used);
    if (lua->luv == NULL) continue;
    orr_luv_turn(lua->luv);
    if (!orr_luv_alive(lua->luv)) continue;
    alive = true;
    int due_ms = orr_luv_timeout_ms(lua->luv);
    if (due_ms >= 0 && (*timeout_ms < 0 || due_ms < *timeout_ms)) *timeout_ms = due_ms;
  }
  return alive;
}

static void on_any_closed(uv_handle_t *handle) { (void)handle; }

void orr__worker_close_states(struct orr_worker *worker) {
  if (worker->processes != NULL && worker->works_len == 0) orr_process_channel_close(worker->processes);
  if (worker->http != NULL) orr_http_client_free(worker->http);
  orr__redis_set_free(worker->redis);
  worker->redis = NULL;
  orr_store_reader_close(worker->reader);
  orr_runlog_reader_close(worker->log_reader);
  if (worker->works_len > 0) return; // a child would not die: the process is about to end, leave it all to that
  while (!orr_list_empty(&worker->states))
    retire(worker, ORR_CONTAINER_OF(worker->states.next, struct orr_lua, used));
  uint64_t until_ms = orr_clock_now().mono_ms + 5000;
  uv_close((uv_handle_t *)&worker->park_timer, on_any_closed);
  if (worker->inbox.event_fd >= 0) uv_close((uv_handle_t *)&worker->inbox_poll, on_any_closed);
  for (;;) {
    int timeout_ms = -1, alive = uv_run(&worker->loop, UV_RUN_NOWAIT);
    orr__worker_turn_states(worker, &timeout_ms);
    if (alive == 0 && orr_list_empty(&worker->dying)) break;
    if (orr_clock_now().mono_ms > until_ms) return; // a name lookup that hangs: the process ends it
    struct timespec pause = {.tv_nsec = 1000000};
    nanosleep(&pause, NULL);
  }
  int failed = uv_loop_close(&worker->loop);
  if (failed != 0) orr_log(ORR_LOG_WARN, "worker", "loop: %s", uv_strerror(failed));
}

// --- bindings -----------------------------------------------------------------------------------------------------------

// On the main thread: runtime.bind(script, name, step names, meta) -> P, list of S, list of functions or false.
static void bind_functions(struct orr_binding *binding) {
  struct orr_lua *lua = binding->lua;
  lua_State *L = lua->L;
  int top = lua_gettop(L);
  bool good = orr_lua_require(lua, "orrery.runtime");
  if (good) {
    lua_getfield(L, -1, "bind");
    lua_pushstring(L, binding->def->script);
    lua_pushstring(L, binding->def->name);
    lua_createtable(L, (int)binding->def->steps_len, 0);
    for (uint32_t i = 0; i < binding->def->steps_len; i++) {
      lua_pushstring(L, binding->def->steps[i].name);
      lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
    lua_pushlstring(L, (const char *)binding->def->meta.data, binding->def->meta.len);
    good = orr_lua_call(lua, 4, 3) == LUA_OK;
  }
  if (good) {
    binding->runs_ref = luaL_ref(L, LUA_REGISTRYINDEX);
    binding->steps_ref = luaL_ref(L, LUA_REGISTRYINDEX);
    binding->pipeline_ref = luaL_ref(L, LUA_REGISTRYINDEX);
  } else {
    struct orr_buf error = ORR_BUF_INIT;
    bool retryable = false;
    orr__lua_error_json(L, orr_slice_of(NULL, 0), &error, &retryable);
    binding->error = orr_strdup(orr_buf_cstr(&error));
    orr_buf_free(&error);
  }
  lua_settop(L, top);
}

struct orr_binding *orr__worker_bind(struct orr_worker *worker, struct orr_def *def) {
  struct orr_binding *binding = worker->last_binding;
  if (binding != NULL && binding->def == def) return binding;
  struct orr_slice key = orr_slice_of(&def, sizeof(def));
  binding = orr_map_get(&worker->bindings, key);
  if (binding == NULL) {
    binding = orr_alloc(sizeof(*binding));
    binding->pipeline_ref = binding->steps_ref = binding->runs_ref = LUA_NOREF;
    binding->def = orr_def_ref(def);
    binding->lua = orr__worker_lua(worker, def->code);
    orr_list_push_back(&binding->lua->bindings, &binding->link);
    orr_map_put(&worker->bindings, key, binding);
    bind_functions(binding);
  } else {
    orr__worker_lua(worker, def->code); // used now
  }
  worker->last_binding = binding;
  return binding;
}

void orr__binding_free(struct orr_binding *binding) {
  struct orr_worker *worker = binding->lua->worker;
  if (worker->last_binding == binding) worker->last_binding = NULL;
  orr_map_remove(&worker->bindings, orr_slice_of(&binding->def, sizeof(binding->def)));
  orr_list_remove(&binding->link);
  orr_def_unref(binding->def);
  free(binding->error);
  free(binding);
}
