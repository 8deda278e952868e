// SPDX-License-Identifier: MIT
// Names of the return codes, from the one list in the header. Any thread.
#include "base/status.h"

const char *orr_status_text(enum orr_status status) {
  switch (status) {
#define X(name, value, text) \
  case name: return text;
    ORR_STATUS_LIST(X)
#undef X
  }
  return "unknown";
}
