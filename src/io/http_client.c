// SPDX-License-Identifier: MIT
// The HTTP client: starts requests in the pool of connections that suits them, and tells their
// owners what becomes of them. Invariant: `done` and `notice` run only outside libcurl's callbacks
// and outside the calls of an owner, so they may start and cancel requests. Thread: the loop's.
#include "base/check.h"
#include "io/http_curl.h"

#include <stdlib.h>

struct orr_http_client {
  uv_loop_t *loop;
  uv_timer_t soon;              // delivers what did not end in a turn of libcurl's
  const struct orr__curl *curl; // NULL until the first request
  struct orr__http_pool pools[ORR__POOLS];
  struct orr_list open, finished; // struct orr_http_request
  struct orr_list noticed;        // the same, by another node
  int closing;
};

static void deliver(struct orr_http_client *client);
static struct orr_http_request *request_of(struct orr_list *node) {
  return ORR_CONTAINER_OF(node, struct orr_http_request, node);
}

// --- requests ------------------------------------------------------------------------------------

static void request_leave(struct orr_http_request *request) {
  if (request->in_multi) request->curl->multi_remove_handle(request->pool->multi, request->easy);
  request->in_multi = false;
}

static void request_free(struct orr_http_request *request) {
  request_leave(request);
  if (request->easy != NULL) request->curl->easy_cleanup(request->easy);
  if (request->headers != NULL) request->curl->slist_free_all(request->headers);
  orr_http_jar_unref(request->jar);
  free(request->result.url);
  orr_buf_free(&request->result.headers);
  orr_buf_free(&request->result.body);
  orr_buf_free(&request->up);
  orr_list_remove(&request->node);
  orr_list_remove(&request->noticed);
  free(request);
}

static void request_finish(struct orr_http_request *request) { // its result is known
  struct orr_http_client *client = request->client;
  request_leave(request);
  orr_list_remove(&request->node);
  orr_list_push_back(&client->finished, &request->node);
}

static void ended(void *private, CURLcode code) {
  struct orr_http_request *request = private;
  orr__http_conclude(request, code);
  request_finish(request);
}

static void deliver(struct orr_http_client *client) {
  struct orr_list *node;
  while ((node = orr_list_pop_front(&client->noticed)) != NULL) {
    struct orr_http_request *request = ORR_CONTAINER_OF(node, struct orr_http_request, noticed);
    if (request->notice != NULL) request->notice(request->context);
  }
  while ((node = orr_list_pop_front(&client->finished)) != NULL) {
    struct orr_http_request *request = request_of(node);
    request->done_running = true;
    request->done(request->context, &request->result);
    request_free(request);
  }
}

static void soon_fired(uv_timer_t *timer) { deliver(timer->data); }

void orr__http_notice(struct orr_http_request *request) {
  struct orr_http_client *client = request->client;
  if (request->notice == NULL || orr_list_linked(&request->noticed)) return;
  orr_list_push_back(&client->noticed, &request->noticed);
  if (!uv_is_active((uv_handle_t *)&client->soon)) uv_timer_start(&client->soon, soon_fired, 0, 0);
}

void orr_http_watch(struct orr_http_request *request, void (*notice)(void *context)) {
  request->notice = notice;
}

static bool pool_enter(struct orr_http_client *client, struct orr_http_request *request,
                       const struct orr_http_options *options) {
  const char *message;
  if (client->curl == NULL) client->curl = orr__curl_load(&message);
  if (client->curl == NULL) {
    orr__http_fail(request, ORR_ERR_UNAVAILABLE, "libcurl", message);
    return false;
  }
  request->curl = client->curl;
  bool streams = options->stream || options->upload;
  int kind = (options->guard ? ORR__POOL_GUARDED : 0) | (streams ? ORR__POOL_STREAMS : 0);
  request->pool = &client->pools[kind];
  orr__http_pool_open(request->pool, client->curl, !streams);
  return true;
}

struct orr_http_request *orr_http_start(struct orr_http_client *client,
                                        const struct orr_http_options *options,
                                        void (*done)(void *context, struct orr_http_result *result),
                                        void *context) {
  orr_assert(done != NULL && client->closing == 0);
  struct orr_http_request *request = orr_alloc(sizeof *request);
  orr_list_init(&request->node);
  orr_list_init(&request->noticed);
  request->client = client;
  request->done = done;
  request->context = context;
  if (pool_enter(client, request, options) && orr__http_prepare(request, options) == ORR_OK) {
    CURLMcode code = client->curl->multi_add_handle(request->pool->multi, request->easy);
    request->in_multi = code == CURLM_OK;
    if (!request->in_multi)
      orr__http_fail(request, ORR_ERR_IO, "io", "libcurl refused the request");
  }
  if (request->in_multi) {
    orr_list_push_back(&client->open, &request->node);
  } else {
    orr_list_push_back(&client->finished, &request->node);
    uv_timer_start(&client->soon, soon_fired, 0, 0);
  }
  return request;
}

void orr_http_cancel(struct orr_http_request *request) {
  if (!request->done_running) request_free(request);
}

// --- the client ----------------------------------------------------------------------------------

struct orr_http_client *orr_http_client_new(uv_loop_t *loop) {
  struct orr_http_client *client = orr_alloc(sizeof *client);
  client->loop = loop;
  orr_list_init(&client->open);
  orr_list_init(&client->finished);
  orr_list_init(&client->noticed);
  for (int i = 0; i < ORR__POOLS; i++) {
    orr__http_pool_init(&client->pools[i], loop);
    client->pools[i].client = client;
    client->pools[i].ended = ended;
    client->pools[i].turned = deliver;
  }
  int error = uv_timer_init(loop, &client->soon);
  orr_assert(error == 0);
  client->soon.data = client;
  return client;
}

static void handle_closed(struct orr_http_client *client) {
  if (--client->closing == 0) free(client);
}
static void soon_closed(uv_handle_t *handle) { handle_closed(handle->data); }
static void pool_closed(uv_handle_t *handle) {
  handle_closed(((struct orr__http_pool *)handle->data)->client);
}

void orr_http_client_free(struct orr_http_client *client) {
  if (client == NULL) return;
  client->closing = ORR__POOLS + 1; // from here on no start
  while (!orr_list_empty(&client->open)) {
    struct orr_http_request *request = request_of(client->open.next);
    orr_buf_free(&request->result.body);
    orr__http_fail(request, ORR_ERR_CANCELLED, "cancelled", "the HTTP client is closing");
    request_finish(request);
  }
  while (orr_list_pop_front(&client->noticed) != NULL) {}
  deliver(client);
  for (int i = 0; i < ORR__POOLS; i++) orr__http_pool_close(&client->pools[i], pool_closed);
  uv_close((uv_handle_t *)&client->soon, soon_closed);
}
