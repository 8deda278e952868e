// SPDX-License-Identifier: MIT
// Small worlds in which the engine dies at every store call: before it, after it landed, and after
// half of its effects; by kill and by power loss. See exhaustive.c.
#pragma once

#include <stdint.h>

// Returns how many worlds passed; *seed is kept up for a signal handler.
uint64_t exhaustive_run(volatile uint64_t *seed, uint64_t *failed);
