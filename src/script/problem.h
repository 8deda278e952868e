// SPDX-License-Identifier: MIT
// A mistake in a script, with its place: what the terminal, --json and /api/scripts show alike.
//   error[E0203]: step "load" depends on unknown step "fetchh"
//     --> pipelines/etl.lua:14:22
//      |
//   14 |   o.step "load" { after = "fetchh", run = load },
//      |                           ^^^^^^^^
//     help: did you mean "fetch"?
#pragma once

#include "base/buf.h"

struct orr_problem { // texts owned
  char *code;     // "E0203"
  char *message;
  char *file;     // project path, or NULL
  uint32_t line;  // 0 unknown
  uint32_t column; // from 1; 1 where no word is known
  uint32_t width; // of the offending word, at least 1
  char *excerpt;  // the source line, or NULL
  char *help;     // or NULL
  char *traceback; // or NULL
};
struct orr_problems {
  struct orr_problem *items;
  size_t len, cap;
};
void orr_problems_free(struct orr_problems *problems);
struct orr_problem *orr_problems_add(struct orr_problems *problems, const char *code, const char *message);
// Fills column, width and excerpt from the file's text by finding `word` on `line` (lexing: inside a string
// or as a name); searches the following 40 lines if it is not on that one and sets line to where it is.
void orr_problem_locate(struct orr_problem *problem, struct orr_slice source, const char *word);
void orr_problem_render(const struct orr_problem *problem, bool colour, struct orr_buf *out);
void orr_problem_json(const struct orr_problem *problem, struct orr_buf *out);
