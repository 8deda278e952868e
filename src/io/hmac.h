// SPDX-License-Identifier: MIT
// HMAC-SHA256 for web-hook signatures, and a comparison whose time tells nothing. Any thread. Foreign
// library: libsodium.
#pragma once

#include "base/hash.h"

void orr_hmac_sha256(struct orr_slice key, struct orr_slice bytes, struct orr_digest *out); // a key of any length
bool orr_equal_constant_time(struct orr_slice a, struct orr_slice b); // only the lengths can be told apart
