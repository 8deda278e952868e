// SPDX-License-Identifier: MIT
// libcurl's multi handle on a worker's uv loop: its sockets are uv_poll_t, its one timeout is a
// uv_timer_t. Invariant: `turned` runs only outside libcurl's own callbacks, so what it does may
// start and cancel requests. Thread: the loop's. Must not know what a request is.
#include "base/check.h"
#include "io/http_curl.h"

#include <stdlib.h>

#define IDLE_CONNECTIONS_MAX 32L
#define CONNECTIONS_MAX 256L // further requests wait inside libcurl; their time runs

struct watch { // one socket of libcurl
  uv_poll_t poll;
  struct orr__http_pool *pool;
  curl_socket_t fd;
};

// Hands on what libcurl has finished.
static void collect(struct orr__http_pool *pool) {
  CURLMsg *message;
  int left;
  while ((message = pool->curl->multi_info_read(pool->multi, &left)) != NULL) {
    if (message->msg != CURLMSG_DONE) continue;
    void *private = NULL;
    CURLcode code = message->data.result; // before the handle is removed, which frees the message
    pool->curl->easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &private);
    pool->ended(private, code);
  }
}

static void act(struct orr__http_pool *pool, curl_socket_t fd, int flags) {
  int running;
  pool->curl->multi_socket_action(pool->multi, fd, flags, &running);
  collect(pool);
  pool->turned(pool->client);
}

static void socket_ready(uv_poll_t *poll, int status, int events) {
  struct watch *watch = poll->data;
  int flags = status < 0 ? CURL_CSELECT_ERR : 0;
  if (events & UV_READABLE) flags |= CURL_CSELECT_IN;
  if (events & UV_WRITABLE) flags |= CURL_CSELECT_OUT;
  act(watch->pool, watch->fd, flags);
}

static void watch_closed(uv_handle_t *handle) { free(handle->data); }

static struct watch *watch_new(struct orr__http_pool *pool, curl_socket_t fd) {
  struct watch *watch = orr_alloc(sizeof *watch);
  watch->pool = pool;
  watch->fd = fd;
  watch->poll.data = watch;
  if (uv_poll_init_socket(pool->loop, &watch->poll, fd) == 0) return watch;
  free(watch);
  return NULL;
}

static int socket_changed(CURL *easy, curl_socket_t fd, int what, void *context,
                          void *socket_context) {
  (void)easy;
  struct orr__http_pool *pool = context;
  struct watch *watch = socket_context;
  if (what == CURL_POLL_REMOVE) {
    if (watch == NULL) return 0;
    pool->curl->multi_assign(pool->multi, fd, NULL);
    uv_poll_stop(&watch->poll); // libcurl closes the descriptor right after this
    uv_close((uv_handle_t *)&watch->poll, watch_closed);
    return 0;
  }
  if (watch == NULL) {
    watch = watch_new(pool, fd);
    if (watch == NULL) return -1;
    pool->curl->multi_assign(pool->multi, fd, watch);
  }
  int events = (what & CURL_POLL_IN ? UV_READABLE : 0) | (what & CURL_POLL_OUT ? UV_WRITABLE : 0);
  if (events == 0) return uv_poll_stop(&watch->poll); // paused both ways
  return uv_poll_start(&watch->poll, events, socket_ready) == 0 ? 0 : -1;
}

static void timeout_fired(uv_timer_t *timer) { act(timer->data, CURL_SOCKET_TIMEOUT, 0); }

static int timeout_changed(CURLM *multi, long timeout_ms, void *context) {
  (void)multi;
  struct orr__http_pool *pool = context;
  if (timeout_ms < 0) {
    uv_timer_stop(&pool->timer);
    return 0;
  }
  uv_update_time(pool->loop);
  uv_timer_start(&pool->timer, timeout_fired, (uint64_t)timeout_ms, 0);
  return 0;
}

void orr__http_pool_init(struct orr__http_pool *pool, uv_loop_t *loop) {
  pool->loop = loop;
  int error = uv_timer_init(loop, &pool->timer);
  orr_assert(error == 0);
  pool->timer.data = pool;
}

void orr__http_pool_open(struct orr__http_pool *pool, const struct orr__curl *curl,
                         bool multiplex) {
  if (pool->multi != NULL) return;
  pool->curl = curl;
  pool->multi = curl->multi_init();
  orr_assert(pool->multi != NULL);
  curl->multi_setopt(pool->multi, CURLMOPT_SOCKETFUNCTION, socket_changed);
  curl->multi_setopt(pool->multi, CURLMOPT_SOCKETDATA, pool);
  curl->multi_setopt(pool->multi, CURLMOPT_TIMERFUNCTION, timeout_changed);
  curl->multi_setopt(pool->multi, CURLMOPT_TIMERDATA, pool);
  curl->multi_setopt(pool->multi, CURLMOPT_MAXCONNECTS, IDLE_CONNECTIONS_MAX);
  curl->multi_setopt(pool->multi, CURLMOPT_MAX_TOTAL_CONNECTIONS, CONNECTIONS_MAX);
  curl->multi_setopt(pool->multi, CURLMOPT_PIPELINING,
                     multiplex ? (long)CURLPIPE_MULTIPLEX : (long)CURLPIPE_NOTHING);
}

void orr__http_pool_close(struct orr__http_pool *pool, uv_close_cb closed) {
  if (pool->multi != NULL) pool->curl->multi_cleanup(pool->multi); // takes its sockets off the loop
  pool->multi = NULL;
  uv_close((uv_handle_t *)&pool->timer, closed);
}
