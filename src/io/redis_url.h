// SPDX-License-Identifier: MIT
// Where Redis is and how to talk to it, from one URL:
//   redis://[user[:password]@]host[:port][/db]
//   redis+sentinel://[user[:password]@]host[:port],.../master[/db]
//   redis+cluster://[user[:password]@]host[:port],...
// and after ? timeout, connect_timeout (durations), pool (connections), name (of the client), and
// for Sentinel sentinel_user, sentinel_password. User, password and values are percent-decoded.
// Pure.
#pragma once

#include "base/buf.h"
#include "base/status.h"

#define ORR_REDIS_HOSTS_MAX 32u
#define ORR_REDIS_HOST_BYTES 256
#define ORR_REDIS_TEXT_BYTES 512 // user, password, names

enum orr_redis_mode { ORR_REDIS_SINGLE, ORR_REDIS_SENTINEL, ORR_REDIS_CLUSTER };

struct orr_redis_host {
  char name[ORR_REDIS_HOST_BYTES]; // IPv6 without brackets
  uint16_t port;
};
struct orr_redis_url {
  enum orr_redis_mode mode;
  struct orr_redis_host
      hosts[ORR_REDIS_HOSTS_MAX]; // at least one; Sentinels, or seeds of a Cluster
  uint32_t hosts_len;
  char user[ORR_REDIS_TEXT_BYTES], password[ORR_REDIS_TEXT_BYTES]; // "" if none
  char sentinel_user[ORR_REDIS_TEXT_BYTES], sentinel_password[ORR_REDIS_TEXT_BYTES];
  char master[ORR_REDIS_TEXT_BYTES]; // Sentinel's name of it
  char name[ORR_REDIS_TEXT_BYTES];   // CLIENT SETNAME; "" if none
  uint32_t database;
  uint64_t timeout_ms, connect_timeout_ms;
  uint32_t pool_max;
};

#define ORR_REDIS_TIMEOUT_MS 10000u
#define ORR_REDIS_CONNECT_TIMEOUT_MS 3000u
#define ORR_REDIS_POOL_MAX 64u

// ORR_ERR_INVALID: `message` says what is wrong; it never contains the password.
enum orr_status orr_redis_url_parse(struct orr_slice text, struct orr_redis_url *url,
                                    char message[256]);
