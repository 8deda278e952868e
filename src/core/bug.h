// SPDX-License-Identifier: MIT
// Bugs planted on purpose, to check the simulator that must find them (tests/sim/bugs.h lists
// them). Only the simulator's own build of the core has them; everywhere else ORR_BUG is the
// constant 0.
#pragma once

#ifdef ORR_PLANTED_BUGS
extern int orr_bug_armed; // 0: none
#define ORR_BUG(number) (orr_bug_armed == (number))
#else
#define ORR_BUG(number) 0
#endif
