// SPDX-License-Identifier: MIT
// Module "orrery.c.http": requests as straight code, over the worker's own client. `request` waits for a whole answer; `open`
// gives a stream, whose head and body come by pieces and whose own body goes by pieces. A stream belongs to the attempt that
// opened it: when that ends, it is closed. Also the signing of web-hooks.
#include "base/limits.h"
#include "io/hmac.h"
#include "io/http_client.h"
#include "script/worker_parts.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define STREAM_TYPE "orrery.http_stream"
#define JAR_TYPE "orrery.http_jar"
#define SEND_BYTES_MAX ((size_t)64 * 1024)

struct http_wait { // a whole answer
  struct orr_wait wait;
  struct orr_http_request *request;
  struct orr_http_result result; // headers and body owned
};

static void take_over(struct orr_http_result *mine, struct orr_http_result *result) {
  *mine = *result;
  mine->url = result->url != NULL ? orr_strdup(result->url) : NULL;
  memset(&result->headers, 0, sizeof(result->headers));
  memset(&result->body, 0, sizeof(result->body));
}
static void result_free(struct orr_http_result *result) {
  orr_buf_free(&result->headers);
  orr_buf_free(&result->body);
  free(result->url);
}

static void http_free(struct http_wait *self) {
  if (self->wait.work != NULL) orr__wait_close(&self->wait);
  result_free(&self->result);
  free(self);
}

static void http_cancel(struct orr_wait *wait) {
  struct http_wait *self = (struct http_wait *)wait;
  if (!wait->done) orr_http_cancel(self->request);
  http_free(self);
}

static void on_done(void *context, struct orr_http_result *result) {
  struct http_wait *self = context;
  take_over(&self->result, result);
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

static int push_failure(lua_State *L, const char *code, const char *message, bool retryable) {
  lua_pushnil(L);
  lua_createtable(L, 0, 3);
  lua_pushstring(L, code);
  lua_setfield(L, -2, "code");
  lua_pushstring(L, message);
  lua_setfield(L, -2, "message");
  lua_pushboolean(L, retryable);
  lua_setfield(L, -2, "retryable");
  return 2;
}

static void push_version(lua_State *L, int version) {
  if (version == 0) lua_pushnil(L);
  else if (version == 20) lua_pushliteral(L, "2");
  else lua_pushstring(L, version == 10 ? "1.0" : "1.1");
}

// status, headers, body, url, seconds, version; or nil, { code, message, retryable }
static int push_result(lua_State *L, struct orr_http_result *result) {
  if (result->status != ORR_OK) {
    bool retryable = result->status != ORR_ERR_INVALID && result->status != ORR_ERR_LIMIT;
    return push_failure(L, result->code, result->message, retryable);
  }
  lua_pushinteger(L, result->http_status);
  push_headers(L, orr_buf_slice(&result->headers));
  lua_pushlstring(L, result->body.len > 0 ? (const char *)result->body.data : "", result->body.len);
  lua_pushstring(L, result->url);
  lua_pushnumber(L, result->seconds);
  push_version(L, result->http_version);
  return 6;
}

static int results(lua_State *L, int status, lua_KContext context) {
  (void)status;
  struct http_wait *self = (struct http_wait *)context;
  int count = push_result(L, &self->result);
  http_free(self);
  return count;
}

// --- options ----------------------------------------------------------------------------------------------------------

// A string without NUL; what comes after one would be lost unseen.
static const char *whole_text(lua_State *L, int index, const char *what) {
  size_t len;
  const char *text = luaL_checklstring(L, index, &len);
  if (strlen(text) != len) luaL_error(L, "o.http: %s holds a NUL byte", what);
  return text;
}

// Fields of the last argument; strings stay in that table.
static const char *text_field(lua_State *L, int table, const char *name) {
  lua_getfield(L, table, name);
  const char *text = lua_type(L, -1) == LUA_TSTRING ? whole_text(L, -1, name) : NULL;
  lua_pop(L, 1);
  return text;
}
static lua_Integer integer_field(lua_State *L, int table, const char *name, lua_Integer otherwise) {
  lua_getfield(L, table, name);
  int is_integer;
  lua_Integer value = lua_tointegerx(L, -1, &is_integer);
  lua_pop(L, 1);
  return is_integer ? value : otherwise;
}
static bool flag_field(lua_State *L, int table, const char *name) {
  lua_getfield(L, table, name);
  bool value = lua_toboolean(L, -1) != 0;
  lua_pop(L, 1);
  return value;
}

static enum orr_http_version version_field(lua_State *L, int table) {
  const char *text = text_field(L, table, "http_version");
  if (text == NULL) return ORR_HTTP_VERSION_ANY;
  if (strcmp(text, "1.1") == 0) return ORR_HTTP_VERSION_1_1;
  if (strcmp(text, "2") == 0) return ORR_HTTP_VERSION_2;
  return ORR_HTTP_VERSION_2_PRIOR;
}

struct jar_box {
  struct orr_http_jar *jar;
};

// (method, url, header lines, body or nil, { timeout_ms, connect_ms, idle_ms, redirects, bytes_max, rate_min, proxy, guard,
// http_version, ca_file, jar, stream, upload, upload_bytes }). Leaves a userdata that holds the lines.
static void read_options(lua_State *L, struct orr_http_options *options) {
  size_t body_len = 0;
  options->method = whole_text(L, 1, "the method");
  options->url = whole_text(L, 2, "the URL");
  luaL_checktype(L, 3, LUA_TTABLE);
  const char *body = luaL_optlstring(L, 4, NULL, &body_len);
  luaL_checktype(L, 5, LUA_TTABLE);
  lua_settop(L, 5);
  options->body = orr_slice_of(body, body_len);
  options->has_body = body != NULL;
  options->timeout_ms = (uint64_t)integer_field(L, 5, "timeout_ms", 0);
  options->connect_timeout_ms = (uint64_t)integer_field(L, 5, "connect_ms", 0);
  options->idle_timeout_ms = (uint64_t)integer_field(L, 5, "idle_ms", 0);
  options->redirects_max = (uint32_t)integer_field(L, 5, "redirects", 0);
  options->body_bytes_max = (uint64_t)integer_field(L, 5, "bytes_max", 0);
  options->bytes_per_s_min = (uint32_t)integer_field(L, 5, "rate_min", 0);
  options->upload_bytes = integer_field(L, 5, "upload_bytes", -1);
  options->guard = flag_field(L, 5, "guard");
  options->stream = flag_field(L, 5, "stream");
  options->upload = flag_field(L, 5, "upload");
  options->proxy = text_field(L, 5, "proxy");
  options->ca_file = text_field(L, 5, "ca_file");
  options->version = version_field(L, 5);
  lua_getfield(L, 5, "jar");
  struct jar_box *jar = luaL_testudata(L, -1, JAR_TYPE);
  options->jar = jar != NULL ? jar->jar : NULL;
  lua_pop(L, 1);
  size_t len = lua_rawlen(L, 3);
  const char **headers = lua_newuserdatauv(L, (len + 1) * sizeof(*headers), 0);
  for (size_t i = 0; i < len; i++) {
    lua_rawgeti(L, 3, (lua_Integer)i + 1);
    headers[i] = whole_text(L, -1, "a header"); // stays in the list
    lua_pop(L, 1);
  }
  headers[len] = NULL;
  options->headers = headers;
}

static struct orr_http_client *client_of(struct orr_worker *worker) {
  if (worker->http == NULL) worker->http = orr_http_client_new(&worker->loop);
  return worker->http;
}

static int request(lua_State *L) { // as read_options; waits
  struct orr_http_options options = {0};
  read_options(L, &options);
  orr__wait_check(L);
  struct orr_http_client *client = client_of(orr_lua_of(L)->worker);
  struct http_wait *self = orr__wait_new(L, sizeof(*self), true, http_cancel);
  self->request = orr_http_start(client, &options, on_done, self);
  return orr__wait_yield(L, &self->wait, results);
}

// --- streams ------------------------------------------------------------------------------------------------------------

// Open as long as its request is, or its result is not yet read. `wait` never suspends anybody: it ties the stream to its
// work. Who waits for something to happen does so by a stream_wait.
struct stream {
  struct orr_wait wait;
  struct stream_box *box;           // NULL: collected
  struct orr_http_request *request; // NULL: done
  struct orr_http_result result;    // when done
  struct orr_buf taken;             // bytes not yet given to Lua
  struct stream_wait *waiter;       // until its strand has read the outcome
  bool down, up;                    // the answer comes by pieces; the body goes by pieces, and is not complete
};
struct stream_box {
  struct stream *stream; // NULL: closed
};
struct stream_wait {
  struct orr_wait wait;
  struct stream *stream; // NULL: closed meanwhile
  bool (*ready)(struct stream *stream);
  int (*push)(lua_State *L, struct stream *stream);
};

static void stream_notice(void *context) {
  struct stream *stream = context;
  struct stream_wait *waiter = stream->waiter;
  if (waiter != NULL && !waiter->wait.done && waiter->ready(stream)) orr__wait_done(&waiter->wait);
}

static void stream_done(void *context, struct orr_http_result *result) {
  struct stream *stream = context;
  take_over(&stream->result, result);
  stream->request = NULL;
  stream_notice(stream);
}

static void stream_free(struct stream *stream) {
  if (stream->request != NULL) orr_http_cancel(stream->request);
  if (stream->box != NULL) stream->box->stream = NULL;
  if (stream->waiter != NULL) stream->waiter->stream = NULL;
  orr__wait_close(&stream->wait);
  result_free(&stream->result);
  orr_buf_free(&stream->taken);
  free(stream);
}

static void stream_cancel(struct orr_wait *wait) { stream_free((struct stream *)wait); } // its work ends

static void wait_free(struct stream_wait *self) {
  if (self->stream != NULL) self->stream->waiter = NULL;
  orr__wait_close(&self->wait);
  free(self);
}
static void wait_cancel(struct orr_wait *wait) { wait_free((struct stream_wait *)wait); }

static int push_closed(lua_State *L) { return push_failure(L, "closed", "the stream is closed", false); }

static int stream_waited(lua_State *L, int status, lua_KContext context) {
  (void)status;
  struct stream_wait *self = (struct stream_wait *)context;
  struct stream *stream = self->stream;
  int (*push)(lua_State *L, struct stream *stream) = self->push;
  wait_free(self);
  return stream != NULL ? push(L, stream) : push_closed(L);
}

static int stream_wait_for(lua_State *L, struct stream *stream, bool (*ready)(struct stream *stream),
                           int (*push)(lua_State *L, struct stream *stream)) {
  if (ready(stream)) return push(L, stream);
  if (stream->waiter != NULL) return luaL_error(L, "another coroutine waits for this stream");
  struct stream_wait *self = orr__wait_new(L, sizeof(*self), true, wait_cancel);
  self->stream = stream;
  self->ready = ready;
  self->push = push;
  stream->waiter = self;
  return orr__wait_yield(L, &self->wait, stream_waited);
}

// The stream, or NULL if it is closed. Raises in another attempt than the one that opened it.
static struct stream *stream_of(lua_State *L) {
  struct stream_box *box = luaL_checkudata(L, 1, STREAM_TYPE);
  if (box->stream != NULL && box->stream->wait.work != orr__work_of(L))
    luaL_error(L, "this stream belongs to another attempt");
  return box->stream;
}

static int stream_open(lua_State *L) { // as read_options; does not wait
  struct orr_http_options options = {0};
  read_options(L, &options);
  orr__wait_check(L);
  struct stream_box *box = lua_newuserdatauv(L, sizeof(*box), 0);
  box->stream = NULL;
  luaL_setmetatable(L, STREAM_TYPE);
  struct orr_http_client *client = client_of(orr_lua_of(L)->worker);
  struct stream *stream = orr__wait_new(L, sizeof(*stream), true, stream_cancel);
  box->stream = stream;
  stream->box = box;
  stream->down = options.stream;
  stream->up = options.upload;
  stream->request = orr_http_start(client, &options, stream_done, stream);
  orr_http_watch(stream->request, stream_notice);
  return 1;
}

static int stream_close(lua_State *L) { // close(): also __close and __gc, in whichever attempt
  struct stream_box *box = luaL_checkudata(L, 1, STREAM_TYPE);
  struct stream *stream = box->stream;
  if (stream == NULL) return 0;
  struct stream_wait *waiter = stream->waiter;
  stream_free(stream);
  if (waiter != NULL && !waiter->wait.done && !waiter->wait.work->ended) orr__wait_done(&waiter->wait);
  return 0;
}

static bool head_ready(struct stream *stream) {
  struct orr_http_head head;
  return stream->request == NULL || orr_http_head(stream->request, &head);
}
// status, headers, url; or nil, error
static int push_head(lua_State *L, struct stream *stream) {
  struct orr_http_head head;
  if (stream->request != NULL && orr_http_head(stream->request, &head)) {
    lua_pushinteger(L, head.http_status);
    push_headers(L, head.headers);
    lua_pushstring(L, head.url);
    return 3;
  }
  struct orr_http_result *result = &stream->result;
  if (result->status != ORR_OK && !result->head_known) return push_result(L, result);
  lua_pushinteger(L, result->http_status);
  push_headers(L, orr_buf_slice(&result->headers));
  lua_pushstring(L, result->url);
  return 3;
}
static int stream_head(lua_State *L) {
  struct stream *stream = stream_of(L);
  return stream != NULL ? stream_wait_for(L, stream, head_ready, push_head) : push_closed(L);
}

static bool bytes_ready(struct stream *stream) {
  if (stream->request != NULL && stream->taken.len == 0) orr_http_take(stream->request, &stream->taken);
  return stream->request == NULL || stream->taken.len > 0;
}
// bytes; nil at the end; nil, error
static int push_bytes(lua_State *L, struct stream *stream) {
  struct orr_buf *from = stream->taken.len > 0 ? &stream->taken : &stream->result.body;
  if (from->len > 0) {
    lua_pushlstring(L, (const char *)from->data, from->len);
    orr_buf_clear(from);
    return 1;
  }
  if (stream->result.status != ORR_OK) return push_result(L, &stream->result);
  lua_pushnil(L);
  return 1;
}
static int stream_read(lua_State *L) {
  struct stream *stream = stream_of(L);
  if (stream != NULL && !stream->down) return luaL_error(L, "this answer does not come by pieces");
  return stream != NULL ? stream_wait_for(L, stream, bytes_ready, push_bytes) : push_closed(L);
}

static bool whole_ready(struct stream *stream) { return stream->request == NULL; }
static int push_whole(lua_State *L, struct stream *stream) { return push_result(L, &stream->result); }
static int stream_result(lua_State *L) { // as request, for one that is no stream downwards
  struct stream *stream = stream_of(L);
  return stream != NULL ? stream_wait_for(L, stream, whole_ready, push_whole) : push_closed(L);
}

static bool room_ready(struct stream *stream) { return stream->request == NULL || orr_http_has_room(stream->request); }
static int push_room(lua_State *L, struct stream *stream) {
  size_t len;
  const char *bytes = lua_tolstring(L, 2, &len);
  if (stream->request != NULL) orr_http_send(stream->request, orr_slice_of(bytes, len));
  lua_pushboolean(L, stream->request != NULL);
  return 1;
}
// send(at most 64 KiB): waits for room; false when the answer is there already and wants no more
static int stream_send(lua_State *L) {
  size_t len;
  luaL_checklstring(L, 2, &len);
  luaL_argcheck(L, len <= SEND_BYTES_MAX, 2, "at most 64 KiB");
  lua_settop(L, 2);
  struct stream *stream = stream_of(L);
  if (stream != NULL && !stream->up) return luaL_error(L, "this stream takes no more bytes");
  return stream != NULL ? stream_wait_for(L, stream, room_ready, push_room) : push_closed(L);
}
static int stream_finish(lua_State *L) { // the body is complete
  struct stream *stream = stream_of(L);
  if (stream == NULL || !stream->up) return 0;
  stream->up = false;
  if (stream->request != NULL) orr_http_send_end(stream->request);
  return 0;
}

// --- cookies --------------------------------------------------------------------------------------------------------------

static int jar_new(lua_State *L) {
  struct jar_box *box = lua_newuserdatauv(L, sizeof(*box), 0);
  box->jar = NULL;
  luaL_setmetatable(L, JAR_TYPE);
  const char *message;
  box->jar = orr_http_jar_new(&message);
  return box->jar != NULL ? 1 : luaL_error(L, "%s", message);
}

static int jar_close(lua_State *L) {
  struct jar_box *box = luaL_checkudata(L, 1, JAR_TYPE);
  orr_http_jar_unref(box->jar);
  box->jar = NULL;
  return 0;
}

// --- signatures -----------------------------------------------------------------------------------------------------------

static int hmac(lua_State *L) { // hmac(key, bytes) -> 32 bytes
  size_t key_len, len;
  const char *key = luaL_checklstring(L, 1, &key_len), *bytes = luaL_checklstring(L, 2, &len);
  struct orr_digest digest;
  orr_hmac_sha256(orr_slice_of(key, key_len), orr_slice_of(bytes, len), &digest);
  lua_pushlstring(L, (const char *)digest.bytes, sizeof(digest.bytes));
  return 1;
}

static int equal(lua_State *L) { // equal(a, b), in a time that depends on the lengths only
  size_t a_len, b_len;
  const char *a = luaL_checklstring(L, 1, &a_len), *b = luaL_checklstring(L, 2, &b_len);
  lua_pushboolean(L, orr_equal_constant_time(orr_slice_of(a, a_len), orr_slice_of(b, b_len)));
  return 1;
}

static int random_hex(lua_State *L) { // random_hex(1 to 32 bytes) -> lower-case digits, not to be guessed
  uint8_t bytes[32];
  char text[65];
  lua_Integer len = luaL_checkinteger(L, 1);
  luaL_argcheck(L, len >= 1 && len <= (lua_Integer)sizeof(bytes), 1, "1 to 32");
  if (uv_random(NULL, NULL, bytes, (size_t)len, 0, NULL) != 0) return luaL_error(L, "the system has no random bytes");
  for (lua_Integer i = 0; i < len; i++) snprintf(text + 2 * i, 3, "%02x", bytes[i]);
  lua_pushlstring(L, text, (size_t)len * 2);
  return 1;
}

// --- module -----------------------------------------------------------------------------------------------------------------

static void class_make(lua_State *L, const char *type, const luaL_Reg *methods, lua_CFunction close) {
  luaL_newmetatable(L, type);
  lua_newtable(L);
  luaL_setfuncs(L, methods, 0);
  lua_setfield(L, -2, "__index");
  lua_pushcfunction(L, close);
  lua_setfield(L, -2, "__gc");
  lua_pushcfunction(L, close);
  lua_setfield(L, -2, "__close");
  lua_pushliteral(L, "protected");
  lua_setfield(L, -2, "__metatable");
  lua_pop(L, 1);
}

int orr_luaopen_c_http(lua_State *L) {
  static const luaL_Reg stream_methods[] = {{"head", stream_head},     {"read", stream_read},     {"send", stream_send},
                                            {"finish", stream_finish}, {"result", stream_result}, {"close", stream_close},
                                            {NULL, NULL}};
  static const luaL_Reg jar_methods[] = {{"close", jar_close}, {NULL, NULL}};
  static const luaL_Reg functions[] = {{"request", request}, {"open", stream_open}, {"jar", jar_new},
                                       {"hmac", hmac},       {"equal", equal},     {"random_hex", random_hex},
                                       {NULL, NULL}};
  class_make(L, STREAM_TYPE, stream_methods, stream_close);
  class_make(L, JAR_TYPE, jar_methods, jar_close);
  luaL_newlib(L, functions);
  return 1;
}
