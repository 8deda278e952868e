// SPDX-License-Identifier: MIT
// The table of commands, and slots. Commands of Redis 7.0 that write and take their key first need
// no row.
#include "io/redis_command.h"

#include "base/check.h"
#include "io/redis_codec.h"

#include <math.h>
#include <stdlib.h>
#include <strings.h>

enum key_at { // where the first key stands
  KEY_1,      // first argument: the rule
  KEY_NONE,
  KEY_2,
  KEY_3,
  KEY_COUNT_1, // argument 1 counts keys, which follow
  KEY_COUNT_2,
  KEY_STREAMS, // after the word STREAMS
};
enum block_at { BLOCK_NONE, BLOCK_LAST_S, BLOCK_FIRST_S, BLOCK_LAST_MS, BLOCK_OPTION_MS };
struct row {
  const char *name; // lower case, sorted
  enum key_at key;
  uint32_t flags;
  enum block_at block;
};
#define READ ORR_REDIS_READS
#define BLOCK ORR_REDIS_BLOCKS
#define SESSION ORR_REDIS_SESSION
#define PUSH (ORR_REDIS_SESSION | ORR_REDIS_PUSHES)

static const struct row rows[] = {
    {"acl", KEY_NONE, 0, 0},
    {"asking", KEY_NONE, SESSION, 0},
    {"auth", KEY_NONE, SESSION, 0},
    {"bgrewriteaof", KEY_NONE, 0, 0},
    {"bgsave", KEY_NONE, 0, 0},
    {"bitcount", KEY_1, READ, 0},
    {"bitfield_ro", KEY_1, READ, 0},
    {"bitop", KEY_2, 0, 0},
    {"bitpos", KEY_1, READ, 0},
    {"blmove", KEY_1, BLOCK, BLOCK_LAST_S},
    {"blmpop", KEY_COUNT_2, BLOCK, BLOCK_FIRST_S},
    {"blpop", KEY_1, BLOCK, BLOCK_LAST_S},
    {"brpop", KEY_1, BLOCK, BLOCK_LAST_S},
    {"brpoplpush", KEY_1, BLOCK, BLOCK_LAST_S},
    {"bzmpop", KEY_COUNT_2, BLOCK, BLOCK_FIRST_S},
    {"bzpopmax", KEY_1, BLOCK, BLOCK_LAST_S},
    {"bzpopmin", KEY_1, BLOCK, BLOCK_LAST_S},
    {"client", KEY_NONE, 0, 0},
    {"cluster", KEY_NONE, 0, 0},
    {"command", KEY_NONE, READ, 0},
    {"config", KEY_NONE, 0, 0},
    {"dbsize", KEY_NONE, READ, 0},
    {"debug", KEY_NONE, 0, 0},
    {"discard", KEY_NONE, SESSION, 0},
    {"dump", KEY_1, READ, 0},
    {"echo", KEY_NONE, READ, 0},
    {"eval", KEY_COUNT_2, 0, 0},
    {"eval_ro", KEY_COUNT_2, READ, 0},
    {"evalsha", KEY_COUNT_2, 0, 0},
    {"evalsha_ro", KEY_COUNT_2, READ, 0},
    {"exec", KEY_NONE, SESSION, 0},
    {"exists", KEY_1, READ, 0},
    {"expiretime", KEY_1, READ, 0},
    {"failover", KEY_NONE, 0, 0},
    {"fcall", KEY_COUNT_2, 0, 0},
    {"fcall_ro", KEY_COUNT_2, READ, 0},
    {"flushall", KEY_NONE, 0, 0},
    {"flushdb", KEY_NONE, 0, 0},
    {"function", KEY_NONE, 0, 0},
    {"geodist", KEY_1, READ, 0},
    {"geohash", KEY_1, READ, 0},
    {"geopos", KEY_1, READ, 0},
    {"georadius_ro", KEY_1, READ, 0},
    {"georadiusbymember_ro", KEY_1, READ, 0},
    {"geosearch", KEY_1, READ, 0},
    {"get", KEY_1, READ, 0},
    {"getbit", KEY_1, READ, 0},
    {"getrange", KEY_1, READ, 0},
    {"hello", KEY_NONE, PUSH, 0},
    {"hexists", KEY_1, READ, 0},
    {"hget", KEY_1, READ, 0},
    {"hgetall", KEY_1, READ, 0},
    {"hkeys", KEY_1, READ, 0},
    {"hlen", KEY_1, READ, 0},
    {"hmget", KEY_1, READ, 0},
    {"hrandfield", KEY_1, READ, 0},
    {"hscan", KEY_1, READ, 0},
    {"hstrlen", KEY_1, READ, 0},
    {"hvals", KEY_1, READ, 0},
    {"info", KEY_NONE, READ, 0},
    {"keys", KEY_NONE, READ, 0},
    {"lastsave", KEY_NONE, READ, 0},
    {"latency", KEY_NONE, 0, 0},
    {"lcs", KEY_1, READ, 0},
    {"lindex", KEY_1, READ, 0},
    {"llen", KEY_1, READ, 0},
    {"lmpop", KEY_COUNT_1, 0, 0},
    {"lolwut", KEY_NONE, READ, 0},
    {"lpos", KEY_1, READ, 0},
    {"lrange", KEY_1, READ, 0},
    {"memory", KEY_2, READ, 0},
    {"mget", KEY_1, READ, 0},
    {"migrate", KEY_3, 0, 0},
    {"module", KEY_NONE, 0, 0},
    {"monitor", KEY_NONE, PUSH, 0},
    {"multi", KEY_NONE, SESSION, 0},
    {"object", KEY_2, READ, 0},
    {"pexpiretime", KEY_1, READ, 0},
    {"pfcount", KEY_1, READ, 0},
    {"ping", KEY_NONE, READ, 0},
    {"psubscribe", KEY_NONE, PUSH, 0},
    {"psync", KEY_NONE, PUSH, 0},
    {"pttl", KEY_1, READ, 0},
    {"publish", KEY_NONE, 0, 0},
    {"pubsub", KEY_NONE, READ, 0},
    {"punsubscribe", KEY_NONE, PUSH, 0},
    {"quit", KEY_NONE, SESSION, 0},
    {"randomkey", KEY_NONE, READ, 0},
    {"readonly", KEY_NONE, SESSION, 0},
    {"readwrite", KEY_NONE, SESSION, 0},
    {"replconf", KEY_NONE, PUSH, 0},
    {"replicaof", KEY_NONE, 0, 0},
    {"reset", KEY_NONE, SESSION, 0},
    {"role", KEY_NONE, READ, 0},
    {"save", KEY_NONE, 0, 0},
    {"scan", KEY_NONE, READ, 0},
    {"scard", KEY_1, READ, 0},
    {"script", KEY_NONE, 0, 0},
    {"sdiff", KEY_1, READ, 0},
    {"select", KEY_NONE, SESSION, 0},
    {"shutdown", KEY_NONE, 0, 0},
    {"sinter", KEY_1, READ, 0},
    {"sintercard", KEY_COUNT_1, READ, 0},
    {"sismember", KEY_1, READ, 0},
    {"slaveof", KEY_NONE, 0, 0},
    {"slowlog", KEY_NONE, 0, 0},
    {"smembers", KEY_1, READ, 0},
    {"smismember", KEY_1, READ, 0},
    {"sort_ro", KEY_1, READ, 0},
    {"srandmember", KEY_1, READ, 0},
    {"sscan", KEY_1, READ, 0},
    {"ssubscribe", KEY_1, PUSH, 0},
    {"strlen", KEY_1, READ, 0},
    {"subscribe", KEY_NONE, PUSH, 0},
    {"substr", KEY_1, READ, 0},
    {"sunion", KEY_1, READ, 0},
    {"sunsubscribe", KEY_NONE, PUSH, 0},
    {"swapdb", KEY_NONE, 0, 0},
    {"sync", KEY_NONE, PUSH, 0},
    {"time", KEY_NONE, READ, 0},
    {"touch", KEY_1, READ, 0},
    {"ttl", KEY_1, READ, 0},
    {"type", KEY_1, READ, 0},
    {"unsubscribe", KEY_NONE, PUSH, 0},
    {"unwatch", KEY_NONE, SESSION, 0},
    {"wait", KEY_NONE, BLOCK, BLOCK_LAST_MS},
    {"watch", KEY_1, SESSION, 0},
    {"xgroup", KEY_2, 0, 0},
    {"xinfo", KEY_2, READ, 0},
    {"xlen", KEY_1, READ, 0},
    {"xpending", KEY_1, READ, 0},
    {"xrange", KEY_1, READ, 0},
    {"xread", KEY_STREAMS, READ, BLOCK_OPTION_MS},
    {"xreadgroup", KEY_STREAMS, 0, BLOCK_OPTION_MS},
    {"xrevrange", KEY_1, READ, 0},
    {"zcard", KEY_1, READ, 0},
    {"zcount", KEY_1, READ, 0},
    {"zdiff", KEY_COUNT_1, READ, 0},
    {"zinter", KEY_COUNT_1, READ, 0},
    {"zintercard", KEY_COUNT_1, READ, 0},
    {"zlexcount", KEY_1, READ, 0},
    {"zmpop", KEY_COUNT_1, 0, 0},
    {"zmscore", KEY_1, READ, 0},
    {"zrandmember", KEY_1, READ, 0},
    {"zrange", KEY_1, READ, 0},
    {"zrangebylex", KEY_1, READ, 0},
    {"zrangebyscore", KEY_1, READ, 0},
    {"zrank", KEY_1, READ, 0},
    {"zrevrange", KEY_1, READ, 0},
    {"zrevrangebylex", KEY_1, READ, 0},
    {"zrevrangebyscore", KEY_1, READ, 0},
    {"zrevrank", KEY_1, READ, 0},
    {"zscan", KEY_1, READ, 0},
    {"zscore", KEY_1, READ, 0},
    {"zunion", KEY_COUNT_1, READ, 0},
};

// --- slots ---------------------------------------------------------------------------------------

int32_t orr_redis_slot(struct orr_slice key) {
  static const uint16_t nibbles[16] = {0x0000, 0x1021, 0x2042, 0x3063, 0x4084, 0x50a5,
                                       0x60c6, 0x70e7, 0x8108, 0x9129, 0xa14a, 0xb16b,
                                       0xc18c, 0xd1ad, 0xe1ce, 0xf1ef};
  const uint8_t *open = key.len > 0 ? memchr(key.data, '{', key.len) : NULL;
  if (open != NULL) {
    const uint8_t *end = key.data + key.len, *close = memchr(open, '}', (size_t)(end - open));
    if (close != NULL && close > open + 1) key = orr_slice_of(open + 1, (size_t)(close - open - 1));
  }
  uint16_t crc = 0; // CRC-16/XMODEM
  for (size_t i = 0; i < key.len; i++) {
    crc = (uint16_t)((crc << 4) ^ nibbles[(crc >> 12) ^ (key.data[i] >> 4)]);
    crc = (uint16_t)((crc << 4) ^ nibbles[(crc >> 12) ^ (key.data[i] & 15)]);
  }
  return crc % ORR_REDIS_SLOTS;
}

// --- classes -------------------------------------------------------------------------------------

static bool is_word(struct orr_slice arg, const char *word) {
  return arg.len == strlen(word) && strncasecmp((const char *)arg.data, word, arg.len) == 0;
}

static const struct row *row_of(struct orr_slice name) {
  size_t low = 0, high = sizeof(rows) / sizeof(*rows);
  while (low < high) {
    size_t middle = (low + high) / 2, len = strlen(rows[middle].name);
    int order =
        strncasecmp((const char *)name.data, rows[middle].name, name.len < len ? name.len : len);
    if (order == 0) order = name.len < len ? -1 : name.len > len;
    if (order == 0) return &rows[middle];
    if (order < 0)
      high = middle;
    else
      low = middle + 1;
  }
  return NULL;
}

static size_t option_at(const struct orr_slice *args, size_t count,
                        const char *word) { // 0: not there
  for (size_t i = 1; i < count; i++) {
    if (is_word(args[i], word)) return i;
    if (is_word(args[i], "STREAMS")) return 0; // keys and ids follow
    if (is_word(args[i], "GROUP")) i += 2;
  }
  return 0;
}

static size_t key_index(const struct orr_slice *args, size_t count, enum key_at key) { // 0: none
  switch (key) {
  case KEY_1:
    return 1;
  case KEY_NONE:
    return 0;
  case KEY_2:
    return 2;
  case KEY_3:
    return 3;
  case KEY_COUNT_1:
    return 2;
  case KEY_COUNT_2:
    return count > 2 && is_word(args[2], "0") ? 0 : 3;
  case KEY_STREAMS:
    break;
  }
  size_t at = option_at(args, count, "STREAMS");
  return at != 0 ? at + 1 : 0;
}

static uint64_t time_ms(struct orr_slice arg, double unit_ms) {
  char text[40];
  if (arg.len >= sizeof(text)) return 0;
  if (arg.len > 0) memcpy(text, arg.data, arg.len);
  text[arg.len] = 0;
  double value = strtod(text, NULL) * unit_ms;
  return isfinite(value) && value > 0 && value < 1e15 ? (uint64_t)ceil(value) : 0;
}

static void classify_block(const struct orr_slice *args, size_t count, enum block_at block,
                           struct orr_redis_command *command) {
  size_t at = 0;
  switch (block) {
  case BLOCK_NONE:
    break;
  case BLOCK_FIRST_S:
    command->block_ms = count > 1 ? time_ms(args[1], 1000) : 0;
    break;
  case BLOCK_LAST_S:
    command->block_ms = time_ms(args[count - 1], 1000);
    break;
  case BLOCK_LAST_MS:
    command->block_ms = time_ms(args[count - 1], 1);
    break;
  case BLOCK_OPTION_MS:
    at = option_at(args, count, "BLOCK");
    if (at == 0 || at + 1 >= count) break;
    command->flags |= ORR_REDIS_BLOCKS;
    command->block_ms = time_ms(args[at + 1], 1);
    break;
  }
}

void orr_redis_classify(const struct orr_slice *args, size_t count,
                        struct orr_redis_command *command) {
  orr_assert(count > 0);
  static const struct row unknown = {.key = KEY_1};
  const struct row *row = row_of(args[0]);
  if (row == NULL) row = &unknown;
  command->flags = row->flags;
  command->slot = ORR_REDIS_SLOT_NONE;
  command->block_ms = 0;
  classify_block(args, count, row->block, command);
  size_t key = key_index(args, count, row->key);
  if (key != 0 && key < count) command->slot = orr_redis_slot(args[key]);
  // CLIENT REPLY and CLIENT TRACKING change what comes back on the connection.
  if (is_word(args[0], "CLIENT") && count > 1) {
    if (is_word(args[1], "REPLY") || is_word(args[1], "TRACKING"))
      command->flags |= ORR_REDIS_SESSION | ORR_REDIS_PUSHES;
    if (is_word(args[1], "NO-EVICT") || is_word(args[1], "SETNAME"))
      command->flags |= ORR_REDIS_SESSION;
  }
}

void orr_redis_batch_add(struct orr_redis_batch *batch, const struct orr_slice *args,
                         size_t count) {
  if (batch->len == batch->cap) {
    batch->cap = batch->cap != 0 ? batch->cap * 2 : 4;
    batch->commands = orr_realloc(batch->commands, batch->cap * sizeof(*batch->commands));
  }
  struct orr_redis_command *command = &batch->commands[batch->len++];
  command->offset = batch->bytes.len;
  orr_redis_format(&batch->bytes, args, count);
  command->len = batch->bytes.len - command->offset;
  orr_redis_classify(args, count, command);
}

void orr_redis_batch_free(struct orr_redis_batch *batch) {
  orr_buf_free(&batch->bytes);
  free(batch->commands);
  *batch = ORR_REDIS_BATCH_INIT;
}
