// SPDX-License-Identifier: MIT
// The validating Lua state: made anew for each build, loads every script in a deterministic
// environment, bounded in time (a count hook looks at the clock) and memory (the allocator). The
// loader's thread. Makes problems out of whatever goes wrong; knows nothing of definitions.
#include "base/check.h"
#include "base/clock.h"
#include "base/log.h"
#include "script/loader_internal.h"

#include <ctype.h>
#include <lualib.h>
#include <stdio.h>
#include <stdlib.h>

#define HOOK_INSTRUCTIONS 10000

// --- the state
// ------------------------------------------------------------------------------------------------

static void *allocate(void *context, void *old, size_t old_size, size_t new_size) {
  struct orr__load *load = context;
  size_t before = old != NULL ? old_size : 0;
  if (new_size == 0) {
    free(old);
    load->bytes -= before;
    return NULL;
  }
  if (new_size > before && load->bytes + (new_size - before) > ORR_LUA_BYTES_MAX) return NULL;
  void *block = realloc(old, new_size);
  if (block != NULL) load->bytes += new_size - before;
  return block;
}

static int open_protected(lua_State *L) {
  luaL_openlibs(L);
  orr__load_globals(orr__load_of(L));
  return 0;
}

bool orr__load_open(struct orr__load *load) {
  load->L = lua_newstate(allocate, load);
  if (load->L == NULL) return false;
  *(struct orr__load **)lua_getextraspace(load->L) = load;
  lua_gc(load->L, LUA_GCINC, 1000, 0, 0); // short-lived: collect only when something grows tenfold
  lua_pushcfunction(load->L, open_protected);
  if (lua_pcall(load->L, 0, 0, 0) == LUA_OK) return true;
  orr__load_problem(load, NULL);
  return true;
}

// --- time
// --------------------------------------------------------------------------------------------------------

// After the deadline every instruction raises, so that no pcall of the script outlives it.
static void watch_clock(lua_State *L, lua_Debug *activation) {
  struct orr__load *load = orr__load_of(L);
  (void)activation;
  if (load->deadline_us == 0 || orr_clock_mono_us() < load->deadline_us) return;
  load->late = true;
  lua_sethook(L, watch_clock, LUA_MASKCOUNT, 1);
  char message[96];
  snprintf(message, sizeof(message), "the script takes longer than %u s to load",
           ORR_LOAD_MS_MAX / 1000);
  orr__load_raise(L, "E0103", message,
                  "nothing runs at load: put the work into a step's run function", NULL);
}

static void start_clock(struct orr__load *load) {
  load->late = false;
  load->deadline_us = orr_clock_mono_us() + (uint64_t)ORR_LOAD_MS_MAX * 1000;
  lua_sethook(load->L, watch_clock, LUA_MASKCOUNT, HOOK_INSTRUCTIONS);
}

static void stop_clock(struct orr__load *load) {
  load->deadline_us = 0;
  lua_sethook(load->L, NULL, 0, 0);
}

// --- chunks
// ------------------------------------------------------------------------------------------------------

static int write_code(lua_State *L, const void *bytes, size_t len, void *context) {
  (void)L;
  orr_buf_append(context, bytes, len);
  return 0;
}

static const char *split_place(const char *text, struct orr_buf *path, uint32_t *line);
static char *quoted_word(const char *message);

// Replaces the compiler's message on top of the stack by a problem.
static void syntax_problem(lua_State *L, const struct orr__source *source) {
  struct orr_buf path = ORR_BUF_INIT;
  uint32_t line = 0;
  const char *text = lua_tostring(L, -1);
  const char *message = split_place(text, &path, &line);
  char *word = quoted_word(message);
  bool memory = strcmp(message, "not enough memory") == 0;
  struct orr__fields fields = {memory ? "E0106" : "E0101", message, NULL, word, source->path, line};
  orr__load_push_problem(L, &fields);
  free(word);
  orr_buf_free(&path);
  lua_remove(L, -2);
}

bool orr__load_chunk(struct orr__load *load, struct orr__source *source) {
  lua_State *L = load->L;
  char name[1024];
  snprintf(name, sizeof(name), "@%s", source->path);
  struct orr_slice text = orr_blob_slice(source->code != NULL ? source->code : source->content);
  const char *mode = source->code != NULL ? "b" : "t"; // bytecode only if we made it
  if (source->code == NULL && text.len > 1 &&
      text.data[0] == '#') { // a shell's first line, as lua.c skips it
    const uint8_t *newline = memchr(text.data, '\n', text.len);
    size_t skip = newline != NULL ? (size_t)(newline - text.data) : text.len;
    text = orr_slice_of(text.data + skip, text.len - skip);
  }
  if (luaL_loadbufferx(L, text.len > 0 ? (const char *)text.data : "", text.len, name, mode) !=
      LUA_OK) {
    syntax_problem(L, source);
    return false;
  }
  if (source->code == NULL) {
    struct orr_buf code = ORR_BUF_INIT;
    lua_dump(L, write_code, &code, 0);
    source->code = orr_blob_new(orr_buf_slice(&code));
    orr_buf_free(&code);
  }
  lua_getfield(L, LUA_REGISTRYINDEX,
               "orrery.script_env"); // function(shared) -> globals of one script
  lua_rawgeti(L, LUA_REGISTRYINDEX, load->shared_ref);
  lua_call(L, 1, 1);
  if (lua_setupvalue(L, -2, 1) == NULL) lua_pop(L, 1);
  return true;
}

bool orr__load_run(struct orr__load *load, struct orr__source *source) {
  lua_State *L = load->L;
  int base = lua_gettop(L);
  source->needs_len = 0;
  source->failed = false;
  load->depth = 0;
  load->stack[load->depth++] = source;
  lua_pushcfunction(L, orr__load_handler);
  start_clock(load);
  bool ok = orr__load_chunk(load, source);
  if (ok) ok = lua_pcall(L, 0, 1, base + 1) == LUA_OK;
  stop_clock(load);
  load->depth = 0;
  lua_remove(L, base + 1);
  if (ok) return true;
  source->failed = true;
  orr__load_problem(load, source);
  lua_settop(L, base);
  return false;
}

// --- what went wrong
// -----------------------------------------------------------------------------------------------

static bool is_user_source(const char *source) {
  return source[0] == '@' && strstr(source, "lua/orrery/") == NULL;
}

// The user's frames, innermost first: "pipelines/etl.lua:14: in function 'helper'".
static uint32_t user_frames(lua_State *L, struct orr_buf *out) {
  lua_Debug frame;
  uint32_t count = 0;
  for (int level = 0; lua_getstack(L, level, &frame) && count < 20; level++) {
    lua_getinfo(L, "Sln", &frame);
    if (!is_user_source(frame.source) || frame.currentline < 0) continue;
    if (count++ > 0) orr_buf_u8(out, '\n');
    orr_buf_printf(out, "%s:%d: in ", frame.source + 1, frame.currentline);
    if (*frame.what == 'm')
      orr_buf_text(out, "main chunk");
    else if (frame.name != NULL)
      orr_buf_printf(out, "%s '%s'", frame.namewhat, frame.name);
    else
      orr_buf_printf(out, "function <line %d>", frame.linedefined);
  }
  return count;
}

// Wraps any error but a problem as { message, traceback, script, line }; a problem gets its
// traceback.
int orr__load_handler(lua_State *L) {
  if (lua_type(L, 1) == LUA_TTABLE && lua_getfield(L, 1, "orrery_problem") == LUA_TTABLE) {
    lua_settop(L, 1);
    return 1;
  }
  lua_settop(L, 1);
  struct orr_buf frames = ORR_BUF_INIT;
  uint32_t count = user_frames(L, &frames);
  lua_createtable(L, 0, 4);
  if (lua_isstring(L, 1) || luaL_getmetafield(L, 1, "__tostring") != LUA_TNIL) {
    lua_settop(L, 2);
    luaL_tolstring(L, 1, NULL);
  } else {
    lua_pushfstring(L, "the error is a %s: raise a string", luaL_typename(L, 1));
  }
  lua_setfield(L, 2, "message");
  if (count > 0) {
    lua_pushlstring(L, (const char *)frames.data, frames.len);
    lua_setfield(L, 2, count > 1 ? "traceback" : "place");
  }
  orr_buf_free(&frames);
  return 1;
}

static char *field_text(lua_State *L, int index, const char *key) {
  char *text = NULL;
  if (lua_getfield(L, index, key) == LUA_TSTRING) text = orr_strdup(lua_tostring(L, -1));
  lua_pop(L, 1);
  return text;
}

// Splits "pipelines/etl.lua:14: what" into its parts; the path may be shortened by Lua
// ("...es/etl.lua").
static const char *split_place(const char *text, struct orr_buf *path, uint32_t *line) {
  for (const char *colon = strchr(text, ':'); colon != NULL; colon = strchr(colon + 1, ':')) {
    const char *at = colon + 1;
    uint32_t number = 0;
    while (isdigit((unsigned char)*at) && number < 100000000)
      number = number * 10 + (uint32_t)(*at++ - '0');
    if (at == colon + 1 || at[0] != ':' || at[1] != ' ') continue;
    orr_buf_append(path, text, (size_t)(colon - text));
    *line = number;
    return at + 2;
  }
  return text;
}

// The word in quotes that a Lua message is about: near 'x', (global 'x').
static char *quoted_word(const char *message) {
  static const char *const BEFORE[] = {"near '",   "global '", "field '",
                                       "method '", "local '",  "upvalue '"};
  for (size_t i = 0; i < sizeof(BEFORE) / sizeof(BEFORE[0]); i++) {
    const char *at = strstr(message, BEFORE[i]);
    if (at == NULL) continue;
    at += strlen(BEFORE[i]);
    const char *end = strrchr(at, '\'');
    if (end != NULL && end > at) return orr_slice_strdup(orr_slice_of(at, (size_t)(end - at)));
  }
  return NULL;
}

static struct orr_slice text_of(struct orr__load *load, const char *path) {
  struct orr__source *source = path != NULL ? orr__loader_find(load->loader, path) : NULL;
  return source != NULL ? orr_blob_slice(source->content) : orr_slice_of(NULL, 0);
}

static void place_problem(struct orr__load *load, struct orr_problem *problem, char *path,
                          uint32_t line, const char *word) {
  free(problem->file);
  problem->file = path;
  problem->line = line;
  orr_problem_locate(problem, text_of(load, path), word);
}

// A nil global at load is mostly a misspelt name: suggests among the globals that there are.
static char *suggest_global(struct orr__load *load, const char *message, const char *word) {
  const char *names[128];
  size_t len = 0;
  if (word == NULL || strstr(message, "(global '") == NULL) return NULL;
  lua_State *L = load->L;
  int top = lua_gettop(L);
  lua_rawgeti(L, LUA_REGISTRYINDEX, load->shared_ref);
  for (lua_pushnil(L); len < 128 && lua_next(L, -2) != 0; lua_pop(L, 1)) {
    if (lua_type(L, -2) == LUA_TSTRING) names[len++] = lua_tostring(L, -2);
  }
  const char *near = orr_suggest(word, names, len);
  struct orr_buf text = ORR_BUF_INIT;
  if (near != NULL && strcmp(near, word) != 0)
    orr_buf_printf(&text, "did you mean \"%s\"?", near);
  else
    orr_buf_printf(&text, "\"%s\" is nil here: declare it with local before this line", word);
  char *help = orr_strdup(orr_buf_cstr(&text));
  orr_buf_free(&text);
  lua_settop(L, top);
  return help;
}

static void plain_problem(struct orr__load *load, const char *text, const char *traceback,
                          const char *place, const struct orr__source *source) {
  struct orr_buf path = ORR_BUF_INIT, ignored = ORR_BUF_INIT;
  uint32_t line = 0;
  const char *message = split_place(text, &path, &line);
  if (line == 0 && (traceback != NULL || place != NULL))
    split_place(traceback ? traceback : place, &path, &line);
  char *word = quoted_word(message);
  const char *code = strcmp(message, "not enough memory") == 0 ? "E0106" : "E0102";
  char *help = suggest_global(load, message, word);
  struct orr_problem *problem = orr_problems_add(load->problems, code, message);
  const char *file = orr_buf_cstr(&path);
  bool known = orr__loader_find(load->loader, file) != NULL;
  // A shortened or foreign path: the place is the script that was loading, unless frames say
  // better.
  if (!known && (traceback || place)) {
    uint32_t frame_line = 0;
    split_place(traceback ? traceback : place, &ignored, &frame_line);
    if (orr__loader_find(load->loader, orr_buf_cstr(&ignored)) != NULL) {
      file = orr_buf_cstr(&ignored);
      line = frame_line;
      known = true;
    }
  }
  if (!known && source != NULL) file = source->path;
  place_problem(load, problem, known || source != NULL ? orr_strdup(file) : NULL, line, word);
  problem->help = help;
  if (traceback != NULL) problem->traceback = orr_strdup(traceback);
  free(word);
  orr_buf_free(&path);
  orr_buf_free(&ignored);
}

// The fields of a problem made by Lua at the top of the stack; pops them.
static void table_problem(struct orr__load *load, const struct orr__source *source) {
  lua_State *L = load->L;
  int at = lua_gettop(L);
  char *code = field_text(L, at, "code"), *message = field_text(L, at, "message");
  char *word = field_text(L, at, "word"), *path = field_text(L, at, "script");
  lua_getfield(L, at, "line");
  uint32_t line = (uint32_t)lua_tointeger(L, -1);
  struct orr_problem *problem = orr_problems_add(load->problems, code != NULL ? code : "E0102",
                                                 message != NULL ? message : "?");
  problem->help = field_text(L, at, "help");
  problem->traceback = field_text(L, at, "traceback");
  if (path == NULL && source != NULL) path = orr_strdup(source->path);
  place_problem(load, problem, path, line, word);
  free(code);
  free(message);
  free(word);
  lua_settop(L, at - 1);
}

void orr__load_problem(struct orr__load *load, const struct orr__source *source) {
  lua_State *L = load->L;
  int at = lua_gettop(L);
  if (lua_type(L, at) == LUA_TTABLE) {
    if (lua_getfield(L, at, "orrery_problem") == LUA_TTABLE) {
      table_problem(load, source);
      lua_settop(L, at - 1);
      return;
    }
    lua_pop(L, 1);
    char *message = field_text(L, at, "message"), *traceback = field_text(L, at, "traceback");
    char *place = field_text(L, at, "place");
    plain_problem(load, message != NULL ? message : "?", traceback, place, source);
    free(message);
    free(traceback);
    free(place);
  } else {
    const char *text = lua_tostring(L, at);
    plain_problem(load, text != NULL ? text : "not enough memory", NULL, NULL, source);
  }
  lua_settop(L, at - 1);
}

void orr__load_reported(struct orr__load *load) {
  lua_State *L = load->L;
  lua_Integer len = luaL_len(L, -1);
  for (lua_Integer i = 1; i <= len; i++) {
    lua_geti(L, -1, i);
    table_problem(load, NULL);
  }
  lua_pop(L, 1);
}

static void set_text(lua_State *L, const char *key, const char *text) {
  if (text == NULL) return;
  lua_pushstring(L, text);
  lua_setfield(L, -2, key);
}

void orr__load_push_problem(lua_State *L, const struct orr__fields *fields) {
  lua_createtable(L, 0, 1);
  lua_createtable(L, 0, 6);
  set_text(L, "code", fields->code);
  set_text(L, "message", fields->message);
  set_text(L, "help", fields->help);
  set_text(L, "word", fields->word);
  set_text(L, "script", fields->script);
  lua_pushinteger(L, fields->line);
  lua_setfield(L, -2, "line");
  lua_setfield(L, -2, "orrery_problem");
  if (lua_getfield(L, LUA_REGISTRYINDEX, "orrery.problem_mt") == LUA_TTABLE)
    lua_setmetatable(L, -2);
  else
    lua_pop(L, 1);
}

int orr__load_raise(lua_State *L, const char *code, const char *message, const char *help,
                    const char *word) {
  struct orr__fields fields = {code, message, help, word, NULL, 0};
  lua_Debug frame;
  for (int level = 0; fields.script == NULL && lua_getstack(L, level, &frame); level++) {
    lua_getinfo(L, "Sl", &frame);
    if (!is_user_source(frame.source) || frame.currentline < 0) continue;
    fields.script = frame.source + 1;
    fields.line = (uint32_t)frame.currentline;
  }
  orr__load_push_problem(L, &fields);
  return lua_error(L);
}
