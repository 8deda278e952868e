// SPDX-License-Identifier: MIT
// What we must know of a Redis command without asking the server: whether it only reads (then it
// may be sent again after a lost connection), whether and how long it blocks, whether it changes
// its connection, and the slot of its first key. A command that the table does not know is taken to
// write, with its first argument as key. Pure.
#pragma once

#include "base/buf.h"
#include "base/status.h"

#define ORR_REDIS_SLOTS 16384
#define ORR_REDIS_SLOT_NONE (-1) // no key: any node
#define ORR_REDIS_ARGS_MAX 1000000u
#define ORR_REDIS_COMMAND_BYTES_MAX ((uint64_t)512 * 1024 * 1024)

enum orr_redis_command_flag {
  ORR_REDIS_READS = 1,   // changes nothing
  ORR_REDIS_BLOCKS = 2,  // waits at the server for block_ms; 0: for ever
  ORR_REDIS_SESSION = 4, // changes its connection (WATCH, SELECT, SUBSCRIBE ...): in a session only
  ORR_REDIS_PUSHES =
      8, // answers in a way of its own (SUBSCRIBE, MONITOR, SYNC): refused, see subscriptions
};
struct orr_redis_command {
  size_t offset, len; // in the batch's bytes
  int32_t slot;
  uint32_t flags;
  uint64_t block_ms;
};

struct orr_redis_batch { // commands that go out together, in order
  struct orr_buf bytes;
  struct orr_redis_command *commands;
  uint32_t len, cap;
  bool atomic; // MULTI ... EXEC: one slot, never split
};
#define ORR_REDIS_BATCH_INIT ((struct orr_redis_batch){0})

void orr_redis_batch_add(struct orr_redis_batch *batch, const struct orr_slice *args, size_t count);
void orr_redis_batch_free(struct orr_redis_batch *batch); // and resets it
// Flags, slot and block time of one command.
void orr_redis_classify(const struct orr_slice *args, size_t count,
                        struct orr_redis_command *command);
int32_t orr_redis_slot(struct orr_slice key); // CRC16 of the key, or of its {hash tag}
