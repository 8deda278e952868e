// SPDX-License-Identifier: MIT
// SHA-256 by libsodium. Its functions are declared to return a status but cannot fail. Any thread.
#include "io/digest.h"

#include "base/check.h"

void orr_sha256(struct orr_slice bytes, struct orr_digest *out) {
  static const uint8_t EMPTY[1] = {0};
  int failed = crypto_hash_sha256(out->bytes, bytes.len != 0 ? bytes.data : EMPTY, bytes.len);
  orr_assert(failed == 0);
}

void orr_sha256_init(struct orr_sha256 *digest) {
  int failed = crypto_hash_sha256_init(&digest->state);
  orr_assert(failed == 0);
}

void orr_sha256_update(struct orr_sha256 *digest, struct orr_slice bytes) {
  if (bytes.len == 0) return;
  int failed = crypto_hash_sha256_update(&digest->state, bytes.data, bytes.len);
  orr_assert(failed == 0);
}

void orr_sha256_final(struct orr_sha256 *digest, struct orr_digest *out) {
  int failed = crypto_hash_sha256_final(&digest->state, out->bytes);
  orr_assert(failed == 0);
}
