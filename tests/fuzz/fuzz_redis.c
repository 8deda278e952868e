// SPDX-License-Identifier: MIT
// What Redis answers: any bytes, in any pieces, must give replies that can be walked, or an error that says why. The same bytes in
// one piece give the same replies. And any URL.
#include "base/check.h"
#include "io/redis_client.h"

#include <stdlib.h>

static enum orr_status read_in_pieces(const uint8_t *data, size_t len, size_t piece, struct orr_buf *out) {
  struct orr_redis_reader *reader = orr_redis_reader_new();
  const char *message = NULL;
  enum orr_status status = ORR_ERR_NOT_FOUND;
  for (size_t at = 0; at < len && status == ORR_ERR_NOT_FOUND; at += piece) {
    orr_redis_reader_feed(reader, orr_slice_of(data + at, len - at < piece ? len - at : piece));
    while ((status = orr_redis_reader_next(reader, &message)) == ORR_OK) {
      struct orr_buf replies = orr_redis_reader_take(reader); // also in the middle of the next one
      orr_buf_slice_append(out, orr_buf_slice(&replies));
      orr_buf_free(&replies);
    }
  }
  orr_assert(status == ORR_ERR_NOT_FOUND || message != NULL);
  orr_redis_reader_free(reader);
  return status;
}

static void walk(struct orr_slice replies) {
  struct orr_reader cursor = orr_reader_of(replies), nodes = cursor;
  struct orr_slice reply;
  struct orr_redis_node node;
  struct orr_redis_failure failure;
  size_t bytes = 0;
  while (orr_redis_reply_next(&cursor, &reply)) bytes += reply.len;
  orr_assert(bytes == replies.len);
  while (orr_redis_node_next(&nodes, &node)) {
    if (node.type != ORR_REDIS_ERROR) continue;
    orr_redis_failure_of_reply(&failure, node.text);
    orr_assert(failure.status != ORR_OK && failure.code[0] != 0);
  }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len) {
  if (len == 0) return 0;
  size_t piece = (size_t)data[0] % 17 + 1;
  struct orr_buf whole = ORR_BUF_INIT, pieces = ORR_BUF_INIT;
  enum orr_status a = read_in_pieces(data + 1, len - 1, len, &whole);
  enum orr_status b = read_in_pieces(data + 1, len - 1, piece, &pieces);
  orr_assert(len == 1 || a == b);
  orr_assert(orr_slice_equal(orr_buf_slice(&whole), orr_buf_slice(&pieces)));
  walk(orr_buf_slice(&whole));
  orr_buf_free(&whole);
  orr_buf_free(&pieces);
  struct orr_redis_url *url = orr_alloc(sizeof(*url));
  char message[256] = "";
  if (orr_redis_url_parse(orr_slice_of(data + 1, len - 1), url, message) == ORR_OK) {
    orr_assert(url->hosts_len > 0 && url->hosts[0].port != 0 && url->hosts[0].name[0] != 0);
    orr_assert(url->timeout_ms > 0 && url->connect_timeout_ms > 0 && url->pool_max > 0);
  } else {
    orr_assert(message[0] != 0);
  }
  free(url);
  return 0;
}
