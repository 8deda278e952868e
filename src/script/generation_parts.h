// SPDX-License-Identifier: MIT
// How a generation is put together, for those who make one: the loader and orr_generation_read.
#pragma once

#include "script/generation.h"

struct orr__parts {
  const char *root; // copied
  struct orr_script_file
      *files; // paths copied, contents taken over; any order; the array stays the caller's
  uint32_t files_len;
  struct orr_def **defs; // references taken over; any order; the array stays the caller's
  uint32_t defs_len;
  const struct orr_route *routes; // copied; in order of declaration
  uint32_t routes_len;
  struct orr_blob *config; // taken over, or NULL
};
// One reference. Makes the tree, its digest and the definitions' encodings, and attaches the
// definitions.
struct orr_generation *orr__generation_make(const struct orr__parts *parts, int64_t loaded_ms);
// The encoding of definition `index`, borrowed.
struct orr_blob *orr__generation_encoded(const struct orr_generation *generation, uint32_t index);
