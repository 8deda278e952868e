// SPDX-License-Identifier: MIT
// RESP2 in and out, what is known of commands, slots, URLs.
#include "redis_world.h"

static struct orr_slice text_of(const char *text) { return orr_slice_text(text); }

// --- replies ---------------------------------------------------------------------------------------------------------------

static void replies_of_every_kind_are_read_in_order_at_every_split(void **state) {
  (void)state;
  static const char wire[] = "+OK\r\n:42\r\n$5\r\nhello\r\n$-1\r\n*-1\r\n*0\r\n-WRONGTYPE no\r\n"
                             "*3\r\n:1\r\n*2\r\n$0\r\n\r\n+a b\r\n$-1\r\n:-9223372036854775808\r\n$4\r\n\r\n\r\n\r\n";
  for (size_t split = 0; split < sizeof(wire) - 1; split++) {
    struct orr_redis_reader *reader = orr_redis_reader_new();
    const char *message = "";
    size_t count = 0;
    orr_redis_reader_feed(reader, orr_slice_of(wire, split));
    while (orr_redis_reader_next(reader, &message) == ORR_OK) count++;
    orr_redis_reader_feed(reader, orr_slice_of(wire + split, sizeof(wire) - 1 - split));
    while (orr_redis_reader_next(reader, &message) == ORR_OK) count++;
    assert_int_equal(count, 10);
    assert_true(orr_redis_reader_empty(reader));
    struct orr_buf replies = orr_redis_reader_take(reader);
    assert_string_equal(show(orr_buf_slice(&replies)), "OK 42 \"hello\" nil nil [] !WRONGTYPE no "
                                                       "[1 [\"\" a b] nil] -9223372036854775808 \"\r\n\r\n\"");
    orr_buf_free(&replies);
    orr_redis_reader_free(reader);
  }
}

static enum orr_status read_all(const char *wire, size_t len) {
  struct orr_redis_reader *reader = orr_redis_reader_new();
  const char *message = "";
  enum orr_status status;
  orr_redis_reader_feed(reader, orr_slice_of(wire, len));
  while ((status = orr_redis_reader_next(reader, &message)) == ORR_OK) {}
  if (status != ORR_ERR_NOT_FOUND) assert_true(message[0] != 0);
  orr_redis_reader_free(reader);
  return status;
}

static void what_is_no_resp_is_refused(void **state) {
  (void)state;
  static const char *const bad[] = {"hello\r\n", "%1\r\n+a\r\n+b\r\n", "\r\n", ":12x\r\n", "*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n:1\r\n",
                                    "*99999999999999999999\r\n"};
  for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
    if (read_all(bad[i], strlen(bad[i])) != ORR_ERR_CORRUPT) fail_msg("was taken: %s", bad[i]);
}

static void a_line_without_end_and_a_reply_without_bound_are_given_up(void **state) {
  (void)state;
  struct orr_redis_reader *reader = orr_redis_reader_new();
  const char *message = "";
  char block[16384];
  memset(block, 'a', sizeof(block));
  orr_redis_reader_feed(reader, text_of("+"));
  enum orr_status status = ORR_ERR_NOT_FOUND;
  for (int i = 0; i < 10 && status == ORR_ERR_NOT_FOUND; i++) {
    orr_redis_reader_feed(reader, orr_slice_of(block, sizeof(block)));
    status = orr_redis_reader_next(reader, &message);
  }
  assert_int_equal(status, ORR_ERR_CORRUPT);
  orr_redis_reader_free(reader);
  reader = orr_redis_reader_new();
  orr_redis_reader_feed(reader, text_of("*2000000000\r\n"));
  status = ORR_ERR_NOT_FOUND;
  static char bulk[70000];
  size_t len = (size_t)snprintf(bulk, sizeof(bulk), "$65536\r\n");
  memset(bulk + len, 'x', 65536);
  memcpy(bulk + len + 65536, "\r\n", 2);
  for (int i = 0; i < 2000 && status == ORR_ERR_NOT_FOUND; i++) {
    orr_redis_reader_feed(reader, orr_slice_of(bulk, len + 65538));
    status = orr_redis_reader_next(reader, &message);
  }
  assert_int_equal(status, ORR_ERR_LIMIT);
  assert_string_equal(message, "a reply is larger than 64 MiB");
  orr_redis_reader_free(reader);
}

static void errors_get_their_first_word_as_code(void **state) {
  (void)state;
  static const struct {
    const char *text, *code;
    bool retryable;
  } rows[] = {{"WRONGTYPE Operation against a key", "wrongtype", false}, {"ERR unknown command", "err", false},
              {"NOAUTH Authentication required.", "noauth", false},      {"LOADING Redis is loading", "loading", true},
              {"MOVED 1 127.0.0.1:1", "moved", true},                    {"CLUSTERDOWN Hash slot not served", "clusterdown", true},
              {"my own error of a script", "err", false},                {"", "err", false},
              {"NOSCRIPT No matching script", "noscript", false},        {"READONLY You can't write", "readonly", true}};
  for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
    struct orr_redis_failure failure;
    orr_redis_failure_of_reply(&failure, text_of(rows[i].text));
    assert_string_equal(failure.code, rows[i].code);
    assert_string_equal(failure.message, rows[i].text);
    assert_int_equal(failure.retryable, rows[i].retryable);
  }
}

// --- commands --------------------------------------------------------------------------------------------------------------

static void commands_are_written_with_lengths(void **state) {
  (void)state;
  struct orr_buf out = ORR_BUF_INIT;
  struct orr_slice args[3] = {text_of("SET"), orr_slice_of("a\r\n\0b", 5), text_of("")};
  orr_redis_format(&out, args, 3);
  static const char expected[] = "*3\r\n$3\r\nSET\r\n$5\r\na\r\n\0b\r\n$0\r\n\r\n";
  assert_int_equal(out.len, sizeof(expected) - 1);
  assert_memory_equal(out.data, expected, sizeof(expected) - 1);
  orr_buf_free(&out);
}

static void slots_are_those_of_redis(void **state) {
  (void)state;
  assert_int_equal(orr_redis_slot(text_of("123456789")), 12739);
  assert_int_equal(orr_redis_slot(text_of("foo")), 12182);
  assert_int_equal(orr_redis_slot(text_of("{foo}.bar")), 12182);
  assert_int_equal(orr_redis_slot(text_of("x{foo}{bar}")), 12182);
  assert_int_equal(orr_redis_slot(text_of("")), 0);
  assert_true(orr_redis_slot(text_of("{}foo")) != orr_redis_slot(text_of("{}bar"))); // an empty tag is none
  assert_int_equal(orr_redis_slot(text_of("{a")), orr_redis_slot(orr_slice_of("{a", 2)));
}

static struct orr_redis_command classified(const char *words) {
  struct orr_redis_batch batch = ORR_REDIS_BATCH_INIT;
  add(&batch, "%s", words);
  struct orr_redis_command command = batch.commands[0];
  orr_redis_batch_free(&batch);
  return command;
}

static void commands_are_known_by_what_they_do(void **state) {
  (void)state;
  const uint32_t R = ORR_REDIS_READS, B = ORR_REDIS_BLOCKS, S = ORR_REDIS_SESSION, P = ORR_REDIS_SESSION | ORR_REDIS_PUSHES;
  const struct {
    const char *words;
    uint32_t flags;
    const char *key;
    uint64_t block_ms;
  } rows[] = {
      {"get k", R, "k", 0}, {"GET k", R, "k", 0}, {"SET k v", 0, "k", 0}, {"no.such k", 0, "k", 0}, {"PING", R, NULL, 0},
      {"BLPOP k l 1.5", B, "k", 1500}, {"BLPOP k 0", B, "k", 0}, {"BLMPOP 2 1 k LEFT", B, "k", 2000},
      {"WAIT 1 250", B, NULL, 250}, {"XREAD COUNT 1 STREAMS k 0", R, "k", 0},
      {"XREAD BLOCK 700 STREAMS k 0", R | B, "k", 700}, {"XREAD STREAMS BLOCK 0", R, "BLOCK", 0},
      {"XREADGROUP GROUP BLOCK c BLOCK 0 STREAMS k >", B, "k", 0}, {"EVAL return 1 k a", 0, "k", 0},
      {"EVAL return 0 a", 0, NULL, 0}, {"FCALL f 2 k l", 0, "k", 0}, {"ZUNION 2 k l", R, "k", 0},
      {"SUBSCRIBE c", P, NULL, 0}, {"MULTI", S, NULL, 0}, {"WATCH k", S, "k", 0}, {"CLIENT REPLY OFF", P, NULL, 0},
      {"CLIENT LIST", 0, NULL, 0}, {"BITOP AND k a", 0, "k", 0}, {"XINFO STREAM k", R, "k", 0}, {"zunion 1", R, NULL, 0},
      {"MIGRATE h p k 0 1", 0, "k", 0}, {"zscore k m", R, "k", 0}, {"acl WHOAMI", 0, NULL, 0}, {"GETDEL k", 0, "k", 0}};
  for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
    struct orr_redis_command command = classified(rows[i].words);
    int32_t slot = rows[i].key != NULL ? orr_redis_slot(text_of(rows[i].key)) : ORR_REDIS_SLOT_NONE;
    if (command.flags != rows[i].flags || command.slot != slot || command.block_ms != rows[i].block_ms)
      fail_msg("%s: flags %u slot %d block %llu", rows[i].words, command.flags, command.slot,
               (unsigned long long)command.block_ms);
  }
}

// --- URLs --------------------------------------------------------------------------------------------------------------------

static void urls_say_where_and_how(void **state) {
  (void)state;
  static struct orr_redis_url url;
  char message[256] = "";
  assert_int_equal(orr_redis_url_parse(text_of("redis://"), &url, message), ORR_ERR_INVALID);
  assert_int_equal(orr_redis_url_parse(text_of("redis://h"), &url, message), ORR_OK);
  assert_string_equal(url.hosts[0].name, "h");
  assert_int_equal(url.hosts[0].port, 6379);
  assert_int_equal(url.pool_max, 64);
  assert_int_equal(orr_redis_url_parse(text_of("redis://me:p%40s%2fs@[::1]:7000/3?timeout=500ms&connect_timeout=2s&pool=4&name=x"),
                                       &url, message), ORR_OK);
  assert_string_equal(url.user, "me");
  assert_string_equal(url.password, "p@s/s");
  assert_string_equal(url.hosts[0].name, "::1");
  assert_int_equal(url.hosts[0].port, 7000);
  assert_int_equal(url.database, 3);
  assert_int_equal(url.timeout_ms, 500);
  assert_int_equal(url.connect_timeout_ms, 2000);
  assert_int_equal(url.pool_max, 4);
  assert_string_equal(url.name, "x");
  assert_int_equal(orr_redis_url_parse(text_of("redis+sentinel://:s3@a,b:7/mymaster/2?sentinel_password=q"), &url, message), ORR_OK);
  assert_int_equal(url.mode, ORR_REDIS_SENTINEL);
  assert_int_equal(url.hosts_len, 2);
  assert_int_equal(url.hosts[0].port, 26379);
  assert_int_equal(url.hosts[1].port, 7);
  assert_string_equal(url.master, "mymaster");
  assert_string_equal(url.password, "s3");
  assert_string_equal(url.sentinel_password, "q");
  assert_int_equal(url.database, 2);
  assert_int_equal(orr_redis_url_parse(text_of("redis+cluster://a:1,b:2,c"), &url, message), ORR_OK);
  assert_int_equal(url.hosts_len, 3);
  assert_int_equal(url.hosts[2].port, 6379);
}

static void a_bad_url_is_told_without_its_password(void **state) {
  (void)state;
  static struct orr_redis_url url;
  static const struct {
    const char *text, *says;
  } rows[] = {{"http://h", "begins with redis://"}, {"rediss://h", "TLS tunnel"}, {"redis://h:0", "port"},
              {"redis://h:99999", "port"}, {"redis://a,b", "one host"}, {"redis://h/x", "database"},
              {"redis://h?no=1", "unknown option \"no\""}, {"redis://h?pool=65", "pool"}, {"redis://h?timeout=soon", "durations"},
              {"redis+sentinel://h", "master's name"}, {"redis+cluster://h/1", "database 0"}, {"redis://u@h", "no password"},
              {"redis://:secret%4@h", "hex digits"}, {"redis://:secret@", "lacks a host"}, {"redis://[::1", "]"},
              {"redis://h?sentinel_user=x", "unknown option"}, {"redis://:secret%00@h", "NUL"}};
  for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
    char message[256] = "";
    assert_int_equal(orr_redis_url_parse(text_of(rows[i].text), &url, message), ORR_ERR_INVALID);
    if (strstr(message, rows[i].says) == NULL) fail_msg("%s: %s", rows[i].text, message);
    assert_null(strstr(message, "secret"));
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(replies_of_every_kind_are_read_in_order_at_every_split),
      cmocka_unit_test(what_is_no_resp_is_refused),
      cmocka_unit_test(a_line_without_end_and_a_reply_without_bound_are_given_up),
      cmocka_unit_test(errors_get_their_first_word_as_code),
      cmocka_unit_test(commands_are_written_with_lengths),
      cmocka_unit_test(slots_are_those_of_redis),
      cmocka_unit_test(commands_are_known_by_what_they_do),
      cmocka_unit_test(urls_say_where_and_how),
      cmocka_unit_test(a_bad_url_is_told_without_its_password),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
