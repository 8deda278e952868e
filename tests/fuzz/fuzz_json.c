// SPDX-License-Identifier: MIT
// The JSON reader and writer against jansson: the same texts are taken, the same values read. Known
// differences: depth (ours 100), integers beyond 64 bits (ours become floats), a NUL in a key
// (jansson refuses it), a NUL byte after a number (jansson overlooks it). The first byte chooses:
// reading; paths; strings written; numbers written.
#include "base/check.h"
#include "base/json.h"
#include "fuzz_input.h"

#include <jansson.h>
#include <math.h>
#include <stdlib.h>

static json_t *read_value(struct orr_json_reader *reader, enum orr_json_type type);

static json_t *read_string(const struct orr_json_reader *reader) {
  struct orr_buf plain = ORR_BUF_INIT;
  orr_json_unescape(&plain, reader->text);
  if (!reader->escaped) orr_assert(orr_slice_equal(orr_buf_slice(&plain), reader->text));
  json_t *value = json_stringn(plain.data != NULL ? (const char *)plain.data : "", plain.len);
  orr_buf_free(&plain);
  orr_assert(value != NULL);
  return value;
}

static json_t *read_object(struct orr_json_reader *reader) {
  json_t *object = json_object();
  for (;;) {
    enum orr_json_type type = orr_json_next(reader);
    if (type == ORR_JSON_OBJECT_END) return object;
    orr_assert(type == ORR_JSON_KEY);
    json_t *key = read_string(reader);
    json_t *value = read_value(reader, orr_json_next(reader));
    orr_assert(json_object_set_new(object, json_string_value(key), value) == 0);
    json_decref(key);
  }
}

static json_t *read_value(struct orr_json_reader *reader, enum orr_json_type type) {
  switch (type) {
  case ORR_JSON_NULL:
    return json_null();
  case ORR_JSON_FALSE:
    return json_false();
  case ORR_JSON_TRUE:
    return json_true();
  case ORR_JSON_INTEGER:
    return json_integer(reader->integer);
  case ORR_JSON_FLOAT:
    return json_real(reader->number);
  case ORR_JSON_STRING:
    return read_string(reader);
  case ORR_JSON_ARRAY_BEGIN: {
    json_t *array = json_array();
    while ((type = orr_json_next(reader)) != ORR_JSON_ARRAY_END)
      orr_assert(json_array_append_new(array, read_value(reader, type)) == 0);
    return array;
  }
  case ORR_JSON_OBJECT_BEGIN:
    return read_object(reader);
  case ORR_JSON_ARRAY_END:
  case ORR_JSON_OBJECT_END:
  case ORR_JSON_KEY:
  case ORR_JSON_END:
  case ORR_JSON_ERROR:
    break;
  }
  orr_unreachable();
}

static json_t *load(struct orr_slice text, json_error_t *error) {
  const char *bytes = text.data != NULL ? (const char *)text.data : "";
  return json_loadb(bytes, text.len, JSON_DECODE_ANY | JSON_ALLOW_NUL, error);
}

// Is the difference one of the known ones?
static bool known(struct orr_slice text, const char *ours, const json_error_t *theirs) {
  if (ours != NULL)
    return strcmp(ours, "nested too deeply") == 0 || memchr(text.data, 0, text.len) != NULL;
  enum json_error_code code = json_error_code(theirs);
  return code == json_error_numeric_overflow || code == json_error_null_byte_in_key;
}

static void reading(struct orr_slice text) {
  const char *error = NULL;
  size_t offset = SIZE_MAX;
  enum orr_status status = orr_json_check(text, &error, &offset);
  json_error_t theirs;
  json_t *expected = load(text, &theirs);
  if (status != ORR_OK) orr_assert(error != NULL && offset <= text.len);
  if ((status == ORR_OK) != (expected != NULL)) {
    orr_assert(known(text, status == ORR_OK ? NULL : error, &theirs));
    json_decref(expected);
    return;
  }
  if (expected == NULL) return;
  struct orr_json_reader reader;
  orr_json_reader_init(&reader, text);
  json_t *value = read_value(&reader, orr_json_next(&reader));
  orr_assert(orr_json_next(&reader) == ORR_JSON_END);
  orr_assert(json_equal(value, expected));
  // The text of the whole value, skipped, is the text without the blanks around it.
  struct orr_slice whole;
  orr_json_reader_init(&reader, text);
  orr_assert(orr_json_skip(&reader, orr_json_next(&reader), &whole) == ORR_OK);
  json_t *skipped = load(whole, &theirs);
  orr_assert(skipped != NULL && json_equal(skipped, expected));
  json_decref(skipped);
  json_decref(value);
  json_decref(expected);
}

static const json_t *member(const json_t *value, const char *name) {
  if (json_is_object(value)) return json_object_get(value, name);
  if (!json_is_array(value) || name[0] == '\0' || strlen(name) > 18) return NULL;
  size_t index = 0;
  for (const char *at = name; *at != '\0'; at++) {
    if (*at < '0' || *at > '9') return NULL;
    index = index * 10 + (size_t)(*at - '0');
  }
  return index == 0 ? NULL : json_array_get(value, index - 1);
}

static void path(struct fuzz_input *input) {
  struct orr_slice words = fuzz_slice(input);
  struct orr_slice text = orr_slice_of(input->at, (size_t)(input->end - input->at));
  if (words.len == 0 || memchr(words.data, 0, words.len) != NULL ||
      orr_json_check(text, NULL, NULL) != ORR_OK)
    return;
  json_error_t error;
  json_t *expected = load(text, &error);
  if (expected == NULL) return;
  char *names = orr_slice_strdup(words);
  const json_t *at = expected;
  for (char *name = names; name != NULL && at != NULL;) {
    char *dot = strchr(name, '.');
    if (dot != NULL) *dot = '\0';
    at = member(at, name);
    name = dot != NULL ? dot + 1 : NULL;
    if (name != NULL && name[0] == '\0') at = NULL; // nothing after the last dot
  }
  struct orr_slice value = {0};
  enum orr_status status = orr_json_path(text, words, &value);
  orr_assert(status == (at != NULL ? ORR_OK : ORR_ERR_NOT_FOUND));
  if (at != NULL) {
    json_t *got = load(value, &error);
    orr_assert(got != NULL && json_equal(got, at));
    json_decref(got);
  }
  free(names);
  json_decref(expected);
}

static void string(struct orr_slice text) {
  struct orr_buf written = ORR_BUF_INIT, repaired = ORR_BUF_INIT;
  orr_json_string(&written, text);
  bool changed = orr_utf8_repair(&repaired, text);
  orr_assert(changed == !orr_utf8_valid(text));
  if (!changed) orr_assert(orr_slice_equal(orr_buf_slice(&repaired), text));
  json_error_t error;
  json_t *value = load(orr_buf_slice(&written), &error);
  orr_assert(json_is_string(value));
  struct orr_slice read = orr_slice_of(json_string_value(value), json_string_length(value));
  orr_assert(orr_slice_equal(read, orr_buf_slice(&repaired)));
  json_decref(value);
  orr_buf_free(&written);
  orr_buf_free(&repaired);
}

static void number(struct fuzz_input *input) {
  double value = 0;
  uint64_t bits = 0;
  for (int i = 0; i < 8; i++) bits = bits << 8 | fuzz_u8(input);
  if (fuzz_u8(input) & 1)
    value = (double)(int64_t)bits / 1000;
  else
    memcpy(&value, &bits, sizeof(value));
  if (!isfinite(value)) return;
  struct orr_buf text = ORR_BUF_INIT;
  orr_json_number(&text, value);
  json_error_t error;
  json_t *read = load(orr_buf_slice(&text), &error);
  orr_assert(json_is_real(read)); // never an integer: it has a point or an exponent
  double theirs = json_real_value(read);
  orr_assert(memcmp(&theirs, &value, sizeof(value)) == 0);
  struct orr_json_reader reader;
  orr_json_reader_init(&reader, orr_buf_slice(&text));
  orr_assert(orr_json_next(&reader) == ORR_JSON_FLOAT);
  orr_assert(memcmp(&reader.number, &value, sizeof(value)) == 0);
  json_decref(read);
  orr_buf_free(&text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len) {
  if (len == 0) return 0;
  struct fuzz_input input = {data + 1, data + len};
  switch (data[0] % 4) {
  case 0:
    reading(orr_slice_of(data + 1, len - 1));
    break;
  case 1:
    path(&input);
    break;
  case 2:
    string(orr_slice_of(data + 1, len - 1));
    break;
  case 3:
    number(&input);
    break;
  }
  return 0;
}
