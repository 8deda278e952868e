// SPDX-License-Identifier: MIT
// Module "orrery.c.http": a request as straight code, over the worker's own client.
#include "base/limits.h"
#include "io/http_client.h"
#include "script/worker_parts.h"

#include <stdlib.h>
#include <string.h>

struct http_wait {
  struct orr_wait wait;
  struct orr_http_request *request;
  struct orr_http_result result; // headers and body owned
  char *url;
};

static void http_free(struct http_wait *self) {
  if (self->wait.work != NULL) orr__wait_close(&self->wait);
  orr_buf_free(&self->result.headers);
  orr_buf_free(&self->result.body);
  free(self->url);
  free(self);
}

static void http_cancel(struct orr_wait *wait) {
  struct http_wait *self = (struct http_wait *)wait;
  if (!wait->done) orr_http_cancel(self->request);
  http_free(self);
}

static void on_done(void *context, struct orr_http_result *result) {
  struct http_wait *self = context;
  self->result = *result;
  self->url = result->url != NULL ? orr_strdup(result->url) : NULL;
  memset(&result->headers, 0, sizeof(result->headers)); // taken over
  memset(&result->body, 0, sizeof(result->body));
  orr__wait_done(&self->wait);
}

static void push_headers(lua_State *L, struct orr_slice lines) { // "name: value\n"...; repeated names are joined
  lua_newtable(L);
  const char *at = (const char *)lines.data, *end = at + lines.len;
  while (at != NULL && at < end) {
    const char *newline = memchr(at, '\n', (size_t)(end - at)), *stop = newline != NULL ? newline : end;
    const char *colon = memchr(at, ':', (size_t)(stop - at));
    if (colon != NULL) {
      const char *value = colon + 1;
      while (value < stop && *value == ' ') value++;
      lua_pushlstring(L, at, (size_t)(colon - at));
      lua_pushvalue(L, -1);
      if (lua_rawget(L, -3) == LUA_TSTRING) {
        lua_pushliteral(L, ", ");
        lua_pushlstring(L, value, (size_t)(stop - value));
        lua_concat(L, 3);
      } else {
        lua_pop(L, 1);
        lua_pushlstring(L, value, (size_t)(stop - value));
      }
      lua_rawset(L, -3);
    }
    at = stop + 1;
  }
}

// status, headers, body, url, seconds; or nil, { code, message, retryable }
static int results(lua_State *L, int status, lua_KContext context) {
  (void)status;
  struct http_wait *self = (struct http_wait *)context;
  struct orr_http_result *result = &self->result;
  if (result->status != ORR_OK) {
    lua_pushnil(L);
    lua_createtable(L, 0, 3);
    lua_pushstring(L, result->code);
    lua_setfield(L, -2, "code");
    lua_pushstring(L, result->message);
    lua_setfield(L, -2, "message");
    lua_pushboolean(L, result->status != ORR_ERR_INVALID && result->status != ORR_ERR_LIMIT);
    lua_setfield(L, -2, "retryable");
    http_free(self);
    return 2;
  }
  lua_pushinteger(L, result->http_status);
  push_headers(L, orr_buf_slice(&result->headers));
  lua_pushlstring(L, result->body.len > 0 ? (const char *)result->body.data : "", result->body.len);
  lua_pushstring(L, self->url);
  lua_pushnumber(L, result->seconds);
  http_free(self);
  return 5;
}

// request(method, url, header lines, body or nil, timeout ms, connect timeout ms, redirects, bytes max)
static int request(lua_State *L) {
  struct orr_worker *worker = orr_lua_of(L)->worker;
  size_t body_len = 0;
  const char *method = luaL_checkstring(L, 1), *url = luaL_checkstring(L, 2);
  luaL_checktype(L, 3, LUA_TTABLE);
  const char *body = luaL_optlstring(L, 4, NULL, &body_len);
  lua_Integer timeout_ms = luaL_optinteger(L, 5, 0), connect_ms = luaL_optinteger(L, 6, 0);
  lua_Integer redirects = luaL_optinteger(L, 7, 0), bytes_max = luaL_optinteger(L, 8, 0);
  size_t len = lua_rawlen(L, 3);
  const char **headers = lua_newuserdatauv(L, (len + 1) * sizeof(*headers), 0);
  for (size_t i = 0; i < len; i++) {
    lua_rawgeti(L, 3, (lua_Integer)i + 1);
    headers[i] = luaL_checkstring(L, -1); // stays in the list
    lua_pop(L, 1);
  }
  headers[len] = NULL;
  orr__wait_check(L);
  if (worker->http == NULL) worker->http = orr_http_client_new(&worker->loop);
  struct http_wait *self = orr__wait_new(L, sizeof(*self), true, http_cancel);
  struct orr_http_options options = {
      .method = method, .url = url, .headers = headers, .body = orr_slice_of(body, body_len), .has_body = body != NULL,
      .timeout_ms = (uint64_t)timeout_ms, .connect_timeout_ms = (uint64_t)connect_ms,
      .redirects_max = (uint32_t)redirects, .body_bytes_max = (size_t)bytes_max};
  self->request = orr_http_start(worker->http, &options, on_done, self);
  return orr__wait_yield(L, &self->wait, results);
}

int orr_luaopen_c_http(lua_State *L) {
  static const luaL_Reg functions[] = {{"request", request}, {NULL, NULL}};
  luaL_newlib(L, functions);
  return 1;
}
