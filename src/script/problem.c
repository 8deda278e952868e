// SPDX-License-Identifier: MIT
// Problems: a growing list of owned texts, the search for the offending word in a script's text,
// and the two forms in which people and tools see them. Any thread; a list belongs to one.
#include "script/problem.h"

#include "base/check.h"
#include "base/json.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>

#define SEARCH_LINES 40u       // how far below the declaration a word is looked for
#define EXCERPT_BYTES_MAX 160u // a longer source line is shown in part

struct orr_problem *orr_problems_add(struct orr_problems *problems, const char *code,
                                     const char *message) {
  if (problems->len == problems->cap) {
    problems->cap = problems->cap == 0 ? 8 : problems->cap * 2;
    problems->items = orr_realloc(problems->items, problems->cap * sizeof(*problems->items));
  }
  struct orr_problem *problem = &problems->items[problems->len++];
  *problem = (struct orr_problem){
      .code = orr_strdup(code), .message = orr_strdup(message), .column = 1, .width = 1};
  return problem;
}

void orr_problems_free(struct orr_problems *problems) {
  for (size_t i = 0; i < problems->len; i++) {
    struct orr_problem *problem = &problems->items[i];
    free(problem->code);
    free(problem->message);
    free(problem->file);
    free(problem->excerpt);
    free(problem->help);
    free(problem->traceback);
  }
  free(problems->items);
  *problems = (struct orr_problems){0};
}

// --- finding the word
// ---------------------------------------------------------------------------------------

struct lexer {
  const uint8_t *at, *end;
  const uint8_t *line_start;
  uint32_t line;
};
struct token { // a string with its quotes, a name, or a number
  const uint8_t *start, *end;
  const uint8_t *text, *text_end; // without quotes
  const uint8_t *line_start;
  uint32_t line;
};

static void step_over(struct lexer *lexer) {
  if (*lexer->at == '\n') {
    lexer->line++;
    lexer->line_start = lexer->at + 1;
  }
  lexer->at++;
}

// At "[": the level of a long bracket, or -1.
static int long_level(const uint8_t *at, const uint8_t *end) {
  int level = 0;
  for (at++; at < end && *at == '='; at++) level++;
  return at < end && *at == '[' ? level : -1;
}

static void skip_long(struct lexer *lexer, int level) {
  lexer->at += level + 2;
  while (lexer->at < lexer->end) {
    if (*lexer->at == ']' && lexer->end - lexer->at >= level + 2 && lexer->at[level + 1] == ']') {
      int run = 0;
      while (run < level && lexer->at[run + 1] == '=') run++;
      if (run == level) {
        lexer->at += level + 2;
        return;
      }
    }
    step_over(lexer);
  }
}

static void skip_comment(struct lexer *lexer) {
  lexer->at += 2;
  if (lexer->at < lexer->end && *lexer->at == '[') {
    int level = long_level(lexer->at, lexer->end);
    if (level >= 0) {
      skip_long(lexer, level);
      return;
    }
  }
  while (lexer->at < lexer->end && *lexer->at != '\n') lexer->at++;
}

static void read_string(struct lexer *lexer) {
  uint8_t quote = *lexer->at++;
  while (lexer->at < lexer->end && *lexer->at != quote && *lexer->at != '\n') {
    if (*lexer->at == '\\' && lexer->at + 1 < lexer->end) step_over(lexer);
    if (lexer->at < lexer->end) step_over(lexer);
  }
  if (lexer->at < lexer->end && *lexer->at == quote) lexer->at++;
}

static bool is_word(uint8_t c) { return isalnum(c) || c == '_'; }

static bool next_token(struct lexer *lexer, struct token *token) {
  while (lexer->at < lexer->end) {
    uint8_t c = *lexer->at;
    const uint8_t *start = lexer->at;
    *token = (struct token){.start = start, .line_start = lexer->line_start, .line = lexer->line};
    if (c == '-' && lexer->end - start > 1 && start[1] == '-') {
      skip_comment(lexer);
    } else if (c == '"' || c == '\'') {
      read_string(lexer);
      token->end = lexer->at;
      token->text = start + 1;
      token->text_end = lexer->at > start + 1 && lexer->at[-1] == c ? lexer->at - 1 : lexer->at;
      return true;
    } else if (c == '[' && long_level(start, lexer->end) >= 0) {
      int level = long_level(start, lexer->end);
      skip_long(lexer, level);
      token->end = lexer->at;
      token->text = start + level + 2;
      token->text_end = lexer->at - level - 2 > token->text ? lexer->at - level - 2 : token->text;
      return true;
    } else if (is_word(c)) {
      while (lexer->at < lexer->end && is_word(*lexer->at)) lexer->at++;
      token->text = start;
      token->end = token->text_end = lexer->at;
      return true;
    } else {
      step_over(lexer);
    }
  }
  return false;
}

static bool token_is(const struct token *token, struct orr_slice word) {
  return orr_slice_equal(orr_slice_of(token->text, (size_t)(token->text_end - token->text)), word);
}

// The best place of a word: a string or name that is the whole word; else anything that holds it.
static bool find_word(struct orr_slice source, uint32_t first, struct orr_slice word,
                      struct token *found) {
  struct lexer lexer = {source.data, source.data + source.len, source.data, 1};
  struct token token;
  bool loose = false;
  while (next_token(&lexer, &token)) {
    if (token.line < first) continue;
    if (token.line > first + SEARCH_LINES) break;
    if (token_is(&token, word)) {
      *found = token;
      return true;
    }
    size_t len = (size_t)(token.text_end - token.text);
    if (!loose && *token.start != *token.text && len > word.len &&
        memmem(token.text, len, word.data, word.len) != NULL) {
      *found = token;
      loose = true;
    }
  }
  return loose;
}

static const uint8_t *line_at(struct orr_slice source, uint32_t line) {
  const uint8_t *at = source.data, *end = source.data + source.len;
  for (uint32_t i = 1; i < line; i++) {
    const uint8_t *newline = at < end ? memchr(at, '\n', (size_t)(end - at)) : NULL;
    if (newline == NULL) return NULL;
    at = newline + 1;
  }
  return at;
}

// A symbol such as ")": found only if the line has it once.
static bool find_symbol(struct orr_slice source, uint32_t number, struct orr_slice word,
                        struct token *found) {
  const uint8_t *start = line_at(source, number);
  if (start == NULL || is_word(word.data[0])) return false;
  const uint8_t *end = source.data + source.len;
  const uint8_t *newline = memchr(start, '\n', (size_t)(end - start));
  if (newline != NULL) end = newline;
  const uint8_t *at = memmem(start, (size_t)(end - start), word.data, word.len);
  if (at == NULL || memmem(at + 1, (size_t)(end - at - 1), word.data, word.len) != NULL)
    return false;
  *found = (struct token){.start = at, .end = at + word.len, .line_start = start, .line = number};
  return true;
}

static uint32_t characters(const uint8_t *from, const uint8_t *to) {
  uint32_t count = 0;
  for (; from < to; from++) count += (*from & 0xC0) != 0x80;
  return count;
}

static void take_excerpt(struct orr_problem *problem, struct orr_slice source) {
  const uint8_t *start = line_at(source, problem->line);
  if (start == NULL) return;
  const uint8_t *end = memchr(start, '\n', (size_t)(source.data + source.len - start));
  if (end == NULL) end = source.data + source.len;
  if (end > start && end[-1] == '\r') end--;
  bool cut = (size_t)(end - start) > EXCERPT_BYTES_MAX;
  if (cut) {
    end = start + EXCERPT_BYTES_MAX;
    while (end > start && (*end & 0xC0) == 0x80) end--;
  }
  struct orr_buf text = ORR_BUF_INIT;
  orr_utf8_repair(&text, orr_slice_of(start, (size_t)(end - start)));
  if (cut) orr_buf_text(&text, "...");
  free(problem->excerpt);
  problem->excerpt = orr_strdup(orr_buf_cstr(&text));
  orr_buf_free(&text);
}

void orr_problem_locate(struct orr_problem *problem, struct orr_slice source, const char *word) {
  problem->column = problem->width = 1;
  if (problem->line == 0 || source.len == 0) return;
  struct token token;
  struct orr_slice text = orr_slice_text(word);
  if (text.len > 0 && (find_word(source, problem->line, text, &token) ||
                       find_symbol(source, problem->line, text, &token))) {
    problem->line = token.line;
    problem->column = characters(token.line_start, token.start) + 1;
    const uint8_t *newline = memchr(token.start, '\n', (size_t)(token.end - token.start));
    problem->width = characters(token.start, newline != NULL ? newline : token.end);
  }
  take_excerpt(problem, source);
  if (problem->width == 0) problem->width = 1;
}

// --- showing
// -----------------------------------------------------------------------------------------------

struct paint { // escape sequences, or "" without colour
  const char *error, *bold, *dim, *help, *off;
};

static void pad(struct orr_buf *out, uint32_t count) {
  for (uint32_t i = 0; i < count; i++) orr_buf_u8(out, ' ');
}

// The caret line keeps the excerpt's tabs, so that it stands under the word however wide they are
// shown.
static void render_carets(const struct orr_problem *problem, struct orr_buf *out) {
  const char *at = problem->excerpt;
  for (uint32_t column = 1; column < problem->column; column++) {
    orr_buf_u8(out, *at == '\t' ? '\t' : ' ');
    if (*at != '\0') at++;
    while (((uint8_t)*at & 0xC0) == 0x80) at++;
  }
  for (uint32_t i = 0; i < problem->width; i++) orr_buf_u8(out, '^');
}

static void render_excerpt(const struct orr_problem *problem, const struct paint *paint,
                           uint32_t gutter, struct orr_buf *out) {
  if (problem->excerpt == NULL) return;
  pad(out, gutter + 1);
  orr_buf_printf(out, "%s|%s\n", paint->dim, paint->off);
  orr_buf_printf(out, "%s%*u |%s %s\n", paint->dim, (int)gutter, problem->line, paint->off,
                 problem->excerpt);
  uint32_t shown = characters((const uint8_t *)problem->excerpt,
                              (const uint8_t *)problem->excerpt + strlen(problem->excerpt));
  if (problem->column > shown) return;
  pad(out, gutter + 1);
  orr_buf_printf(out, "%s|%s %s", paint->dim, paint->off, paint->error);
  render_carets(problem, out);
  orr_buf_printf(out, "%s\n", paint->off);
}

static void render_lines(const char *text, uint32_t indent, struct orr_buf *out) {
  for (const char *at = text; *at != '\0';) {
    const char *end = strchrnul(at, '\n');
    pad(out, indent);
    orr_buf_append(out, at, (size_t)(end - at));
    orr_buf_u8(out, '\n');
    at = *end == '\n' ? end + 1 : end;
  }
}

void orr_problem_render(const struct orr_problem *problem, bool colour, struct orr_buf *out) {
  struct paint paint = {"", "", "", "", ""};
  if (colour) paint = (struct paint){"\033[31;1m", "\033[1m", "\033[2m", "\033[36m", "\033[0m"};
  char number[12];
  orr_assert(problem->code != NULL && problem->message != NULL);
  uint32_t gutter = (uint32_t)snprintf(number, sizeof(number), "%u", problem->line);
  if (gutter < 2) gutter = 2;
  orr_buf_printf(out, "%serror[%s]%s%s: %s%s\n", paint.error, problem->code, paint.off, paint.bold,
                 problem->message, paint.off);
  if (problem->file != NULL) {
    pad(out, gutter);
    orr_buf_printf(out, "%s-->%s %s", paint.dim, paint.off, problem->file);
    if (problem->line > 0) orr_buf_printf(out, ":%u:%u", problem->line, problem->column);
    orr_buf_u8(out, '\n');
  }
  render_excerpt(problem, &paint, gutter, out);
  if (problem->help != NULL) {
    pad(out, gutter);
    orr_buf_printf(out, "%shelp:%s %s\n", paint.help, paint.off, problem->help);
  }
  if (problem->traceback != NULL) render_lines(problem->traceback, gutter, out);
}

static void json_text(struct orr_buf *out, const char *key, const char *text) {
  orr_json_key(out, key);
  if (text != NULL) {
    orr_json_string(out, orr_slice_text(text));
  } else {
    orr_buf_text(out, "null");
  }
}

void orr_problem_json(const struct orr_problem *problem, struct orr_buf *out) {
  orr_buf_u8(out, '{');
  json_text(out, "code", problem->code);
  json_text(out, "message", problem->message);
  json_text(out, "file", problem->file);
  orr_json_key(out, "line");
  orr_buf_printf(out, "%u", problem->line);
  orr_json_key(out, "column");
  orr_buf_printf(out, "%u", problem->column);
  orr_json_key(out, "width");
  orr_buf_printf(out, "%u", problem->width);
  json_text(out, "excerpt", problem->excerpt);
  json_text(out, "help", problem->help);
  json_text(out, "traceback", problem->traceback);
  orr_buf_u8(out, '}');
}
