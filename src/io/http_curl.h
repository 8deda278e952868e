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
  X(easy_init) X(easy_cleanup) X(easy_setopt) X(easy_getinfo) X(easy_strerror) X(easy_pause)       \
      X(multi_init) X(multi_cleanup) X(multi_setopt) X(multi_add_handle) X(multi_remove_handle)    \
          X(multi_socket_action) X(multi_info_read) X(multi_assign) X(slist_append)                \
              X(slist_free_all) X(share_init) X(share_setopt) X(share_cleanup)

// The headers define macros of some names ("easy_setopt" is not one of them, "curl_easy_setopt"
// is).
#undef curl_easy_setopt
#undef curl_easy_getinfo
#undef curl_multi_setopt
#undef curl_share_setopt

struct orr__curl {
#define ORR__CURL_MEMBER(name) __typeof__(&curl_##name) name;
  ORR__CURL_LIST(ORR__CURL_MEMBER)
#undef ORR__CURL_MEMBER
};

// The table, or NULL and *message (static) where libcurl can't be opened. Any thread; opens it
// once.
const struct orr__curl *orr__curl_load(const char **message);

// --- pools of connections (http_pool.c) ----------------------------------------------------------

// Connections that may serve for one another. Guarded requests share none with others, since a
// connection is checked when it is opened; nor do streams, since on an HTTP/2 connection a stream
// that waits for its reader would hold up its neighbours.
enum orr__http_pool_kind {
  ORR__POOL_GUARDED = 1,
  ORR__POOL_STREAMS = 2,
  ORR__POOLS = 4,
};
struct orr__http_pool {
  const struct orr__curl *curl;
  CURLM *multi; // NULL until first used
  uv_loop_t *loop;
  uv_timer_t timer; // libcurl's timeout
  // libcurl has worked: an easy handle of this pool may have ended. Its private pointer comes along.
  void (*ended)(void *private, CURLcode code);
  void (*turned)(struct orr_http_client *client); // after every turn, outside of libcurl
  struct orr_http_client *client;
};
void orr__http_pool_init(struct orr__http_pool *pool, uv_loop_t *loop);
void orr__http_pool_open(struct orr__http_pool *pool, const struct orr__curl *curl, bool multiplex);
// Takes its sockets off the loop; the timer is then closed with `closed`. No easy handle is left in it.
void orr__http_pool_close(struct orr__http_pool *pool, uv_close_cb closed);

// --- cookies (http_jar.c) ------------------------------------------------------------------------

CURLSH *orr__http_jar_take(struct orr_http_jar *jar); // holds it until orr_http_jar_unref

// --- requests --------------------------------------------------------------------------------------

struct orr_http_request {
  struct orr_list node;    // in client->open or client->finished
  struct orr_list noticed; // in client->noticed
  struct orr_http_client *client;
  struct orr__http_pool *pool;  // NULL if it failed before it had one
  const struct orr__curl *curl; // NULL if it failed before it had a handle
  CURL *easy;
  struct curl_slist *headers;
  struct orr_http_jar *jar;
  bool in_multi, over_bound, done_running;
  bool follows, guard, guarded; // guarded: an address of this hop was denied
  bool streams, uploads, up_ended;
  bool paused_in, paused_out; // libcurl waits for us
  bool head_known, has_location;
  long head_status;
  uint64_t body_bytes_max;
  struct orr_buf up; // to be sent, from up_at on
  size_t up_at;
  struct orr_http_counters counters;
  char error[CURL_ERROR_SIZE];
  void (*notice)(void *context); // NULL: nobody watches
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
// libcurl's callbacks for bodies and headers (http_stream.c).
size_t orr__http_body_take(char *data, size_t one, size_t len, void *context);
size_t orr__http_header_take(char *data, size_t one, size_t len, void *context);
size_t orr__http_body_give(char *out, size_t one, size_t room, void *context);
// Something changed: `notice` will be called, outside of libcurl.
void orr__http_notice(struct orr_http_request *request);
