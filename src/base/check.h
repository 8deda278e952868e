// SPDX-License-Identifier: MIT
// Assertions that stay in release builds. They guard programmer errors only: what the world can do
// wrong (files, requests, scripts) is returned as an enum orr_status instead.
#pragma once

_Noreturn void orr_check_failed(const char *file, int line, const char *expression);

#define orr_assert(expression) \
  ((expression) ? (void)0 : orr_check_failed(__FILE__, __LINE__, #expression))

// A place that no input can reach.
#define orr_unreachable() orr_check_failed(__FILE__, __LINE__, "unreachable")
