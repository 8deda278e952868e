// SPDX-License-Identifier: MIT
// ctx of a step in C: a small table that knows its work by serial and fills in fields when they are first touched (nothing
// is decoded before). What is not hot is made by lua/orrery/ctx.lua. Module "orrery.c.task": what that file needs.
#pragma once

#include "script/worker_parts.h"

enum orr__part { ORR__PART_ITEM, ORR__PART_STATE, ORR__PART_SUBJECT };
// A part of the task's payload behind the results; empty if there is none.
struct orr_slice orr__task_part(const struct orr_task *task, enum orr__part part);

void orr__ctx_install(struct orr_lua *lua); // main thread, may raise
void orr__ctx_push(lua_State *L, const struct orr_work *work);
void orr__ctx_push_step_function(lua_State *L);  // runtime.step
void orr__ctx_push_retry_function(lua_State *L); // runtime.retryable
// Pushes the table of ctx.state writes of the ctx at `index`; false and nothing if there are none.
bool orr__ctx_push_writes(lua_State *L, int index);
