// SPDX-License-Identifier: MIT
// libcurl's multi handle on a worker's uv loop: its sockets are uv_poll_t, its one timeout is a
// uv_timer_t. Invariant: `done` runs only outside libcurl's own callbacks, so it may start and
// cancel requests. Thread: the loop's. Must not know what a request holds (http_request.c).
#include "base/check.h"
#include "io/http_curl.h"

#include <stdlib.h>

#define IDLE_CONNECTIONS_MAX 32L
#define CONNECTIONS_MAX 256L // further requests wait inside libcurl; their time runs

struct orr_http_client {
  uv_loop_t *loop;
  uv_timer_t timer;             // libcurl's timeout
  uv_timer_t soon;              // delivers what ended inside a start
  const struct orr__curl *curl; // NULL until the first request
  CURLM *multi;
  struct orr_list open, finished; // struct orr_http_request
  int closing;
};

struct watch { // one socket of libcurl
  uv_poll_t poll;
  struct orr_http_client *client;
  curl_socket_t fd;
};

static void deliver(struct orr_http_client *client);
static struct orr_http_request *request_of(struct orr_list *node) {
  return ORR_CONTAINER_OF(node, struct orr_http_request, node);
}

// --- libcurl's sockets and timeout ---------------------------------------------------------------

// Moves what libcurl has finished to the finished list.
static void collect(struct orr_http_client *client) {
  CURLMsg *message;
  int left;
  while ((message = client->curl->multi_info_read(client->multi, &left)) != NULL) {
    if (message->msg != CURLMSG_DONE) continue;
    void *private = NULL;
    CURLcode code = message->data.result; // before the handle is removed, which frees the message
    client->curl->easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &private);
    struct orr_http_request *request = private;
    orr__http_conclude(request, code);
    client->curl->multi_remove_handle(client->multi, request->easy);
    request->in_multi = false;
    orr_list_remove(&request->node);
    orr_list_push_back(&client->finished, &request->node);
  }
}

static void act(struct orr_http_client *client, curl_socket_t fd, int flags) {
  int running;
  client->curl->multi_socket_action(client->multi, fd, flags, &running);
  collect(client);
  deliver(client);
}

static void socket_ready(uv_poll_t *poll, int status, int events) {
  struct watch *watch = poll->data;
  int flags = status < 0 ? CURL_CSELECT_ERR : 0;
  if (events & UV_READABLE) flags |= CURL_CSELECT_IN;
  if (events & UV_WRITABLE) flags |= CURL_CSELECT_OUT;
  act(watch->client, watch->fd, flags);
}

static void watch_closed(uv_handle_t *handle) { free(handle->data); }

static struct watch *watch_new(struct orr_http_client *client, curl_socket_t fd) {
  struct watch *watch = orr_alloc(sizeof *watch);
  watch->client = client;
  watch->fd = fd;
  watch->poll.data = watch;
  if (uv_poll_init_socket(client->loop, &watch->poll, fd) == 0) return watch;
  free(watch);
  return NULL;
}

static int socket_changed(CURL *easy, curl_socket_t fd, int what, void *context,
                          void *socket_context) {
  (void)easy;
  struct orr_http_client *client = context;
  struct watch *watch = socket_context;
  if (what == CURL_POLL_REMOVE) {
    if (watch == NULL) return 0;
    client->curl->multi_assign(client->multi, fd, NULL);
    uv_poll_stop(&watch->poll); // libcurl closes the descriptor right after this
    uv_close((uv_handle_t *)&watch->poll, watch_closed);
    return 0;
  }
  if (watch == NULL) {
    watch = watch_new(client, fd);
    if (watch == NULL) return -1;
    client->curl->multi_assign(client->multi, fd, watch);
  }
  int events = (what & CURL_POLL_IN ? UV_READABLE : 0) | (what & CURL_POLL_OUT ? UV_WRITABLE : 0);
  return uv_poll_start(&watch->poll, events, socket_ready) == 0 ? 0 : -1;
}

static void timeout_fired(uv_timer_t *timer) { act(timer->data, CURL_SOCKET_TIMEOUT, 0); }

static int timeout_changed(CURLM *multi, long timeout_ms, void *context) {
  (void)multi;
  struct orr_http_client *client = context;
  if (timeout_ms < 0) {
    uv_timer_stop(&client->timer);
    return 0;
  }
  uv_update_time(client->loop);
  uv_timer_start(&client->timer, timeout_fired, (uint64_t)timeout_ms, 0);
  return 0;
}

// --- requests ------------------------------------------------------------------------------------

static void request_free(struct orr_http_request *request) {
  if (request->in_multi)
    request->client->curl->multi_remove_handle(request->client->multi, request->easy);
  if (request->easy != NULL) request->curl->easy_cleanup(request->easy);
  if (request->headers != NULL) request->curl->slist_free_all(request->headers);
  free(request->result.url);
  orr_buf_free(&request->result.headers);
  orr_buf_free(&request->result.body);
  orr_list_remove(&request->node);
  free(request);
}

static void deliver(struct orr_http_client *client) {
  struct orr_list *node;
  while ((node = orr_list_pop_front(&client->finished)) != NULL) {
    struct orr_http_request *request = request_of(node);
    request->done_running = true;
    request->done(request->context, &request->result);
    request_free(request);
  }
}

static void soon_fired(uv_timer_t *timer) { deliver(timer->data); }

static bool client_connect(struct orr_http_client *client, struct orr_http_request *request) {
  if (client->multi == NULL) {
    const char *message;
    client->curl = orr__curl_load(&message);
    if (client->curl == NULL) {
      orr__http_fail(request, ORR_ERR_UNAVAILABLE, "libcurl", message);
      return false;
    }
    client->multi = client->curl->multi_init();
    orr_assert(client->multi != NULL);
    client->curl->multi_setopt(client->multi, CURLMOPT_SOCKETFUNCTION, socket_changed);
    client->curl->multi_setopt(client->multi, CURLMOPT_SOCKETDATA, client);
    client->curl->multi_setopt(client->multi, CURLMOPT_TIMERFUNCTION, timeout_changed);
    client->curl->multi_setopt(client->multi, CURLMOPT_TIMERDATA, client);
    client->curl->multi_setopt(client->multi, CURLMOPT_MAXCONNECTS, IDLE_CONNECTIONS_MAX);
    client->curl->multi_setopt(client->multi, CURLMOPT_MAX_TOTAL_CONNECTIONS, CONNECTIONS_MAX);
  }
  request->curl = client->curl;
  return true;
}

struct orr_http_request *orr_http_start(struct orr_http_client *client,
                                        const struct orr_http_options *options,
                                        void (*done)(void *context, struct orr_http_result *result),
                                        void *context) {
  orr_assert(done != NULL && client->closing == 0);
  struct orr_http_request *request = orr_alloc(sizeof *request);
  orr_list_init(&request->node);
  request->client = client;
  request->done = done;
  request->context = context;
  if (client_connect(client, request) && orr__http_prepare(request, options) == ORR_OK) {
    request->in_multi = client->curl->multi_add_handle(client->multi, request->easy) == CURLM_OK;
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
  int error = uv_timer_init(loop, &client->timer);
  if (error == 0) error = uv_timer_init(loop, &client->soon);
  orr_assert(error == 0);
  client->timer.data = client->soon.data = client;
  return client;
}

static void timer_closed(uv_handle_t *handle) {
  struct orr_http_client *client = handle->data;
  if (--client->closing == 0) free(client);
}

void orr_http_client_free(struct orr_http_client *client) {
  if (client == NULL) return;
  client->closing = 2; // from here on no start
  while (!orr_list_empty(&client->open)) {
    struct orr_http_request *request = request_of(client->open.next);
    client->curl->multi_remove_handle(client->multi, request->easy);
    request->in_multi = false;
    orr_buf_free(&request->result.body);
    orr__http_fail(request, ORR_ERR_CANCELLED, "cancelled", "the HTTP client is closing");
    orr_list_remove(&request->node);
    orr_list_push_back(&client->finished, &request->node);
  }
  deliver(client);
  if (client->multi != NULL)
    client->curl->multi_cleanup(client->multi); // takes its sockets off the loop
  uv_close((uv_handle_t *)&client->timer, timer_closed);
  uv_close((uv_handle_t *)&client->soon, timer_closed);
}
