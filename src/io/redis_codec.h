// SPDX-License-Identifier: MIT
// RESP2, the words between us and Redis: commands to bytes, bytes to replies. A reply is flat: its
// nodes stand in a buffer in the order in which they are read, so thousands of them cost no
// allocation each. Bounded: ORR_REDIS_REPLY_BYTES_MAX, eight levels of arrays. Knows no socket. One
// thread at a time. Foreign library: hiredis, its reader only.
#pragma once

#include "base/buf.h"
#include "base/limits.h"
#include "base/status.h"

#define ORR_REDIS_REPLY_BYTES_MAX (64 * ORR_MIB)
#define ORR_REDIS_LINE_BYTES_MAX (64 * ORR_KIB) // a status, an error, a number, a length

enum orr_redis_type {
  ORR_REDIS_STRING,
  ORR_REDIS_ARRAY,
  ORR_REDIS_INTEGER,
  ORR_REDIS_NIL,
  ORR_REDIS_STATUS,
  ORR_REDIS_ERROR,
};
struct orr_redis_node {
  enum orr_redis_type type;
  struct orr_slice text; // STRING, STATUS, ERROR
  int64_t integer;       // INTEGER
  uint64_t len;          // ARRAY: so many nodes (with all below them) follow
};

struct orr_redis_reader;
struct orr_redis_reader *orr_redis_reader_new(void);
void orr_redis_reader_free(struct orr_redis_reader *reader); // NULL is fine
void orr_redis_reader_feed(struct orr_redis_reader *reader, struct orr_slice bytes);
// Appends the next whole reply to the replies gathered so far. ORR_ERR_NOT_FOUND: its end has not
// come yet. ORR_ERR_CORRUPT, ORR_ERR_LIMIT: the stream cannot be read on; *message says why.
enum orr_status orr_redis_reader_next(struct orr_redis_reader *reader, const char **message);
// Hands over the replies gathered; the reader begins an empty list.
struct orr_buf orr_redis_reader_take(struct orr_redis_reader *reader);
bool orr_redis_reader_empty(
    const struct orr_redis_reader *reader); // no byte of an unfinished reply is held

// The next node of flat replies; false at the end.
bool orr_redis_node_next(struct orr_reader *cursor, struct orr_redis_node *node);
// The bytes of the next whole reply, arrays with all below them; false at the end.
bool orr_redis_reply_next(struct orr_reader *cursor, struct orr_slice *reply);
// Appends a node (for replies of our own making).
void orr_redis_node_append(struct orr_buf *out, const struct orr_redis_node *node);

// Appends one command.
void orr_redis_format(struct orr_buf *out, const struct orr_slice *args, size_t count);
