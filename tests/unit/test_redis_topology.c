// SPDX-License-Identifier: MIT
// Sentinel and Cluster: a trio of Sentinels around a master and a replica, and three masters that move slots under way. All are real
// servers on free loopback ports.
#include "redis_world.h"

// One command to one server, with a client of its own; the reply as text.
static const char *ask(struct world *world, const struct redis *redis, const char *format, ...) {
  char words[512], text[64], message[256];
  static struct orr_redis_url url;
  va_list list;
  va_start(list, format);
  vsnprintf(words, sizeof(words), format, list);
  va_end(list);
  snprintf(text, sizeof(text), "redis://127.0.0.1:%u", redis->port);
  assert_int_equal(orr_redis_url_parse(orr_slice_text(text), &url, message), ORR_OK);
  struct orr_redis *client = orr_redis_new(&world->loop, &url);
  const char *reply = call(world, client, "%s", words);
  orr_redis_free(client);
  return reply;
}

// --- Sentinel ----------------------------------------------------------------------------------------------------------------

struct sentinels {
  struct redis master, replica, sentinel[3];
  char files[3][128];
};

static void sentinels_start(struct sentinels *all) {
  char port[8];
  redis_new(&all->master, "--repl-diskless-sync-delay", "0", NULL);
  snprintf(port, sizeof(port), "%u", all->master.port);
  redis_new(&all->replica, "--replicaof", "127.0.0.1", port, NULL);
  for (int i = 0; i < 3; i++) {
    struct redis *sentinel = &all->sentinel[i];
    memset(sentinel, 0, sizeof(*sentinel));
    strcpy(sentinel->folder, "/tmp/orrery-redis-XXXXXX");
    assert_non_null(mkdtemp(sentinel->folder));
    sentinel->port = free_port();
    snprintf(all->files[i], sizeof(all->files[i]), "%s/sentinel.conf", sentinel->folder);
    FILE *file = fopen(all->files[i], "w");
    assert_non_null(file);
    fprintf(file, "sentinel monitor mymaster 127.0.0.1 %u 2\nsentinel down-after-milliseconds mymaster 500\n"
                  "sentinel failover-timeout mymaster 3000\nsentinel parallel-syncs mymaster 1\n", all->master.port);
    fclose(file);
    sentinel->args[0] = all->files[i];
    sentinel->args[1] = "--sentinel";
    redis_start(sentinel);
    redis_wait(sentinel);
  }
}

static void sentinels_end(struct sentinels *all) {
  for (int i = 0; i < 3; i++) redis_end(&all->sentinel[i]);
  redis_end(&all->replica);
  redis_end(&all->master);
}

static bool sentinels_agree(struct world *world, struct sentinels *all) {
  for (int i = 0; i < 3; i++) {
    const char *text = ask(world, &all->sentinel[i], "SENTINEL master mymaster");
    if (strstr(text, "\"num-other-sentinels\" \"2\"") == NULL || strstr(text, "\"num-slaves\" \"1\"") == NULL) return false;
  }
  return strstr(ask(world, &all->replica, "INFO replication"), "master_link_status:up") != NULL;
}

static void the_master_is_found_through_sentinels_and_followed_over_a_failover(void **state) {
  (void)state;
  struct sentinels all;
  sentinels_start(&all);
  struct world *world = world_open();
  // The first address is nobody's: the next Sentinel is asked.
  struct orr_redis *client =
      world_client(world, "redis+sentinel://127.0.0.1:%u,127.0.0.1:%u,127.0.0.1:%u,127.0.0.1:%u/mymaster?connect_timeout=30s",
                   free_port(), all.sentinel[0].port, all.sentinel[1].port, all.sentinel[2].port);
  assert_string_equal(call(world, client, "SET k before"), "OK");
  must(world, sentinels_agree(world, &all));
  must(world, strcmp(ask(world, &all.replica, "GET k"), "\"before\"") == 0);
  redis_kill(&all.master);
  assert_string_equal(call(world, client, "SET k after"), "OK"); // waits for the new master
  assert_string_equal(ask(world, &all.replica, "GET k"), "\"after\"");
  client = world_client(world, "redis+sentinel://127.0.0.1:%u/nobody?connect_timeout=200ms", all.sentinel[0].port);
  struct orr_redis_batch batch = ORR_REDIS_BATCH_INIT;
  struct answer answer = {0};
  add(&batch, "GET k");
  run_batch(world, client, &batch, NULL, &answer);
  assert_string_equal(answer.failure.code, "connect");
  assert_non_null(strstr(answer.failure.message, "no Sentinel names a master \"nobody\""));
  world_close(world);
  sentinels_end(&all);
}

// --- Cluster -----------------------------------------------------------------------------------------------------------------

static struct redis nodes[3];
static char ids[3][41];
static char bus[3][8];

static int cluster_start(void **state) {
  (void)state;
  struct world *world = world_open();
  for (int i = 0; i < 3; i++) {
    snprintf(bus[i], sizeof(bus[i]), "%u", free_port());
    redis_new(&nodes[i], "--cluster-enabled", "yes", "--cluster-port", bus[i], "--cluster-node-timeout", "2000",
              "--cluster-require-full-coverage", "no", NULL);
    const char *id = ask(world, &nodes[i], "CLUSTER MYID");
    memcpy(ids[i], id + 1, 40);
    assert_string_equal(ask(world, &nodes[i], "CLUSTER ADDSLOTSRANGE %d %d", i * 5461, i == 2 ? 16383 : i * 5461 + 5460), "OK");
    assert_string_equal(ask(world, &nodes[i], "CLUSTER SET-CONFIG-EPOCH %d", i + 1), "OK");
  }
  for (int i = 1; i < 3; i++)
    assert_string_equal(ask(world, &nodes[i], "CLUSTER MEET 127.0.0.1 %u %s", nodes[0].port, bus[0]), "OK");
  for (int i = 0; i < 3; i++)
    must(world, strstr(ask(world, &nodes[i], "CLUSTER INFO"), "cluster_slots_ok:16384\r") != NULL &&
                    strstr(ask(world, &nodes[i], "CLUSTER INFO"), "cluster_state:ok") != NULL &&
                    strstr(ask(world, &nodes[i], "CLUSTER INFO"), "cluster_known_nodes:3\r") != NULL);
  world_close(world);
  return 0;
}
static int cluster_end(void **state) {
  (void)state;
  for (int i = 0; i < 3; i++) redis_end(&nodes[i]);
  return 0;
}

static int node_of(int32_t slot) { return slot / 5461 > 2 ? 2 : slot / 5461; }

static void commands_go_to_the_node_of_their_slot(void **state) {
  (void)state;
  struct world *world = world_open();
  struct orr_redis *client = world_client(world, "redis+cluster://127.0.0.1:%u,127.0.0.1:%u", free_port(), nodes[1].port);
  for (int i = 0; i < 60; i++) assert_string_equal(call(world, client, "SET key%d %d", i, i), "OK");
  for (int i = 0; i < 60; i++) {
    char key[16], text[16];
    snprintf(key, sizeof(key), "key%d", i);
    snprintf(text, sizeof(text), "\"%d\"", i);
    assert_string_equal(call(world, client, "GET %s", key), text);
    assert_string_equal(ask(world, &nodes[node_of(orr_redis_slot(orr_slice_text(key)))], "GET %s", key), text);
  }
  assert_string_equal(call(world, client, "PING"), "PONG");
  assert_memory_equal(call(world, client, "MGET key1 key2"), "!CROSSSLOT", 10);
  assert_string_equal(call(world, client, "EVAL return{KEYS[1]} 1 key1"), "[\"key1\"]");
  world_close(world);
}

static void a_pipeline_is_split_by_node_and_joined_in_order(void **state) {
  (void)state;
  struct world *world = world_open();
  struct orr_redis *client = world_client(world, "redis+cluster://127.0.0.1:%u", nodes[0].port);
  struct orr_redis_batch batch = ORR_REDIS_BATCH_INIT;
  struct answer answer = {0};
  for (int i = 0; i < 3000; i++) add(&batch, "SET p%d %d", i, i);
  run_batch(world, client, &batch, NULL, &answer);
  assert_int_equal(answer.failure.status, ORR_OK);
  for (int i = 0; i < 3000; i++) add(&batch, i % 100 == 7 ? "LPUSH p%d x" : "GET p%d", i);
  run_batch(world, client, &batch, NULL, &answer);
  struct orr_reader cursor = orr_reader_of(orr_buf_slice(&answer.replies));
  struct orr_redis_node node;
  for (int i = 0; i < 3000; i++) {
    char text[16];
    snprintf(text, sizeof(text), "%d", i);
    assert_true(orr_redis_node_next(&cursor, &node));
    if (i % 100 == 7) assert_int_equal(node.type, ORR_REDIS_ERROR);
    else assert_true(orr_slice_equal(node.text, orr_slice_text(text)));
  }
  orr_buf_free(&answer.replies);
  world_close(world);
}

static void a_transaction_needs_one_slot(void **state) {
  (void)state;
  struct world *world = world_open();
  struct orr_redis *client = world_client(world, "redis+cluster://127.0.0.1:%u", nodes[0].port);
  struct orr_redis_batch batch = ORR_REDIS_BATCH_INIT;
  struct answer answer = {0};
  batch.atomic = true;
  add(&batch, "MULTI");
  add(&batch, "SET a 1");
  add(&batch, "SET b 1");
  add(&batch, "EXEC");
  run_batch(world, client, &batch, NULL, &answer);
  assert_string_equal(answer.failure.code, "crossslot");
  batch.atomic = true;
  add(&batch, "MULTI");
  add(&batch, "SET {t}a 1");
  add(&batch, "INCR {t}a");
  add(&batch, "EXEC");
  run_batch(world, client, &batch, NULL, &answer);
  assert_string_equal(show(orr_buf_slice(&answer.replies)), "OK QUEUED QUEUED [OK 2]");
  orr_buf_free(&answer.replies);
  world_close(world);
}

static void a_slot_on_its_way_is_followed_by_ask_and_moved(void **state) {
  (void)state;
  struct world *world = world_open();
  struct orr_redis *client = world_client(world, "redis+cluster://127.0.0.1:%u", nodes[0].port);
  struct orr_redis_batch batch = ORR_REDIS_BATCH_INIT;
  struct answer answer = {0};
  int32_t slot = orr_redis_slot(ORR_SLICE_LITERAL("{mv}"));
  int from = node_of(slot), to = (from + 1) % 3;
  assert_string_equal(call(world, client, "SET {mv}old 1"), "OK"); // the map is loaded
  ask(world, &nodes[to], "CLUSTER SETSLOT %d IMPORTING %s", slot, ids[from]);
  ask(world, &nodes[from], "CLUSTER SETSLOT %d MIGRATING %s", slot, ids[to]);
  assert_string_equal(call(world, client, "GET {mv}old"), "\"1\"");   // still there
  assert_string_equal(call(world, client, "SET {mv}new 2"), "OK");    // ASK: the new one lives at the new node
  for (int i = 0; i < 50; i++) add(&batch, i % 2 ? "GET {mv}new" : "GET {mv}old");
  run_batch(world, client, &batch, NULL, &answer);
  struct orr_reader cursor = orr_reader_of(orr_buf_slice(&answer.replies));
  struct orr_redis_node node;
  for (int i = 0; i < 50; i++) {
    orr_redis_node_next(&cursor, &node);
    assert_true(orr_slice_equal(node.text, i % 2 ? ORR_SLICE_LITERAL("2") : ORR_SLICE_LITERAL("1")));
  }
  ask(world, &nodes[from], "MIGRATE 127.0.0.1 %u {mv}old 0 1000", nodes[to].port);
  ask(world, &nodes[to], "CLUSTER SETSLOT %d NODE %s", slot, ids[to]);
  ask(world, &nodes[from], "CLUSTER SETSLOT %d NODE %s", slot, ids[to]);
  assert_string_equal(call(world, client, "GET {mv}old"), "\"1\""); // MOVED
  batch.atomic = true;
  add(&batch, "MULTI");
  add(&batch, "INCR {mv}old");
  add(&batch, "INCR {mv}new");
  add(&batch, "EXEC");
  run_batch(world, client, &batch, NULL, &answer);
  assert_string_equal(show(orr_buf_slice(&answer.replies)), "OK QUEUED QUEUED [2 3]");
  // A client with the old map (loaded, then moved back): a redirected transaction is carried out once.
  ask(world, &nodes[from], "CLUSTER SETSLOT %d IMPORTING %s", slot, ids[to]);
  ask(world, &nodes[to], "CLUSTER SETSLOT %d MIGRATING %s", slot, ids[from]);
  ask(world, &nodes[to], "MIGRATE 127.0.0.1 %u {mv}old 0 1000", nodes[from].port);
  ask(world, &nodes[to], "MIGRATE 127.0.0.1 %u {mv}new 0 1000", nodes[from].port);
  ask(world, &nodes[from], "CLUSTER SETSLOT %d NODE %s", slot, ids[from]);
  ask(world, &nodes[to], "CLUSTER SETSLOT %d NODE %s", slot, ids[from]);
  batch.atomic = true;
  add(&batch, "MULTI");
  add(&batch, "INCR {mv}old");
  add(&batch, "INCR {mv}new");
  add(&batch, "EXEC");
  run_batch(world, client, &batch, NULL, &answer);
  assert_string_equal(show(orr_buf_slice(&answer.replies)), "OK QUEUED QUEUED [3 4]");
  orr_buf_free(&answer.replies);
  world_close(world);
}

static void a_shard_channel_and_a_blocked_reader_work_on_a_cluster(void **state) {
  (void)state;
  struct world *world = world_open();
  struct orr_redis *client = world_client(world, "redis+cluster://127.0.0.1:%u", nodes[0].port);
  struct orr_slice channel = ORR_SLICE_LITERAL("orders");
  struct orr_redis_failure failure;
  struct orr_buf message = ORR_BUF_INIT;
  struct answer answer = {0};
  struct orr_redis_batch batch = ORR_REDIS_BATCH_INIT;
  struct orr_redis_subscription *subscription = orr_redis_subscribe_open(client, ORR_REDIS_SSUBSCRIBE, &channel, 1, NULL, NULL);
  must(world, orr_redis_subscription_ready(subscription));
  must(world, strcmp(call(world, client, "SPUBLISH orders 1"), "1") == 0);
  must(world, orr_redis_subscription_next(subscription, &message, &failure) == ORR_OK);
  assert_string_equal(show(orr_buf_slice(&message)), "[\"smessage\" \"orders\" \"1\"]");
  orr_buf_free(&message);
  orr_redis_subscription_close(subscription);
  add(&batch, "BLPOP queue:x 0");
  orr_redis_start(client, &batch, NULL, answer_take, &answer);
  assert_string_equal(call(world, client, "RPUSH queue:x 5"), "1");
  must(world, answer.called == 1);
  assert_string_equal(show(orr_buf_slice(&answer.replies)), "[\"queue:x\" \"5\"]");
  orr_buf_free(&answer.replies);
  world_close(world);
}

static void a_lost_node_fails_its_own_slots_and_comes_back(void **state) {
  (void)state;
  struct world *world = world_open();
  struct orr_redis *client = world_client(world, "redis+cluster://127.0.0.1:%u,127.0.0.1:%u?connect_timeout=400ms", nodes[0].port,
                                          nodes[1].port);
  int32_t a = orr_redis_slot(ORR_SLICE_LITERAL("a")), b = orr_redis_slot(ORR_SLICE_LITERAL("b"));
  int lost = node_of(a);
  assert_true(node_of(b) != lost);
  assert_string_equal(call(world, client, "SET a 1"), "OK");
  redis_kill(&nodes[lost]);
  const char *reply = call(world, client, "SET a 2");
  assert_true(strcmp(reply, "failure connect") == 0 || strcmp(reply, "failure clusterdown") == 0);
  assert_string_equal(call(world, client, "SET b 2"), "OK");
  redis_start(&nodes[lost]);
  redis_wait(&nodes[lost]);
  must(world, strcmp(call(world, client, "SET a 3"), "OK") == 0);
  world_close(world);
}

int main(void) {
  signal(SIGPIPE, SIG_IGN);
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(the_master_is_found_through_sentinels_and_followed_over_a_failover),
      cmocka_unit_test_setup(commands_go_to_the_node_of_their_slot, cluster_start),
      cmocka_unit_test(a_pipeline_is_split_by_node_and_joined_in_order),
      cmocka_unit_test(a_transaction_needs_one_slot),
      cmocka_unit_test(a_slot_on_its_way_is_followed_by_ask_and_moved),
      cmocka_unit_test(a_shard_channel_and_a_blocked_reader_work_on_a_cluster),
      cmocka_unit_test(a_lost_node_fails_its_own_slots_and_comes_back),
  };
  return cmocka_run_group_tests(tests, NULL, cluster_end);
}
