// SPDX-License-Identifier: MIT
// The client: its timers (one wheel, one uv timer), its requests, its end. Invariant: `done` of a
// request is called from the loop (or from orr_redis_free), once. Thread: the loop's.
#include "io/redis_internal.h"

#include "base/check.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

#define BACKOFF_MS 20u
#define BACKOFF_MS_MAX 1000u

// --- failures ------------------------------------------------------------------------------------

void orr__redis_fail(struct orr_redis_failure *failure, enum orr_status status, const char *code,
                     bool retryable, const char *format, ...) {
  struct orr_redis_failure out = {.status = status, .retryable = retryable};
  va_list args;
  snprintf(out.code, sizeof(out.code), "%s", code);
  va_start(args, format);
  vsnprintf(out.message, sizeof(out.message), format, args);
  va_end(args);
  *failure = out; // last: the arguments may lie in it
}

void orr_redis_failure_of_reply(struct orr_redis_failure *failure, struct orr_slice text) {
  static const char *const later[] = {
      "loading",  "tryagain",   "clusterdown", "masterdown", "busy",
      "readonly", "noreplicas", "moved",       "ask"}; // not carried out; may work soon
  struct orr_redis_failure out = {.status = ORR_ERR_INVALID};
  size_t len = 0;
  while (len < text.len && len + 1 < sizeof(out.code) && isupper(text.data[len])) {
    out.code[len] = (char)tolower(text.data[len]);
    len++;
  }
  if (len == 0 || (len < text.len && text.data[len] != ' '))
    snprintf(out.code, sizeof(out.code), "err");
  snprintf(out.message, sizeof(out.message), "%.*s", (int)(text.len < 255 ? text.len : 255),
           text.len > 0 ? (const char *)text.data : "");
  for (size_t i = 0; i < sizeof(later) / sizeof(*later); i++)
    out.retryable = out.retryable || strcmp(out.code, later[i]) == 0;
  *failure = out;
}

// --- timers --------------------------------------------------------------------------------------

uint64_t orr__redis_now_ms(void) { return orr_clock_now().mono_ms; }

static void timer_arm(struct orr_redis *client);

static void timer_fired(uv_timer_t *handle) {
  struct orr_redis *client = handle->data;
  struct orr_list fired, *node;
  orr_list_init(&fired);
  client->armed_ms = ORR_WHEEL_NEVER;
  orr_wheel_advance(&client->wheel, orr__redis_now_ms(), &fired);
  while ((node = orr_list_pop_front(&fired)) != NULL) {
    struct orr__redis_timer *timer = ORR_CONTAINER_OF(
        ORR_CONTAINER_OF(node, struct orr_timer, link), struct orr__redis_timer, timer);
    timer->fired(timer);
  }
  timer_arm(client);
}

static void timer_arm(struct orr_redis *client) {
  uint64_t next_ms = orr_wheel_next(&client->wheel);
  if (client->closing || next_ms >= client->armed_ms)
    return; // fires early at worst, and then looks again
  uint64_t now_ms = orr__redis_now_ms();
  client->armed_ms = next_ms;
  uv_update_time(client->loop);
  uv_timer_start(&client->timer, timer_fired, next_ms > now_ms ? next_ms - now_ms : 0, 0);
}

void orr__redis_timer_set(struct orr_redis *client, struct orr__redis_timer *timer,
                          uint64_t deadline_ms, void (*fired)(struct orr__redis_timer *timer)) {
  timer->fired = fired;
  orr_wheel_add(&client->wheel, &timer->timer, deadline_ms);
  if (deadline_ms < client->armed_ms) timer_arm(client);
}

void orr__redis_timer_stop(struct orr_redis *client, struct orr__redis_timer *timer) {
  orr_wheel_cancel(&client->wheel, &timer->timer);
}

uint64_t orr__redis_backoff_ms(struct orr_redis *client, uint32_t failures) {
  uint64_t most_ms = BACKOFF_MS;
  for (uint32_t i = 1; i < failures && most_ms < BACKOFF_MS_MAX; i++) most_ms *= 2;
  if (most_ms > BACKOFF_MS_MAX) most_ms = BACKOFF_MS_MAX;
  return most_ms / 2 + orr_rng_below(&client->rng, most_ms / 2 + 1);
}

// --- requests ------------------------------------------------------------------------------------

static void request_free(struct orr_redis_request *request) {
  orr__redis_timer_stop(request->client, &request->timer);
  if (request->work != NULL) orr__redis_cluster_release(request);
  orr_list_remove(&request->node);
  request->client->requests_len--;
  orr_redis_batch_free(&request->batch);
  free(request);
}

void orr__redis_request_done(struct orr_redis_request *request,
                             const struct orr_redis_failure *failure, struct orr_buf *replies) {
  struct orr_redis_result result = {0};
  if (failure != NULL) result.failure = *failure;
  if (replies != NULL) {
    result.replies = *replies;
    *replies = ORR_BUF_INIT;
  }
  request->done_running = true;
  request->done(request->context, &result);
  orr_buf_free(&result.replies);
  request_free(request);
}

static void op_done(struct orr__redis_op *op) {
  struct orr_redis_request *request = op->owner;
  bool failed = op->failure.status != ORR_OK;
  orr__redis_request_done(request, failed ? &op->failure : NULL, &op->replies);
}

void orr__redis_request_op(const struct orr_redis_request *request, struct orr__redis_op *op) {
  op->reads = request->reads;
  op->apart = request->blocks;
  op->timeout_ms = request->answer_ms;
  op->wait_ms = request->wait_ms;
}

// What the whole batch is: it blocks if one of it does, and reads if all of it does.
static void classify(struct orr_redis_request *request) {
  uint64_t block_ms = 0;
  bool forever = false;
  request->reads = true;
  for (uint32_t i = 0; i < request->batch.len; i++) {
    const struct orr_redis_command *command = &request->batch.commands[i];
    if ((command->flags & ORR_REDIS_READS) == 0) request->reads = false;
    if ((command->flags & ORR_REDIS_BLOCKS) == 0 || request->batch.atomic)
      continue; // inside MULTI nothing blocks
    request->blocks = true;
    block_ms += command->block_ms;
    if (command->block_ms == 0) forever = true;
  }
  uint64_t timeout_ms = request->options.timeout_ms != 0 ? request->options.timeout_ms
                                                         : request->client->url.timeout_ms;
  request->wait_ms = timeout_ms;
  request->answer_ms = forever ? 0 : timeout_ms + block_ms;
}

static bool check(struct orr_redis_request *request) {
  struct orr_redis_failure *failure = &request->failure;
  for (uint32_t i = 0; i < request->batch.len; i++) {
    uint32_t flags = request->batch.commands[i].flags;
    if ((flags & ORR_REDIS_PUSHES) != 0)
      orr__redis_fail(
          failure, ORR_ERR_INVALID, "session", false,
          "this command changes how Redis answers: subscribe by r:subscribe; it is not sent");
    else if ((flags & ORR_REDIS_SESSION) != 0 && request->session == NULL && !request->batch.atomic)
      orr__redis_fail(failure, ORR_ERR_INVALID, "session", false,
                      "this command changes its connection, and that is shared: use r:transaction "
                      "or r:session");
    if (failure->status != ORR_OK) return false;
  }
  if (request->batch.bytes.len <= ORR_REDIS_COMMAND_BYTES_MAX) return true;
  orr__redis_fail(failure, ORR_ERR_LIMIT, "limit", false, "the commands are larger than 512 MiB");
  return false;
}

static void failed_fired(struct orr__redis_timer *timer) {
  struct orr_redis_request *request = ORR_CONTAINER_OF(timer, struct orr_redis_request, timer);
  struct orr_redis_failure failure = request->failure;
  orr__redis_request_done(request, &failure, NULL);
}

void orr__redis_request_fail_soon(struct orr_redis_request *request) {
  orr_assert(request->failure.status != ORR_OK);
  orr__redis_timer_set(request->client, &request->timer, 0, failed_fired);
}

struct orr_redis_request *orr_redis_start(struct orr_redis *client, struct orr_redis_batch *batch,
                                          const struct orr_redis_options *options,
                                          orr_redis_done done, void *context) {
  orr_assert(!client->closing && batch->len > 0 && done != NULL);
  struct orr_redis_request *request = orr_alloc(sizeof(*request));
  request->client = client;
  request->batch = *batch;
  *batch = ORR_REDIS_BATCH_INIT;
  if (options != NULL) request->options = *options;
  request->session = request->options.session;
  request->done = done;
  request->context = context;
  orr_list_push_back(&client->requests, &request->node);
  client->requests_len++;
  classify(request);
  if (!check(request)) {
    orr__redis_request_fail_soon(request);
  } else if (request->session != NULL) {
    if (!orr__redis_session_start(request)) orr__redis_request_fail_soon(request);
  } else if (client->cluster != NULL) {
    orr__redis_cluster_start(request);
  } else {
    orr__redis_request_op(request, &request->op);
    request->op.bytes = orr_buf_slice(&request->batch.bytes);
    request->op.count = request->batch.len;
    request->op.done = op_done;
    request->op.owner = request;
    orr__redis_op_start(client->pool, &request->op);
  }
  return request;
}

void orr_redis_cancel(struct orr_redis_request *request) {
  if (request->done_running) return;
  if (request->session != NULL) orr__redis_session_cancel(request);
  orr__redis_op_cancel(&request->op);
  request_free(request);
}

// --- the client ----------------------------------------------------------------------------------

struct orr_redis *orr_redis_new(uv_loop_t *loop, const struct orr_redis_url *url) {
  struct orr_redis *client = orr_alloc(sizeof(*client));
  client->loop = loop;
  client->url = *url;
  client->read_buffer = orr_alloc(ORR__REDIS_READ_BYTES);
  client->rng.state = orr_clock_mono_us() ^ (uint64_t)(uintptr_t)client;
  client->armed_ms = ORR_WHEEL_NEVER;
  orr_wheel_init(&client->wheel, orr__redis_now_ms());
  orr_list_init(&client->requests);
  orr_list_init(&client->sessions);
  orr_list_init(&client->subscriptions);
  orr_list_init(&client->links);
  int error = uv_timer_init(loop, &client->timer);
  orr_assert(error == 0);
  client->timer.data = client;
  switch (url->mode) {
  case ORR_REDIS_SINGLE:
    client->pool = orr__redis_pool_new(client, &client->url.hosts[0], false);
    break;
  case ORR_REDIS_SENTINEL:
    client->pool = orr__redis_pool_new(client, NULL, false);
    break;
  case ORR_REDIS_CLUSTER:
    client->cluster = orr__redis_cluster_new(client);
    break;
  }
  return client;
}

struct orr_redis_counts orr_redis_count(const struct orr_redis *client) {
  struct orr_redis_counts counts = {.requests = client->requests_len};
  if (client->pool != NULL) orr__redis_pool_count(client->pool, &counts);
  if (client->cluster != NULL) orr__redis_cluster_count(client->cluster, &counts);
  return counts;
}

void orr__redis_client_turn(struct orr_redis *client) {
  if (!client->closing || !client->timer_closed || !orr_list_empty(&client->links)) return;
  free(client->read_buffer);
  free(client);
}

static void timer_closed(uv_handle_t *handle) {
  struct orr_redis *client = handle->data;
  client->timer_closed = true;
  orr__redis_client_turn(client);
}

void orr_redis_free(struct orr_redis *client) {
  if (client == NULL) return;
  struct orr_redis_failure failure;
  client->closing = true; // from here on no start
  orr__redis_fail(&failure, ORR_ERR_CANCELLED, "closed", true, "the Redis client is closing");
  while (!orr_list_empty(&client->requests)) {
    struct orr_redis_request *request =
        ORR_CONTAINER_OF(client->requests.next, struct orr_redis_request, node);
    if (request->session != NULL) orr__redis_session_cancel(request);
    orr__redis_op_cancel(&request->op);
    if (request->work != NULL) orr__redis_cluster_release(request);
    orr__redis_request_done(request, &failure, NULL);
  }
  while (!orr_list_empty(&client->sessions))
    orr__redis_session_dead(
        ORR_CONTAINER_OF(client->sessions.next, struct orr_redis_session, node));
  while (!orr_list_empty(&client->subscriptions))
    orr__redis_subscription_dead(
        ORR_CONTAINER_OF(client->subscriptions.next, struct orr_redis_subscription, node));
  orr__redis_pool_free(client->pool);
  orr__redis_cluster_free(client->cluster);
  client->pool = NULL;
  client->cluster = NULL;
  uv_close((uv_handle_t *)&client->timer, timer_closed);
}
