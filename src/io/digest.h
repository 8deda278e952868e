// SPDX-License-Identifier: MIT
// SHA-256 of content: what identifies scripts, definitions and generations. Any thread; a running
// digest belongs to one. Foreign library: libsodium, whose hashing needs no initialisation.
#pragma once

#include "base/hash.h"

#include <sodium/crypto_hash_sha256.h>

void orr_sha256(struct orr_slice bytes, struct orr_digest *out);

struct orr_sha256 { // a running digest; init, any number of updates, final
  crypto_hash_sha256_state state;
};
void orr_sha256_init(struct orr_sha256 *digest);
void orr_sha256_update(struct orr_sha256 *digest, struct orr_slice bytes);
void orr_sha256_final(struct orr_sha256 *digest, struct orr_digest *out);
