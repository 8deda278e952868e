// SPDX-License-Identifier: MIT
// Reference counting of immutable bytes. The last unref must see all reads of other threads done,
// hence release on the way down and acquire before the free.
#include "base/blob.h"

#include "base/check.h"

#include <stdlib.h>

struct orr_blob *orr_blob_new(struct orr_slice bytes) {
  struct orr_blob *blob = orr_realloc(NULL, sizeof *blob + bytes.len);
  blob->refs = 1;
  blob->len = bytes.len;
  if (bytes.len != 0) memcpy(blob->data, bytes.data, bytes.len);
  return blob;
}

struct orr_blob *orr_blob_ref(struct orr_blob *blob) {
  if (blob == NULL) return NULL;
  uint32_t before = __atomic_fetch_add(&blob->refs, 1, __ATOMIC_RELAXED);
  orr_assert(before != 0 && before != UINT32_MAX);
  return blob;
}

void orr_blob_unref(struct orr_blob *blob) {
  if (blob == NULL) return;
  uint32_t before = __atomic_fetch_sub(&blob->refs, 1, __ATOMIC_ACQ_REL);
  orr_assert(before != 0);
  if (before == 1) free(blob);
}
