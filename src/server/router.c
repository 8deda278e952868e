// SPDX-License-Identifier: MIT
// See router.h. A linear walk: there are a few dozen routes, and comparing one costs tens of nanoseconds.
#include "server/router.h"

#include "base/check.h"
#include "core/def.h"
#include "script/generation.h"

#define RUNS "orrery/routes/runs.lua"
#define PIPELINES "orrery/routes/pipelines.lua"
#define SCRIPTS "orrery/routes/scripts.lua"

// A module's routes stand in the order in which the module lists them (proved by tests/unit/test_router.c).
const struct orr_builtin_route orr_builtin_routes[] = {
    {"/api/pipelines/{name}/execute", NULL, ORR_POST, ORR_TARGET_EXECUTE, 0},
    {"/healthz", NULL, ORR_GET, ORR_TARGET_HEALTH, 0},
    {"/readyz", NULL, ORR_GET, ORR_TARGET_READY, 0},
    {"/api/runs", RUNS, ORR_GET, ORR_TARGET_LUA, 0},
    {"/api/runs/{id}", RUNS, ORR_GET, ORR_TARGET_LUA, 1},
    {"/api/runs/{id}/steps", RUNS, ORR_GET, ORR_TARGET_LUA, 2},
    {"/api/runs/{id}/logs", RUNS, ORR_GET, ORR_TARGET_LUA, 3},
    {"/api/runs/{id}/journal", RUNS, ORR_GET, ORR_TARGET_LUA, 4},
    {"/api/runs/{id}/cancel", RUNS, ORR_POST, ORR_TARGET_LUA, 5},
    {"/api/runs/{id}/pause", RUNS, ORR_POST, ORR_TARGET_LUA, 6},
    {"/api/runs/{id}/resume", RUNS, ORR_POST, ORR_TARGET_LUA, 7},
    {"/api/pipelines", PIPELINES, ORR_GET, ORR_TARGET_LUA, 0},
    {"/api/pipelines/{name}", PIPELINES, ORR_GET, ORR_TARGET_LUA, 1},
    {"/api/scripts", SCRIPTS, ORR_GET, ORR_TARGET_LUA, 0},
};
const size_t orr_builtin_routes_len = sizeof(orr_builtin_routes) / sizeof(orr_builtin_routes[0]);

static size_t segment_len(const uint8_t *at, const uint8_t *end) {
  const uint8_t *slash = at;
  while (slash < end && *slash != '/') slash++;
  return (size_t)(slash - at);
}

bool orr_pattern_match(const char *pattern, struct orr_slice path, struct orr_param *params, uint32_t *params_len) {
  struct orr_slice want = orr_slice_text(pattern);
  const uint8_t *p = want.data, *p_end = want.data + want.len;
  const uint8_t *q = path.data, *q_end = path.data + path.len;
  uint32_t found = 0;
  while (p < p_end && q < q_end) {
    if (*p++ != '/' || *q++ != '/') return false;
    size_t a = segment_len(p, p_end), b = segment_len(q, q_end);
    if (a >= 2 && p[0] == '{' && p[a - 1] == '}') {
      if (b == 0 || found == ORR_ROUTE_PARAMS_MAX) return false;
      params[found].name = orr_slice_of(p + 1, a - 2);
      params[found++].value = orr_slice_of(q, b);
    } else if (!orr_slice_equal(orr_slice_of(p, a), orr_slice_of(q, b))) {
      return false;
    }
    p += a;
    q += b;
  }
  if (p != p_end || q != q_end) return false;
  *params_len = found;
  return true;
}

static void allow_add(char allow[64], const char *method) {
  size_t len = strlen(allow), add = strlen(method);
  if (strstr(allow, method) != NULL || len + add + 3 > 64) return;
  if (len > 0) memcpy(allow + len, ", ", 3), len += 2;
  memcpy(allow + len, method, add + 1);
}

static bool method_fits(const char *route_method, enum orr_method method, char allow[64]) {
  const char *wanted = method == ORR_HEAD ? "GET" : orr_method_text(method);
  if (strcmp(route_method, wanted) == 0) return true;
  allow_add(allow, route_method);
  if (strcmp(route_method, "GET") == 0) allow_add(allow, "HEAD");
  return false;
}

enum orr_match_result orr_router_match(const struct orr_route *routes, uint32_t routes_len,
                                       enum orr_method method, struct orr_slice path,
                                       struct orr_match *match, char allow[64]) {
  orr_assert(routes != NULL || routes_len == 0);
  allow[0] = 0;
  for (size_t i = 0; i < orr_builtin_routes_len; i++) {
    const struct orr_builtin_route *route = &orr_builtin_routes[i];
    if (!orr_pattern_match(route->pattern, path, match->params, &match->params_len)) continue;
    if (!method_fits(orr_method_text(route->method), method, allow)) continue;
    match->target = route->target;
    match->script = route->script;
    match->index = route->index;
    match->project = false;
    return ORR_MATCHED;
  }
  for (uint32_t i = 0; i < routes_len; i++) {
    if (!orr_pattern_match(routes[i].pattern, path, match->params, &match->params_len)) continue;
    if (!method_fits(routes[i].method, method, allow)) continue;
    match->target = ORR_TARGET_LUA;
    match->script = routes[i].script;
    match->index = routes[i].index;
    match->project = true;
    return ORR_MATCHED;
  }
  return allow[0] != 0 ? ORR_NO_METHOD : ORR_NO_PATH;
}

const char *orr_router_suggest(struct orr_slice path) {
  const char *names[sizeof(orr_builtin_routes) / sizeof(orr_builtin_routes[0])];
  char word[128];
  if (path.len == 0 || path.len >= sizeof(word)) return NULL;
  memcpy(word, path.data, path.len);
  word[path.len] = 0;
  if (path.len > 1 && word[path.len - 1] == '/') word[path.len - 1] = 0;
  for (size_t i = 0; i < orr_builtin_routes_len; i++) {
    struct orr_param params[ORR_ROUTE_PARAMS_MAX];
    uint32_t params_len;
    if (orr_pattern_match(orr_builtin_routes[i].pattern, orr_slice_text(word), params, &params_len))
      return orr_builtin_routes[i].pattern; // only the slash at the end was too much
    names[i] = orr_builtin_routes[i].pattern;
  }
  const char *near = orr_suggest(word, names, orr_builtin_routes_len);
  if (near != NULL) return near;
  // A wrong prefix: "/runs" means "/api/runs".
  for (size_t i = 0; i < orr_builtin_routes_len; i++)
    if (strncmp(names[i], "/api", 4) == 0 && strcmp(names[i] + 4, word) == 0) return names[i];
  return NULL;
}
