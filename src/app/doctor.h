// SPDX-License-Identifier: MIT
// `orrery doctor`: looks at what a healthy engine needs. Main thread; changes nothing but a probe file.
#pragma once

#include "base/buf.h"

// Appends a JSON array of {"name", "ok", "detail", "help"} (help null when ok).
void orr_doctor(const char *project_path, struct orr_buf *out);
