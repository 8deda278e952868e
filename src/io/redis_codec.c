// SPDX-License-Identifier: MIT
// hiredis' reader, with callbacks that write flat replies instead of a tree. Invariant: `replies`
// up to `whole` are complete; what follows belongs to the reply that is being read. Thread: the
// owner's.
#include "io/redis_codec.h"

#include "base/check.h"

#include <hiredis/read.h>
#include <stdio.h>
#include <stdlib.h>

struct orr_redis_reader {
  redisReader *reader;
  struct orr_buf replies;
  size_t whole;
  bool over; // the reply was given up: too large
};

// --- nodes ---------------------------------------------------------------------------------------

void orr_redis_node_append(struct orr_buf *out, const struct orr_redis_node *node) {
  orr_buf_u8(out, (uint8_t)node->type);
  switch (node->type) {
  case ORR_REDIS_STRING:
  case ORR_REDIS_STATUS:
  case ORR_REDIS_ERROR:
    orr_buf_bytes(out, node->text);
    break;
  case ORR_REDIS_ARRAY:
    orr_buf_varint(out, node->len);
    break;
  case ORR_REDIS_INTEGER:
    orr_buf_svarint(out, node->integer);
    break;
  case ORR_REDIS_NIL:
    break;
  }
}

bool orr_redis_node_next(struct orr_reader *cursor, struct orr_redis_node *node) {
  if (cursor->at == cursor->end || cursor->failed) return false;
  *node = (struct orr_redis_node){.type = (enum orr_redis_type)orr_read_u8(cursor)};
  switch (node->type) {
  case ORR_REDIS_STRING:
  case ORR_REDIS_STATUS:
  case ORR_REDIS_ERROR:
    node->text = orr_read_bytes(cursor);
    break;
  case ORR_REDIS_ARRAY:
    node->len = orr_read_varint(cursor);
    break;
  case ORR_REDIS_INTEGER:
    node->integer = orr_read_svarint(cursor);
    break;
  case ORR_REDIS_NIL:
    break;
  }
  orr_assert(!cursor->failed); // we wrote it
  return true;
}

bool orr_redis_reply_next(struct orr_reader *cursor, struct orr_slice *reply) {
  const uint8_t *start = cursor->at;
  struct orr_redis_node node;
  uint64_t open = 1;
  while (open > 0) {
    if (!orr_redis_node_next(cursor, &node)) return false;
    open--;
    if (node.type == ORR_REDIS_ARRAY) open += node.len;
  }
  *reply = orr_slice_of(start, (size_t)(cursor->at - start));
  return true;
}

// --- callbacks of hiredis: any pointer that is not NULL stands for "taken" -----------------------

static void *append(const redisReadTask *task, const struct orr_redis_node *node) {
  struct orr_redis_reader *self = task->privdata;
  if (self->replies.len - self->whole + node->text.len > ORR_REDIS_REPLY_BYTES_MAX) {
    self->over = true;
    return NULL;
  }
  orr_redis_node_append(&self->replies, node);
  return self;
}

static void *take_string(const redisReadTask *task, char *text, size_t len) {
  enum orr_redis_type type = task->type == REDIS_REPLY_STATUS  ? ORR_REDIS_STATUS
                             : task->type == REDIS_REPLY_ERROR ? ORR_REDIS_ERROR
                                                               : ORR_REDIS_STRING;
  return append(task, &(struct orr_redis_node){.type = type, .text = orr_slice_of(text, len)});
}
static void *take_array(const redisReadTask *task, int len) {
  if (len < 0) return NULL;
  return append(task, &(struct orr_redis_node){.type = ORR_REDIS_ARRAY, .len = (uint64_t)len});
}
static void *take_integer(const redisReadTask *task, long long value) {
  return append(task, &(struct orr_redis_node){.type = ORR_REDIS_INTEGER, .integer = value});
}
static void *take_nil(const redisReadTask *task) {
  return append(task, &(struct orr_redis_node){.type = ORR_REDIS_NIL});
}
static void drop(void *object) { (void)object; }

// hiredis does not write to it.
static redisReplyObjectFunctions callbacks = {take_string, take_array, take_integer, take_nil,
                                              drop};

// --- the reader ----------------------------------------------------------------------------------

struct orr_redis_reader *orr_redis_reader_new(void) {
  struct orr_redis_reader *self = orr_alloc(sizeof(*self));
  self->reader = redisReaderCreateWithFunctions(&callbacks);
  orr_assert(self->reader != NULL);
  self->reader->privdata = self;
  return self;
}

void orr_redis_reader_free(struct orr_redis_reader *self) {
  if (self == NULL) return;
  self->reader->reply = NULL; // never an object of ours
  redisReaderFree(self->reader);
  orr_buf_free(&self->replies);
  free(self);
}

void orr_redis_reader_feed(struct orr_redis_reader *self, struct orr_slice bytes) {
  if (bytes.len > 0) (void)redisReaderFeed(self->reader, (const char *)bytes.data, bytes.len);
}

bool orr_redis_reader_empty(const struct orr_redis_reader *self) {
  const redisReader *reader = self->reader;
  bool between = reader->ridx < 0 || (reader->ridx == 0 && reader->rstack[0].type < 0);
  return between && reader->pos == reader->len;
}

// What waits for its end must not wait for ever: hiredis looks for the end of a line anew with
// every feed.
static enum orr_status check_pending(const struct orr_redis_reader *self, const char **message) {
  const redisReader *reader = self->reader;
  size_t pending = reader->len - reader->pos;
  if (pending > ORR_REDIS_REPLY_BYTES_MAX + ORR_REDIS_LINE_BYTES_MAX) {
    *message = "a reply is larger than 64 MiB";
    return ORR_ERR_LIMIT;
  }
  if (pending <= ORR_REDIS_LINE_BYTES_MAX || reader->ridx < 0) return ORR_ERR_NOT_FOUND;
  if (reader->rstack[reader->ridx].type == REDIS_REPLY_STRING &&
      memchr(reader->buf + reader->pos, '\n', 32) != NULL)
    return ORR_ERR_NOT_FOUND; // the length has come, its bytes are still coming
  *message = "a line has no end";
  return ORR_ERR_CORRUPT;
}

enum orr_status orr_redis_reader_next(struct orr_redis_reader *self, const char **message) {
  void *reply = NULL;
  orr_assert(message != NULL);
  if (redisReaderGetReply(self->reader, &reply) != REDIS_OK) {
    self->replies.len = self->whole;
    *message = self->over ? "a reply is larger than 64 MiB" : self->reader->errstr;
    return self->over ? ORR_ERR_LIMIT : ORR_ERR_CORRUPT;
  }
  if (reply == NULL) return check_pending(self, message);
  self->whole = self->replies.len;
  return ORR_OK;
}

struct orr_buf orr_redis_reader_take(struct orr_redis_reader *self) {
  struct orr_buf replies = self->replies;
  orr_assert(self->whole <= replies.len);
  self->replies = ORR_BUF_INIT;
  if (replies.len > self->whole) // an array whose end has not come yet
    orr_buf_append(&self->replies, replies.data + self->whole, replies.len - self->whole);
  replies.len = self->whole;
  self->whole = 0;
  return replies;
}

// --- commands ------------------------------------------------------------------------------------

static void append_count(struct orr_buf *out, char mark, size_t value) {
  char text[24], *at = text + sizeof(text);
  *--at = '\n';
  *--at = '\r';
  do *--at = (char)('0' + value % 10);
  while ((value /= 10) != 0);
  *--at = mark;
  orr_buf_append(out, at, (size_t)(text + sizeof(text) - at));
}

void orr_redis_format(struct orr_buf *out, const struct orr_slice *args, size_t count) {
  orr_assert(count > 0);
  append_count(out, '*', count);
  for (size_t i = 0; i < count; i++) {
    append_count(out, '$', args[i].len);
    orr_buf_reserve(out, args[i].len + 2);
    if (args[i].len > 0) orr_buf_append(out, args[i].data, args[i].len);
    orr_buf_append(out, "\r\n", 2);
  }
}
