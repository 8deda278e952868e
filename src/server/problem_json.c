// SPDX-License-Identifier: MIT
// See problem_json.h.
#include "server/problem_json.h"

#include "base/json.h"

const char *orr_http_reason(int status) {
  switch (status) {
  case 100: return "Continue";
  case 200: return "OK";
  case 201: return "Created";
  case 202: return "Accepted";
  case 204: return "No Content";
  case 301: return "Moved Permanently";
  case 302: return "Found";
  case 303: return "See Other";
  case 304: return "Not Modified";
  case 307: return "Temporary Redirect";
  case 308: return "Permanent Redirect";
  case 400: return "Bad Request";
  case 401: return "Unauthorized";
  case 403: return "Forbidden";
  case 404: return "Not Found";
  case 405: return "Method Not Allowed";
  case 406: return "Not Acceptable";
  case 408: return "Request Timeout";
  case 409: return "Conflict";
  case 410: return "Gone";
  case 411: return "Length Required";
  case 412: return "Precondition Failed";
  case 413: return "Content Too Large";
  case 414: return "URI Too Long";
  case 415: return "Unsupported Media Type";
  case 417: return "Expectation Failed";
  case 422: return "Unprocessable Content";
  case 429: return "Too Many Requests";
  case 431: return "Request Header Fields Too Large";
  case 500: return "Internal Server Error";
  case 501: return "Not Implemented";
  case 502: return "Bad Gateway";
  case 503: return "Service Unavailable";
  case 504: return "Gateway Timeout";
  case 505: return "HTTP Version Not Supported";
  }
  return status < 400 ? "Other" : "Error";
}

void orr_problem_answer(struct orr_answer *answer, int status, const char *detail, struct orr_slice extra) {
  answer->status = status;
  answer->type = "application/problem+json";
  orr_buf_clear(&answer->body);
  orr_buf_printf(&answer->body, "{\"type\":\"about:blank\",\"title\":\"%s\",\"status\":%d,\"detail\":",
                 orr_http_reason(status), status);
  orr_json_string(&answer->body, orr_slice_text(detail));
  if (extra.len > 0) {
    orr_buf_u8(&answer->body, ',');
    orr_buf_slice_append(&answer->body, extra);
  }
  orr_buf_u8(&answer->body, '}');
}

void orr_answer_head(const struct orr_answer *answer, bool close, struct orr_buf *out) {
  orr_buf_printf(out, "HTTP/1.1 %d %s\r\n", answer->status, orr_http_reason(answer->status));
  if (answer->status != 204 && answer->status != 304) {
    if (answer->type == NULL) orr_buf_text(out, "Content-Type: application/json\r\n");
    else if (answer->type[0] != 0) orr_buf_printf(out, "Content-Type: %s\r\n", answer->type);
    orr_buf_printf(out, "Content-Length: %zu\r\n", answer->body.len);
  }
  orr_buf_text(out, "Cache-Control: no-store\r\n"
                    "X-Content-Type-Options: nosniff\r\n"
                    "X-Frame-Options: DENY\r\n"
                    "Referrer-Policy: no-referrer\r\n"
                    "Cross-Origin-Opener-Policy: same-origin\r\n"
                    "Cross-Origin-Resource-Policy: same-origin\r\n"
                    "Content-Security-Policy: default-src 'none'; frame-ancestors 'none'; base-uri 'none'; "
                    "form-action 'none'\r\n");
  orr_buf_slice_append(out, orr_buf_slice(&answer->headers));
  orr_buf_text(out, close ? "Connection: close\r\n\r\n" : "Connection: keep-alive\r\n\r\n");
}
