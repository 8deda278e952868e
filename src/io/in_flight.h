// SPDX-License-Identifier: MIT
// The attempts that are at workers right now, as a small file mapped into memory: it outlives a
// killed process (the page cache does), so that recovery counts as interrupted only what was
// running. After power loss it proves nothing, and says so: it carries the boot's id. Never synced.
// Engine thread only.
#pragma once

#include "base/id.h"
#include "base/status.h"

#include <stdbool.h>

#define ORR_IN_FLIGHT_NONE UINT32_MAX

struct orr_in_flight;

struct orr_in_flight_unit { // one attempt found in the file of an earlier process
  struct orr_id run;
  uint32_t step, item;
};

// Reads what an earlier process left, sorted by run. False: nothing is known (no file, another
// boot, a damaged or overfull one). `units` is orr_alloc'ed, caller frees.
bool orr_in_flight_read(const char *path, struct orr_in_flight_unit **units, size_t *units_len);

// Begins a new file with `slots` places, in place of the old one. NULL: the file cannot be made;
// attempts are then not tracked.
struct orr_in_flight *orr_in_flight_open(const char *path, uint32_t slots);
void orr_in_flight_close(struct orr_in_flight *map);
// Writes an attempt into a slot below `slots`; at ORR_IN_FLIGHT_NONE the file is marked as
// incomplete.
void orr_in_flight_set(struct orr_in_flight *map, uint32_t slot,
                       const struct orr_in_flight_unit *unit);
void orr_in_flight_clear(struct orr_in_flight *map, uint32_t slot);
