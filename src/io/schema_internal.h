// SPDX-License-Identifier: MIT
// What the files of the schema validator share. All of it works on JSON text that has been checked.
#pragma once

#include "base/json.h"

struct orr__json_number { // exact where it is an integer
  bool is_integer;
  int64_t integer;
  double number;
};

// Type and extent of the value that begins at `text` (white space around it is fine).
enum orr_json_type orr__json_type(struct orr_slice text);
struct orr__json_number orr__json_number_of(struct orr_slice text);
int orr__json_number_compare(struct orr__json_number a, struct orr__json_number b);
bool orr__json_number_whole(struct orr__json_number number);
bool orr__json_number_multiple(struct orr__json_number number, struct orr__json_number of);
// Equality as JSON Schema has it: 1 equals 1.0, the order of keys is nothing, escapes are undone.
bool orr__json_equal(struct orr_slice a, struct orr_slice b);
bool orr__json_all_differ(struct orr_slice array);
// Plain bytes of a string value's text (with its quotes), appended.
void orr__json_plain(struct orr_buf *out, struct orr_slice string);

// NULL if `text` has the format, else what it must be ("must be a date like 2026-11-20"). Formats that
// are not known accept everything, as JSON Schema wants.
const char *orr__schema_format(struct orr_slice format, struct orr_slice text);
// NULL if the pattern matches somewhere in `text`, else what is wrong.
const char *orr__schema_pattern(struct orr_slice pattern, struct orr_slice text, bool *bad_pattern);
