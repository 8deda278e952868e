// SPDX-License-Identifier: MIT
// HMAC-SHA256 by libsodium, whose functions return a status but cannot fail. Any thread.
#include "io/hmac.h"

#include "base/check.h"

#include <sodium/crypto_auth_hmacsha256.h>
#include <sodium/utils.h>

void orr_hmac_sha256(struct orr_slice key, struct orr_slice bytes, struct orr_digest *out) {
  static const uint8_t EMPTY[1] = {0};
  _Static_assert(sizeof out->bytes == crypto_auth_hmacsha256_BYTES, "digests are 32 bytes");
  crypto_auth_hmacsha256_state state;
  int failed = crypto_auth_hmacsha256_init(&state, key.len != 0 ? key.data : EMPTY, key.len);
  if (bytes.len != 0) failed |= crypto_auth_hmacsha256_update(&state, bytes.data, bytes.len);
  failed |= crypto_auth_hmacsha256_final(&state, out->bytes);
  sodium_memzero(&state, sizeof state);
  orr_assert(failed == 0);
}

bool orr_equal_constant_time(struct orr_slice a, struct orr_slice b) {
  return a.len == b.len && (a.len == 0 || sodium_memcmp(a.data, b.data, a.len) == 0);
}
