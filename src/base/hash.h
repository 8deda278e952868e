// SPDX-License-Identifier: MIT
// Checksums and hashes without keys or state. CRC-32C guards journal records (Castagnoli polynomial);
// the 64-bit hash (FNV-1a by words, with a final mix) serves maps and simulation traces, never security.
#pragma once

#include "base/buf.h"

uint32_t orr_crc32c(uint32_t crc, struct orr_slice bytes); // start with 0
uint32_t orr__crc32c_portable(uint32_t crc, struct orr_slice bytes); // without the instruction
uint64_t orr_hash64(uint64_t seed, struct orr_slice bytes);

#define ORR_SHA256_BYTES 32
struct orr_digest { // SHA-256 of content; identifies scripts, definitions, generations
  uint8_t bytes[ORR_SHA256_BYTES];
};
// 64 lower-case hex digits and a NUL.
void orr_digest_text(const struct orr_digest *digest, char text[65]);
bool orr_digest_parse(struct orr_slice text, struct orr_digest *digest);
bool orr_digest_equal(const struct orr_digest *a, const struct orr_digest *b);
