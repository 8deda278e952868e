// SPDX-License-Identifier: MIT
// Pipelines as /api/pipelines shows them, from their definitions. Pure; any thread.
#pragma once

#include "base/buf.h"
#include "base/status.h"
#include "core/def.h"

struct orr_code;
struct orr_generation;

// [{name, kind, description, version, script, tags, steps_count, input}, ...] in order of names.
void orr_pipelines_json(const struct orr_generation *generation, struct orr_buf *out);
// The same of one pipeline, with its steps, output, concurrency, timeout_ms and generation.
void orr_pipeline_json(const struct orr_def *def, struct orr_buf *out);
// app_query's part (script/worker.h): "pipelines", "pipeline NAME". ORR_ERR_NOT_FOUND for anything else.
enum orr_status orr_pipelines_query(struct orr_code *code, const char *what, struct orr_buf *out);
