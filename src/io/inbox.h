// SPDX-License-Identifier: MIT
// A thread's one inbox: many producers, one consumer. A producer pushes a whole chain by one
// compare-and-swap and wakes the consumer only if it has parked; the consumer takes everything by one
// exchange. Several lanes (kinds of mail) share one parking place. A consumer without I/O parks on a
// futex; one that must sit in a uv loop parks there and is woken by an eventfd (edge-triggered).
// No spinning. A wake-up across cores costs 25 to 70 us, so push batches.
#pragma once

#include "base/list.h"

#include <stdatomic.h>
#include <stdint.h>

#define ORR_INBOX_LANES 3

struct orr_inbox {
  _Atomic(struct orr_link *) lanes[ORR_INBOX_LANES]; // newest first
  _Atomic uint32_t parked; // futex word: 0 awake, 1 parked
  _Atomic int event_fd;    // -1 until orr_inbox_use_fd, which the consumer may call late
};

void orr_inbox_init(struct orr_inbox *inbox);
// Creates the eventfd (close-on-exec, non-blocking). Returns it, or -1.
int orr_inbox_use_fd(struct orr_inbox *inbox);
void orr_inbox_close(struct orr_inbox *inbox);
// Any thread. `first`..`last` is a chain in order of time (last->next is overwritten). Wakes if parked.
void orr_inbox_push(struct orr_inbox *inbox, unsigned lane, struct orr_link *first,
                    struct orr_link *last);
// Consumer. Everything in the lane, oldest first, or NULL.
struct orr_link *orr_inbox_take(struct orr_inbox *inbox, unsigned lane);
bool orr_inbox_empty(struct orr_inbox *inbox);
// Consumer. Sleeps on the futex until mail arrives or timeout_us passes (UINT64_MAX: for ever).
// Returns at once if there is mail.
void orr_inbox_wait(struct orr_inbox *inbox, uint64_t timeout_us);
// Consumer in a uv loop: call before uv_run; false means mail is there, do not block. After uv_run
// call orr_inbox_unpark. The eventfd must be polled by the loop; draining its count is done here.
bool orr_inbox_park(struct orr_inbox *inbox);
void orr_inbox_unpark(struct orr_inbox *inbox);
// Wakes the consumer without mail (for stopping).
void orr_inbox_wake(struct orr_inbox *inbox);
