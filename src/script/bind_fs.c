// SPDX-License-Identifier: MIT
// Module "orrery.c.fs": file operations as straight code: each suspends its strand while libuv's pool does it. Results are
// (value) or (nil, { code, message }).
#include "base/limits.h"
#include "io/file_job.h"
#include "script/worker_parts.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct fs_wait {
  struct orr_wait wait;
  struct orr_file_job *job;
  enum orr_file_op op;
  struct orr_file_result result;
  char *path;
};

static void free_result(struct orr_file_result *result) {
  orr_buf_free(&result->data);
  for (size_t i = 0; i < result->entries_len; i++) free(result->entries[i].name);
  free(result->entries);
}

static void fs_free(struct fs_wait *fs) {
  if (fs->wait.work != NULL) orr__wait_close(&fs->wait);
  free_result(&fs->result);
  free(fs->path);
  free(fs);
}

static void fs_cancel(struct orr_wait *wait) {
  struct fs_wait *fs = (struct fs_wait *)wait;
  if (!wait->done) orr_file_cancel(fs->job);
  fs_free(fs);
}

static void fs_done(void *context, struct orr_file_result *result) {
  struct fs_wait *fs = context;
  fs->result = *result;
  memset(result, 0, sizeof(*result)); // taken over
  orr__wait_done(&fs->wait);
}

static const char *code_of(int error_number) {
  switch (error_number) {
  case ENOENT: return "not_found";
  case EEXIST: return "exists";
  case EACCES:
  case EPERM: return "denied";
  case EFBIG: return "too_large";
  case ENOSPC: return "no_space";
  case ENOTDIR: return "not_a_folder";
  case EISDIR: return "is_a_folder";
  case ENOTEMPTY: return "not_empty";
  default: return "io";
  }
}

static void push_entries(lua_State *L, const struct orr_file_result *result) {
  lua_createtable(L, (int)result->entries_len, 0);
  for (size_t i = 0; i < result->entries_len; i++) {
    const struct orr_file_entry *entry = &result->entries[i];
    lua_createtable(L, 0, 4);
    lua_pushstring(L, entry->name);
    lua_setfield(L, -2, "name");
    lua_pushboolean(L, entry->is_dir);
    lua_setfield(L, -2, "is_dir");
    lua_pushinteger(L, (lua_Integer)entry->size);
    lua_setfield(L, -2, "size");
    lua_pushinteger(L, entry->modified_ms);
    lua_setfield(L, -2, "modified_ms");
    lua_rawseti(L, -2, (lua_Integer)i + 1);
  }
}

static void push_stat(lua_State *L, const struct orr_file_result *result) {
  lua_createtable(L, 0, 3);
  lua_pushboolean(L, result->is_dir);
  lua_setfield(L, -2, "is_dir");
  lua_pushinteger(L, (lua_Integer)result->size);
  lua_setfield(L, -2, "size");
  lua_pushinteger(L, result->modified_ms);
  lua_setfield(L, -2, "modified_ms");
}

static int fs_results(lua_State *L, int status, lua_KContext context) {
  (void)status;
  struct fs_wait *fs = (struct fs_wait *)context;
  struct orr_file_result *result = &fs->result;
  int count = 1;
  if (result->error_number != 0) {
    lua_pushnil(L);
    lua_createtable(L, 0, 2);
    lua_pushstring(L, code_of(result->error_number));
    lua_setfield(L, -2, "code");
    lua_pushfstring(L, "%s: %s", fs->path, strerror(result->error_number));
    lua_setfield(L, -2, "message");
    count = 2;
  } else {
    switch (fs->op) {
    case ORR_FILE_READ:
    case ORR_FILE_READ_AT:
    case ORR_FILE_TEMP_DIR:
      lua_pushlstring(L, result->data.len > 0 ? (const char *)result->data.data : "", result->data.len);
      break;
    case ORR_FILE_STAT:
      if (result->exists) push_stat(L, result);
      else lua_pushboolean(L, 0);
      break;
    case ORR_FILE_LIST: push_entries(L, result); break;
    case ORR_FILE_WRITE:
    case ORR_FILE_APPEND:
    case ORR_FILE_MKDIR:
    case ORR_FILE_REMOVE:
    case ORR_FILE_RENAME:
    case ORR_FILE_COPY: lua_pushboolean(L, 1); break;
    }
  }
  fs_free(fs);
  return count;
}

// run(op, path, to or data, flag, offset, bytes max): paths are absolute by now
static int run(lua_State *L) {
  static const char *const ops[] = {"read", "read_at", "write", "append", "stat", "list", "mkdir", "remove", "rename", "copy",
                                    "temp_dir", NULL};
  enum orr_file_op op = (enum orr_file_op)luaL_checkoption(L, 1, NULL, ops);
  size_t len = 0;
  const char *path = luaL_checkstring(L, 2), *more = luaL_optlstring(L, 3, NULL, &len);
  bool flag = lua_toboolean(L, 4) != 0;
  struct orr_file_options options = {.op = op, .path = path, .bytes_max = ORR_OUTPUT_BYTES_MAX * 4,
                                     .sync = flag, .recursive = flag};
  if (op == ORR_FILE_READ_AT) {
    lua_Integer offset = luaL_checkinteger(L, 5), bytes = luaL_checkinteger(L, 6);
    luaL_argcheck(L, offset >= 0, 5, "not negative");
    luaL_argcheck(L, bytes > 0 && bytes <= (lua_Integer)ORR_MIB, 6, "1 to 1 MiB");
    options.offset = (uint64_t)offset;
    options.bytes_max = (size_t)bytes;
  }
  if (op == ORR_FILE_WRITE || op == ORR_FILE_APPEND) options.data = orr_slice_of(more, len);
  else options.to = more;
  luaL_argcheck(L, (op != ORR_FILE_RENAME && op != ORR_FILE_COPY) || more != NULL, 3, "path expected");
  struct fs_wait *fs = orr__wait_new(L, sizeof(*fs), true, fs_cancel);
  fs->op = op;
  fs->path = orr_strdup(path);
  fs->job = orr_file_start(&orr_lua_of(L)->worker->loop, &options, fs_done, fs);
  return orr__wait_yield(L, &fs->wait, fs_results);
}

int orr_luaopen_c_fs(lua_State *L) {
  static const luaL_Reg functions[] = {{"run", run}, {NULL, NULL}};
  luaL_newlib(L, functions);
  return 1;
}
