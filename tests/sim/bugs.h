// SPDX-License-Identifier: MIT
// The bugs planted in the core (src/core/bug.h, ORR_BUG(n)): each a mistake that somebody could make.
// `orrery_sim --bugs` arms one after the other and must find every one. X(NUMBER, "what is wrong").
#pragma once

#define SIM_BUG_LIST(X) \
  X(1, "a row names the wrong row before it")

struct sim_bug {
  int number;
  const char *text;
};
