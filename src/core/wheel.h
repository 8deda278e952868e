// SPDX-License-Identifier: MIT
// Hierarchical timer wheel: 8 levels of 64 slots cover 2^48 ms. O(1) add and cancel, amortised O(1)
// fire, never early. A timer sits in the level of the highest 6-bit digit in which its deadline
// differs from the wheel's time (Varghese & Lauck 1987, in the XOR form), so two timers of one deadline
// are always in one slot, and fire in the order in which they were set. Deadlines beyond 2^48 ms are
// an assertion: callers clamp by ORR_DURATION_MS_MAX. Owner thread only; knows no clock.
#pragma once

#include "base/list.h"

#include <stdint.h>

#define ORR_WHEEL_LEVELS 8
#define ORR_WHEEL_SLOTS 64
#define ORR_WHEEL_NEVER UINT64_MAX

struct orr_timer { // caller-owned, embedded; zeroed or orr_timer_init before first use
  struct orr_list link;
  uint64_t deadline_ms; // bit 63 is the wheel's own while the timer is pending
};

struct orr_wheel {
  uint64_t now_ms;
  uint64_t count; // pending timers, due ones that were not handed out included
  uint64_t occupied[ORR_WHEEL_LEVELS]; // bit per slot
  struct orr_list due;                 // added with a deadline that has passed
  uint32_t lens[ORR_WHEEL_LEVELS][ORR_WHEEL_SLOTS];
  struct orr_list slots[ORR_WHEEL_LEVELS][ORR_WHEEL_SLOTS];
};

void orr_wheel_init(struct orr_wheel *wheel, uint64_t now_ms); // not movable afterwards
static inline void orr_timer_init(struct orr_timer *timer) {
  orr_list_init(&timer->link);
  timer->deadline_ms = ORR_WHEEL_NEVER;
}
static inline bool orr_timer_pending(const struct orr_timer *timer) {
  return timer->link.next != NULL && orr_list_linked(&timer->link);
}
// Sets the timer; one that is pending is moved. A deadline in the past fires at the next advance.
void orr_wheel_add(struct orr_wheel *wheel, struct orr_timer *timer, uint64_t deadline_ms);
void orr_wheel_cancel(struct orr_wheel *wheel, struct orr_timer *timer); // harmless when not pending
// Moves time on (never back: an earlier now is taken as the current one) and appends every timer due
// by then to `fired`, ordered by deadline, then by the order of setting. The caller pops them
// with orr_list_pop_front; a fired timer is no longer pending for the wheel.
void orr_wheel_advance(struct orr_wheel *wheel, uint64_t now_ms, struct orr_list *fired);
// The instant by which advance must be called next: exact, or earlier when a cascade comes first;
// never later than the earliest deadline. ORR_WHEEL_NEVER when empty.
uint64_t orr_wheel_next(const struct orr_wheel *wheel);
