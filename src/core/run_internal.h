// SPDX-License-Identifier: MIT
// Shared between run.c and run_apply.c only.
#pragma once

#include "core/bug.h"
#include "core/run.h"

// Applies a decoded fact whose slices point into run->journal.
enum orr_status orr__run_apply(struct orr_run *run, const struct orr_fact *fact);
struct orr_map_items *orr__run_map_new(struct orr_run *run, uint32_t step, uint32_t count);
void orr__run_map_free(struct orr_map_items *map);
