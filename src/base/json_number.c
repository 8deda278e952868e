// SPDX-License-Identifier: MIT
// Doubles to and from text. Short decimals go the exact short way (both the digits and the power of
// ten are exact doubles, so one correctly rounded operation gives the nearest); the rest goes through
// the C library, without a decimal point, because its form depends on the locale. Any thread.
#include "base/check.h"
#include "base/json.h"
#include "base/json_parts.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#define DIGITS_MAX 800u // 768 significant digits and a sticky one decide the rounding of a double
#define EXPONENT_CLAMP 1000000
#define EXACT_MAX ((uint64_t)1 << 53)

static const double POWERS[23] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,
                                  1e8,  1e9,  1e10, 1e11, 1e12, 1e13, 1e14, 1e15,
                                  1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};

// A number taken apart: digits without point or leading zeros, and what the last one is worth.
struct decimal {
  char digits[DIGITS_MAX + 32]; // room to append an exponent
  size_t len;
  int64_t exponent;
  bool negative;
};

static void decimal_digit(struct decimal *decimal, char digit, bool fraction) {
  if (fraction) decimal->exponent--;
  if (decimal->len == 0 && digit == '0') return;
  if (decimal->len < DIGITS_MAX) {
    decimal->digits[decimal->len++] = digit;
    return;
  }
  decimal->exponent++;
  if (digit != '0') decimal->digits[DIGITS_MAX - 1] = '1'; // sticky: only its being there matters
}

static void decimal_of(struct orr_slice text, struct decimal *decimal) {
  const uint8_t *at = text.data, *end = text.data + text.len;
  decimal->len = 0;
  decimal->exponent = 0;
  decimal->negative = *at == '-';
  if (decimal->negative) at++;
  for (; at < end && *at >= '0' && *at <= '9'; at++) decimal_digit(decimal, (char)*at, false);
  if (at < end && *at == '.') {
    for (at++; at < end && *at >= '0' && *at <= '9'; at++) decimal_digit(decimal, (char)*at, true);
  }
  if (at < end) { // e or E
    bool minus = at[1] == '-';
    at += at[1] == '-' || at[1] == '+' ? 2 : 1;
    int64_t exponent = 0;
    for (; at < end; at++) {
      if (exponent < EXPONENT_CLAMP) exponent = exponent * 10 + (*at - '0');
    }
    decimal->exponent += minus ? -exponent : exponent;
  }
}

double orr__number_value(struct orr_slice text) {
  struct decimal decimal;
  decimal_of(text, &decimal);
  double value = 0;
  if (decimal.len != 0 && decimal.len <= 15 && decimal.exponent >= -22 && decimal.exponent <= 22) {
    uint64_t whole = 0;
    for (size_t i = 0; i < decimal.len; i++) whole = whole * 10 + (uint64_t)(decimal.digits[i] - '0');
    value = decimal.exponent < 0 ? (double)whole / POWERS[-decimal.exponent]
                                 : (double)whole * POWERS[decimal.exponent];
  } else if (decimal.len != 0) {
    snprintf(decimal.digits + decimal.len, sizeof decimal.digits - decimal.len, "e%lld",
             (long long)decimal.exponent);
    value = strtod(decimal.digits, NULL);
  }
  return decimal.negative ? -value : value;
}

// Writes values of at most 15 digits of which at most 6 are fractional; false for any other.
static bool number_short(struct orr_buf *out, double value) {
  double magnitude = fabs(value);
  if (magnitude >= 1e15) return false;
  for (unsigned places = 0; places <= 6; places++) {
    double scaled = magnitude * POWERS[places];
    if (scaled >= 1e15) return false;
    double digits = nearbyint(scaled);
    if (digits / POWERS[places] != magnitude) continue;
    uint64_t whole = (uint64_t)digits;
    char text[32];
    size_t at = sizeof text;
    for (unsigned i = 0; i < places; i++, whole /= 10) text[--at] = (char)('0' + whole % 10);
    if (places == 0) text[--at] = '0';
    text[--at] = '.';
    do {
      text[--at] = (char)('0' + whole % 10);
      whole /= 10;
    } while (whole != 0);
    if (signbit(value)) text[--at] = '-';
    orr_buf_append(out, text + at, sizeof text - at);
    return true;
  }
  return false;
}

void orr_json_number(struct orr_buf *out, double value) {
  orr_assert(isfinite(value));
  if (number_short(out, value)) return;
  char text[40];
  int len = 0;
  for (int precision = 15; precision <= 17; precision++) {
    len = snprintf(text, sizeof text, "%.*g", precision, value);
    if (precision == 17 || strtod(text, NULL) == value) break;
  }
  orr_assert(len > 0 && len < (int)sizeof text);
  bool fractional = false;
  for (int i = 0; i < len; i++) {
    bool digit = (text[i] >= '0' && text[i] <= '9') || text[i] == '-' || text[i] == '+';
    if (digit) continue;
    if (text[i] != 'e') text[i] = '.'; // whatever the locale's decimal point is
    fractional = true;
  }
  orr_buf_append(out, text, (size_t)len);
  if (!fractional) orr_buf_append(out, ".0", 2);
}
