// SPDX-License-Identifier: MIT
// Intrusive doubly linked list with a sentinel head, and the single link used by message chains.
// A node is in at most one list. Unlinked nodes point at themselves. Not thread-safe.
#pragma once

#include <stdbool.h>
#include <stddef.h>

#define ORR_CONTAINER_OF(pointer, type, member) \
  ((type *)(void *)((char *)(pointer)-offsetof(type, member)))

struct orr_list {
  struct orr_list *prev;
  struct orr_list *next;
};

struct orr_link { // singly linked chain, NULL-terminated; what inboxes carry
  struct orr_link *next;
};

static inline void orr_list_init(struct orr_list *head) { head->prev = head->next = head; }
static inline bool orr_list_empty(const struct orr_list *head) { return head->next == head; }
static inline bool orr_list_linked(const struct orr_list *node) { return node->next != node; }
static inline void orr_list_insert_before(struct orr_list *at, struct orr_list *node) {
  node->prev = at->prev;
  node->next = at;
  at->prev->next = node;
  at->prev = node;
}
static inline void orr_list_push_back(struct orr_list *head, struct orr_list *node) {
  orr_list_insert_before(head, node);
}
static inline void orr_list_push_front(struct orr_list *head, struct orr_list *node) {
  orr_list_insert_before(head->next, node);
}
static inline void orr_list_remove(struct orr_list *node) { // harmless on an unlinked node
  node->prev->next = node->next;
  node->next->prev = node->prev;
  orr_list_init(node);
}
static inline struct orr_list *orr_list_pop_front(struct orr_list *head) { // NULL when empty
  struct orr_list *node = head->next;
  if (node == head) return NULL;
  orr_list_remove(node);
  return node;
}
// Moves every node of `from` to the end of `to`.
static inline void orr_list_splice_back(struct orr_list *to, struct orr_list *from) {
  if (orr_list_empty(from)) return;
  from->next->prev = to->prev;
  to->prev->next = from->next;
  from->prev->next = to;
  to->prev = from->prev;
  orr_list_init(from);
}
