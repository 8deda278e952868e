// SPDX-License-Identifier: MIT
// Which code there is: the current generation, and older ones that runs are pinned to, read from
// the store when asked for and kept, least recently used out first. Any thread; a mutex, held over
// reads of the store, which only happen for a generation that nobody asked for lately.
#include "script/generation.h"

#include "base/check.h"

#include <pthread.h>
#include <stdlib.h>

#define OLD_KEPT 16u

struct orr_code {
  pthread_mutex_t mutex;
  char *root, *store_path;
  struct orr_generation *current;       // a reference or NULL
  struct orr_generation *old[OLD_KEPT]; // most recently used first, references
  uint32_t old_len;
  struct orr_store_reader *reader; // opened at first need
  uint64_t serial;                 // atomic
};

struct orr_code *orr_code_new(const char *root, const char *store_path) {
  struct orr_code *code = orr_alloc(sizeof(*code));
  orr_assert(pthread_mutex_init(&code->mutex, NULL) == 0);
  code->root = orr_strdup(root);
  code->store_path = store_path != NULL ? orr_strdup(store_path) : NULL;
  return code;
}

void orr_code_free(struct orr_code *code) {
  if (code == NULL) return;
  orr_generation_unref(code->current);
  for (uint32_t i = 0; i < code->old_len; i++) orr_generation_unref(code->old[i]);
  if (code->reader != NULL) orr_store_reader_close(code->reader);
  pthread_mutex_destroy(&code->mutex);
  free(code->root);
  free(code->store_path);
  free(code);
}

struct orr_generation *orr_code_current(struct orr_code *code) {
  pthread_mutex_lock(&code->mutex);
  struct orr_generation *generation =
      code->current != NULL ? orr_generation_ref(code->current) : NULL;
  pthread_mutex_unlock(&code->mutex);
  return generation;
}

uint64_t orr_code_serial(const struct orr_code *code) {
  return __atomic_load_n(&code->serial, __ATOMIC_ACQUIRE);
}

// Puts a generation at the front, taking over the reference; returns the one that falls out, or
// NULL.
static struct orr_generation *keep(struct orr_code *code, struct orr_generation *generation) {
  struct orr_generation *out = NULL;
  if (code->old_len == OLD_KEPT) out = code->old[--code->old_len];
  memmove(&code->old[1], &code->old[0], code->old_len * sizeof(code->old[0]));
  code->old[0] = generation;
  code->old_len++;
  return out;
}

static struct orr_generation *take_kept(struct orr_code *code, const struct orr_digest *digest) {
  for (uint32_t i = 0; i < code->old_len; i++) {
    struct orr_generation *found = code->old[i];
    if (!orr_digest_equal(&found->digest, digest)) continue;
    memmove(&code->old[i], &code->old[i + 1], (code->old_len - i - 1) * sizeof(code->old[0]));
    code->old_len--;
    return found;
  }
  return NULL;
}

void orr_code_swap(struct orr_code *code, struct orr_generation *generation) {
  struct orr_generation *out = NULL;
  orr_generation_ref(generation);
  pthread_mutex_lock(&code->mutex);
  struct orr_generation *before = code->current;
  code->current = generation;
  if (before != NULL && !orr_digest_equal(&before->digest, &generation->digest)) {
    out = keep(code, before);
  } else {
    out = before;
  }
  __atomic_fetch_add(&code->serial, 1, __ATOMIC_RELEASE);
  pthread_mutex_unlock(&code->mutex);
  orr_generation_unref(out);
}

static struct orr_generation *read_stored(struct orr_code *code, const struct orr_digest *digest) {
  struct orr_generation *generation;
  if (code->store_path == NULL) return NULL;
  if (code->reader == NULL && orr_store_reader_open(code->store_path, &code->reader) != ORR_OK)
    return NULL;
  return orr_generation_read(code->reader, digest, code->root, &generation) == ORR_OK ? generation
                                                                                      : NULL;
}

struct orr_generation *orr_code_find(struct orr_code *code, const struct orr_digest *digest) {
  struct orr_generation *found, *out = NULL;
  pthread_mutex_lock(&code->mutex);
  if (code->current != NULL && orr_digest_equal(&code->current->digest, digest)) {
    found = orr_generation_ref(code->current);
  } else {
    found = take_kept(code, digest);
    if (found == NULL) found = read_stored(code, digest);
    if (found != NULL) out = keep(code, orr_generation_ref(found));
  }
  pthread_mutex_unlock(&code->mutex);
  orr_generation_unref(out);
  return found;
}
