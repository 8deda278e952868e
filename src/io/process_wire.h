// SPDX-License-Identifier: MIT
// What an engine's channel and the spawn helper say to each other, over a SOCK_SEQPACKET socket
// pair. Both ends are the same binary after fork(2), so structs travel as they lie in memory.
// Internal to io.
#pragma once

#include "base/buf.h"

#include <sys/types.h>

#define ORR__WIRE_PACKET_BYTES_MAX 32768u // more goes into a memfd beside the header
#define ORR__WIRE_STRINGS_BYTES_MAX                                                                \
  (16u * 1024u * 1024u) // argv, env and cwd together; the kernel allows less
#define ORR__WIRE_FDS_MAX 4u
// What a child leaves behind in its group may still run and write so long after its exit. Then the
// channel has it killed; later the helper does it unasked.
#define ORR__STRAGGLER_MS 500u
#define ORR__STRAGGLER_HELPER_MS 1000u

enum orr__wire_type { ORR__WIRE_START = 1, ORR__WIRE_SIGNAL = 2 };

// Descriptors come in this order. A standard stream without its bit is /dev/null.
enum {
  ORR__WIRE_STDIN = 1,
  ORR__WIRE_STDOUT = 2,
  ORR__WIRE_STDERR = 4,
  ORR__WIRE_MEMFD = 8,    // the strings lie in the memfd, not in the packet
  ORR__WIRE_FDS = 15,     // each of the above brings a descriptor
  ORR__WIRE_OWN_ENV = 16, // no env strings: the environment that the helper was forked with
  ORR__WIRE_CWD = 32,     // the last string is the working directory
};

struct orr__wire_request { // START is followed by argc + envc (+ 1) NUL-terminated strings
  uint32_t type;
  uint32_t flags;
  uint64_t id; // chosen by the channel, unique in it
  uint32_t argc, envc;
  uint32_t signal; // SIGNAL
  uint32_t bytes;  // of the strings
};

enum orr__wire_what { ORR__WIRE_EXITED = 1, ORR__WIRE_FAILED = 2 };
enum orr__wire_stage { ORR__STAGE_REQUEST, ORR__STAGE_FORK, ORR__STAGE_CWD, ORR__STAGE_EXEC };

struct orr__wire_reply { // a packet holds one or more; a START gets exactly one, in the end
  uint64_t id;
  int32_t what;
  int32_t value; // EXITED: the wait status; FAILED: errno
  uint32_t stage;
  uint32_t reserved;
};
#define ORR__WIRE_REPLIES_MAX 64u // in one packet

// --- the helper's side ---------------------------------------------------------------------------

// The helper's whole life; never returns. Reports an int32 enum orr_status on `life_fd` when it is
// ready or has failed.
_Noreturn void orr__helper_run(int life_fd, const int *channel_fds, uint32_t channels,
                               const char *lock_path, pid_t engine);

struct orr__exec { // a child to start; strings are borrowed
  const struct orr__wire_request *request;
  char *strings;
  int fds[3];
  pid_t helper;
};
// Starts it without copying the address space. 0 and *pid, or errno and *stage; a child that could
// not exec has been reaped.
int orr__exec_start(const struct orr__exec *exec, pid_t *pid, enum orr__wire_stage *stage);

// --- the engine's side ---------------------------------------------------------------------------

struct orr_spawner;
int orr__spawner_take_channel(struct orr_spawner *spawner, uint32_t index); // the caller closes it
