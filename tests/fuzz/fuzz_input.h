// SPDX-License-Identifier: MIT
// A fuzzer's bytes as a stream of small choices, for harnesses that build structured values. At its
// end it gives zeros, so every input makes a value.
#pragma once

#include "base/buf.h"

struct fuzz_input {
  const uint8_t *at, *end;
};

static inline uint8_t fuzz_u8(struct fuzz_input *input) {
  return input->at < input->end ? *input->at++ : 0;
}
static inline uint64_t fuzz_u64(struct fuzz_input *input) {
  uint64_t value = 0;
  uint8_t bytes = fuzz_u8(input) % 9; // small numbers are as likely as large ones
  for (uint8_t i = 0; i < bytes; i++) value = value << 8 | fuzz_u8(input);
  return value;
}
static inline uint32_t fuzz_u32(struct fuzz_input *input) { return (uint32_t)fuzz_u64(input); }
static inline struct orr_slice fuzz_slice(struct fuzz_input *input) {
  size_t len = fuzz_u8(input) % 40;
  if (len > (size_t)(input->end - input->at)) len = (size_t)(input->end - input->at);
  struct orr_slice slice = orr_slice_of(input->at, len);
  input->at += len;
  return slice;
}
