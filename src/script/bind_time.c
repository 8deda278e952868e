// SPDX-License-Identifier: MIT
// Module "orrery.c.time": clocks, instants as ISO 8601, durations, and a sleep that suspends the step.
#include "base/clock.h"
#include "base/limits.h"
#include "script/worker_parts.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct sleep {
  struct orr_wait wait;
  uv_timer_t timer;
};
static void on_closed(uv_handle_t *handle) { free(ORR_CONTAINER_OF((uv_timer_t *)handle, struct sleep, timer)); }
static void on_timer(uv_timer_t *timer) { orr__wait_done(timer->data); }
static void cancel(struct orr_wait *wait) {
  struct sleep *sleep = (struct sleep *)wait;
  orr__wait_close(wait);
  uv_close((uv_handle_t *)&sleep->timer, on_closed);
}
static int slept(lua_State *L, int status, lua_KContext context) {
  (void)L;
  (void)status;
  cancel((struct orr_wait *)context);
  return 0;
}

static int sleep_ms(lua_State *L) { // sleep(ms)
  lua_Integer ms = luaL_checkinteger(L, 1);
  luaL_argcheck(L, ms >= 0 && (uint64_t)ms <= ORR_DURATION_MS_MAX, 1, "out of range");
  struct sleep *sleep = orr__wait_new(L, sizeof(*sleep), true, cancel);
  uv_loop_t *loop = &orr_lua_of(L)->worker->loop;
  uv_update_time(loop);
  uv_timer_init(loop, &sleep->timer);
  sleep->timer.data = &sleep->wait;
  uv_timer_start(&sleep->timer, on_timer, (uint64_t)ms, 0);
  return orr__wait_yield(L, &sleep->wait, slept);
}

static int now_ms(lua_State *L) {
  lua_pushinteger(L, orr_clock_now().wall_ms);
  return 1;
}
static int mono_ms(lua_State *L) {
  lua_pushnumber(L, (lua_Number)orr_clock_mono_us() / 1000.0);
  return 1;
}
static int iso(lua_State *L) { // iso(ms) -> "2026-11-20T21:34:00.123Z"
  char text[25];
  orr_time_text((int64_t)luaL_checkinteger(L, 1), text);
  lua_pushstring(L, text);
  return 1;
}

static int64_t days_from_civil(int64_t year, unsigned month, unsigned day) {
  year -= month <= 2;
  int64_t era = (year >= 0 ? year : year - 399) / 400;
  unsigned of_era = (unsigned)(year - era * 400);
  unsigned of_year = (153 * (month + (month > 2 ? -3u : 9u)) + 2) / 5 + day - 1;
  unsigned day_of_era = of_era * 365 + of_era / 4 - of_era / 100 + of_year;
  return era * 146097 + (int64_t)day_of_era - 719468;
}

// NOLINTBEGIN(cert-err34-c): widths bound every number, and the count of fields is checked
static int parse_iso(lua_State *L) { // parse(text) -> ms or nil; "2026-11-20", "…T21:34", "…:00.123", "Z" or "+01:00"
  const char *text = luaL_checkstring(L, 1);
  int year, month, day, hour = 0, minute = 0, used = 0, zone_hour = 0, zone_minute = 0;
  double second = 0;
  if (sscanf(text, "%4d-%2d-%2d%n", &year, &month, &day, &used) != 3) return 0;
  const char *at = text + used;
  if (*at == 'T' || *at == ' ') {
    if (sscanf(at + 1, "%2d:%2d%n", &hour, &minute, &used) != 2) return 0;
    at += 1 + used;
    if (*at == ':') {
      char *end;
      second = strtod(at + 1, &end);
      if (end == at + 1) return 0;
      at = end;
    }
  }
  int sign = 0;
  if (*at == '+' || *at == '-') {
    sign = *at == '+' ? 1 : -1;
    if (sscanf(at + 1, "%2d:%2d%n", &zone_hour, &zone_minute, &used) != 2) return 0;
    at += 1 + used;
  } else if (*at == 'Z') {
    at++;
  }
  bool valid = *at == '\0' && month >= 1 && month <= 12 && day >= 1 && day <= 31 && hour >= 0 && hour <= 24 &&
               minute >= 0 && minute < 60 && second >= 0 && second < 61;
  if (!valid) return 0;
  int64_t seconds = days_from_civil(year, (unsigned)month, (unsigned)day) * 86400 + hour * 3600 + minute * 60 -
                    sign * (zone_hour * 3600 + zone_minute * 60);
  lua_pushinteger(L, seconds * 1000 + (int64_t)(second * 1000 + 0.5));
  return 1;
}
// NOLINTEND(cert-err34-c)

static int duration(lua_State *L) { // duration("1h30m" or seconds) -> ms or nil
  size_t len;
  if (lua_type(L, 1) == LUA_TNUMBER) {
    lua_Number ms = lua_tonumber(L, 1) * 1000;
    if (!(ms >= 0 && ms <= (lua_Number)ORR_DURATION_MS_MAX)) return 0;
    lua_pushinteger(L, (lua_Integer)(ms + 0.5));
    return 1;
  }
  const char *text = luaL_checklstring(L, 1, &len);
  uint64_t ms;
  if (orr_duration_parse(orr_slice_of(text, len), &ms) != ORR_OK) return 0;
  lua_pushinteger(L, (lua_Integer)ms);
  return 1;
}

int orr_luaopen_c_time(lua_State *L) {
  static const luaL_Reg functions[] = {{"sleep", sleep_ms}, {"now_ms", now_ms}, {"mono_ms", mono_ms}, {"iso", iso},
                                       {"parse", parse_iso}, {"duration", duration}, {NULL, NULL}};
  luaL_newlib(L, functions);
  return 1;
}
