// SPDX-License-Identifier: MIT
// Subscriptions: a connection on which messages come unasked. Invariant: what was read and not yet
// fetched stays below ORR_REDIS_UNREAD_BYTES_MAX and one read; over that, nothing is read from the
// socket. After a lost connection it subscribes anew, for GIVE_UP_MS at most. Thread: the loop's.
#include "io/redis_internal.h"

#include "base/check.h"

#include <stdlib.h>

#define GIVE_UP_MS 60000u
#define CONFIRM_MS 10000u
#define MOVES_MAX 5u

struct message {
  struct orr_list node;
  size_t len;
  uint8_t bytes[];
};

static void begin(struct orr_redis_subscription *self);

static void tell(struct orr_redis_subscription *self) {
  if (self->changed != NULL) self->changed(self->context);
}

// --- messages ------------------------------------------------------------------------------------

static void keep_message(struct orr_redis_subscription *self, struct orr_slice reply) {
  struct message *message = orr_alloc(sizeof(*message) + reply.len);
  message->len = reply.len;
  memcpy(message->bytes, reply.data, reply.len);
  orr_list_push_back(&self->unread, &message->node);
  self->unread_bytes += sizeof(*message) + reply.len;
}

static bool first_word(struct orr_slice reply, struct orr_slice *word) {
  struct orr_reader cursor = orr_reader_of(reply);
  struct orr_redis_node node;
  *word = orr_slice_of(NULL, 0);
  if (!orr_redis_node_next(&cursor, &node)) return false;
  if (node.type == ORR_REDIS_ERROR) {
    *word = node.text;
    return false;
  }
  if (node.type != ORR_REDIS_ARRAY || node.len < 3 || !orr_redis_node_next(&cursor, &node))
    return false;
  if (node.type == ORR_REDIS_STRING) *word = node.text;
  return node.type == ORR_REDIS_STRING;
}

static bool is_confirmation(struct orr_slice word) {
  return orr_slice_equal(word, ORR_SLICE_LITERAL("subscribe")) ||
         orr_slice_equal(word, ORR_SLICE_LITERAL("psubscribe")) ||
         orr_slice_equal(word, ORR_SLICE_LITERAL("ssubscribe"));
}
static bool is_message(struct orr_slice word) {
  return orr_slice_equal(word, ORR_SLICE_LITERAL("message")) ||
         orr_slice_equal(word, ORR_SLICE_LITERAL("pmessage")) ||
         orr_slice_equal(word, ORR_SLICE_LITERAL("smessage"));
}

static void fail(struct orr_redis_subscription *self, const struct orr_redis_failure *failure) {
  self->failure = *failure;
  tell(self);
}

// --- the connection ------------------------------------------------------------------------------

static void again(struct orr__redis_timer *timer) {
  begin(ORR_CONTAINER_OF(timer, struct orr_redis_subscription, timer));
}

static void later(struct orr_redis_subscription *self, const struct orr_redis_failure *failure) {
  uint64_t now_ms = orr__redis_now_ms();
  if (self->lost_ms == 0) self->lost_ms = now_ms;
  if (!self->ready || !failure->retryable || now_ms - self->lost_ms > GIVE_UP_MS) {
    fail(self, failure);
    return;
  }
  orr__redis_timer_set(self->client, &self->timer, now_ms + orr__redis_backoff_ms(self->client, 3),
                       again);
}

static void drop_link(struct orr_redis_subscription *self) {
  orr__redis_timer_stop(self->client, &self->timer);
  orr__redis_keep_stop(&self->keep, false);
}

static void on_lost(struct orr__redis_link *link, const struct orr_redis_failure *failure) {
  struct orr_redis_subscription *self = link->owner;
  struct orr_redis_failure copy = *failure;
  copy.retryable = strcmp(failure->code, "protocol") != 0;
  if (strcmp(copy.code, "closed") == 0)
    orr__redis_fail(&copy, ORR_ERR_IO, "connect", true, "%s", failure->message);
  orr__redis_timer_stop(self->client, &self->timer);
  orr__redis_keep_gone(&self->keep);
  later(self, &copy);
}

static void refused(struct orr_redis_subscription *self, struct orr_slice text) {
  struct orr_redis_failure failure;
  orr_redis_failure_of_reply(&failure, text);
  bool moved = strcmp(failure.code, "moved") == 0;
  drop_link(self);
  if (moved && self->client->cluster != NULL && self->moves++ < MOVES_MAX) {
    orr__redis_cluster_stale(self->client->cluster);
    begin(self);
  } else {
    later(self, &failure);
  }
}

static void on_pushed(struct orr__redis_link *link) {
  struct orr_redis_subscription *self = link->owner;
  struct orr_buf replies = orr_redis_reader_take(link->reader);
  struct orr_reader cursor = orr_reader_of(orr_buf_slice(&replies));
  struct orr_slice reply, word;
  bool news = false;
  while (orr_redis_reply_next(&cursor, &reply)) {
    if (!first_word(reply, &word)) {
      if (word.len > 0) {
        refused(self, word);
        orr_buf_free(&replies);
        return;
      }
      continue; // nothing that a subscriber is sent
    }
    if (is_message(word)) {
      keep_message(self, reply);
      news = true;
    } else if (is_confirmation(word) && self->missing > 0 && --self->missing == 0) {
      orr__redis_timer_stop(self->client, &self->timer);
      self->lost_ms = 0;
      self->moves = 0;
      news = news || !self->ready;
      self->ready = true;
    }
  }
  orr_buf_free(&replies);
  if (self->unread_bytes > ORR_REDIS_UNREAD_BYTES_MAX) {
    self->paused = true;
    orr__redis_link_pause(link, true);
  }
  if (news) tell(self);
}

static void ignore(struct orr__redis_link *link) { (void)link; }
static const struct orr__redis_link_events events = {ignore, ignore, on_pushed, on_lost};

static void unconfirmed(struct orr__redis_timer *timer) {
  struct orr_redis_subscription *self =
      ORR_CONTAINER_OF(timer, struct orr_redis_subscription, timer);
  struct orr_redis_failure failure;
  drop_link(self);
  orr__redis_fail(&failure, ORR_ERR_TIMEOUT, "timeout", true,
                  "Redis did not confirm the subscription in time");
  later(self, &failure);
}

static void on_taken(struct orr__redis_keep *keep, const struct orr_redis_failure *failure) {
  struct orr_redis_subscription *self = ORR_CONTAINER_OF(keep, struct orr_redis_subscription, keep);
  if (failure != NULL) {
    struct orr_redis_failure copy = *failure;
    later(self, &copy);
    return;
  }
  keep->link->events = &events;
  keep->link->owner = self;
  self->missing = self->channels;
  self->paused = false;
  orr__redis_link_push(keep->link);
  orr__redis_timer_set(self->client, &self->timer, orr__redis_now_ms() + CONFIRM_MS, unconfirmed);
  orr__redis_link_more(keep->link, orr_buf_slice(&self->command));
}

static void begin(struct orr_redis_subscription *self) {
  orr__redis_keep_start(&self->keep, self->client, self->keep.slot, on_taken);
}

// --- from outside --------------------------------------------------------------------------------

struct orr_redis_subscription *
orr_redis_subscribe_open(struct orr_redis *client, enum orr_redis_subscribe kind,
                         const struct orr_slice *channels, size_t count,
                         void (*changed)(void *context), void *context) {
  static const char *const words[] = {"SUBSCRIBE", "PSUBSCRIBE", "SSUBSCRIBE"};
  orr_assert(!client->closing && count > 0 && count < ORR_REDIS_ARGS_MAX);
  struct orr_redis_subscription *self = orr_alloc(sizeof(*self));
  struct orr_slice *args = orr_alloc((count + 1) * sizeof(*args));
  args[0] = orr_slice_text(words[kind]);
  memcpy(args + 1, channels, count * sizeof(*args));
  orr_redis_format(&self->command, args, count + 1);
  free(args);
  self->client = client;
  self->channels = (uint32_t)count;
  self->changed = changed;
  self->context = context;
  orr_list_init(&self->unread);
  orr_list_push_back(&client->subscriptions, &self->node);
  self->keep.slot =
      kind == ORR_REDIS_SSUBSCRIBE ? orr_redis_slot(channels[0]) : ORR_REDIS_SLOT_NONE;
  begin(self);
  return self;
}

enum orr_status orr_redis_subscription_next(struct orr_redis_subscription *self,
                                            struct orr_buf *out,
                                            struct orr_redis_failure *failure) {
  struct orr_list *node = orr_list_pop_front(&self->unread);
  if (node == NULL) {
    if (self->failure.status == ORR_OK) return ORR_ERR_NOT_FOUND;
    *failure = self->failure;
    return self->failure.status;
  }
  struct message *message = ORR_CONTAINER_OF(node, struct message, node);
  self->unread_bytes -= sizeof(*message) + message->len;
  orr_buf_append(out, message->bytes, message->len);
  free(message);
  if (self->paused && self->keep.link != NULL &&
      self->unread_bytes < ORR_REDIS_UNREAD_BYTES_MAX / 2) {
    self->paused = false;
    orr__redis_link_pause(self->keep.link, false);
  }
  return ORR_OK;
}

bool orr_redis_subscription_pending(const struct orr_redis_subscription *self) {
  return !orr_list_empty(&self->unread) || self->failure.status != ORR_OK;
}

static void nudged(struct orr__redis_timer *timer) {
  tell(ORR_CONTAINER_OF(timer, struct orr_redis_subscription, nudge));
}

void orr_redis_subscription_wake_in(struct orr_redis_subscription *self, uint64_t ms) {
  if (self->client != NULL)
    orr__redis_timer_set(self->client, &self->nudge, orr__redis_now_ms() + ms, nudged);
}

bool orr_redis_subscription_ready(const struct orr_redis_subscription *self) { return self->ready; }

void orr__redis_subscription_dead(struct orr_redis_subscription *self) {
  drop_link(self);
  orr__redis_timer_stop(self->client, &self->nudge);
  orr_list_remove(&self->node);
  orr__redis_fail(&self->failure, ORR_ERR_CANCELLED, "closed", true, "the Redis client is closing");
  self->client = NULL;
  tell(self);
}

void orr_redis_subscription_close(struct orr_redis_subscription *self) {
  if (self == NULL) return;
  if (self->client != NULL) {
    drop_link(self);
    orr__redis_timer_stop(self->client, &self->nudge);
  }
  orr_list_remove(&self->node);
  struct orr_list *node;
  while ((node = orr_list_pop_front(&self->unread)) != NULL)
    free(ORR_CONTAINER_OF(node, struct message, node));
  orr_buf_free(&self->command);
  free(self);
}
