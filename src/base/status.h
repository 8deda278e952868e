// SPDX-License-Identifier: MIT
// The one set of return codes of every floor: 0 is success, errors are negative. Functions write
// their out-parameters only on success.
#pragma once

#define ORR_STATUS_LIST(X)                                         \
  X(ORR_OK, 0, "ok")                                               \
  X(ORR_ERR_INVALID, -1, "invalid")       /* malformed or not allowed here */ \
  X(ORR_ERR_NOT_FOUND, -2, "not_found")                            \
  X(ORR_ERR_CONFLICT, -3, "conflict")     /* state forbids it now */ \
  X(ORR_ERR_LIMIT, -4, "limit")           /* over a bound of limits.h */ \
  X(ORR_ERR_IO, -5, "io")                 /* the OS or a library refused */ \
  X(ORR_ERR_CORRUPT, -6, "corrupt")       /* checksum or format of stored bytes */ \
  X(ORR_ERR_TIMEOUT, -7, "timeout")                                \
  X(ORR_ERR_CANCELLED, -8, "cancelled")                            \
  X(ORR_ERR_UNAVAILABLE, -9, "unavailable") /* stopping, or not started */ \
  X(ORR_ERR_BUSY, -10, "busy")            /* somebody else holds it */

enum orr_status {
#define ORR_STATUS_ENUM(name, value, text) name = value,
  ORR_STATUS_LIST(ORR_STATUS_ENUM)
#undef ORR_STATUS_ENUM
};

// Returns the short text of a status ("not_found"), or "unknown".
const char *orr_status_text(enum orr_status status);
