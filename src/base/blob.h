// SPDX-License-Identifier: MIT
// Immutable reference-counted bytes: JSON values and journals that cross threads. The count is
// atomic; the bytes never change after creation, so any thread may read them.
#pragma once

#include "base/buf.h"

struct orr_blob {
  uint32_t refs; // atomic
  size_t len;
  uint8_t data[];
};

struct orr_blob *orr_blob_new(struct orr_slice bytes); // copies; one reference for the caller
struct orr_blob *orr_blob_ref(struct orr_blob *blob);  // NULL gives NULL
void orr_blob_unref(struct orr_blob *blob);            // NULL is fine
static inline struct orr_slice orr_blob_slice(const struct orr_blob *blob) {
  return blob != NULL ? orr_slice_of(blob->data, blob->len) : orr_slice_of(NULL, 0);
}
