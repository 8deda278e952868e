// SPDX-License-Identifier: MIT
// The map of a Cluster: which node serves which slot, and a pool for each node. Invariant: at most
// one CLUSTER SLOTS is under way; who needs the map meanwhile waits in `hooks`. A node, once known,
// stays until the client goes, so that ops never lose their pool. Thread: the loop's. Must not know
// what a request is.
#include "io/redis_cluster.h"

#include "base/check.h"

#include <stdio.h>
#include <stdlib.h>

static void ask_next(struct orr__redis_cluster *cluster);

// --- nodes ---------------------------------------------------------------------------------------

struct orr__redis_cluster_node *orr__redis_cluster_node(struct orr__redis_cluster *cluster,
                                                        const struct orr_redis_host *host) {
  for (uint32_t i = 0; i < cluster->nodes_len; i++) {
    struct orr__redis_cluster_node *node = cluster->nodes[i];
    if (node->host.port == host->port && strcmp(node->host.name, host->name) == 0) return node;
  }
  if (cluster->nodes_len == ORR__REDIS_NODES_MAX) return NULL;
  struct orr__redis_cluster_node *node = orr_alloc(sizeof(*node));
  node->host = *host;
  node->pool = orr__redis_pool_new(cluster->client, host, true);
  cluster->nodes[cluster->nodes_len++] = node;
  return node;
}

bool orr__redis_cluster_address(struct orr_slice text, const struct orr_redis_host *from,
                                struct orr_redis_host *host) {
  const uint8_t *colon = text.len > 0 ? memrchr(text.data, ':', text.len) : NULL;
  if (colon == NULL) return false;
  size_t len = (size_t)(colon - text.data), digits = text.len - len - 1;
  uint32_t port = 0;
  if (len >= sizeof(host->name) || digits == 0 || digits > 5) return false;
  for (size_t i = 0; i < digits; i++) {
    if (colon[1 + i] < '0' || colon[1 + i] > '9') return false;
    port = port * 10 + (uint32_t)(colon[1 + i] - '0');
  }
  if (port == 0 || port > 65535) return false;
  host->port = (uint16_t)port;
  if (len == 0) {
    memcpy(host->name, from->name, sizeof(host->name));
  } else {
    memcpy(host->name, text.data, len);
    host->name[len] = 0;
  }
  return true;
}

static uint16_t index_of(const struct orr__redis_cluster *cluster,
                         const struct orr__redis_cluster_node *node) {
  for (uint32_t i = 0; i < cluster->nodes_len; i++)
    if (cluster->nodes[i] == node) return (uint16_t)(i + 1);
  orr_unreachable();
}

void orr__redis_cluster_assign(struct orr__redis_cluster *cluster, int32_t slot,
                               const struct orr__redis_cluster_node *node) {
  orr_assert(slot >= 0 && slot < ORR_REDIS_SLOTS);
  cluster->slots[slot] = index_of(cluster, node);
}

// --- the answer of CLUSTER SLOTS: [[first, last, [host, port, id, ...], replica, ...], ...] ------

static struct orr_slice child(struct orr_reader *cursor) {
  struct orr_slice reply = {0};
  (void)orr_redis_reply_next(cursor, &reply);
  return reply;
}

static bool node_of(struct orr_slice reply, struct orr_redis_node *node,
                    struct orr_reader *inside) {
  *inside = orr_reader_of(reply);
  return orr_redis_node_next(inside, node);
}

static bool read_integer(struct orr_reader *cursor, int64_t max, int64_t *value) {
  struct orr_redis_node node;
  if (!orr_redis_node_next(cursor, &node) || node.type != ORR_REDIS_INTEGER) return false;
  *value = node.integer;
  return node.integer >= 0 && node.integer <= max;
}

static bool read_range(struct orr__redis_cluster *cluster, struct orr_slice reply,
                       const struct orr_redis_host *from, uint16_t *slots) {
  struct orr_reader range, master;
  struct orr_redis_node node, name;
  struct orr_redis_host host = *from;
  int64_t first, last, port;
  if (!node_of(reply, &node, &range) || node.type != ORR_REDIS_ARRAY || node.len < 3) return false;
  if (!read_integer(&range, ORR_REDIS_SLOTS - 1, &first) ||
      !read_integer(&range, ORR_REDIS_SLOTS - 1, &last))
    return false;
  if (!node_of(child(&range), &node, &master) || node.type != ORR_REDIS_ARRAY || node.len < 2)
    return false;
  if (!orr_redis_node_next(&master, &name) || !read_integer(&master, 65535, &port) || port == 0)
    return false;
  if (name.type == ORR_REDIS_STRING && name.text.len > 0 &&
      !orr_slice_equal(name.text, ORR_SLICE_LITERAL("?"))) {
    if (name.text.len >= sizeof(host.name)) return false;
    memcpy(host.name, name.text.data, name.text.len);
    host.name[name.text.len] = 0;
  } // else: "the address that you asked"
  host.port = (uint16_t)port;
  struct orr__redis_cluster_node *found = orr__redis_cluster_node(cluster, &host);
  if (found == NULL) return false;
  uint16_t index = index_of(cluster, found);
  for (int64_t slot = first; slot <= last; slot++) slots[slot] = index;
  return true;
}

static bool read_slots(struct orr__redis_cluster *cluster, struct orr_slice replies,
                       const struct orr_redis_host *from) {
  struct orr_reader cursor;
  struct orr_redis_node node;
  if (!node_of(replies, &node, &cursor)) return false;
  if (node.type == ORR_REDIS_ERROR) {
    orr_redis_failure_of_reply(&cluster->failure, node.text);
    return false;
  }
  orr__redis_fail(&cluster->failure, ORR_ERR_IO, "protocol", true,
                  "%s:%u: this is no answer to CLUSTER SLOTS", from->name, from->port);
  if (node.type != ORR_REDIS_ARRAY) return false;
  if (node.len == 0) {
    orr__redis_fail(&cluster->failure, ORR_ERR_IO, "clusterdown", true,
                    "%s:%u: the Cluster serves no slot yet", from->name, from->port);
    return false;
  }
  uint16_t *slots = orr_alloc(sizeof(cluster->slots));
  bool ok = true;
  for (uint64_t i = 0; ok && i < node.len; i++)
    ok = read_range(cluster, child(&cursor), from, slots);
  if (ok) memcpy(cluster->slots, slots, sizeof(cluster->slots));
  free(slots);
  return ok;
}

// --- loading -------------------------------------------------------------------------------------

static void call_hooks(struct orr__redis_cluster *cluster,
                       const struct orr_redis_failure *failure) {
  struct orr_list hooks, *node;
  struct orr_redis_failure copy;
  if (failure != NULL) copy = *failure;
  orr_list_init(&hooks);
  orr_list_splice_back(&hooks, &cluster->hooks);
  while ((node = orr_list_pop_front(&hooks)) != NULL) {
    struct orr__redis_hook *hook = ORR_CONTAINER_OF(node, struct orr__redis_hook, node);
    hook->loaded(hook, failure != NULL ? &copy : NULL);
  }
}

static void asked_done(struct orr__redis_op *op) {
  struct orr__redis_cluster *cluster = op->owner;
  struct orr__redis_cluster_node *node =
      cluster->nodes[(cluster->asked_from + cluster->asked - 1) % cluster->nodes_len];
  struct orr_buf replies = op->replies;
  op->replies = ORR_BUF_INIT;
  bool ok = false;
  if (op->failure.status != ORR_OK)
    cluster->failure = op->failure;
  else
    ok = read_slots(cluster, orr_buf_slice(&replies), &node->host);
  orr_buf_free(&replies);
  if (ok) {
    cluster->loaded = true;
    cluster->stale = false;
    call_hooks(cluster, NULL);
  } else {
    ask_next(cluster);
  }
}

static void ask_next(struct orr__redis_cluster *cluster) {
  static const char command[] = "*2\r\n$7\r\nCLUSTER\r\n$5\r\nSLOTS\r\n";
  struct orr_redis *client = cluster->client;
  if (cluster->asked == cluster->nodes_len) { // all
    cluster->loaded = false;
    call_hooks(cluster, &cluster->failure);
    return;
  }
  struct orr__redis_cluster_node *node =
      cluster->nodes[(cluster->asked_from + cluster->asked) % cluster->nodes_len];
  cluster->asked++;
  cluster->op = (struct orr__redis_op){.bytes = ORR_SLICE_LITERAL(command),
                                       .count = 1,
                                       .reads = true,
                                       .timeout_ms = client->url.connect_timeout_ms,
                                       .done = asked_done,
                                       .owner = cluster,
                                       .wait_ms = client->url.connect_timeout_ms};
  orr__redis_op_start(node->pool, &cluster->op);
}

static void load(struct orr__redis_cluster *cluster) {
  if (orr__redis_op_open(&cluster->op)) return;
  cluster->asked = 0;
  cluster->asked_from = (uint32_t)orr_rng_below(&cluster->client->rng, cluster->nodes_len);
  ask_next(cluster);
}

struct orr__redis_pool *orr__redis_cluster_pool(struct orr__redis_cluster *cluster, int32_t slot,
                                                struct orr__redis_hook *hook) {
  if (!cluster->loaded || cluster->stale) {
    orr_list_push_back(&cluster->hooks, &hook->node);
    load(cluster);
    return NULL;
  }
  uint16_t index = 0;
  if (slot != ORR_REDIS_SLOT_NONE) index = cluster->slots[slot];
  for (uint32_t tries = 0; index == 0 && tries < 64;
       tries++) // any master will do, or tell us who serves the slot
    index = cluster->slots[orr_rng_below(&cluster->client->rng, ORR_REDIS_SLOTS)];
  return cluster->nodes[index == 0 ? 0 : index - 1]->pool;
}

void orr__redis_cluster_stale(struct orr__redis_cluster *cluster) { cluster->stale = true; }

// --- the cluster ---------------------------------------------------------------------------------

struct orr__redis_cluster *orr__redis_cluster_new(struct orr_redis *client) {
  struct orr__redis_cluster *cluster = orr_alloc(sizeof(*cluster));
  cluster->client = client;
  orr_list_init(&cluster->hooks);
  for (uint32_t i = 0; i < client->url.hosts_len; i++)
    (void)orr__redis_cluster_node(cluster, &client->url.hosts[i]);
  return cluster;
}

void orr__redis_cluster_count(const struct orr__redis_cluster *cluster,
                              struct orr_redis_counts *counts) {
  for (uint32_t i = 0; i < cluster->nodes_len; i++)
    orr__redis_pool_count(cluster->nodes[i]->pool, counts);
}

void orr__redis_cluster_free(struct orr__redis_cluster *cluster) {
  if (cluster == NULL) return;
  orr__redis_op_cancel(&cluster->op);
  for (uint32_t i = 0; i < cluster->nodes_len; i++) {
    orr__redis_pool_free(cluster->nodes[i]->pool);
    free(cluster->nodes[i]);
  }
  free(cluster);
}
