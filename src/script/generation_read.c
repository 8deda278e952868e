// SPDX-License-Identifier: MIT
// A generation out of the store: the tree names every blob by its hash. Every blob is checked
// against its hash.
#include "script/generation.h"

#include "base/clock.h"
#include "io/digest.h"
#include "script/generation_parts.h"

#include <stdlib.h>

static const char TREE_HEAD[] = "orrery tree 1\n";

struct reading { // what has been read so far
  struct orr_store_reader *reader;
  char **owned; // NUL-terminated copies, freed at the end
  size_t owned_len;
  struct orr_script_file *files;
  struct orr_def **defs;
  struct orr_route *routes;
  uint32_t files_len, defs_len, routes_len;
  struct orr_blob *config;
};

static char *own(struct reading *r, struct orr_slice text) {
  char *copy = orr_slice_strdup(text);
  r->owned = orr_realloc(r->owned, (r->owned_len + 1) * sizeof(*r->owned));
  return r->owned[r->owned_len++] = copy;
}

static struct orr_slice word(struct orr_slice *rest) { // up to a space; the rest after it
  const uint8_t *space = rest->len > 0 ? memchr(rest->data, ' ', rest->len) : NULL;
  size_t len = space != NULL ? (size_t)(space - rest->data) : rest->len;
  struct orr_slice first = orr_slice_of(rest->data, len);
  size_t skip = space != NULL ? len + 1 : len;
  *rest = orr_slice_of(rest->data + skip, rest->len - skip);
  return first;
}

static enum orr_status read_blob(struct reading *r, struct orr_slice hex, struct orr_digest *digest,
                                 struct orr_blob **blob) {
  struct orr_digest actual;
  if (!orr_digest_parse(hex, digest)) return ORR_ERR_CORRUPT;
  enum orr_status status = orr_store_blob(r->reader, digest, blob);
  if (status != ORR_OK) return status == ORR_ERR_NOT_FOUND ? ORR_ERR_CORRUPT : status;
  orr_sha256(orr_blob_slice(*blob), &actual);
  if (orr_digest_equal(digest, &actual)) return ORR_OK;
  orr_blob_unref(*blob);
  return ORR_ERR_CORRUPT;
}

static enum orr_status read_file(struct reading *r, struct orr_slice rest) {
  struct orr_script_file file;
  enum orr_status status = read_blob(r, word(&rest), &file.digest, &file.content);
  if (status != ORR_OK) return status;
  file.path = own(r, rest);
  r->files = orr_realloc(r->files, (r->files_len + 1) * sizeof(*r->files));
  r->files[r->files_len++] = file;
  return ORR_OK;
}

static enum orr_status read_def(struct reading *r, struct orr_slice rest) {
  struct orr_digest digest;
  struct orr_blob *blob;
  struct orr_def *def;
  enum orr_status status = read_blob(r, word(&rest), &digest, &blob);
  if (status != ORR_OK) return status;
  status = orr_def_decode(orr_blob_slice(blob), &def);
  orr_blob_unref(blob);
  if (status != ORR_OK) return ORR_ERR_CORRUPT;
  r->defs = orr_realloc(r->defs, (r->defs_len + 1) * sizeof(struct orr_def *));
  r->defs[r->defs_len++] = def;
  return ORR_OK;
}

static enum orr_status read_route(struct reading *r, struct orr_slice rest) {
  struct orr_slice method = word(&rest), index = word(&rest), pattern = word(&rest);
  if (rest.len == 0 || index.len == 0 || index.len > 9) return ORR_ERR_CORRUPT;
  struct orr_route route = {own(r, method), own(r, pattern), own(r, rest), 0};
  for (size_t i = 0; i < index.len; i++) {
    if (index.data[i] < '0' || index.data[i] > '9') return ORR_ERR_CORRUPT;
    route.index = route.index * 10 + (uint32_t)(index.data[i] - '0');
  }
  r->routes = orr_realloc(r->routes, (r->routes_len + 1) * sizeof(*r->routes));
  r->routes[r->routes_len++] = route;
  return ORR_OK;
}

static enum orr_status read_line(struct reading *r, struct orr_slice line) {
  struct orr_digest digest;
  struct orr_slice kind = word(&line);
  if (orr_slice_equal(kind, ORR_SLICE_LITERAL("file"))) return read_file(r, line);
  if (orr_slice_equal(kind, ORR_SLICE_LITERAL("def"))) return read_def(r, line);
  if (orr_slice_equal(kind, ORR_SLICE_LITERAL("route"))) return read_route(r, line);
  if (orr_slice_equal(kind, ORR_SLICE_LITERAL("config")) && r->config == NULL) {
    return read_blob(r, line, &digest, &r->config);
  }
  return ORR_ERR_CORRUPT;
}

static int by_script(const void *a, const void *b) {
  const struct orr_route *x = a, *y = b;
  int order = strcmp(x->script, y->script);
  return order != 0 ? order : (x->index > y->index) - (x->index < y->index);
}

static enum orr_status read_tree(struct reading *r, struct orr_slice tree) {
  size_t head = sizeof(TREE_HEAD) - 1;
  if (tree.len < head || memcmp(tree.data, TREE_HEAD, head) != 0) return ORR_ERR_CORRUPT;
  for (size_t at = head; at < tree.len;) {
    const uint8_t *newline = memchr(tree.data + at, '\n', tree.len - at);
    if (newline == NULL) return ORR_ERR_CORRUPT;
    size_t len = (size_t)(newline - (tree.data + at));
    enum orr_status status = read_line(r, orr_slice_of(tree.data + at, len));
    if (status != ORR_OK) return status;
    at += len + 1;
  }
  if (r->routes_len > 0) qsort(r->routes, r->routes_len, sizeof(*r->routes), by_script);
  return ORR_OK;
}

static void forget(struct reading *r) { // what no generation took over
  for (uint32_t i = 0; i < r->files_len; i++) orr_blob_unref(r->files[i].content);
  for (uint32_t i = 0; i < r->defs_len; i++) orr_def_unref(r->defs[i]);
  orr_blob_unref(r->config);
}

enum orr_status orr_generation_read(struct orr_store_reader *reader,
                                    const struct orr_digest *digest, const char *root,
                                    struct orr_generation **generation) {
  struct reading r = {.reader = reader};
  struct orr_blob *tree;
  struct orr_digest actual;
  enum orr_status status = orr_store_blob(reader, digest, &tree);
  if (status != ORR_OK) return status;
  orr_sha256(orr_blob_slice(tree), &actual);
  status =
      orr_digest_equal(digest, &actual) ? read_tree(&r, orr_blob_slice(tree)) : ORR_ERR_CORRUPT;
  if (status == ORR_OK) {
    struct orr__parts parts = {root,       r.files,  r.files_len,  r.defs,
                               r.defs_len, r.routes, r.routes_len, r.config};
    *generation = orr__generation_make(&parts, orr_clock_now().wall_ms);
    // Definitions encode to the bytes they came from, so the tree is the same again.
    if (!orr_digest_equal(&(*generation)->digest, digest)) {
      orr_generation_unref(*generation);
      status = ORR_ERR_CORRUPT;
    }
  } else {
    forget(&r);
  }
  for (size_t i = 0; i < r.owned_len; i++) free(r.owned[i]);
  free(r.owned);
  free(r.files);
  free(r.defs);
  free(r.routes);
  orr_blob_unref(tree);
  return status;
}
