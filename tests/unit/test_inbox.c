// SPDX-License-Identifier: MIT
// The inbox under many producers: nothing lost, order kept per producer, no lost wake-up.
// clang-format off
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
// clang-format on

#include "base/buf.h"
#include "base/clock.h"
#include "io/inbox.h"

#include <poll.h>
#include <pthread.h>
#include <stdlib.h>

#define PRODUCERS 4
#define MESSAGES 20000

struct message {
  struct orr_link link;
  uint32_t producer, number;
};

static struct message *message(struct orr_link *link) {
  return ORR_CONTAINER_OF(link, struct message, link);
}

static void mail_comes_out_in_the_order_it_went_in(void **state) {
  (void)state;
  struct orr_inbox inbox;
  orr_inbox_init(&inbox);
  struct message m[6] = {0};
  for (uint32_t i = 0; i < 6; i++) m[i].number = i;
  m[1].link.next = &m[2].link;
  m[2].link.next = &m[3].link;
  orr_inbox_push(&inbox, 0, &m[0].link, &m[0].link);
  orr_inbox_push(&inbox, 0, &m[1].link, &m[3].link);
  orr_inbox_push(&inbox, 0, &m[4].link, &m[4].link);
  orr_inbox_push(&inbox, 2, &m[5].link, &m[5].link);
  assert_false(orr_inbox_empty(&inbox));
  assert_null(orr_inbox_take(&inbox, 1));
  struct orr_link *link = orr_inbox_take(&inbox, 0);
  for (uint32_t i = 0; i < 5; i++, link = link->next) assert_int_equal(message(link)->number, i);
  assert_null(link);
  assert_int_equal(message(orr_inbox_take(&inbox, 2))->number, 5);
  assert_true(orr_inbox_empty(&inbox));
  orr_inbox_close(&inbox);
}

struct producer {
  struct orr_inbox *inbox;
  uint32_t number;
  unsigned lane;
  pthread_t thread;
};

// Chains of one to seven messages, so that both ways of pushing run against each other.
static void *produce(void *context) {
  struct producer *producer = context;
  uint32_t number = 0;
  while (number < MESSAGES) {
    struct orr_link *first = NULL, *last = NULL;
    for (uint32_t k = 0; k <= number % 7 && number < MESSAGES; k++) {
      struct message *next = orr_alloc(sizeof *next);
      next->producer = producer->number;
      next->number = number++;
      if (first == NULL)
        first = &next->link;
      else
        last->next = &next->link;
      last = &next->link;
    }
    orr_inbox_push(producer->inbox, producer->lane, first, last);
  }
  return NULL;
}

static uint32_t consume(struct orr_inbox *inbox, uint32_t *seen) {
  uint32_t got = 0;
  for (unsigned lane = 0; lane < ORR_INBOX_LANES; lane++) {
    struct orr_link *link = orr_inbox_take(inbox, lane);
    while (link != NULL) {
      struct message *next = message(link);
      link = link->next;
      assert_int_equal(next->number, seen[next->producer]);
      seen[next->producer]++;
      got++;
      free(next);
    }
  }
  return got;
}

static void start(struct producer *producers, struct orr_inbox *inbox) {
  for (uint32_t i = 0; i < PRODUCERS; i++) {
    producers[i] = (struct producer){.inbox = inbox, .number = i, .lane = i % ORR_INBOX_LANES};
    assert_int_equal(pthread_create(&producers[i].thread, NULL, produce, &producers[i]), 0);
  }
}

static void no_mail_of_many_producers_is_lost_or_reordered(void **state) {
  (void)state;
  struct orr_inbox inbox;
  orr_inbox_init(&inbox);
  struct producer producers[PRODUCERS];
  uint32_t seen[PRODUCERS] = {0}, got = 0;
  start(producers, &inbox);
  // A lost wake-up would leave the consumer asleep with mail; ten seconds then end the wait.
  while (got < PRODUCERS * MESSAGES) {
    uint64_t began_us = orr_clock_mono_us();
    orr_inbox_wait(&inbox, 10000000);
    assert_true(orr_clock_mono_us() - began_us < 9000000);
    got += consume(&inbox, seen);
  }
  for (uint32_t i = 0; i < PRODUCERS; i++) pthread_join(producers[i].thread, NULL);
  assert_true(orr_inbox_empty(&inbox));
  orr_inbox_close(&inbox);
}

static void a_polling_consumer_is_woken_through_its_descriptor(void **state) {
  (void)state;
  struct orr_inbox inbox;
  orr_inbox_init(&inbox);
  int fd = orr_inbox_use_fd(&inbox);
  assert_true(fd >= 0);
  struct producer producers[PRODUCERS];
  uint32_t seen[PRODUCERS] = {0}, got = 0;
  start(producers, &inbox);
  while (got < PRODUCERS * MESSAGES) {
    if (orr_inbox_park(&inbox)) {
      struct pollfd poll_fd = {.fd = fd, .events = POLLIN};
      assert_int_equal(poll(&poll_fd, 1, 10000), 1);
      orr_inbox_unpark(&inbox);
    }
    got += consume(&inbox, seen);
  }
  for (uint32_t i = 0; i < PRODUCERS; i++) pthread_join(producers[i].thread, NULL);
  orr_inbox_close(&inbox);
}

static void a_wake_without_mail_ends_the_next_wait(void **state) {
  (void)state;
  struct orr_inbox inbox;
  orr_inbox_init(&inbox);
  orr_inbox_wake(&inbox); // nobody waits yet
  uint64_t began_us = orr_clock_mono_us();
  orr_inbox_wait(&inbox, 10000000);
  assert_true(orr_clock_mono_us() - began_us < 9000000);
  assert_true(orr_inbox_empty(&inbox));
  orr_inbox_close(&inbox);
}

static void a_wait_ends_when_its_time_is_up(void **state) {
  (void)state;
  struct orr_inbox inbox;
  orr_inbox_init(&inbox);
  uint64_t began_us = orr_clock_mono_us();
  orr_inbox_wait(&inbox, 2000);
  assert_true(orr_clock_mono_us() - began_us >= 1900);
  orr_inbox_close(&inbox);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(mail_comes_out_in_the_order_it_went_in),
      cmocka_unit_test(no_mail_of_many_producers_is_lost_or_reordered),
      cmocka_unit_test(a_polling_consumer_is_woken_through_its_descriptor),
      cmocka_unit_test(a_wake_without_mail_ends_the_next_wait),
      cmocka_unit_test(a_wait_ends_when_its_time_is_up),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
