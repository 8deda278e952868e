// SPDX-License-Identifier: MIT
// The exact router: whole segments, deny by default, and one table that agrees with the Lua modules' lists.
#include "server/router.h"

#include "script/generation.h"

#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct orr_match match;
static char allow[64];
static enum orr_match_result route(enum orr_method method, const char *path) {
  return orr_router_match(NULL, 0, method, orr_slice_text(path), &match, allow);
}

static void a_path_matches_by_whole_segments(void **state) {
  (void)state;
  assert_int_equal(route(ORR_GET, "/api/runs/01ABC/steps"), ORR_MATCHED);
  assert_string_equal(match.script, "orrery/routes/runs.lua");
  assert_int_equal(match.params_len, 1);
  assert_memory_equal(match.params[0].name.data, "id", 2);
  assert_int_equal(match.params[0].value.len, 5);
  assert_memory_equal(match.params[0].value.data, "01ABC", 5);
  assert_int_equal(route(ORR_POST, "/api/pipelines/etl/execute"), ORR_MATCHED);
  assert_int_equal(match.target, ORR_TARGET_EXECUTE);
}

static void what_is_not_listed_does_not_exist(void **state) {
  (void)state;
  static const char *const paths[] = {"/", "/api", "/api/", "/apiary", "/api/runs/", "/api/runsx", "/api/run", "/API/runs", "/healthz/", "/healthz/x",
                                      "/api/runs/a/b/c", "/api/runs//steps", ""};
  for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++)
    if (route(ORR_GET, paths[i]) != ORR_NO_PATH) fail_msg("%s matched", paths[i]);
}

static void a_wrong_method_names_the_right_ones(void **state) {
  (void)state;
  assert_int_equal(route(ORR_DELETE, "/api/runs/x"), ORR_NO_METHOD);
  assert_string_equal(allow, "GET, HEAD");
  assert_int_equal(route(ORR_GET, "/api/pipelines/x/execute"), ORR_NO_METHOD);
  assert_string_equal(allow, "POST");
  assert_int_equal(route(ORR_HEAD, "/api/runs"), ORR_MATCHED);
}

static void project_routes_come_after_built_in_ones(void **state) {
  (void)state;
  const struct orr_route routes[] = {{"GET", "/api/{any}", "routes/a.lua", 1},
                                     {"POST", "/api/custom/{a}/{b}", "routes/a.lua", 2},
                                     {"PUT", "/api/custom/{a}/{b}", "routes/b.lua", 1}};
  assert_int_equal(orr_router_match(routes, 3, ORR_GET, orr_slice_text("/api/runs"), &match, allow), ORR_MATCHED);
  assert_false(match.project);
  assert_int_equal(orr_router_match(routes, 3, ORR_GET, orr_slice_text("/api/mine"), &match, allow), ORR_MATCHED);
  assert_true(match.project);
  assert_int_equal(orr_router_match(routes, 3, ORR_PUT, orr_slice_text("/api/custom/1/2"), &match, allow), ORR_MATCHED);
  assert_string_equal(match.script, "routes/b.lua");
  assert_int_equal(match.params_len, 2);
  assert_int_equal(orr_router_match(routes, 3, ORR_GET, orr_slice_text("/api/custom/1/2"), &match, allow), ORR_NO_METHOD);
  assert_string_equal(allow, "POST, PUT");
}

static void a_near_miss_is_suggested(void **state) {
  (void)state;
  assert_string_equal(orr_router_suggest(orr_slice_text("/api/runs/")), "/api/runs");
  assert_string_equal(orr_router_suggest(orr_slice_text("/api/pipeline")), "/api/pipelines");
  assert_string_equal(orr_router_suggest(orr_slice_text("/runs")), "/api/runs");
  assert_null(orr_router_suggest(orr_slice_text("/something/else/altogether")));
}

// Every entry names the same method and pattern as the module's list at that place.
static void the_table_agrees_with_the_lua_modules(void **state) {
  (void)state;
  lua_State *L = luaL_newstate();
  luaL_openlibs(L);
  assert_int_equal(luaL_dostring(L, "package.path = 'lua/?.lua;lua/?/init.lua'\n"
                                    "for _, name in ipairs { 'json', 'runs', 'app', 'fs', 'process', 'http', 'time', 'log', 'base64' } do\n"
                                    "  package.preload['orrery.c.' .. name] = function() return {} end\n"
                                    "end"), LUA_OK);
  for (size_t i = 0; i < orr_builtin_routes_len; i++) {
    const struct orr_builtin_route *entry = &orr_builtin_routes[i];
    if (entry->target != ORR_TARGET_LUA) continue;
    char path[128];
    snprintf(path, sizeof(path), "lua/%s", entry->script);
    if (luaL_dofile(L, path) != LUA_OK) fail_msg("%s", lua_tostring(L, -1));
    lua_rawgeti(L, -1, (lua_Integer)entry->index + 1);
    assert_true(lua_istable(L, -1));
    lua_getfield(L, -1, "method");
    assert_string_equal(lua_tostring(L, -1), orr_method_text(entry->method));
    lua_getfield(L, -2, "pattern");
    assert_string_equal(lua_tostring(L, -1), entry->pattern);
    lua_getfield(L, -3, "run");
    assert_true(lua_isfunction(L, -1));
    lua_settop(L, 0);
  }
  lua_close(L);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_path_matches_by_whole_segments),
      cmocka_unit_test(what_is_not_listed_does_not_exist),
      cmocka_unit_test(a_wrong_method_names_the_right_ones),
      cmocka_unit_test(project_routes_come_after_built_in_ones),
      cmocka_unit_test(a_near_miss_is_suggested),
      cmocka_unit_test(the_table_agrees_with_the_lua_modules),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
