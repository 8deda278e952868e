// SPDX-License-Identifier: MIT
// Who is the master? Asks one Sentinel after the other, the one that answered last first.
// Invariant: at most one question is under way; its end is told to the pool, from the loop. Thread:
// the loop's.
#include "io/redis_internal.h"

#include <stdio.h>
#include <stdlib.h>

#define ANSWER_MS 1000u // of one Sentinel, at most

struct orr__redis_finder {
  struct orr__redis_pool *pool;
  struct orr__redis_link *link; // NULL: it does not look
  uint32_t at, left;            // the Sentinel being asked; how many come after it
  struct orr_redis_failure failure;
};

static void ask(struct orr__redis_finder *finder);

static void next(struct orr__redis_finder *finder) {
  struct orr_redis *client = finder->pool->client;
  finder->link = NULL;
  finder->at = (finder->at + 1) % client->url.hosts_len;
  if (finder->left > 0) {
    finder->left--;
    ask(finder);
    return;
  }
  struct orr_redis_failure failure;
  bool login = strcmp(finder->failure.code, "auth") == 0;
  orr__redis_fail(&failure, ORR_ERR_IO, login ? "auth" : "connect", !login,
                  "no Sentinel names a master \"%.64s\": %.120s", client->url.master,
                  finder->failure.message);
  orr__redis_pool_failed(finder->pool, &failure);
}

static void opened(struct orr__redis_link *link) {
  struct orr__redis_finder *finder = link->owner;
  struct orr_slice args[3] = {ORR_SLICE_LITERAL("SENTINEL"),
                              ORR_SLICE_LITERAL("get-master-addr-by-name"),
                              orr_slice_text(link->client->url.master)};
  struct orr_buf bytes = ORR_BUF_INIT;
  (void)finder;
  orr_redis_format(&bytes, args, 3);
  orr__redis_link_send(link, orr_buf_slice(&bytes), 1, ANSWER_MS);
  orr_buf_free(&bytes);
}

static bool read_address(struct orr_slice replies, struct orr_redis_host *host) {
  struct orr_reader cursor = orr_reader_of(replies);
  struct orr_redis_node node, name, port;
  char text[8];
  if (!orr_redis_node_next(&cursor, &node) || node.type != ORR_REDIS_ARRAY || node.len != 2)
    return false;
  if (!orr_redis_node_next(&cursor, &name) || !orr_redis_node_next(&cursor, &port)) return false;
  if (name.type != ORR_REDIS_STRING || port.type != ORR_REDIS_STRING) return false;
  if (name.text.len == 0 || name.text.len >= sizeof(host->name) || port.text.len >= sizeof(text) ||
      port.text.len == 0)
    return false;
  memcpy(host->name, name.text.data, name.text.len);
  host->name[name.text.len] = 0;
  memcpy(text, port.text.data, port.text.len);
  text[port.text.len] = 0;
  long value = strtol(text, NULL, 10);
  host->port = (uint16_t)value;
  return value > 0 && value < 65536;
}

static void replied(struct orr__redis_link *link) {
  struct orr__redis_finder *finder = link->owner;
  struct orr_buf replies = orr_redis_reader_take(link->reader);
  struct orr_redis_host host;
  bool found = read_address(orr_buf_slice(&replies), &host);
  if (!found)
    orr__redis_fail(&finder->failure, ORR_ERR_IO, "connect", true, "%s does not know it",
                    link->label);
  orr_buf_free(&replies);
  orr__redis_link_close(link);
  if (!found) {
    next(finder);
    return;
  }
  finder->link = NULL;
  orr__redis_pool_found(finder->pool, &host);
}

static void pushed(struct orr__redis_link *link) { (void)link; }

static void lost(struct orr__redis_link *link, const struct orr_redis_failure *failure) {
  struct orr__redis_finder *finder = link->owner;
  finder->failure = *failure;
  next(finder);
}

static const struct orr__redis_link_events events = {opened, replied, pushed, lost};

static void ask(struct orr__redis_finder *finder) {
  struct orr_redis *client = finder->pool->client;
  uint64_t connect_ms =
      client->url.connect_timeout_ms < ANSWER_MS ? client->url.connect_timeout_ms : ANSWER_MS;
  finder->link = orr__redis_link_open(client, &client->url.hosts[finder->at], true, connect_ms,
                                      &events, finder);
}

void orr__redis_finder_start(struct orr__redis_finder *finder) {
  if (finder->link != NULL) return;
  finder->left = finder->pool->client->url.hosts_len - 1;
  ask(finder);
}

struct orr__redis_finder *orr__redis_finder_new(struct orr__redis_pool *pool) {
  struct orr__redis_finder *finder = orr_alloc(sizeof(*finder));
  finder->pool = pool;
  return finder;
}

void orr__redis_finder_free(struct orr__redis_finder *finder) {
  if (finder == NULL) return;
  orr__redis_link_close(finder->link);
  free(finder);
}
