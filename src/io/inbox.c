// SPDX-License-Identifier: MIT
// The inbox: one stack of links per lane, reversed when taken, and one futex word for parking.
// Invariant: a consumer that has parked (word 1) either saw every lane empty after it said so, or
// is woken: a producer pushes first and looks at the word afterwards, both sequentially consistent.
// Word 2 is a wake-up without mail that came while the consumer was awake; the next park takes it.
#include "io/inbox.h"

#include "base/check.h"

#include <errno.h>
#include <linux/futex.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { AWAKE = 0, PARKED = 1, WOKEN = 2 };

void orr_inbox_init(struct orr_inbox *inbox) {
  for (unsigned i = 0; i < ORR_INBOX_LANES; i++) atomic_init(&inbox->lanes[i], NULL);
  atomic_init(&inbox->parked, AWAKE);
  inbox->event_fd = -1;
}

int orr_inbox_use_fd(struct orr_inbox *inbox) {
  orr_assert(inbox->event_fd == -1);
  inbox->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  return inbox->event_fd;
}

void orr_inbox_close(struct orr_inbox *inbox) {
  if (inbox->event_fd >= 0) close(inbox->event_fd);
  inbox->event_fd = -1;
}

static struct orr_link *reverse(struct orr_link *link) {
  struct orr_link *reversed = NULL;
  while (link != NULL) {
    struct orr_link *next = link->next;
    link->next = reversed;
    reversed = link;
    link = next;
  }
  return reversed;
}

static void signal_consumer(struct orr_inbox *inbox) {
  if (inbox->event_fd >= 0) {
    uint64_t one = 1;
    // Fails only when the counter is full, and then the consumer has a wake-up waiting anyway.
    ssize_t written = write(inbox->event_fd, &one, sizeof one);
    (void)written;
    return;
  }
  syscall(SYS_futex, &inbox->parked, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}

void orr_inbox_push(struct orr_inbox *inbox, unsigned lane, struct orr_link *first,
                    struct orr_link *last) {
  orr_assert(lane < ORR_INBOX_LANES);
  orr_assert(first != NULL && last != NULL);
  last->next = NULL;
  if (first != last) reverse(first); // newest first, as the lane is
  struct orr_link *head = atomic_load_explicit(&inbox->lanes[lane], memory_order_relaxed);
  do {
    first->next = head;
  } while (!atomic_compare_exchange_weak(&inbox->lanes[lane], &head, last));
  uint32_t parked = PARKED;
  if (atomic_load(&inbox->parked) == PARKED &&
      atomic_compare_exchange_strong(&inbox->parked, &parked, AWAKE))
    signal_consumer(inbox);
}

struct orr_link *orr_inbox_take(struct orr_inbox *inbox, unsigned lane) {
  orr_assert(lane < ORR_INBOX_LANES);
  if (atomic_load_explicit(&inbox->lanes[lane], memory_order_relaxed) == NULL) return NULL;
  return reverse(atomic_exchange_explicit(&inbox->lanes[lane], NULL, memory_order_acquire));
}

bool orr_inbox_empty(struct orr_inbox *inbox) {
  for (unsigned i = 0; i < ORR_INBOX_LANES; i++)
    if (atomic_load(&inbox->lanes[i]) != NULL) return false;
  return true;
}

bool orr_inbox_park(struct orr_inbox *inbox) {
  uint32_t awake = AWAKE;
  if (!atomic_compare_exchange_strong(&inbox->parked, &awake, PARKED) || !orr_inbox_empty(inbox)) {
    atomic_store(&inbox->parked, AWAKE);
    return false;
  }
  return true;
}

void orr_inbox_unpark(struct orr_inbox *inbox) {
  atomic_store(&inbox->parked, AWAKE);
  if (inbox->event_fd < 0) return;
  // Always: a producer may have written after an earlier unpark, and a loop that polls by level
  // would spin on what is left in the counter.
  uint64_t count;
  ssize_t got = read(inbox->event_fd, &count, sizeof count);
  (void)got;
}

void orr_inbox_wait(struct orr_inbox *inbox, uint64_t timeout_us) {
  orr_assert(inbox->event_fd < 0);
  if (!orr_inbox_park(inbox)) return;
  struct timespec timeout = {(time_t)(timeout_us / 1000000), (long)(timeout_us % 1000000 * 1000)};
  for (;;) {
    long failed = syscall(SYS_futex, &inbox->parked, FUTEX_WAIT_PRIVATE, PARKED,
                          timeout_us == UINT64_MAX ? NULL : &timeout, NULL, 0);
    if (failed == 0 && atomic_load(&inbox->parked) == PARKED) continue; // spurious
    break; // woken, no longer parked, timed out or a signal came: the caller looks again in all
           // cases
  }
  atomic_store(&inbox->parked, AWAKE);
}

void orr_inbox_wake(struct orr_inbox *inbox) {
  if (atomic_exchange(&inbox->parked, WOKEN) == PARKED) signal_consumer(inbox);
}
