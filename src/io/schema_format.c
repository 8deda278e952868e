// SPDX-License-Identifier: MIT
// The formats and patterns of strings. Patterns are the user's own, inputs may be anybody's: matching is
// bounded, so a pattern that would run for ever ends as a mismatch that says so. Foreign library: pcre2.
#include "core/def.h"
#include "io/schema_internal.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#define MATCH_STEPS_MAX 200000u
#define MATCH_DEPTH_MAX 2000u
#define MATCH_HEAP_KIB_MAX 4096u

static bool is_digit(uint8_t c) { return c >= '0' && c <= '9'; }
static bool is_alpha(uint8_t c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }
static bool is_hex(uint8_t c) {
  return is_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

// Compares with a shape in which 0 stands for a digit and x for a hex digit; others for themselves.
static bool has_shape(struct orr_slice text, const char *shape) {
  size_t len = strlen(shape);
  if (text.len != len) return false;
  for (size_t i = 0; i < len; i++) {
    uint8_t c = text.data[i];
    bool fits = shape[i] == '0' ? is_digit(c) : shape[i] == 'x' ? is_hex(c) : c == (uint8_t)shape[i];
    if (!fits) return false;
  }
  return true;
}

static unsigned digits(struct orr_slice text, size_t at, size_t len) {
  unsigned value = 0;
  for (size_t i = at; i < at + len; i++) value = value * 10 + (unsigned)(text.data[i] - '0');
  return value;
}

static bool is_date(struct orr_slice text) {
  static const uint8_t DAYS[13] = {0, 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
  if (!has_shape(text, "0000-00-00")) return false;
  unsigned year = digits(text, 0, 4), month = digits(text, 5, 2), day = digits(text, 8, 2);
  if (month < 1 || month > 12 || day < 1) return false;
  bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
  return day <= DAYS[month] + (month == 2 && leap ? 1u : 0u);
}

// RFC 3339: a date, T, a time with any fraction of seconds, and Z or an offset.
static bool is_date_time(struct orr_slice text) {
  if (text.len < 20 || !is_date(orr_slice_of(text.data, 10))) return false;
  if (text.data[10] != 'T' && text.data[10] != 't' && text.data[10] != ' ') return false;
  if (!has_shape(orr_slice_of(text.data + 11, 8), "00:00:00")) return false;
  if (digits(text, 11, 2) > 23 || digits(text, 14, 2) > 59 || digits(text, 17, 2) > 60) return false;
  size_t at = 19;
  if (text.data[at] == '.') {
    for (at++; at < text.len && is_digit(text.data[at]); at++) {}
    if (at == 20) return false;
  }
  struct orr_slice zone = orr_slice_of(text.data + at, text.len - at);
  if (zone.len == 1) return zone.data[0] == 'Z' || zone.data[0] == 'z';
  if (!has_shape(zone, "+00:00") && !has_shape(zone, "-00:00")) return false;
  return digits(zone, 1, 2) <= 23 && digits(zone, 4, 2) <= 59;
}

static bool is_email(struct orr_slice text) {
  const uint8_t *at = text.len != 0 ? memchr(text.data, '@', text.len) : NULL;
  if (at == NULL || at == text.data || at + 1 == text.data + text.len) return false;
  for (size_t i = 0; i < text.len; i++) {
    uint8_t c = text.data[i];
    if (c <= ' ' || c == 0x7f || (c == '@' && text.data + i != at)) return false;
  }
  uint8_t first = at[1], last = text.data[text.len - 1];
  return first != '.' && first != '-' && last != '.' && last != '-';
}

static bool is_uri(struct orr_slice text) {
  size_t at = 0;
  while (at < text.len && (is_alpha(text.data[at]) ||
                           (at > 0 && (is_digit(text.data[at]) || text.data[at] == '+' ||
                                       text.data[at] == '-' || text.data[at] == '.'))))
    at++;
  if (at == 0 || at + 1 >= text.len || text.data[at] != ':') return false;
  for (size_t i = at; i < text.len; i++) {
    uint8_t c = text.data[i];
    if (c <= ' ' || c == 0x7f || strchr("<>\"{}|\\^`", c) != NULL) return false;
  }
  return true;
}

static bool is_ipv4(struct orr_slice text) {
  unsigned parts = 0;
  for (size_t at = 0; at < text.len; at++) {
    size_t begin = at;
    while (at < text.len && is_digit(text.data[at])) at++;
    size_t len = at - begin;
    if (len == 0 || len > 3 || digits(text, begin, len) > 255) return false;
    if (len > 1 && text.data[begin] == '0') return false;
    parts++;
    if (at < text.len && (text.data[at] != '.' || at + 1 == text.len)) return false;
  }
  return parts == 4;
}

static bool is_uuid(struct orr_slice text) {
  return has_shape(text, "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx");
}

static bool is_duration(struct orr_slice text) {
  uint64_t ms;
  return orr_duration_parse(text, &ms) == ORR_OK;
}

static const struct {
  const char *name;
  bool (*fits)(struct orr_slice text);
  const char *message;
} FORMATS[] = {
    {"date", is_date, "must be a date like 2026-11-20"},
    {"date-time", is_date_time, "must be a time like 2026-11-20T21:34:00Z"},
    {"email", is_email, "must be an email address"},
    {"uri", is_uri, "must be a URI like https://example.org/"},
    {"uuid", is_uuid, "must be a UUID"},
    {"ipv4", is_ipv4, "must be an IPv4 address"},
    {"duration", is_duration, "must be a duration like 1h30m"},
};

const char *orr__schema_format(struct orr_slice format, struct orr_slice text) {
  for (size_t i = 0; i < sizeof FORMATS / sizeof *FORMATS; i++) {
    if (!orr_slice_equal(format, orr_slice_text(FORMATS[i].name))) continue;
    return FORMATS[i].fits(text) ? NULL : FORMATS[i].message;
  }
  return NULL;
}

// --- patterns ------------------------------------------------------------------------------------

static int run_match(const pcre2_code *code, struct orr_slice text) {
  pcre2_match_context *context = pcre2_match_context_create(NULL);
  pcre2_match_data *data = pcre2_match_data_create(1, NULL);
  int found = PCRE2_ERROR_NOMEMORY;
  if (context != NULL && data != NULL) {
    pcre2_set_match_limit(context, MATCH_STEPS_MAX);
    pcre2_set_depth_limit(context, MATCH_DEPTH_MAX);
    pcre2_set_heap_limit(context, MATCH_HEAP_KIB_MAX);
    PCRE2_SPTR subject = text.len != 0 ? text.data : (PCRE2_SPTR) "";
    found = pcre2_match(code, subject, text.len, 0, PCRE2_NO_UTF_CHECK, data, context);
  }
  pcre2_match_data_free(data);
  pcre2_match_context_free(context);
  return found;
}

const char *orr__schema_pattern(struct orr_slice pattern, struct orr_slice text, bool *bad_pattern) {
  int error;
  PCRE2_SIZE offset;
  PCRE2_SPTR source = pattern.len != 0 ? pattern.data : (PCRE2_SPTR) "";
  pcre2_code *code = pcre2_compile(source, pattern.len, PCRE2_UTF | PCRE2_NEVER_BACKSLASH_C, &error,
                                   &offset, NULL);
  *bad_pattern = code == NULL;
  if (code == NULL) return "has a pattern that cannot be read";
  int found = run_match(code, text);
  pcre2_code_free(code);
  if (found >= 0) return NULL;
  return found == PCRE2_ERROR_NOMATCH ? "must match the pattern"
                                      : "takes too long to match against the pattern";
}
