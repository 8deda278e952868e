// SPDX-License-Identifier: MIT
// The request filter and the router on arbitrary heads: no crash, and what passes keeps the filter's promises.
// Input: lines separated by '\n': method, uri, query (empty: none), version, then "name: value" headers.
#include "server/filter.h"
#include "server/router.h"

#include "base/check.h"
#include "base/json.h"
#include "script/generation.h"

#include <stdlib.h>
#include <strings.h>

#define HEADERS 80u

static char *take_line(char **at) {
  char *line = *at, *end = line != NULL ? strchr(line, '\n') : NULL;
  if (end != NULL) *end = 0;
  *at = end != NULL ? end + 1 : NULL;
  return line != NULL ? line : "";
}

static void check_passed(const struct orr_head *head, const struct orr_request_line *line) {
  orr_assert(line->path_len > 0 && line->path_len <= ORR_HTTP_URL_BYTES_MAX && line->path[0] == '/');
  orr_assert(strlen(line->path) == line->path_len); // no NUL inside
  orr_assert(orr_utf8_valid(orr_slice_of(line->path, line->path_len)));
  orr_assert(strstr(line->path, "//") == NULL && strstr(line->path, "/../") == NULL && strstr(line->path, "/./") == NULL);
  orr_assert(strchr(line->path, '\\') == NULL);
  for (size_t i = 0; i < line->path_len; i++) orr_assert((unsigned char)line->path[i] >= 0x20 && line->path[i] != 0x7f);
  orr_assert(orr_head_count(head, "Host") == 1 && orr_host_allowed(line->host, "orrery.example"));
  orr_assert(orr_head_count(head, "Content-Length") <= 1 && orr_head_count(head, "Transfer-Encoding") == 0);
  orr_assert(line->body_bytes <= ORR_HTTP_BODY_BYTES_MAX);
  if (orr_method_safe(line->method)) orr_assert(line->body_bytes == 0);
  if (line->body_bytes > 0) orr_assert(strcasecmp(orr_head_value(head, "Content-Type"), "application/json") == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len) {
  char *text = orr_alloc(len + 1), *at = text;
  memcpy(text, data, len);
  struct orr_header headers[HEADERS];
  struct orr_head head = {.headers = headers, .clean_lines = true};
  head.method = take_line(&at);
  head.uri = take_line(&at);
  head.query = take_line(&at);
  head.version = take_line(&at);
  while (at != NULL && head.headers_len < HEADERS) {
    char *name = take_line(&at), *colon = strchr(name, ':');
    if (colon != NULL) *colon++ = 0;
    while (colon != NULL && *colon == ' ') colon++;
    headers[head.headers_len++] = (struct orr_header){name, colon != NULL ? colon : ""};
  }
  static struct orr_request_line line;
  struct orr_refusal refusal = {0};
  if (orr_filter_check(&head, "orrery.example", &line, &refusal)) {
    check_passed(&head, &line);
    static const struct orr_route routes[] = {{"GET", "/api/{a}/{b}/{c}", "routes/a.lua", 0}, {"DELETE", "/{x}", "routes/a.lua", 1}};
    struct orr_match match;
    char allow[64];
    struct orr_slice path = orr_slice_of(line.path, line.path_len);
    if (orr_router_match(routes, 2, line.method, path, &match, allow) == ORR_NO_PATH) (void)orr_router_suggest(path);
  } else {
    orr_assert(refusal.status >= 400 && refusal.status < 600 && refusal.detail != NULL);
  }
  free(text);
  return 0;
}
