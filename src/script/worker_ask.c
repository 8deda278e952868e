// SPDX-License-Identifier: MIT
// Questions of strands to the engine: an event goes out, the reply comes back as mail and wakes the strand that asked.
// A reply that nobody waits for any more is dropped. Also: what every state of a worker preloads.
#include "base/check.h"
#include "script/ctx.h"
#include "script/json_lua.h"
#include "script/worker_parts.h"

#include <stdlib.h>

void orr__ask_close(struct orr_ask *ask) {
  if (ask->wait.work != NULL) orr__wait_close(&ask->wait);
  orr_list_remove(&ask->link);
  if (ask->reply != NULL) orr_reply_free(ask->reply);
  free(ask);
}

static void cancel(struct orr_wait *wait) { orr__ask_close((struct orr_ask *)wait); }

int orr__ask(lua_State *L, struct orr_event *event, lua_KFunction k) {
  struct orr_lua *lua = orr_lua_of(L);
  struct orr_worker *worker = lua->worker;
  if (!orr__may_wait(L) || worker->options.host == NULL) {
    orr_event_free(event);
    orr__wait_check(L);
    return luaL_error(L, "there is no engine here");
  }
  struct orr_ask *ask = orr__wait_new(L, sizeof(*ask), false, cancel);
  ask->token = ++worker->next_ask;
  orr_list_init(&ask->link);
  orr_list_push_back(&worker->asks, &ask->link);
  event->reply_to = (struct orr_reply_to){.port = &worker->port, .token = ask->token};
  orr__worker_flush(worker); // the engine sees our results before our question
  orr_host_send(worker->options.host, event);
  return orr__wait_yield(L, &ask->wait, k);
}

void orr__ask_reply(struct orr_worker *worker, struct orr_reply *reply) {
  for (struct orr_list *at = worker->asks.next; at != &worker->asks; at = at->next) {
    struct orr_ask *ask = ORR_CONTAINER_OF(at, struct orr_ask, link);
    if (ask->token != reply->to.token) continue;
    orr_list_remove(&ask->link);
    ask->reply = reply;
    orr__wait_done(&ask->wait);
    return;
  }
  orr_reply_free(reply);
}

struct orr_store_reader *orr__worker_reader(struct orr_worker *worker) {
  if (worker->reader == NULL && worker->options.store_path != NULL &&
      orr_store_reader_open(worker->options.store_path, &worker->reader) != ORR_OK)
    worker->reader = NULL;
  return worker->reader;
}

void orr__worker_setup(struct orr_lua *lua) {
  orr_lua_preload(lua, "orrery.c.json", orr_luaopen_json);
  orr_lua_preload(lua, "orrery.c.fs", orr_luaopen_c_fs);
  orr_lua_preload(lua, "orrery.c.process", orr_luaopen_c_process);
  orr_lua_preload(lua, "orrery.c.http", orr_luaopen_c_http);
  orr_lua_preload(lua, "orrery.c.redis", orr_luaopen_c_redis);
  orr_lua_preload(lua, "orrery.c.time", orr_luaopen_c_time);
  orr_lua_preload(lua, "orrery.c.base64", orr_luaopen_c_base64);
  orr_lua_preload(lua, "orrery.c.log", orr_luaopen_c_log);
  orr_lua_preload(lua, "orrery.c.runs", orr_luaopen_c_runs);
  orr_lua_preload(lua, "orrery.c.app", orr_luaopen_c_app);
  orr__ctx_install(lua);
}
