// SPDX-License-Identifier: MIT
// Every bound of Orrery, named once. Units stand in the names. Configuration (orrery.lua) may lower
// or raise those that src/app/config.c reads; the values here are the defaults and hard caps.
#pragma once

#include <stdint.h>

#define ORR_KIB ((uint64_t)1024)
#define ORR_MIB (ORR_KIB * 1024)

// Names and definitions
#define ORR_NAME_BYTES_MAX 64              // pipelines, steps, tags
#define ORR_STEPS_MAX 200000u              // steps of one pipeline
#define ORR_SCRIPTS_MAX 20000u             // scripts of one project
#define ORR_SCRIPT_BYTES_MAX (4 * ORR_MIB) // one script file
#define ORR_LOAD_MS_MAX 2000u              // loading one script

// Values
#define ORR_OUTPUT_BYTES_MAX (16 * ORR_MIB) // a step's output
#define ORR_INPUT_BYTES_MAX (16 * ORR_MIB)  // a run's input
#define ORR_ERROR_BYTES_MAX (64 * ORR_KIB)  // message + traceback kept of an error
#define ORR_JSON_DEPTH_MAX 100u
#define ORR_MAP_ITEMS_MAX 1000000u
#define ORR_STATE_BYTES_MAX (4 * ORR_MIB) // ctx.state of one run

// Runs
#define ORR_ATTEMPTS_MAX 1000u
#define ORR_RETRY_AFTER_MS_MAX (3600u * 1000u) // longest wait that a failure may ask for
#define ORR_RECOVERIES_WITHOUT_PROGRESS_MAX 3u
#define ORR_RUNS_LIVE_MAX 2000000u       // not final, in memory
#define ORR_IDEMPOTENCY_MS (24u * 3600u * 1000u)
#define ORR_IDEMPOTENCY_KEYS_MAX 1000000u
#define ORR_EXECUTE_BATCH_MAX 1000u      // inputs of one execute request
#define ORR_CHILD_DEPTH_MAX 32u          // child runs below child runs
#define ORR_DURATION_MS_MAX ((uint64_t)1 << 47) // longest timeout, delay, sleep

// Logs
#define ORR_LOG_LINE_BYTES_MAX (64 * ORR_KIB)
#define ORR_LOG_RUN_BYTES_MAX (64 * ORR_MIB)

// Hand-overs
#define ORR_INLINE_ROWS_MAX 8u        // a batch up to this is committed by the engine's own turn
#define ORR_INLINE_SYNC_US_MAX 1000u  // unless a sync was last seen to take longer
#define ORR_RESULT_CHUNK 128u         // results a worker hands over at once
#define ORR_BATCH_ROWS_MAX 20000u     // rows of one commit
#define ORR_WORKERS_MAX 64u
#define ORR_TASKS_PER_WORKER 512u     // attempts open on one worker at a time
#define ORR_GATHER_LAG_RUNS_MAX 200000u // finished, not yet indexed: beyond it submissions wait

// Lua
#define ORR_SLICE_MS 2u
#define ORR_LUA_BYTES_MAX (512 * ORR_MIB) // memory of one Lua state
#define ORR_LUA_STATES_PER_WORKER 16u     // by version, least recently used are dropped
#define ORR_LUA_HANDLES_MAX 4096u         // luv handles of one state
#define ORR_UNWIND_MS_MAX 500u            // closing a cancelled coroutine

// Children
#define ORR_CHILDREN_PER_CORE 4u
#define ORR_CHILD_KILL_GRACE_MS 5000u
#define ORR_CHILD_OUTPUT_BYTES_MAX (16 * ORR_MIB)

// HTTP
#define ORR_HTTP_THREADS 128u
#define ORR_HTTP_LIVE_MAX 64u
#define ORR_HTTP_BODY_BYTES_MAX (17 * ORR_MIB)
#define ORR_HTTP_URL_BYTES_MAX 4096u
#define ORR_HTTP_HEAD_BYTES_MAX 16384
#define ORR_HTTP_DEADLINE_MS 30000u
#define ORR_HTTP_WAIT_MS_MAX 300000u // execute?wait=
#define ORR_LIST_LIMIT_DEFAULT 50u
#define ORR_LIST_LIMIT_MAX 500u
#define ORR_RUN_STEPS_INLINE_MAX 1000u // steps shown in a run; more are paged

// Reload and stop
#define ORR_RELOAD_DEBOUNCE_MS 20u
#define ORR_STOP_STEPS_MS 10000u
#define ORR_STOP_WORKER_MS 2000u // a worker without attempts that go on by themselves
#define ORR_STOP_ALL_MS 15000u
