// SPDX-License-Identifier: MIT
// splitmix64, and unbiased numbers below a bound by Lemire's multiplication with rejection.
#include "base/rng.h"

#include "base/check.h"

__extension__ typedef unsigned __int128 u128;

uint64_t orr_rng_next(struct orr_rng *rng) {
  rng->state += 0x9e3779b97f4a7c15u;
  uint64_t z = rng->state;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return z ^ (z >> 31);
}

uint64_t orr_rng_below(struct orr_rng *rng, uint64_t bound) {
  orr_assert(bound >= 1);
  u128 product = (u128)orr_rng_next(rng) * bound;
  if ((uint64_t)product < bound) {
    uint64_t biased = (0 - bound) % bound; // 2^64 mod bound: so many low products are one too many
    while ((uint64_t)product < biased) product = (u128)orr_rng_next(rng) * bound;
  }
  return (uint64_t)(product >> 64);
}
