// SPDX-License-Identifier: MIT
// Module "orrery.c.app": questions that only the composition root can answer ("scripts", "pipelines"), as JSON.
#include "script/worker_parts.h"

static int query(lua_State *L) { // query(what) -> JSON text, or nil, { code, message }
  struct orr_worker *worker = orr_lua_of(L)->worker;
  const char *what = luaL_checkstring(L, 1);
  struct orr_buf out = ORR_BUF_INIT;
  enum orr_status status = ORR_ERR_UNAVAILABLE;
  if (worker->options.app_query != NULL) status = worker->options.app_query(worker->options.app_context, what, &out);
  if (status == ORR_OK) {
    lua_pushlstring(L, out.len > 0 ? (const char *)out.data : "", out.len);
    orr_buf_free(&out);
    return 1;
  }
  orr_buf_free(&out);
  lua_pushnil(L);
  lua_createtable(L, 0, 2);
  lua_pushstring(L, orr_status_text(status));
  lua_setfield(L, -2, "code");
  lua_pushfstring(L, "%s: %s", what, orr_status_text(status));
  lua_setfield(L, -2, "message");
  return 2;
}

int orr_luaopen_c_app(lua_State *L) {
  static const luaL_Reg functions[] = {{"query", query}, {NULL, NULL}};
  luaL_newlib(L, functions);
  return 1;
}
