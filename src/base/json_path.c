// SPDX-License-Identifier: MIT
// Dotted paths into JSON text. Where an object holds a key twice the last one counts, as it does when
// the text is decoded. Any thread.
#include "base/json.h"

static bool key_is(const struct orr_json_reader *reader, struct orr_slice name) {
  if (!reader->escaped) return orr_slice_equal(reader->text, name);
  struct orr_buf plain = ORR_BUF_INIT;
  orr_json_unescape(&plain, reader->text);
  bool same = orr_slice_equal(orr_buf_slice(&plain), name);
  orr_buf_free(&plain);
  return same;
}

static enum orr_status object_member(struct orr_json_reader *reader, struct orr_slice name,
                                     struct orr_slice *value) {
  bool found = false;
  for (;;) {
    enum orr_json_type type = orr_json_next(reader);
    if (type == ORR_JSON_OBJECT_END) return found ? ORR_OK : ORR_ERR_NOT_FOUND;
    if (type != ORR_JSON_KEY) return ORR_ERR_INVALID;
    bool match = key_is(reader, name);
    type = orr_json_next(reader);
    if (orr_json_skip(reader, type, match ? value : NULL) != ORR_OK) return ORR_ERR_INVALID;
    found = found || match;
  }
}

static enum orr_status array_element(struct orr_json_reader *reader, struct orr_slice name,
                                     struct orr_slice *value) {
  uint64_t index = 0;
  for (size_t i = 0; i < name.len; i++) {
    if (name.data[i] < '0' || name.data[i] > '9' || i == 18) return ORR_ERR_NOT_FOUND;
    index = index * 10 + (uint64_t)(name.data[i] - '0');
  }
  if (index == 0) return ORR_ERR_NOT_FOUND;
  for (;;) {
    enum orr_json_type type = orr_json_next(reader);
    if (type == ORR_JSON_ARRAY_END) return ORR_ERR_NOT_FOUND;
    index--;
    if (orr_json_skip(reader, type, index == 0 ? value : NULL) != ORR_OK) return ORR_ERR_INVALID;
    if (index == 0) return ORR_OK;
  }
}

enum orr_status orr_json_path(struct orr_slice text, struct orr_slice path, struct orr_slice *value) {
  struct orr_json_reader reader;
  struct orr_slice found;
  orr_json_reader_init(&reader, text);
  enum orr_json_type type = orr_json_next(&reader);
  if (path.len == 0) {
    enum orr_status status = orr_json_skip(&reader, type, &found);
    if (status == ORR_OK) *value = found;
    return status;
  }
  for (;;) {
    const uint8_t *dot = memchr(path.data, '.', path.len);
    struct orr_slice name = orr_slice_of(path.data, dot != NULL ? (size_t)(dot - path.data) : path.len);
    enum orr_status status = ORR_ERR_NOT_FOUND;
    if (type == ORR_JSON_ERROR) status = ORR_ERR_INVALID;
    if (type == ORR_JSON_OBJECT_BEGIN) status = object_member(&reader, name, &found);
    if (type == ORR_JSON_ARRAY_BEGIN) status = array_element(&reader, name, &found);
    if (status != ORR_OK) return status;
    if (dot == NULL) break;
    path = orr_slice_of(dot + 1, path.len - name.len - 1);
    if (path.len == 0) return ORR_ERR_NOT_FOUND; // "a." names nothing
    orr_json_reader_init(&reader, found);
    type = orr_json_next(&reader);
  }
  *value = found;
  return ORR_OK;
}
