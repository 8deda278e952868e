// SPDX-License-Identifier: MIT
// Replies and events as objects: freeing what they own, and making an answer. Any holder, one at a
// time.
#include "core/engine_internal.h"

#include <stdarg.h>
#include <stdlib.h>

void orr_reply_free(struct orr_reply *reply) {
  if (reply == NULL) return;
  free(reply->ids);
  if (reply->def != NULL) orr_def_unref(reply->def);
  orr_blob_unref(reply->journal);
  free(reply->attempts);
  free(reply->reasons);
  for (uint32_t i = 0; i < reply->runs_len; i++) orr_def_unref(reply->runs[i].def);
  free(reply->runs);
  orr_blob_unref(reply->value);
  free(reply);
}

struct orr_event *orr_event_new(enum orr_event_type type) {
  struct orr_event *event = orr_alloc(sizeof(*event));
  event->type = type;
  return event;
}

static void submit_free(struct orr_event *event) {
  if (event->submit.def != NULL) orr_def_unref(event->submit.def);
  if (event->submit.inputs != NULL)
    for (uint32_t i = 0; i < event->submit.inputs_len; i++) orr_blob_unref(event->submit.inputs[i]);
  free(event->submit.inputs);
  orr_blob_unref(event->submit.idempotency_key);
}

void orr_event_free(struct orr_event *event) {
  if (event == NULL) return;
  switch (event->type) {
  case ORR_EVENT_SUBMIT: submit_free(event); break;
  case ORR_EVENT_RESULT: orr_task_free(event->result.task); break;
  case ORR_EVENT_RECOVER:
    if (event->recover.def != NULL) orr_def_unref(event->recover.def);
    orr_blob_unref(event->recover.journal);
    free(event->recover.in_flight);
    break;
  case ORR_EVENT_GATHERED: free(event->gathered.handles); break;
  case ORR_EVENT_CANCEL:
  case ORR_EVENT_PAUSE:
  case ORR_EVENT_RESUME:
  case ORR_EVENT_GET:
  case ORR_EVENT_AWAIT:
  case ORR_EVENT_LIST:
  case ORR_EVENT_FETCH:
  case ORR_EVENT_WATCH:
  case ORR_EVENT_SLOTS:
  case ORR_EVENT_DRAIN: break;
  }
  free(event);
}

const char *orr_reason_text(enum orr_reason_code code) {
  switch (code) {
#define X(name, text) \
  case ORR_REASON_##name: return text;
    ORR_REASON_LIST(X)
#undef X
  }
  return "unknown";
}

struct orr_reply *orr__reply(struct orr_engine *engine, struct orr_reply_to to,
                             enum orr_status status, const char *message) {
  struct orr_reply *reply = orr_alloc(sizeof(*reply));
  reply->to = to;
  reply->status = status;
  if (message != NULL) {
    size_t len = strlen(message);
    if (len >= sizeof(reply->message)) len = sizeof(reply->message) - 1;
    memcpy(reply->message, message, len);
  }
  orr__effect(engine, ORR_EFFECT_REPLY)->reply = reply;
  return reply;
}
