// SPDX-License-Identifier: MIT
// See filter.h. Order of the checks: framing first (what would make the next request ambiguous), then who is
// asking (Host, Origin), then what (method, path, body).
#include "server/filter.h"

#include "base/check.h"
#include "base/json.h"

#include <strings.h>

static const char *const method_texts[ORR_METHOD_COUNT] = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"};

const char *orr_method_text(enum orr_method method) {
  orr_assert((unsigned)method < ORR_METHOD_COUNT);
  return method_texts[method];
}

bool orr_method_parse(struct orr_slice text, enum orr_method *method) {
  for (unsigned i = 0; i < ORR_METHOD_COUNT; i++) {
    if (!orr_slice_equal(text, orr_slice_text(method_texts[i]))) continue;
    *method = (enum orr_method)i;
    return true;
  }
  return false;
}

// --- headers --------------------------------------------------------------------------------------------

const char *orr_head_value(const struct orr_head *head, const char *name) {
  for (size_t i = 0; i < head->headers_len; i++)
    if (strcasecmp(head->headers[i].name, name) == 0) return head->headers[i].value;
  return NULL;
}

size_t orr_head_count(const struct orr_head *head, const char *name) {
  size_t count = 0;
  for (size_t i = 0; i < head->headers_len; i++) count += strcasecmp(head->headers[i].name, name) == 0;
  return count;
}

static bool token_byte(unsigned char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
         (c != 0 && strchr("!#$%&'*+-.^_`|~", c) != NULL);
}

static bool header_valid(const struct orr_header *header) {
  if (header->name == NULL || header->name[0] == 0 || header->value == NULL) return false;
  for (const char *c = header->name; *c != 0; c++)
    if (!token_byte((unsigned char)*c)) return false;
  for (const char *c = header->value; *c != 0; c++)
    if (((unsigned char)*c < 0x20 && *c != '\t') || *c == 0x7f) return false;
  return true;
}

// --- host and origin ------------------------------------------------------------------------------------

static bool dotted_loopback(struct orr_slice name) { // 127.a.b.c, each at most 255
  unsigned parts = 0, value = 0, digits = 0;
  for (size_t i = 0; i <= name.len; i++) {
    if (i < name.len && name.data[i] >= '0' && name.data[i] <= '9') {
      value = value * 10 + (name.data[i] - '0');
      if (++digits > 3 || value > 255) return false;
      continue;
    }
    if (digits == 0 || (i < name.len && name.data[i] != '.')) return false;
    if (parts == 0 && value != 127) return false;
    parts++;
    value = digits = 0;
  }
  return parts == 4;
}

bool orr_loopback_name(struct orr_slice name) {
  if (name.len == 9 && strncasecmp((const char *)name.data, "localhost", 9) == 0) return true;
  if (orr_slice_equal(name, ORR_SLICE_LITERAL("[::1]"))) return true;
  return name.len > 0 && dotted_loopback(name);
}

static bool listed(struct orr_slice name, const char *hosts) {
  for (const char *at = hosts; at != NULL && *at != 0;) {
    while (*at == ' ' || *at == ',') at++;
    size_t len = strcspn(at, ", ");
    if (len == name.len && len > 0 && strncasecmp(at, (const char *)name.data, len) == 0) return true;
    at += len;
  }
  return false;
}

bool orr_host_allowed(const char *host, const char *hosts) {
  const char *end = host[0] == '[' ? strchr(host, ']') : host + strcspn(host, ":");
  if (end == NULL) return false;
  if (*end == ']') end++;
  struct orr_slice name = orr_slice_of(host, (size_t)(end - host));
  if (*end == ':') {
    size_t digits = strspn(end + 1, "0123456789");
    if (digits == 0 || digits > 5 || end[1 + digits] != 0) return false;
  } else if (*end != 0) {
    return false;
  }
  return orr_loopback_name(name) || listed(name, hosts);
}

// A page may write only to the server it came from. Tools without these headers are not browsers.
static bool same_origin(const struct orr_head *head, const char *host) {
  const char *site = orr_head_value(head, "Sec-Fetch-Site");
  if (site != NULL && strcmp(site, "same-origin") != 0 && strcmp(site, "none") != 0) return false;
  const char *origin = orr_head_value(head, "Origin");
  if (origin == NULL) return true;
  if (strncasecmp(origin, "http://", 7) == 0) return strcasecmp(origin + 7, host) == 0;
  // TLS belongs to a proxy in front, so a page of our own may have come over https.
  if (strncasecmp(origin, "https://", 8) == 0) return strcasecmp(origin + 8, host) == 0;
  return false;
}

// --- path ------------------------------------------------------------------------------------------------

static int hex(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

static bool dot_segment(const char *segment, size_t len) {
  return (len == 1 && segment[0] == '.') || (len == 2 && segment[0] == '.' && segment[1] == '.');
}

static bool segments_clean(const char *path, size_t len) {
  size_t start = 1; // path[0] is '/'
  for (size_t i = 1; i <= len; i++) {
    if (i < len && path[i] != '/') continue;
    if (i == start && i != len) return false; // empty, unless it is the very last one
    if (dot_segment(path + start, i - start)) return false;
    start = i + 1;
  }
  return true;
}

int orr_path_decode(const char *raw, char *out, size_t out_size, size_t *out_len, const char **detail) {
  size_t len = 0;
  *detail = "the path must begin with '/'";
  if (raw == NULL || raw[0] != '/') return 400;
  for (const char *at = raw; *at != 0; at++) {
    unsigned char c = (unsigned char)*at;
    *detail = "the URL is too long";
    if (len + 1 >= out_size) return 414;
    *detail = "the path holds a byte that must be percent-encoded";
    if (c <= 0x20 || c >= 0x7f || c == '\\') return 400;
    if (c == '%') {
      int high = hex(at[1]), low = high < 0 ? -1 : hex(at[2]);
      *detail = "the path holds a broken percent escape";
      if (low < 0) return 400;
      c = (unsigned char)(high * 16 + low);
      *detail = "the path holds an escape that is not allowed (%00, %2f, %5c or a control byte)";
      if (c < 0x20 || c == 0x7f || c == '/' || c == '\\') return 400;
      at += 2;
    }
    out[len++] = (char)c;
  }
  out[len] = 0;
  *detail = "the path is not valid UTF-8";
  if (!orr_utf8_valid(orr_slice_of(out, len))) return 400;
  *detail = "the path holds an empty, '.' or '..' segment";
  if (!segments_clean(out, len)) return 400;
  *out_len = len;
  return 0;
}

static bool query_clean(const char *query) {
  for (const char *at = query; *at != 0; at++) {
    unsigned char c = (unsigned char)*at;
    if (c <= 0x20 || c >= 0x7f) return false;
    if (c != '%') continue;
    if (hex(at[1]) < 0 || hex(at[2]) < 0 || (at[1] == '0' && at[2] == '0')) return false;
  }
  return true;
}

// --- the filter ------------------------------------------------------------------------------------------

static bool refuse(struct orr_refusal *refusal, int status, bool close, const char *detail) {
  *refusal = (struct orr_refusal){status, detail, close};
  return false;
}

static bool body_length(const char *text, uint64_t *length) { // digits only
  uint64_t value = 0;
  if (*text == 0) return false;
  for (; *text != 0; text++) {
    if (*text < '0' || *text > '9' || value > UINT64_MAX / 10 - 9) return false;
    value = value * 10 + (uint64_t)(*text - '0');
  }
  *length = value;
  return true;
}

static bool check_framing(const struct orr_head *head, struct orr_request_line *out, struct orr_refusal *refusal) {
  static const char *const single[] = {"Host", "Content-Length", "Content-Type", "Transfer-Encoding",
                                       "Origin", "Sec-Fetch-Site", "Idempotency-Key", "Expect"};
  if (head->headers_len > ORR_HTTP_HEADERS_MAX) return refuse(refusal, 431, true, "too many headers");
  if (!head->clean_lines)
    return refuse(refusal, 400, true, "header lines must read 'Name: value', end in CRLF and not be folded");
  for (size_t i = 0; i < head->headers_len; i++)
    if (!header_valid(&head->headers[i])) return refuse(refusal, 400, true, "a header is malformed");
  for (size_t i = 0; i < sizeof(single) / sizeof(single[0]); i++)
    if (orr_head_count(head, single[i]) > 1)
      return refuse(refusal, 400, true, "a header that may stand once is repeated");
  if (head->version == NULL || (strcmp(head->version, "1.1") != 0 && strcmp(head->version, "1.0") != 0))
    return refuse(refusal, 505, true, "only HTTP/1.1 and HTTP/1.0 are spoken here");
  const char *length = orr_head_value(head, "Content-Length");
  if (orr_head_value(head, "Transfer-Encoding") != NULL) {
    if (length != NULL) return refuse(refusal, 400, true, "Content-Length and Transfer-Encoding exclude each other");
    return refuse(refusal, 411, true, "send the body with a Content-Length, not in chunks");
  }
  out->body_bytes = 0;
  if (length != NULL && !body_length(length, &out->body_bytes))
    return refuse(refusal, 400, true, "Content-Length is not a number");
  if (out->body_bytes > ORR_HTTP_BODY_BYTES_MAX) return refuse(refusal, 413, true, "the body is too large");
  const char *expect = orr_head_value(head, "Expect");
  if (expect != NULL && strcasecmp(expect, "100-continue") != 0)
    return refuse(refusal, 417, true, "only 'Expect: 100-continue' is known");
  return true;
}

static bool check_target(const struct orr_head *head, struct orr_request_line *out, struct orr_refusal *refusal) {
  if (!orr_method_parse(orr_slice_text(head->method), &out->method))
    return refuse(refusal, 405, true, "this method is not allowed here");
  out->query = head->query != NULL ? head->query : "";
  if (strlen(head->uri != NULL ? head->uri : "") + strlen(out->query) + 1 > ORR_HTTP_URL_BYTES_MAX)
    return refuse(refusal, 414, true, "the URL is too long");
  const char *detail = NULL;
  int status = orr_path_decode(head->uri, out->path, sizeof(out->path), &out->path_len, &detail);
  if (status != 0) return refuse(refusal, status, true, detail);
  if (!query_clean(out->query)) return refuse(refusal, 400, true, "the query holds a byte or escape that is not allowed");
  return true;
}

bool orr_filter_check(const struct orr_head *head, const char *hosts, struct orr_request_line *out,
                      struct orr_refusal *refusal) {
  orr_assert(head->method != NULL);
  if (!check_framing(head, out, refusal)) return false;
  out->host = orr_head_value(head, "Host");
  if (out->host == NULL) return refuse(refusal, 400, true, "the Host header is missing");
  if (!orr_host_allowed(out->host, hosts))
    return refuse(refusal, 400, true, "the Host header names another server; use localhost or 127.0.0.1");
  if (!check_target(head, out, refusal)) return false;
  if (orr_method_safe(out->method)) {
    if (out->body_bytes > 0) return refuse(refusal, 400, true, "GET and HEAD take no body");
    return true;
  }
  if (!same_origin(head, out->host))
    return refuse(refusal, 403, true, "a page of another origin may not write here");
  const char *type = orr_head_value(head, "Content-Type");
  if (out->body_bytes > 0 && (type == NULL || strcasecmp(type, "application/json") != 0))
    return refuse(refusal, 415, true, "the body must be JSON: send 'Content-Type: application/json', exactly that");
  return true;
}
