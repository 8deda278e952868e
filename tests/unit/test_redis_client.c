// SPDX-License-Identifier: MIT
// The Redis client against a real redis-server, a server that is killed and started again, and a puppet that lies.
#include "redis_world.h"

static struct redis server; // one for the tests that leave it alone

static int start_server(void **state) {
  (void)state;
  redis_new(&server, NULL);
  return 0;
}
static int end_server(void **state) {
  (void)state;
  redis_end(&server);
  return 0;
}

// --- commands ----------------------------------------------------------------------------------------------------------------

static void commands_are_answered_with_every_kind_of_reply(void **state) {
  (void)state;
  struct world *world = world_open();
  struct orr_redis *client = world_client(world, "redis://127.0.0.1:%u", server.port);
  assert_string_equal(call(world, client, "FLUSHALL"), "OK");
  assert_string_equal(call(world, client, "SET k v"), "OK");
  assert_string_equal(call(world, client, "GET k"), "\"v\"");
  assert_string_equal(call(world, client, "GET none"), "nil");
  assert_string_equal(call(world, client, "INCR n"), "1");
  assert_string_equal(call(world, client, "RPUSH l a b"), "2");
  assert_string_equal(call(world, client, "LRANGE l 0 -1"), "[\"a\" \"b\"]");
  assert_string_equal(call(world, client, "XADD s 1-1 f v"), "\"1-1\"");
  assert_string_equal(call(world, client, "XREAD STREAMS s 0"), "[[\"s\" [[\"1-1\" [\"f\" \"v\"]]]]]");
  assert_string_equal(call(world, client, "LPUSH k x"),
                      "!WRONGTYPE Operation against a key holding the wrong kind of value");
  assert_int_equal(orr_redis_count(client).links, 1); // one connection did it all
  world_close(world);
}

static void a_pipeline_keeps_its_order_and_an_error_its_place(void **state) {
  (void)state;
  struct world *world = world_open();
  struct orr_redis *client = world_client(world, "redis://127.0.0.1:%u", server.port);
  struct orr_redis_batch batch = ORR_REDIS_BATCH_INIT;
  struct answer answer = {0};
  add(&batch, "DEL n l");
  for (int i = 0; i < 20000; i++) add(&batch, "INCR n");
  add(&batch, "LPUSH n x");
  add(&batch, "GET n");
  run_batch(world, client, &batch, NULL, &answer);
  assert_int_equal(answer.failure.status, ORR_OK);
  struct orr_reader cursor = orr_reader_of(orr_buf_slice(&answer.replies));
  struct orr_redis_node node;
  orr_redis_node_next(&cursor, &node);
  for (int i = 1; i <= 20000; i++) {
    assert_true(orr_redis_node_next(&cursor, &node));
    assert_int_equal(node.integer, i);
  }
  orr_redis_node_next(&cursor, &node);
  assert_int_equal(node.type, ORR_REDIS_ERROR);
  orr_redis_node_next(&cursor, &node);
  assert_true(orr_slice_equal(node.text, ORR_SLICE_LITERAL("20000")));
  assert_false(orr_redis_node_next(&cursor, &node));
  orr_buf_free(&answer.replies);
  world_close(world);
}

static void a_large_value_goes_there_and_back(void **state) {
  (void)state;
  struct world *world = world_open();
  struct orr_redis *client = world_client(world, "redis://127.0.0.1:%u", server.port);
  size_t len = 20 * 1024 * 1024;
  uint8_t *value = malloc(len);
  for (size_t i = 0; i < len; i++) value[i] = (uint8_t)(i * 31 >> 3);
  struct orr_slice args[3] = {ORR_SLICE_LITERAL("SET"), ORR_SLICE_LITERAL("big"), {value, len}};
  struct orr_redis_batch batch = ORR_REDIS_BATCH_INIT;
  struct answer answer = {0};
  orr_redis_batch_add(&batch, args, 3);
  add(&batch, "GET big");
  add(&batch, "DEL big");
  run_batch(world, client, &batch, NULL, &answer);
  struct orr_reader cursor = orr_reader_of(orr_buf_slice(&answer.replies));
  struct orr_redis_node node;
  orr_redis_node_next(&cursor, &node);
  orr_redis_node_next(&cursor, &node);
  assert_int_equal(node.text.len, len);
  assert_memory_equal(node.text.data, value, len);
  orr_buf_free(&answer.replies);
  free(value);
  world_close(world);
}

static void more_requests_than_connections_wait_their_turn(void **state) {
  (void)state;
  struct world *world = world_open();
  struct orr_redis *client = world_client(world, "redis://127.0.0.1:%u?pool=3", server.port);
  enum { COUNT = 500 };
  struct answer *answers = calloc(COUNT, sizeof(*answers));
  for (int i = 0; i < COUNT; i++) {
    struct orr_redis_batch batch = ORR_REDIS_BATCH_INIT;
    add(&batch, "ECHO %d", i);
    orr_redis_start(client, &batch, NULL, answer_take, &answers[i]);
  }
  assert_true(orr_redis_count(client).links <= 3);
  must(world, orr_redis_count(client).requests == 0);
  for (int i = 0; i < COUNT; i++) {
    char text[16];
    snprintf(text, sizeof(text), "\"%d\"", i);
    assert_string_equal(show(orr_buf_slice(&answers[i].replies)), text);
    orr_buf_free(&answers[i].replies);
  }
  free(answers);
  assert_true(orr_redis_count(client).idle <= 3);
  world_close(world);
}

static void what_changes_a_shared_connection_is_not_sent(void **state) {
  (void)state;
  struct world *world = world_open();
  struct orr_redis *client = world_client(world, "redis://127.0.0.1:%u", server.port);
  assert_string_equal(call(world, client, "SELECT 3"), "failure session");
  assert_string_equal(call(world, client, "WATCH k"), "failure session");
  assert_string_equal(call(world, client, "subscribe c"), "failure session");
  assert_string_equal(call(world, client, "MONITOR"), "failure session");
  assert_string_equal(call(world, client, "PING"), "PONG");
  world_close(world);
}

// --- logging in ---------------------------------------------------------------------------------------------------------------

static void a_user_a_password_and_a_database_are_used(void **state) {
  (void)state;
  struct redis locked;
  redis_new(&locked, "--requirepass", "se@cret", NULL);
  struct world *world = world_open();
  struct orr_redis *client = world_client(world, "redis://:se%%40cret@127.0.0.1:%u/5?name=orrery", locked.port);
  assert_string_equal(call(world, client, "SET k in5"), "OK");
  assert_string_equal(call(world, client, "CLIENT GETNAME"), "\"orrery\"");
  assert_string_equal(call(world, client, "ACL SETUSER anna on >anna1 ~a:* +@all"), "OK");
  client = world_client(world, "redis://:se%%40cret@127.0.0.1:%u", locked.port);
  assert_string_equal(call(world, client, "GET k"), "nil");
  client = world_client(world, "redis://anna:anna1@127.0.0.1:%u", locked.port);
  assert_string_equal(call(world, client, "ACL WHOAMI"), "\"anna\"");
  assert_memory_equal(call(world, client, "GET k"), "!NOPERM", 7);
  world_close(world);
  redis_end(&locked);
}

static void a_wrong_password_is_told_at_once_and_is_final(void **state) {
  (void)state;
  struct redis locked;
  redis_new(&locked, "--requirepass", "secret", NULL);
  struct world *world = world_open();
  const char *const users[] = {":wrong@", "nobody:wrong@", ""};
  for (int i = 0; i < 3; i++) {
    struct orr_redis *client = world_client(world, "redis://%s127.0.0.1:%u?connect_timeout=1h", users[i], locked.port);
    struct orr_redis_batch batch = ORR_REDIS_BATCH_INIT;
    struct answer answer = {0};
    add(&batch, "GET k");
    run_batch(world, client, &batch, NULL, &answer);
    assert_string_equal(answer.failure.code, "auth");
    assert_false(answer.failure.retryable);
    assert_null(strstr(answer.failure.message, "wrong@"));
  }
  world_close(world);
  redis_end(&locked);
}

static void a_refused_connection_is_told_after_the_connect_timeout(void **state) {
  (void)state;
  struct world *world = world_open();
  struct orr_redis *client = world_client(world, "redis://127.0.0.1:%u?connect_timeout=150ms", free_port());
  struct answer answers[20] = {0};
  for (int i = 0; i < 20; i++) {
    struct orr_redis_batch batch = ORR_REDIS_BATCH_INIT;
    add(&batch, "SET k v");
    orr_redis_start(client, &batch, NULL, answer_take, &answers[i]);
  }
  must(world, orr_redis_count(client).requests == 0);
  for (int i = 0; i < 20; i++) {
    assert_string_equal(answers[i].failure.code, "connect");
    assert_true(answers[i].failure.retryable);
    assert_non_null(strstr(answers[i].failure.message, "connection refused"));
  }
  client = world_client(world, "redis://no-such-host.invalid:1?connect_timeout=150ms");
  assert_string_equal(call(world, client, "PING"), "failure connect");
  world_close(world);
}

static void a_server_that_is_full_is_waited_for(void **state) {
  (void)state;
  struct redis full;
  redis_new(&full, "--maxclients", "3", NULL);
  struct world *world = world_open();
  struct orr_redis *client = world_client(world, "redis://127.0.0.1:%u?connect_timeout=20s&timeout=20s", full.port);
  struct answer answers[40] = {0};
  for (int i = 0; i < 40; i++) {
    struct orr_redis_batch batch = ORR_REDIS_BATCH_INIT;
    add(&batch, "INCR n");
    orr_redis_start(client, &batch, NULL, answer_take, &answers[i]);
  }
  must(world, orr_redis_count(client).requests == 0);
  for (int i = 0; i < 40; i++) {
    assert_int_equal(answers[i].failure.status, ORR_OK);
    orr_buf_free(&answers[i].replies);
  }
  assert_string_equal(call(world, client, "GET n"), "\"40\"");
  world_close(world);
  redis_end(&full);
}

static void a_name_is_resolved(void **state) {
  (void)state;
  struct world *world = world_open();
  struct orr_redis *client = world_client(world, "redis://localhost:%u", server.port);
  assert_string_equal(call(world, client, "PING"), "PONG"); // also where localhost is ::1 first
  world_close(world);
}

// --- blocking ---------------------------------------------------------------------------------------------------------------

static void a_thousand_blocked_readers_share_one_thread(void **state) {
  (void)state;
  enum { COUNT = 1000 };
  struct world *world = world_open();
  struct orr_redis *client = world_client(world, "redis://127.0.0.1:%u?timeout=200ms", server.port);
  struct answer *answers = calloc(COUNT, sizeof(*answers));
  call(world, client, "DEL work");
  for (int i = 0; i < COUNT; i++) {
    struct orr_redis_batch batch = ORR_REDIS_BATCH_INIT;
    add(&batch, "BLPOP work 0");
    orr_redis_start(client, &batch, NULL, answer_take, &answers[i]);
  }
  must(world, strstr(call(world, client, "INFO clients"), "blocked_clients:1000\r") != NULL);
  assert_string_equal(call(world, client, "PING"), "PONG"); // the pool is free for others meanwhile
  struct orr_redis_batch batch = ORR_REDIS_BATCH_INIT;
  struct answer pushed = {0};
  for (int i = 0; i < COUNT; i++) add(&batch, "RPUSH work %d", i);
  run_batch(world, client, &batch, NULL, &pushed);
  orr_buf_free(&pushed.replies);
  must(world, orr_redis_count(client).requests == 0);
  for (int i = 0; i < COUNT; i++) {
    assert_int_equal(answers[i].failure.status, ORR_OK);
    orr_buf_free(&answers[i].replies);
  }
  free(answers);
  assert_string_equal(call(world, client, "LLEN work"), "0");
  assert_true(orr_redis_count(client).links <= 64); // the rest was given back
  world_close(world);
}

static void a_blocking_read_may_take_its_block_time_and_no_more(void **state) {
  (void)state;
  struct world *world = world_open();
  struct orr_redis *client = world_client(world, "redis://127.0.0.1:%u?timeout=300ms", server.port);
  uint64_t start_ms = orr_clock_now().mono_ms;
  assert_string_equal(call(world, client, "BLPOP none 0.6"), "nil"); // longer than the timeout
  assert_true(orr_clock_now().mono_ms - start_ms >= 590);
  assert_string_equal(call(world, client, "XREAD BLOCK 50 STREAMS none $"), "nil");
  assert_string_equal(call(world, client, "DEBUG SLEEP 0"), "!ERR DEBUG command not allowed. If the enable-debug-command "
                                                            "option is set to \"local\", you can run it from a local "
                                                            "connection, otherwise you need to set this option in the "
                                                            "configuration file, and then restart the server.");
  world_close(world);
}

// --- cancelling ---------------------------------------------------------------------------------------------------------------

static void a_cancelled_request_is_not_told_and_its_connection_closed(void **state) {
  (void)state;
  struct world *world = world_open();
  struct orr_redis *client = world_client(world, "redis://127.0.0.1:%u?pool=2", server.port);
  struct answer answers[4] = {0};
  struct orr_redis_request *requests[4];
  call(world, client, "PING");
  for (int i = 0; i < 4; i++) {
    struct orr_redis_batch batch = ORR_REDIS_BATCH_INIT;
    add(&batch, i < 2 ? "BLPOP none 0" : "GET k");
    requests[i] = orr_redis_start(client, &batch, NULL, answer_take, &answers[i]);
  }
  must(world, strstr(call(world, client, "INFO clients"), "blocked_clients:2\r") != NULL);
  orr_redis_cancel(requests[0]);
  orr_redis_cancel(requests[1]);
  must(world, strstr(call(world, client, "INFO clients"), "blocked_clients:0\r") != NULL);
  assert_int_equal(answers[0].called + answers[1].called, 0);
  must(world, answers[2].called + answers[3].called == 2);
  orr_buf_free(&answers[2].replies);
  orr_buf_free(&answers[3].replies);
  struct orr_redis_batch batch = ORR_REDIS_BATCH_INIT;
  add(&batch, "GET k");
  orr_redis_cancel(orr_redis_start(client, &batch, NULL, answer_take, &answers[0])); // before it was sent, perhaps
  assert_string_equal(call(world, client, "ECHO mine"), "\"mine\"");
  assert_int_equal(answers[0].called, 0);
  world_close(world);
}

static void freeing_the_client_tells_everybody_that_it_is_closed(void **state) {
  (void)state;
  struct world *world = world_open();
  struct orr_redis *client = world_client(world, "redis://127.0.0.1:%u?pool=1", server.port);
  struct answer answers[3] = {0};
  call(world, client, "PING");
  for (int i = 0; i < 3; i++) {
    struct orr_redis_batch batch = ORR_REDIS_BATCH_INIT;
    add(&batch, i == 0 ? "BLPOP none 0" : "GET k");
    orr_redis_start(client, &batch, NULL, answer_take, &answers[i]);
  }
  world_close(world);
  for (int i = 0; i < 3; i++) {
    assert_int_equal(answers[i].called, 1);
    assert_string_equal(answers[i].failure.code, "closed");
  }
}

// --- sessions ---------------------------------------------------------------------------------------------------------------

struct opened {
  struct orr_redis_session *session;
  struct orr_redis_failure failure;
  int called;
};
static void take_session(void *context, struct orr_redis_session *session, const struct orr_redis_failure *failure) {
  struct opened *opened = context;
  opened->called++;
  opened->session = session;
  if (failure != NULL) opened->failure = *failure;
}
static struct orr_redis_session *session_of(struct world *world, struct orr_redis *client) {
  struct opened opened = {0};
  orr_redis_session_open(client, ORR_REDIS_SLOT_NONE, take_session, &opened);
  assert_int_equal(opened.called, 0);
  must(world, opened.called == 1);
  assert_non_null(opened.session);
  return opened.session;
}

static void a_watched_key_that_changed_voids_the_transaction(void **state) {
  (void)state;
  struct world *world = world_open();
  struct orr_redis *client = world_client(world, "redis://127.0.0.1:%u", server.port);
  call(world, client, "SET k 1");
  struct orr_redis_session *session = session_of(world, client);
  struct orr_redis_batch batch = ORR_REDIS_BATCH_INIT;
  struct answer answer = {0};
  for (int round = 0; round < 2; round++) {
    add(&batch, "WATCH k");
    run_batch(world, client, &batch, session, &answer);
    if (round == 0) call(world, client, "SET k 2");
    batch.atomic = true;
    add(&batch, "MULTI");
    add(&batch, "INCR k");
    add(&batch, "EXEC");
    run_batch(world, client, &batch, session, &answer);
    assert_string_equal(show(orr_buf_slice(&answer.replies)), round == 0 ? "OK QUEUED nil" : "OK QUEUED [3]");
  }
  orr_buf_free(&answer.replies);
  orr_redis_session_close(session, true);
  assert_string_equal(call(world, client, "GET k"), "\"3\"");
  assert_int_equal(orr_redis_count(client).links, 2);
  world_close(world);
}

static void a_transaction_goes_out_in_one_piece_on_the_pool(void **state) {
  (void)state;
  struct world *world = world_open();
  struct orr_redis *client = world_client(world, "redis://127.0.0.1:%u", server.port);
  struct orr_redis_batch batch = ORR_REDIS_BATCH_INIT;
  struct answer answer = {0};
  batch.atomic = true;
  add(&batch, "MULTI");
  add(&batch, "SET k 1");
  add(&batch, "BLPOP none 0"); // does not block here
  add(&batch, "EXEC");
  run_batch(world, client, &batch, NULL, &answer);
  assert_string_equal(show(orr_buf_slice(&answer.replies)), "OK QUEUED QUEUED [OK nil]");
  orr_buf_free(&answer.replies);
  world_close(world);
}

static void a_session_knows_one_command_at_a_time_and_dies_with_a_cancelled_one(void **state) {
  (void)state;
  struct world *world = world_open();
  struct orr_redis *client = world_client(world, "redis://127.0.0.1:%u", server.port);
  struct orr_redis_session *session = session_of(world, client);
  struct orr_redis_options options = {.session = session};
  struct orr_redis_batch batch = ORR_REDIS_BATCH_INIT;
  struct answer answer = {0}, first = {0};
  add(&batch, "SELECT 2");
  run_batch(world, client, &batch, session, &answer);
  assert_string_equal(show(orr_buf_slice(&answer.replies)), "OK");
  add(&batch, "BLPOP none 0");
  struct orr_redis_request *request = orr_redis_start(client, &batch, &options, answer_take, &first);
  add(&batch, "PING");
  run_batch(world, client, &batch, session, &answer);
  assert_string_equal(answer.failure.code, "session");
  orr_redis_cancel(request);
  add(&batch, "PING");
  run_batch(world, client, &batch, session, &answer);
  assert_string_equal(answer.failure.code, "closed");
  orr_redis_session_close(session, true);
  assert_int_equal(first.called, 0);
  assert_string_equal(call(world, client, "SET where pool"), "OK"); // database 0
  assert_string_equal(call(world, client, "GET where"), "\"pool\"");
  session = session_of(world, client);
  orr_redis_free(client); // while a session is held
  world->client = NULL;
  orr_redis_session_close(session, false);
  world_close(world);
}

// --- a server that goes and comes -------------------------------------------------------------------------------------------

static void a_server_killed_in_mid_command_leaves_writes_unknown_and_reads_repeated(void **state) {
  (void)state;
  struct redis mortal;
  redis_new(&mortal, NULL);
  struct world *world = world_open();
  struct orr_redis *client = world_client(world, "redis://127.0.0.1:%u?connect_timeout=20s", mortal.port);
  struct answer write = {0}, read = {0};
  struct orr_redis_batch batch = ORR_REDIS_BATCH_INIT;
  add(&batch, "BLPOP none 0");
  orr_redis_start(client, &batch, NULL, answer_take, &write);
  add(&batch, "XREAD BLOCK 20000 STREAMS s 0");
  orr_redis_start(client, &batch, NULL, answer_take, &read);
  must(world, strstr(call(world, client, "INFO clients"), "blocked_clients:2\r") != NULL);
  redis_kill(&mortal);
  must(world, write.called == 1);
  assert_string_equal(write.failure.code, "unknown_outcome");
  assert_false(write.failure.retryable);
  assert_int_equal(read.called, 0);
  redis_start(&mortal);
  redis_wait(&mortal);
  assert_string_equal(call(world, client, "XADD s 1-1 f v"), "\"1-1\""); // by a new connection
  must(world, read.called == 1);
  assert_int_equal(read.failure.status, ORR_OK);
  assert_string_equal(show(orr_buf_slice(&read.replies)), "[[\"s\" [[\"1-1\" [\"f\" \"v\"]]]]]");
  orr_buf_free(&read.replies);
  world_close(world);
  redis_end(&mortal);
}

static void an_idle_connection_that_died_is_noticed_before_it_is_used(void **state) {
  (void)state;
  struct redis mortal;
  redis_new(&mortal, NULL);
  struct world *world = world_open();
  struct orr_redis *client = world_client(world, "redis://127.0.0.1:%u?connect_timeout=20s", mortal.port);
  assert_string_equal(call(world, client, "SET k 1"), "OK");
  redis_kill(&mortal); // the loop does not run meanwhile
  redis_start(&mortal);
  redis_wait(&mortal);
  assert_string_equal(call(world, client, "INCR n"), "1"); // not: unknown_outcome
  world_close(world);
  redis_end(&mortal);
}

// --- subscriptions --------------------------------------------------------------------------------------------------------------

static void count_change(void *context) { ++*(int *)context; }

static void messages_arrive_in_order_and_again_after_a_restart(void **state) {
  (void)state;
  struct redis mortal;
  redis_new(&mortal, NULL);
  struct world *world = world_open();
  struct orr_redis *client = world_client(world, "redis://127.0.0.1:%u?connect_timeout=20s", mortal.port);
  struct orr_slice channels[2] = {ORR_SLICE_LITERAL("a"), ORR_SLICE_LITERAL("b")};
  struct orr_redis_failure failure;
  struct orr_buf message = ORR_BUF_INIT;
  int changes = 0;
  struct orr_redis_subscription *subscription =
      orr_redis_subscribe_open(client, ORR_REDIS_SUBSCRIBE, channels, 2, count_change, &changes);
  must(world, orr_redis_subscription_ready(subscription));
  for (int i = 0; i < 100; i++) call(world, client, "PUBLISH %s %d", i % 2 ? "a" : "b", i);
  for (int i = 0; i < 100; i++) {
    char text[64];
    must(world, orr_redis_subscription_next(subscription, &message, &failure) == ORR_OK);
    snprintf(text, sizeof(text), "[\"message\" \"%s\" \"%d\"]", i % 2 ? "a" : "b", i);
    assert_string_equal(show(orr_buf_slice(&message)), text);
    orr_buf_clear(&message);
  }
  assert_int_equal(orr_redis_subscription_next(subscription, &message, &failure), ORR_ERR_NOT_FOUND);
  redis_kill(&mortal);
  redis_start(&mortal);
  redis_wait(&mortal);
  must(world, strcmp(call(world, client, "PUBLISH a again"), "1") == 0);
  must(world, orr_redis_subscription_next(subscription, &message, &failure) == ORR_OK);
  assert_string_equal(show(orr_buf_slice(&message)), "[\"message\" \"a\" \"again\"]");
  orr_buf_free(&message);
  orr_redis_subscription_close(subscription);
  assert_true(changes >= 3);
  world_close(world);
  redis_end(&mortal);
}

static void patterns_and_shard_channels_are_heard_and_an_unread_flood_is_bounded(void **state) {
  (void)state;
  struct world *world = world_open();
  struct orr_redis *client = world_client(world, "redis://127.0.0.1:%u", server.port);
  struct orr_slice pattern = ORR_SLICE_LITERAL("news.*"), shard = ORR_SLICE_LITERAL("shard");
  struct orr_redis_failure failure;
  struct orr_buf message = ORR_BUF_INIT;
  struct orr_redis_subscription *p = orr_redis_subscribe_open(client, ORR_REDIS_PSUBSCRIBE, &pattern, 1, NULL, NULL);
  struct orr_redis_subscription *s = orr_redis_subscribe_open(client, ORR_REDIS_SSUBSCRIBE, &shard, 1, NULL, NULL);
  must(world, orr_redis_subscription_ready(p) && orr_redis_subscription_ready(s));
  assert_string_equal(call(world, client, "PUBLISH news.x 1"), "1");
  assert_string_equal(call(world, client, "SPUBLISH shard 2"), "1");
  must(world, orr_redis_subscription_next(p, &message, &failure) == ORR_OK);
  assert_string_equal(show(orr_buf_slice(&message)), "[\"pmessage\" \"news.*\" \"news.x\" \"1\"]");
  orr_buf_clear(&message);
  must(world, orr_redis_subscription_next(s, &message, &failure) == ORR_OK);
  assert_string_equal(show(orr_buf_slice(&message)), "[\"smessage\" \"shard\" \"2\"]");
  orr_buf_clear(&message);
  size_t len = 1024 * 1024;
  char *payload = malloc(len);
  memset(payload, 'x', len);
  struct orr_slice args[3] = {ORR_SLICE_LITERAL("PUBLISH"), ORR_SLICE_LITERAL("news.y"), orr_slice_of(payload, len)};
  for (int i = 0; i < 40; i++) { // more than may stand unread: the rest waits at Redis
    struct orr_redis_batch batch = ORR_REDIS_BATCH_INIT;
    struct answer answer = {0};
    orr_redis_batch_add(&batch, args, 3);
    run_batch(world, client, &batch, NULL, &answer);
    orr_buf_free(&answer.replies);
  }
  for (int i = 0; i < 40; i++) {
    must(world, orr_redis_subscription_next(p, &message, &failure) == ORR_OK);
    assert_true(message.len > len);
    orr_buf_clear(&message);
  }
  free(payload);
  orr_buf_free(&message);
  orr_redis_subscription_close(p);
  world_close(world);
  orr_redis_subscription_close(s); // after its client
}

// --- a puppet --------------------------------------------------------------------------------------------------------------

static void expect_failure(const char *const *lines, size_t len, const char *command, const char *options, const char *code,
                           bool retryable) {
  struct puppet puppet;
  struct answer answer = {0};
  struct orr_redis_batch batch = ORR_REDIS_BATCH_INIT;
  puppet_start(&puppet, lines, len);
  struct world *world = world_open();
  struct orr_redis *client = world_client(world, "redis://127.0.0.1:%u?%s", puppet.port, options);
  add(&batch, "%s", command);
  run_batch(world, client, &batch, NULL, &answer);
  assert_string_equal(answer.failure.code, code);
  assert_int_equal(answer.failure.retryable, retryable);
  orr_buf_free(&answer.replies);
  world_close(world);
  puppet_stop(&puppet);
}

static void a_lying_server_is_a_protocol_error(void **state) {
  (void)state;
  static const char *const lies[] = {"?what\r\n", "$5\r\nhi\r\n+OK\r\n", "*1\r\n$abc\r\n", ":1\r\n:2\r\n", "HTTP/1.1 400 Bad Request\r\n"};
  for (size_t i = 0; i < sizeof(lies) / sizeof(*lies); i++) {
    if (i == 1) continue; // a bulk whose end is not where it said: hiredis reads on; the timeout ends it (below)
    expect_failure(&lies[i], 1, "SET k v", "timeout=20s", "protocol", false);
  }
  expect_failure(&lies[0], 1, "GET k", "timeout=20s", "protocol", true);
}

static void a_slow_server_is_a_timeout_that_is_final_for_writes(void **state) {
  (void)state;
  static const char *const silence[] = {"", "*2\r\n+half"};
  expect_failure(silence, 1, "SET k v", "timeout=120ms", "timeout", false);
  expect_failure(silence + 1, 1, "SET k v", "timeout=120ms", "timeout", false);
  expect_failure(silence, 1, "GET k", "timeout=120ms", "timeout", true);
}

static void a_server_that_hangs_up_is_asked_again_once_for_reads(void **state) {
  (void)state;
  static const char *const hangs[] = {NULL, "$1\r\nv\r\n"}, *const always[] = {NULL, NULL, NULL};
  struct puppet puppet;
  puppet_start(&puppet, hangs, 2);
  struct world *world = world_open();
  struct orr_redis *client = world_client(world, "redis://127.0.0.1:%u?timeout=20s", puppet.port);
  assert_string_equal(call(world, client, "GET k"), "\"v\"");
  assert_int_equal(puppet.connections, 2);
  world_close(world);
  puppet_stop(&puppet);
  expect_failure(always, 3, "GET k", "timeout=20s", "connect", true);
  expect_failure(always, 3, "SET k v", "timeout=20s", "unknown_outcome", false);
}

static void a_server_that_talks_unasked_loses_its_connection(void **state) {
  (void)state;
  static const char *const lines[] = {"+OK\r\n", ":7\r\n"};
  struct puppet puppet;
  puppet_start(&puppet, lines, 2);
  struct world *world = world_open();
  struct orr_redis *client = world_client(world, "redis://127.0.0.1:%u?timeout=20s", puppet.port);
  assert_string_equal(call(world, client, "SET k v"), "OK");
  assert_string_equal(call(world, client, "INCR k"), "7");
  assert_int_equal(orr_redis_count(client).links, 1);
  world_close(world);
  puppet_stop(&puppet);
}

int main(void) {
  signal(SIGPIPE, SIG_IGN);
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(commands_are_answered_with_every_kind_of_reply),
      cmocka_unit_test(a_pipeline_keeps_its_order_and_an_error_its_place),
      cmocka_unit_test(a_large_value_goes_there_and_back),
      cmocka_unit_test(more_requests_than_connections_wait_their_turn),
      cmocka_unit_test(what_changes_a_shared_connection_is_not_sent),
      cmocka_unit_test(a_user_a_password_and_a_database_are_used),
      cmocka_unit_test(a_wrong_password_is_told_at_once_and_is_final),
      cmocka_unit_test(a_refused_connection_is_told_after_the_connect_timeout),
      cmocka_unit_test(a_server_that_is_full_is_waited_for),
      cmocka_unit_test(a_name_is_resolved),
      cmocka_unit_test(a_thousand_blocked_readers_share_one_thread),
      cmocka_unit_test(a_blocking_read_may_take_its_block_time_and_no_more),
      cmocka_unit_test(a_cancelled_request_is_not_told_and_its_connection_closed),
      cmocka_unit_test(freeing_the_client_tells_everybody_that_it_is_closed),
      cmocka_unit_test(a_watched_key_that_changed_voids_the_transaction),
      cmocka_unit_test(a_transaction_goes_out_in_one_piece_on_the_pool),
      cmocka_unit_test(a_session_knows_one_command_at_a_time_and_dies_with_a_cancelled_one),
      cmocka_unit_test(a_server_killed_in_mid_command_leaves_writes_unknown_and_reads_repeated),
      cmocka_unit_test(an_idle_connection_that_died_is_noticed_before_it_is_used),
      cmocka_unit_test(messages_arrive_in_order_and_again_after_a_restart),
      cmocka_unit_test(patterns_and_shard_channels_are_heard_and_an_unread_flood_is_bounded),
      cmocka_unit_test(a_lying_server_is_a_protocol_error),
      cmocka_unit_test(a_slow_server_is_a_timeout_that_is_final_for_writes),
      cmocka_unit_test(a_server_that_hangs_up_is_asked_again_once_for_reads),
      cmocka_unit_test(a_server_that_talks_unasked_loses_its_connection),
  };
  return cmocka_run_group_tests(tests, start_server, end_server);
}
