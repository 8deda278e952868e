// SPDX-License-Identifier: MIT
// The exact router: a path matches a pattern segment by segment, {name} takes one whole segment. Built-in routes
// come first, then the project's, in order of declaration. What is not listed does not exist (deny by default).
// Pure; any thread.
#pragma once

#include "base/buf.h"
#include "server/filter.h"

enum orr_target { ORR_TARGET_HEALTH, ORR_TARGET_READY, ORR_TARGET_EXECUTE, ORR_TARGET_LUA };

#define ORR_ROUTE_PARAMS_MAX 8u

struct orr_builtin_route {
  const char *pattern;
  const char *script; // LUA: "orrery/routes/runs.lua", else NULL
  enum orr_method method; // GET serves HEAD as well
  enum orr_target target;
  uint32_t index; // of the route within its script, from 0
};
extern const struct orr_builtin_route orr_builtin_routes[];
extern const size_t orr_builtin_routes_len;

struct orr_param {
  struct orr_slice name, value; // borrowed from pattern and path
};
struct orr_match {
  enum orr_target target;
  const char *script;
  uint32_t index;
  bool project; // a route of the project
  uint32_t params_len;
  struct orr_param params[ORR_ROUTE_PARAMS_MAX];
};

struct orr_route; // script/generation.h

enum orr_match_result { ORR_MATCHED, ORR_NO_PATH, ORR_NO_METHOD };
// ORR_NO_METHOD: `allow` (64 bytes) gets "GET, HEAD, POST".
enum orr_match_result orr_router_match(const struct orr_route *routes, uint32_t routes_len,
                                       enum orr_method method, struct orr_slice path,
                                       struct orr_match *match, char allow[64]);
// The pattern nearest to `path`, for a 404's help, or NULL.
const char *orr_router_suggest(struct orr_slice path);
// Matches one pattern. Exposed for tests and for checks at load.
bool orr_pattern_match(const char *pattern, struct orr_slice path, struct orr_param *params, uint32_t *params_len);
