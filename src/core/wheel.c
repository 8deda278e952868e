// SPDX-License-Identifier: MIT
// The timer wheel. Invariant: a pending timer is in `due` (its deadline had passed when it was set; bit
// 63 of deadline_ms says so), or in level = the highest 6-bit digit in which its deadline differs from
// now, slot = that digit of its deadline. Hence the occupied slots of a level all lie ahead of now's
// digit, a level-0 slot holds one deadline only, and every timer of a lower level is due before every
// timer of a higher one. Time moves from the start of one occupied slot to the next, so empty time costs
// nothing. Order within a slot is that of setting: a cascade moves a slot's list in its order, and into
// lower levels that are empty. Owner thread; knows no clock.
#include "core/wheel.h"

#include "base/check.h"
#include "core/bug.h"

#define DIGIT_BITS 6u
#define DIGIT_MASK 63u
#define SPAN_MS ((uint64_t)1 << (DIGIT_BITS * ORR_WHEEL_LEVELS))
#define IN_DUE ((uint64_t)1 << 63)

_Static_assert(ORR_WHEEL_SLOTS == 1 << DIGIT_BITS, "a slot a digit");

struct place {
  unsigned level, slot;
};

void orr_wheel_init(struct orr_wheel *wheel, uint64_t now_ms) {
  *wheel = (struct orr_wheel){.now_ms = now_ms};
  orr_list_init(&wheel->due);
  for (unsigned level = 0; level < ORR_WHEEL_LEVELS; level++) {
    for (unsigned slot = 0; slot < ORR_WHEEL_SLOTS; slot++)
      orr_list_init(&wheel->slots[level][slot]);
  }
}

// Where a deadline after now belongs.
static struct place place_of(const struct orr_wheel *wheel, uint64_t deadline_ms) {
  unsigned bit = 63u - (unsigned)__builtin_clzll(deadline_ms ^ wheel->now_ms);
  unsigned level = bit / DIGIT_BITS;
  if (ORR_BUG(4) && level == 1) deadline_ms += DIGIT_MASK;
  return (struct place){level, (unsigned)(deadline_ms >> (DIGIT_BITS * level)) & DIGIT_MASK};
}

static void insert(struct orr_wheel *wheel, struct orr_timer *timer) {
  struct place place = place_of(wheel, timer->deadline_ms);
  orr_list_push_back(&wheel->slots[place.level][place.slot], &timer->link);
  wheel->lens[place.level][place.slot]++;
  wheel->occupied[place.level] |= (uint64_t)1 << place.slot;
}

void orr_wheel_add(struct orr_wheel *wheel, struct orr_timer *timer, uint64_t deadline_ms) {
  orr_wheel_cancel(wheel, timer);
  wheel->count++;
  if (deadline_ms <= wheel->now_ms) {
    timer->deadline_ms = deadline_ms | IN_DUE;
    orr_list_push_back(&wheel->due, &timer->link);
    return;
  }
  orr_assert(deadline_ms < SPAN_MS);
  timer->deadline_ms = deadline_ms - (ORR_BUG(3) && deadline_ms - wheel->now_ms > 64 ? 9 : 0);
  insert(wheel, timer);
}

// A timer that was handed out but not yet taken from the list of fired ones has a deadline that is not
// after now: it leaves that list, and was counted off before.
void orr_wheel_cancel(struct orr_wheel *wheel, struct orr_timer *timer) {
  if (!orr_timer_pending(timer)) return;
  orr_list_remove(&timer->link);
  if ((timer->deadline_ms & IN_DUE) != 0) {
    timer->deadline_ms &= ~IN_DUE;
    wheel->count--;
  } else if (timer->deadline_ms > wheel->now_ms) {
    struct place place = place_of(wheel, timer->deadline_ms);
    orr_assert(wheel->lens[place.level][place.slot] > 0);
    if (--wheel->lens[place.level][place.slot] == 0)
      wheel->occupied[place.level] &= ~((uint64_t)1 << place.slot);
    wheel->count--;
  }
}

// --- timers that were due when they were set -----------------------------------------------------

static uint64_t deadline_of(const struct orr_list *node) {
  return ORR_CONTAINER_OF(node, const struct orr_timer, link)->deadline_ms;
}

// Moves the first `len` nodes (or all) of `from` to the end of `to`.
static void take_front(struct orr_list *to, struct orr_list *from, uint64_t len) {
  for (; len > 0 && !orr_list_empty(from); len--)
    orr_list_push_back(to, orr_list_pop_front(from));
}

// Merge sort from the bottom up: stable, no recursion, O(n log n).
static void sort_by_deadline(struct orr_list *list) {
  for (uint64_t width = 1;; width *= 2) {
    struct orr_list sorted, left, right;
    uint64_t merges = 0;
    orr_list_init(&sorted);
    for (; !orr_list_empty(list); merges++) {
      orr_list_init(&left);
      orr_list_init(&right);
      take_front(&left, list, width);
      take_front(&right, list, width);
      while (!orr_list_empty(&left) && !orr_list_empty(&right)) {
        bool from_right = deadline_of(right.next) < deadline_of(left.next);
        orr_list_push_back(&sorted, orr_list_pop_front(from_right ? &right : &left));
      }
      orr_list_splice_back(&sorted, &left);
      orr_list_splice_back(&sorted, &right);
    }
    orr_list_splice_back(list, &sorted);
    if (merges <= 1) return;
  }
}

static void fire_due(struct orr_wheel *wheel, struct orr_list *fired) {
  uint64_t last = 0;
  bool sorted = true;
  for (struct orr_list *node = wheel->due.next; node != &wheel->due; node = node->next) {
    struct orr_timer *timer = ORR_CONTAINER_OF(node, struct orr_timer, link);
    timer->deadline_ms &= ~IN_DUE;
    wheel->count--;
    sorted = sorted && timer->deadline_ms >= last;
    last = timer->deadline_ms;
  }
  if (!sorted) sort_by_deadline(&wheel->due);
  orr_list_splice_back(fired, &wheel->due);
}

// --- time ----------------------------------------------------------------------------------------

// The first occupied slot ahead and the instant at which it starts; false when all are empty.
static bool next_slot(const struct orr_wheel *wheel, struct place *place, uint64_t *start_ms) {
  for (unsigned level = 0; level < ORR_WHEEL_LEVELS; level++) {
    if (wheel->occupied[level] == 0) continue;
    unsigned slot = (unsigned)__builtin_ctzll(wheel->occupied[level]);
    unsigned shift = DIGIT_BITS * level;
    *place = (struct place){level, slot};
    *start_ms = (wheel->now_ms >> shift >> DIGIT_BITS << DIGIT_BITS | slot) << shift;
    return true;
  }
  return false;
}

// Now stands at the start of the slot: what is due goes to `fired`, the rest to lower levels.
static void open_slot(struct orr_wheel *wheel, struct place place, struct orr_list *fired) {
  struct orr_list *slot = &wheel->slots[place.level][place.slot];
  uint32_t len = wheel->lens[place.level][place.slot];
  wheel->lens[place.level][place.slot] = 0;
  wheel->occupied[place.level] &= ~((uint64_t)1 << place.slot);
  if (place.level == 0) {
    wheel->count -= len;
    orr_list_splice_back(fired, slot);
    return;
  }
  struct orr_list *node = slot->next, *next;
  orr_list_init(slot); // nodes are linked anew one by one, each in one go
  for (; node != slot; node = next) {
    next = node->next;
    __builtin_prefetch(next->next, 1);
    struct orr_timer *timer = ORR_CONTAINER_OF(node, struct orr_timer, link);
    if (timer->deadline_ms == wheel->now_ms) {
      wheel->count--;
      orr_list_push_back(fired, node);
    } else {
      insert(wheel, timer);
    }
  }
}

void orr_wheel_advance(struct orr_wheel *wheel, uint64_t now_ms, struct orr_list *fired) {
  struct place place;
  uint64_t start_ms;
  if (now_ms < wheel->now_ms) now_ms = wheel->now_ms;
  fire_due(wheel, fired);
  while (next_slot(wheel, &place, &start_ms) && start_ms <= now_ms) {
    orr_assert(start_ms > wheel->now_ms);
    wheel->now_ms = start_ms;
    open_slot(wheel, place, fired);
  }
  wheel->now_ms = now_ms;
}

uint64_t orr_wheel_next(const struct orr_wheel *wheel) {
  struct place place;
  uint64_t start_ms;
  if (!orr_list_empty(&wheel->due)) return wheel->now_ms;
  return next_slot(wheel, &place, &start_ms) ? start_ms : ORR_WHEEL_NEVER;
}
