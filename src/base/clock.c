// SPDX-License-Identifier: MIT
// The two clocks of the host, and the one text form of an instant. The calendar is computed here
// (proleptic Gregorian, UTC): no locale, no time zone, no lock. Any thread.
#include "base/clock.h"

#include "base/check.h"

#include <string.h>
#include <time.h>

#define MS_PER_DAY 86400000
#define WALL_MS_MIN (-62167219200000) // 0000-01-01T00:00:00.000Z
#define WALL_MS_MAX 253402300799999   // 9999-12-31T23:59:59.999Z

struct orr_now orr_clock_now(void) {
  struct timespec wall, boot;
  int failed = clock_gettime(CLOCK_REALTIME, &wall) | clock_gettime(CLOCK_BOOTTIME, &boot);
  orr_assert(failed == 0);
  return (struct orr_now){
      .wall_ms = (int64_t)wall.tv_sec * 1000 + wall.tv_nsec / 1000000,
      .mono_ms = (uint64_t)boot.tv_sec * 1000 + (uint64_t)boot.tv_nsec / 1000000,
  };
}

uint64_t orr_clock_mono_us(void) {
  struct timespec boot;
  int failed = clock_gettime(CLOCK_BOOTTIME, &boot);
  orr_assert(failed == 0);
  return (uint64_t)boot.tv_sec * 1000000 + (uint64_t)boot.tv_nsec / 1000;
}

static void put_digits(char *at, int len, uint32_t value) {
  for (int i = len - 1; i >= 0; i--, value /= 10) at[i] = (char)('0' + value % 10);
}

void orr_time_text(int64_t wall_ms, char text[25]) {
  if (wall_ms < WALL_MS_MIN) wall_ms = WALL_MS_MIN;
  if (wall_ms > WALL_MS_MAX) wall_ms = WALL_MS_MAX;
  uint64_t ms = (uint64_t)(wall_ms - WALL_MS_MIN); // since year 0, so never negative
  uint32_t days = (uint32_t)(ms / MS_PER_DAY) + 306, rest = (uint32_t)(ms % MS_PER_DAY);
  // Days since 1 March of year -1: leap days then end their year, era and century (Hinnant's
  // civil_from_days; -1 is shifted by one era of 400 years to stay positive).
  days += 146097 - 366;
  uint32_t era = days / 146097, day_of_era = days % 146097;
  uint32_t year_of_era =
      (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
  uint32_t day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
  uint32_t shifted = (5 * day_of_year + 2) / 153; // 0 is March
  uint32_t day = day_of_year - (153 * shifted + 2) / 5 + 1;
  uint32_t month = shifted < 10 ? shifted + 3 : shifted - 9;
  uint32_t year = era * 400 + year_of_era + (month <= 2) - 400;

  memcpy(text, "0000-00-00T00:00:00.000Z", 25);
  put_digits(text, 4, year);
  put_digits(text + 5, 2, month);
  put_digits(text + 8, 2, day);
  put_digits(text + 11, 2, rest / 3600000);
  put_digits(text + 14, 2, rest / 60000 % 60);
  put_digits(text + 17, 2, rest / 1000 % 60);
  put_digits(text + 20, 3, rest % 1000);
}
