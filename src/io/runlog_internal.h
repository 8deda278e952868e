// SPDX-License-Identifier: MIT
// What runlog.c (queue and writer) and runlog_read.c share: the file's schema.
#pragma once

#include "io/runlog.h"

#define ORR__RUNLOG_VERSION 1              // PRAGMA user_version
#define ORR__RUNLOG_APPLICATION 0x4f52524c // "ORRL"
