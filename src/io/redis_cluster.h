// SPDX-License-Identifier: MIT
// Inside of the Cluster client, between its map (redis_cluster.c) and its requests
// (redis_cluster_request.c).
#pragma once

#include "io/redis_internal.h"

#define ORR__REDIS_NODES_MAX 1024u

struct orr__redis_cluster_node {
  struct orr_redis_host host;
  struct orr__redis_pool *pool;
  bool listed; // in the map last loaded
};
struct orr__redis_cluster {
  struct orr_redis *client;
  struct orr__redis_cluster_node *nodes[ORR__REDIS_NODES_MAX];
  uint32_t nodes_len;
  uint16_t slots[ORR_REDIS_SLOTS]; // index of the master, plus 1; 0: nobody
  bool loaded, stale;
  // loading
  struct orr__redis_op op;
  uint32_t asked, asked_from; // how many nodes of this round, and the first of them
  struct orr_redis_failure failure;
  struct orr_list hooks;
};
// The node of an address; made if it is new. NULL: too many.
struct orr__redis_cluster_node *orr__redis_cluster_node(struct orr__redis_cluster *cluster,
                                                        const struct orr_redis_host *host);
// "host:port" of MOVED and ASK; an empty host is that of `from`.
bool orr__redis_cluster_address(struct orr_slice text, const struct orr_redis_host *from,
                                struct orr_redis_host *host);
void orr__redis_cluster_assign(struct orr__redis_cluster *cluster, int32_t slot,
                               const struct orr__redis_cluster_node *node);
