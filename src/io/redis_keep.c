// SPDX-License-Identifier: MIT
// Connections that somebody keeps for a while: sessions, and the way to one for subscriptions.
// Invariant: whoever keeps a link has put its own events on it and gives it back once. Thread: the
// loop's.
#include "io/redis_internal.h"

#include "base/check.h"

#include <stdlib.h>

#define ROUTES_MAX 5u // nodes of a Cluster tried, each after a fresh look at its map

// --- keeping a link ------------------------------------------------------------------------------

static void find(struct orr__redis_keep *keep);

static void taken(struct orr__redis_op *op) {
  struct orr__redis_keep *keep = op->owner;
  if (op->failure.status == ORR_OK) {
    keep->link = op->link;
    keep->taken(keep, NULL);
    return;
  }
  keep->pool = NULL;
  if (keep->client->cluster != NULL && op->failure.retryable && ++keep->tries < ROUTES_MAX) {
    orr__redis_cluster_stale(keep->client->cluster);
    find(keep);
    return;
  }
  keep->taken(keep, &op->failure);
}

static void loaded(struct orr__redis_hook *hook, const struct orr_redis_failure *failure) {
  struct orr__redis_keep *keep = ORR_CONTAINER_OF(hook, struct orr__redis_keep, hook);
  if (failure != NULL)
    keep->taken(keep, failure);
  else
    find(keep);
}

static void find(struct orr__redis_keep *keep) {
  struct orr_redis *client = keep->client;
  keep->pool = client->pool != NULL
                   ? client->pool
                   : orr__redis_cluster_pool(client->cluster, keep->slot, &keep->hook);
  if (keep->pool == NULL) return;
  keep->op = (struct orr__redis_op){.reads = true,
                                    .apart = true,
                                    .wait_ms = client->url.timeout_ms,
                                    .done = taken,
                                    .owner = keep};
  orr__redis_op_start(keep->pool, &keep->op);
}

void orr__redis_keep_start(struct orr__redis_keep *keep, struct orr_redis *client, int32_t slot,
                           void (*taken_)(struct orr__redis_keep *keep,
                                          const struct orr_redis_failure *failure)) {
  *keep = (struct orr__redis_keep){.client = client, .slot = slot, .taken = taken_};
  orr_list_init(&keep->hook.node);
  keep->hook.loaded = loaded;
  find(keep);
}

void orr__redis_keep_gone(struct orr__redis_keep *keep) {
  orr__redis_pool_gone(keep->pool, keep->link);
  keep->link = NULL;
  keep->pool = NULL;
}

void orr__redis_keep_stop(struct orr__redis_keep *keep, bool clean) {
  orr_list_remove(&keep->hook.node);
  if (keep->link != NULL)
    orr__redis_pool_release(keep->pool, keep->link, clean);
  else
    orr__redis_op_cancel(&keep->op);
  keep->link = NULL;
  keep->pool = NULL;
}

// --- sessions ------------------------------------------------------------------------------------

static void session_ignore(struct orr__redis_link *link) { (void)link; }

static void session_replied(struct orr__redis_link *link) {
  struct orr_redis_session *session = link->owner;
  struct orr_redis_request *request = session->request;
  struct orr_buf replies = orr_redis_reader_take(link->reader);
  session->request = NULL;
  orr_assert(request != NULL);
  orr__redis_request_done(request, NULL, &replies);
}

static void session_lost(struct orr__redis_link *link, const struct orr_redis_failure *failure) {
  struct orr_redis_session *session = link->owner;
  struct orr_redis_request *request = session->request;
  session->request = NULL;
  orr__redis_keep_gone(&session->keep);
  orr__redis_fail(&session->failure, ORR_ERR_IO, "closed", true,
                  "the session's connection was lost: %s", failure->message);
  if (request == NULL) return;
  struct orr_redis_failure told;
  orr__redis_lost_failure(&told, failure, request->reads);
  orr__redis_request_done(request, &told, NULL);
}

static const struct orr__redis_link_events session_events = {session_ignore, session_replied,
                                                             session_ignore, session_lost};

static void session_taken(struct orr__redis_keep *keep, const struct orr_redis_failure *failure) {
  struct orr_redis_session *session = ORR_CONTAINER_OF(keep, struct orr_redis_session, keep);
  if (failure != NULL) {
    struct orr_redis_failure copy = *failure;
    orr_redis_session_done done = session->done;
    void *context = session->context;
    orr_list_remove(&session->node);
    free(session);
    done(context, NULL, &copy);
    return;
  }
  keep->link->events = &session_events;
  keep->link->owner = session;
  session->done(session->context, session, NULL);
}

struct orr_redis_session *orr_redis_session_open(struct orr_redis *client, int32_t slot,
                                                 orr_redis_session_done done, void *context) {
  orr_assert(!client->closing);
  struct orr_redis_session *session = orr_alloc(sizeof(*session));
  session->client = client;
  session->done = done;
  session->context = context;
  orr_list_push_back(&client->sessions, &session->node);
  orr__redis_keep_start(&session->keep, client, slot, session_taken);
  return session;
}

void orr_redis_session_close(struct orr_redis_session *session, bool clean) {
  if (session == NULL) return;
  if (session->client != NULL) {
    struct orr_redis_request *request = session->request;
    orr__redis_keep_stop(&session->keep, clean && request == NULL);
    if (request != NULL) {
      request->session = NULL;
      orr__redis_fail(&request->failure, ORR_ERR_CANCELLED, "closed", false,
                      "its session was closed");
      orr__redis_request_fail_soon(request);
    }
  }
  orr_list_remove(&session->node);
  free(session);
}

bool orr__redis_session_start(struct orr_redis_request *request) {
  struct orr_redis_session *session = request->session;
  if (session->keep.link == NULL) {
    request->failure = session->failure;
    if (request->failure.status == ORR_OK)
      orr__redis_fail(&request->failure, ORR_ERR_UNAVAILABLE, "closed", true,
                      "the session has no connection");
    return false;
  }
  if (session->request != NULL) {
    orr__redis_fail(&request->failure, ORR_ERR_BUSY, "session", false,
                    "another command runs in this session");
    return false;
  }
  session->request = request;
  orr__redis_link_send(session->keep.link, orr_buf_slice(&request->batch.bytes), request->batch.len,
                       request->answer_ms);
  return true;
}

// Its answer would be taken for the next one's: the connection goes.
void orr__redis_session_cancel(struct orr_redis_request *request) {
  struct orr_redis_session *session = request->session;
  if (session->request != request) return;
  session->request = NULL;
  orr__redis_keep_stop(&session->keep, false);
  orr__redis_fail(&session->failure, ORR_ERR_CANCELLED, "closed", true,
                  "a command of this session was cancelled");
}

void orr__redis_session_dead(struct orr_redis_session *session) {
  bool waiting = session->keep.link == NULL && orr__redis_op_open(&session->keep.op);
  waiting = waiting || orr_list_linked(&session->keep.hook.node);
  orr__redis_keep_stop(&session->keep, false);
  orr_list_remove(&session->node);
  if (waiting) {
    struct orr_redis_failure failure;
    orr__redis_fail(&failure, ORR_ERR_CANCELLED, "closed", true, "the Redis client is closing");
    session->done(session->context, NULL, &failure);
    free(session);
    return;
  }
  session->client = NULL; // its holder frees it
}
