// SPDX-License-Identifier: MIT
// From a filtered request to an answer: health, readiness, execute, Lua routes, 404 and 405. civetweb threads.
// Must not know civetweb.
#pragma once

#include "server/filter.h"
#include "server/problem_json.h"
#include "server/server.h"

struct orr_exchange { // borrowed from the connection, but `answer`
  const struct orr_head *head;
  const struct orr_request_line *line;
  struct orr_slice body;
  struct orr_answer *answer;
};
void orr_dispatch(const struct orr_server_options *options, bool draining, const struct orr_exchange *exchange);
