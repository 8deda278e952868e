// SPDX-License-Identifier: MIT
// The functions of libcurl that the HTTP client uses, found at run time, and the client's inner
// structs. Internal to io.
#pragma once

#define CURL_DISABLE_TYPECHECK // the checks want curl_easy_setopt itself, which isn't linked
#include "base/list.h"
#include "io/http_client.h"

#include <curl/curl.h>

#define ORR__CURL_LIST(X)                                                                          \
  X(global_init)                                                                                   \
  X(easy_init) X(easy_cleanup) X(easy_setopt) X(easy_getinfo) X(easy_strerror) X(multi_init)       \
      X(multi_cleanup) X(multi_setopt) X(multi_add_handle) X(multi_remove_handle)                  \
          X(multi_socket_action) X(multi_info_read) X(multi_assign) X(slist_append)                \
              X(slist_free_all)

// The headers define macros of some names ("easy_setopt" is not one of them, "curl_easy_setopt"
// is).
#undef curl_easy_setopt
#undef curl_easy_getinfo
#undef curl_multi_setopt

struct orr__curl {
#define ORR__CURL_MEMBER(name) __typeof__(&curl_##name) name;
  ORR__CURL_LIST(ORR__CURL_MEMBER)
#undef ORR__CURL_MEMBER
};

// The table, or NULL and *message (static) where libcurl can't be opened. Any thread; opens it
// once.
const struct orr__curl *orr__curl_load(const char **message);

struct orr_http_request {
  struct orr_list node; // in client->open or client->finished
  struct orr_http_client *client;
  const struct orr__curl *curl; // NULL if it failed before it had a handle
  CURL *easy;
  struct curl_slist *headers;
  bool in_multi, over_bound, done_running;
  size_t body_bytes_max;
  char error[CURL_ERROR_SIZE];
  void (*done)(void *context, struct orr_http_result *result);
  void *context;
  struct orr_http_result result;
};

// Checks the options and builds the easy handle. On failure the request's result says why.
enum orr_status orr__http_prepare(struct orr_http_request *request,
                                  const struct orr_http_options *options);
// Turns libcurl's outcome into the request's result.
void orr__http_conclude(struct orr_http_request *request, CURLcode code);
void orr__http_fail(struct orr_http_request *request, enum orr_status status, const char *code,
                    const char *message);
