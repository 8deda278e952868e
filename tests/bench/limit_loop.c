// SPDX-License-Identifier: MIT
// The physical limit of W1 to W4: one thread of C + Lua + SQLite (WAL) without an engine. Each step is a fresh
// coroutine resumed once, each fact a row of about 120 bytes in an append-only table, commits are grouped where
// the workload allows it.
//   limit_loop FOLDER full|normal W1|W2|W3|W4   -> seconds, on one line
#include "bench.h"

#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>
#include <sqlite3.h>
#include <stdbool.h>
#include <string.h>
#include <unistd.h>

static sqlite3 *db;
static sqlite3_stmt *insert, *begin, *commit;
static lua_State *L;
static int64_t next_id;
static const char payload[96] = "x";

static void sql(const char *text) { need(sqlite3_exec(db, text, NULL, NULL, NULL) == SQLITE_OK, text); }

static void open_store(const char *folder, const char *sync) {
  char path[512], pragma[64];
  const char *suffix[] = {"", "-wal", "-shm"};
  for (int i = 0; i < 3; i++) snprintf(path, sizeof(path), "%s/limit.db%s", folder, suffix[i]), unlink(path);
  snprintf(path, sizeof(path), "%s/limit.db", folder);
  need(sqlite3_open(path, &db) == SQLITE_OK, "open");
  sql("PRAGMA journal_mode=WAL");
  snprintf(pragma, sizeof(pragma), "PRAGMA synchronous=%s", strcmp(sync, "full") == 0 ? "FULL" : "NORMAL");
  sql(pragma);
  sql("CREATE TABLE fact(id INTEGER PRIMARY KEY, run INTEGER, seq INTEGER, at INTEGER, kind INTEGER, data BLOB)");
  sqlite3_prepare_v2(db, "INSERT INTO fact VALUES(?1,?2,?3,?4,?5,?6)", -1, &insert, NULL);
  sqlite3_prepare_v2(db, "BEGIN IMMEDIATE", -1, &begin, NULL);
  sqlite3_prepare_v2(db, "COMMIT", -1, &commit, NULL);
}
static void once(sqlite3_stmt *statement) {
  need(sqlite3_step(statement) == SQLITE_DONE, "step");
  sqlite3_reset(statement);
}
static void row(int64_t run, int seq, int kind) {
  sqlite3_bind_int64(insert, 1, ++next_id);
  sqlite3_bind_int64(insert, 2, run);
  sqlite3_bind_int(insert, 3, seq);
  sqlite3_bind_int64(insert, 4, 1790000000000 + next_id);
  sqlite3_bind_int(insert, 5, kind);
  sqlite3_bind_blob(insert, 6, payload, sizeof(payload), SQLITE_STATIC);
  once(insert);
}
static void step(const char *function, int64_t i) { // a fresh coroutine with a two-field ctx
  lua_State *coroutine = lua_newthread(L);
  lua_getglobal(coroutine, function);
  lua_createtable(coroutine, 0, 2);
  lua_pushinteger(coroutine, i), lua_setfield(coroutine, -2, "id");
  lua_pushinteger(coroutine, 1), lua_setfield(coroutine, -2, "attempt");
  int results;
  need(lua_resume(coroutine, L, 1, &results) == LUA_OK, "resume");
  lua_pop(L, 1);
}

static void w1(void) { // 10,000 runs of one step, three rows a run, groups of 250
  for (int at = 0; at < 10000; at += 250) {
    once(begin);
    for (int i = 0; i < 250; i++) row(at + i, 0, 1);
    once(commit), once(begin);
    for (int i = 0; i < 250; i++) step("noop", at + i), row(at + i, 1, 2), row(at + i, 2, 3);
    once(commit);
  }
}
static void w2(void) { // 1 -> 10,000 -> 1, a row a task, groups of 1,000
  once(begin), step("noop", 0), row(1, 0, 2), once(commit);
  for (int at = 0; at < 10000; at += 1000) {
    once(begin);
    for (int i = 0; i < 1000; i++) step("noop", i), row(1, at + i, 2);
    once(commit);
  }
  once(begin), step("noop", 1), row(1, 10001, 2), once(commit);
}
static void chain(const char *function, int steps) { // step k is committed before k + 1 starts
  for (int i = 0; i < steps; i++) step(function, i), once(begin), row(1, i, 2), once(commit);
}

int main(int argc, char **argv) {
  need(argc == 4, "usage: limit_loop FOLDER full|normal W1|W2|W3|W4");
  L = luaL_newstate();
  luaL_openlibs(L);
  need(luaL_dostring(L, "function noop(ctx) return ctx.id end "
                        "local function fibo(n) if n <= 1 then return n end return fibo(n-1) + fibo(n-2) end "
                        "function light(ctx) return fibo(10) end") == LUA_OK, "script");
  open_store(argv[1], argv[2]);
  bool strict = strcmp(argv[3], "W3") == 0 || strcmp(argv[3], "W4") == 0;
  if (strict) w1(), w2(); // so that their WAL is one that was used before: overwriting syncs faster than growing
  double start = now_s();
  if (strcmp(argv[3], "W1") == 0) w1();
  else if (strcmp(argv[3], "W2") == 0) w2();
  else if (strcmp(argv[3], "W3") == 0) chain("noop", 1000);
  else chain("light", 40);
  printf("%.9f\n", now_s() - start);
  sqlite3_finalize(insert), sqlite3_finalize(begin), sqlite3_finalize(commit);
  sqlite3_close(db);
  lua_close(L);
  return 0;
}
