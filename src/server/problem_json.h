// SPDX-License-Identifier: MIT
// Answers and their errors: application/problem+json (RFC 9457) and the headers that every answer carries.
#pragma once

#include "base/buf.h"

struct orr_answer { // bufs are owned by whoever made the answer and reused
  int status;
  const char *type;       // Content-Type, static; NULL: application/json; "": it stands in `headers`
  struct orr_buf headers; // further "Name: value\r\n" lines
  struct orr_buf body;
};

const char *orr_http_reason(int status); // "Not Found"
// Sets status, type and body {type, title, status, detail, ...}. `extra` is the inside of an object that is
// appended ("\"errors\":[...]"), or empty.
void orr_problem_answer(struct orr_answer *answer, int status, const char *detail, struct orr_slice extra);
// Status line and headers of an answer, ready to send, with security headers and Content-Length.
void orr_answer_head(const struct orr_answer *answer, bool close, struct orr_buf *out);
