// SPDX-License-Identifier: MIT
// Content by SHA-256: scripts, trees and definitions, the generations made of them, and cached
// outputs. Writing is for the owner of the store's connection, reading for any reader.
#include "io/store_internal.h"

#include "base/check.h"

#include <sodium.h>

static bool put_blobs(struct orr_store *store, struct orr_slice const *blobs, size_t blobs_len) {
  sqlite3_stmt *statement = NULL;
  bool done =
      orr__store_prepare(store, "INSERT OR IGNORE INTO blobs(hash, data) VALUES(?, ?)", &statement);
  for (size_t i = 0; i < blobs_len && done; i++) {
    struct orr_digest digest;
    crypto_hash_sha256(digest.bytes, blobs[i].data, blobs[i].len);
    sqlite3_bind_blob(statement, 1, digest.bytes, ORR_SHA256_BYTES, SQLITE_TRANSIENT);
    // A NULL pointer would bind NULL, also for an empty blob.
    sqlite3_bind_blob64(statement, 2, blobs[i].len > 0 ? (const void *)blobs[i].data : "",
                        blobs[i].len, SQLITE_STATIC);
    done = orr__store_step(statement);
  }
  sqlite3_finalize(statement);
  return done;
}

// A generation that is the newest already is not put again: nothing but a restart happened.
static bool put_newest(struct orr_store *store, const struct orr_digest *generation,
                       int64_t wall_ms) {
  sqlite3_stmt *statement = NULL;
  if (!orr__store_prepare(store,
                          "INSERT INTO generations(hash, at_ms) SELECT ?1, ?2 WHERE ?1 IS NOT"
                          " (SELECT hash FROM generations ORDER BY number DESC LIMIT 1)",
                          &statement))
    return false;
  sqlite3_bind_blob(statement, 1, generation->bytes, ORR_SHA256_BYTES, SQLITE_STATIC);
  sqlite3_bind_int64(statement, 2, wall_ms);
  bool done = orr__store_step(statement);
  sqlite3_finalize(statement);
  return done;
}

enum orr_status orr_store_put_generation(struct orr_store *store,
                                         const struct orr_digest *generation,
                                         struct orr_slice const *blobs, size_t blobs_len,
                                         int64_t wall_ms) {
  if (store->failed) return ORR_ERR_UNAVAILABLE;
  if (orr__store_begin(store, false) && put_blobs(store, blobs, blobs_len) &&
      put_newest(store, generation, wall_ms) && orr__store_end(store))
    return ORR_OK;
  enum orr_status status = orr__store_fail(store, "keep a generation");
  store->failed = true;
  orr__store_abandon(store);
  return status;
}

enum orr_status orr_store_last_generation(struct orr_store_reader *reader,
                                          struct orr_digest *generation) {
  sqlite3_stmt *statement = orr__reader_statement(reader, ORR__READ_GENERATION);
  if (statement == NULL) return ORR_ERR_IO;
  struct orr_blob *blob = NULL;
  enum orr_status status = orr__reader_blob(statement, &blob);
  if (status != ORR_OK) return status;
  if (blob->len == ORR_SHA256_BYTES)
    memcpy(generation->bytes, blob->data, ORR_SHA256_BYTES);
  else
    status = ORR_ERR_CORRUPT;
  orr_blob_unref(blob);
  return status;
}

enum orr_status orr_store_blob(struct orr_store_reader *reader, const struct orr_digest *digest,
                               struct orr_blob **blob) {
  sqlite3_stmt *statement = orr__reader_statement(reader, ORR__READ_BLOB);
  if (statement == NULL) return ORR_ERR_IO;
  sqlite3_bind_blob(statement, 1, digest->bytes, ORR_SHA256_BYTES, SQLITE_STATIC);
  return orr__reader_blob(statement, blob);
}

enum orr_status orr_store_cache(struct orr_store_reader *reader, struct orr_slice key,
                                int64_t wall_ms, struct orr_blob **output) {
  sqlite3_stmt *statement = orr__reader_statement(reader, ORR__READ_CACHE);
  if (statement == NULL) return ORR_ERR_IO;
  sqlite3_bind_blob64(statement, 1, key.data, key.len, SQLITE_STATIC);
  sqlite3_bind_int64(statement, 2, wall_ms);
  return orr__reader_blob(statement, output);
}
