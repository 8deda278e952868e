// SPDX-License-Identifier: MIT
// Module "orrery.c.log": lines into the log of the running step; also where print and io.write end.
#include "base/json.h"
#include "script/worker_parts.h"

void orr__log_line(struct orr_lua *lua, enum orr_log_level level, const char *stream, struct orr_slice text,
                   struct orr_slice fields) {
  struct orr_strand *strand = lua->strand;
  struct orr_runlog *runlog = lua->worker != NULL ? lua->worker->options.runlog : NULL;
  if (strand == NULL || strand->work->task == NULL || runlog == NULL) {
    orr_log(level, "script", "%.*s", (int)(text.len < 4096 ? text.len : 4096), text.len > 0 ? (const char *)text.data : "");
    return;
  }
  orr__log_task(lua->worker, strand->work->task, level, stream, text, fields);
}

void orr__log_task(struct orr_worker *worker, const struct orr_task *task, enum orr_log_level level,
                   const char *stream, struct orr_slice text, struct orr_slice fields) {
  if (worker->options.runlog == NULL) return;
  struct orr_log_record record = {
      .run = task->run_id, .item = task->item, .attempt = task->attempt, .at_ms = orr_clock_now().wall_ms,
      .level = level, .stream = orr_slice_text(stream), .text = text, .fields = fields};
  if (task->step < task->def->steps_len) record.step = orr_slice_text(task->def->steps[task->step].name);
  orr_runlog_append(worker->options.runlog, &record);
}

static int write_line(lua_State *L) { // write(level, stream, text, fields JSON or nil)
  static const char *const levels[] = {"debug", "info", "warn", "error", NULL};
  enum orr_log_level level = (enum orr_log_level)luaL_checkoption(L, 1, "info", levels);
  const char *stream = luaL_checkstring(L, 2);
  size_t len, fields_len = 0;
  const char *text = luaL_checklstring(L, 3, &len), *fields = luaL_optlstring(L, 4, NULL, &fields_len);
  orr__log_line(orr_lua_of(L), level, stream, orr_slice_of(text, len), orr_slice_of(fields, fields_len));
  return 0;
}

int orr_luaopen_c_log(lua_State *L) {
  static const luaL_Reg functions[] = {{"write", write_line}, {NULL, NULL}};
  luaL_newlib(L, functions);
  return 1;
}
