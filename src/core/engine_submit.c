// SPDX-License-Identifier: MIT
// New runs: may they come in (draining, bounds, idempotency key), and their creation. Keys are kept
// for
// ORR_IDEMPOTENCY_MS; the oldest go first when there are too many.
#include "core/engine_internal.h"

#include <stdlib.h>

static void key_free(struct orr_engine *engine, struct orr__key *key) {
  orr_map_remove(&engine->keys, key->key);
  orr_list_remove(&key->link);
  free((void *)(uintptr_t)key->key.data);
  free(key);
}

void orr__keys_free(struct orr_engine *engine) {
  while (!orr_list_empty(&engine->keys_by_age))
    key_free(engine, ORR_CONTAINER_OF(engine->keys_by_age.next, struct orr__key, link));
  orr_map_free(&engine->keys);
}

static void keys_expire(struct orr_engine *engine) {
  while (!orr_list_empty(&engine->keys_by_age)) {
    struct orr__key *key = ORR_CONTAINER_OF(engine->keys_by_age.next, struct orr__key, link);
    if (key->expires_ms > engine->now.wall_ms && engine->keys.len <= ORR_IDEMPOTENCY_KEYS_MAX)
      return;
    key_free(engine, key);
  }
}

void orr_engine_remember_key(struct orr_engine *engine, struct orr_slice text,
                             const struct orr_id *run, const struct orr_digest *request,
                             int64_t expires_ms) {
  struct orr__key *key = orr_map_get(&engine->keys, text);
  if (key != NULL) key_free(engine, key);
  struct orr_buf copy = ORR_BUF_INIT;
  orr_buf_slice_append(&copy, text);
  key = orr_alloc(sizeof(*key));
  key->key = orr_buf_slice(&copy);
  key->run = *run;
  key->request = *request;
  key->expires_ms = expires_ms;
  orr_list_push_back(&engine->keys_by_age, &key->link);
  orr_map_put(&engine->keys, key->key, key);
}

static void key_record(struct orr_engine *engine, const struct orr_event *event,
                       const struct orr_id *run) {
  struct orr_slice key = orr_blob_slice(event->submit.idempotency_key);
  int64_t expires_ms = engine->now.wall_ms + (int64_t)ORR_IDEMPOTENCY_MS;
  orr_engine_remember_key(engine, key, run, &event->submit.request, expires_ms);
  if (ORR_BUG(43)) return;
  struct orr_row *row = orr__row(engine, ORR_ROW_IDEMPOTENCY);
  row->run = *run;
  row->request = event->submit.request;
  row->expires_ms = expires_ms;
  orr__row_bytes(engine, key, &row->key_offset, &row->key_len);
}

static void reply_ids(struct orr_reply *reply, uint32_t len) {
  reply->ids = orr_alloc(len * sizeof(*reply->ids));
  reply->ids_len = len;
}

// True if the key is known: the answer has been given.
static bool key_answered(struct orr_engine *engine, const struct orr_event *event) {
  struct orr_slice text = orr_blob_slice(event->submit.idempotency_key);
  if (text.len == 0) return false;
  keys_expire(engine);
  const struct orr__key *key = orr_map_get(&engine->keys, text);
  if (key == NULL || key->expires_ms <= engine->now.wall_ms || ORR_BUG(30)) return false;
  if (!orr_digest_equal(&key->request, &event->submit.request) && !ORR_BUG(31)) {
    orr__reply(engine, event->reply_to, ORR_ERR_CONFLICT,
               "this Idempotency-Key was used for another request");
    return true;
  }
  struct orr_reply *reply = orr__reply(engine, event->reply_to, ORR_OK, NULL);
  reply_ids(reply, 1);
  reply->ids[0] = key->run;
  reply->existing = true;
  return true;
}

static const char *submit_refused(const struct orr_engine *engine, const struct orr_event *event) {
  if (engine->live + event->submit.inputs_len > ORR_RUNS_LIVE_MAX)
    return "too many runs are open; try again when some have ended";
  if (engine->ungathered > ORR_GATHER_LAG_RUNS_MAX)
    return "finished runs wait to be indexed; try again in a moment";
  return NULL;
}

void orr__submit(struct orr_engine *engine, struct orr_event *event) {
  orr_assert(event->submit.inputs_len >= 1 && event->submit.inputs_len <= ORR_EXECUTE_BATCH_MAX);
  if (key_answered(engine, event)) return;
  if (engine->draining) {
    orr__reply(engine, event->reply_to, ORR_ERR_UNAVAILABLE, "the engine is stopping");
    return;
  }
  const char *refused = submit_refused(engine, event);
  if (refused != NULL) {
    orr__reply(engine, event->reply_to, ORR_ERR_LIMIT, refused);
    return;
  }
  struct orr_reply *reply = orr__reply(engine, event->reply_to, ORR_OK, NULL);
  reply_ids(reply, event->submit.inputs_len);
  struct orr__create create = {.def = event->submit.def,
                               .trigger = event->submit.trigger,
                               .idempotency_key = orr_blob_slice(event->submit.idempotency_key),
                               .watch = event->submit.watch};
  for (uint32_t i = 0; i < event->submit.inputs_len; i++) {
    create.input = event->submit.inputs[i];
    reply->ids[i] = orr__run_create(engine, &create)->id;
  }
  if (create.idempotency_key.len > 0) key_record(engine, event, &reply->ids[0]);
}
