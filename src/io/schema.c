// SPDX-License-Identifier: MIT
// The walk of an input along its schema. One pass over both texts; what fits is written to `out` on the
// way, with defaults where members are missing. Recursive, because the JSON reader bounds the depth of
// both texts (an exception to rule 15). Any thread.
#include "io/schema.h"

#include "core/def.h"
#include "io/schema_internal.h"

#include <math.h>
#include <stdlib.h>

#define PROBLEMS_MAX 20u
#define SHOWN_BYTES_MAX 200u

struct walk {
  struct orr_buf *out;
  struct orr_buf *problems;
  unsigned problems_len;
  bool bad_schema;
  struct orr_buf path; // JSON pointer
};

struct keywords { // of one schema object; an empty slice: not given
  struct orr_slice type, properties, required, additional, fallback, enumeration, constant, minimum,
      maximum, above, below, multiple_of, min_length, max_length, pattern, format, items, min_items,
      max_items, unique;
};

static void apply(struct walk *walk, struct orr_slice schema, struct orr_slice value);

// --- problems ------------------------------------------------------------------------------------

static void problem(struct walk *walk, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
static void problem(struct walk *walk, const char *format, ...) {
  if (walk->problems_len++ >= PROBLEMS_MAX) return;
  struct orr_buf message = ORR_BUF_INIT;
  va_list args;
  va_start(args, format);
  orr_buf_vprintf(&message, format, args);
  va_end(args);
  orr_json_comma(walk->problems);
  orr_buf_text(walk->problems, "{\"path\":");
  orr_json_string(walk->problems, orr_buf_slice(&walk->path));
  orr_buf_text(walk->problems, ",\"message\":");
  orr_json_string(walk->problems, orr_buf_slice(&message));
  orr_buf_u8(walk->problems, '}');
  orr_buf_free(&message);
}

static size_t path_push(struct walk *walk, struct orr_slice plain_key) {
  size_t before = walk->path.len;
  orr_buf_u8(&walk->path, '/');
  for (size_t i = 0; i < plain_key.len; i++) {
    if (plain_key.data[i] == '~') orr_buf_text(&walk->path, "~0");
    else if (plain_key.data[i] == '/') orr_buf_text(&walk->path, "~1");
    else orr_buf_u8(&walk->path, plain_key.data[i]);
  }
  return before;
}

static int shown(struct orr_slice text) {
  return (int)(text.len < SHOWN_BYTES_MAX ? text.len : SHOWN_BYTES_MAX);
}

// --- reading the schema --------------------------------------------------------------------------

static void keyword_set(struct keywords *keywords, struct orr_slice key, struct orr_slice value) {
  const struct {
    const char *name;
    struct orr_slice *slot;
  } table[] = {
      {"type", &keywords->type}, {"properties", &keywords->properties},
      {"required", &keywords->required}, {"additionalProperties", &keywords->additional},
      {"default", &keywords->fallback}, {"enum", &keywords->enumeration},
      {"const", &keywords->constant}, {"minimum", &keywords->minimum},
      {"maximum", &keywords->maximum}, {"exclusiveMinimum", &keywords->above},
      {"exclusiveMaximum", &keywords->below}, {"multipleOf", &keywords->multiple_of},
      {"minLength", &keywords->min_length}, {"maxLength", &keywords->max_length},
      {"pattern", &keywords->pattern}, {"format", &keywords->format}, {"items", &keywords->items},
      {"minItems", &keywords->min_items}, {"maxItems", &keywords->max_items},
      {"uniqueItems", &keywords->unique},
  };
  for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
    if (orr_slice_equal(key, orr_slice_text(table[i].name))) *table[i].slot = value;
  }
}

// The next member of an object: plain key (in *key), value; false at the end.
static bool next_member(struct orr_json_reader *reader, struct orr_buf *key, struct orr_slice *value,
                        enum orr_json_type *type) {
  if (orr_json_next(reader) != ORR_JSON_KEY) return false;
  orr_buf_clear(key);
  orr_json_unescape(key, reader->text);
  *type = orr_json_next(reader);
  return orr_json_skip(reader, *type, value) == ORR_OK;
}

static struct keywords read_keywords(struct orr_slice schema) {
  struct keywords keywords = {0};
  struct orr_json_reader reader;
  struct orr_buf key = ORR_BUF_INIT;
  struct orr_slice value;
  enum orr_json_type type;
  orr_json_reader_init(&reader, schema);
  if (orr_json_next(&reader) == ORR_JSON_OBJECT_BEGIN) {
    while (next_member(&reader, &key, &value, &type))
      keyword_set(&keywords, orr_buf_slice(&key), value);
  }
  orr_buf_free(&key);
  return keywords;
}

static bool is_true(struct orr_slice value) {
  return orr_slice_equal(value, ORR_SLICE_LITERAL("true"));
}

// --- types ---------------------------------------------------------------------------------------

static bool type_named(struct orr_slice name, enum orr_json_type type, struct orr_slice value) {
  switch (type) {
  case ORR_JSON_NULL: return orr_slice_equal(name, ORR_SLICE_LITERAL("\"null\""));
  case ORR_JSON_FALSE: case ORR_JSON_TRUE:
    return orr_slice_equal(name, ORR_SLICE_LITERAL("\"boolean\""));
  case ORR_JSON_INTEGER: case ORR_JSON_FLOAT:
    if (orr_slice_equal(name, ORR_SLICE_LITERAL("\"number\""))) return true;
    return orr_slice_equal(name, ORR_SLICE_LITERAL("\"integer\"")) &&
           orr__json_number_whole(orr__json_number_of(value));
  case ORR_JSON_STRING: return orr_slice_equal(name, ORR_SLICE_LITERAL("\"string\""));
  case ORR_JSON_ARRAY_BEGIN: return orr_slice_equal(name, ORR_SLICE_LITERAL("\"array\""));
  case ORR_JSON_OBJECT_BEGIN: return orr_slice_equal(name, ORR_SLICE_LITERAL("\"object\""));
  case ORR_JSON_ARRAY_END: case ORR_JSON_OBJECT_END: case ORR_JSON_KEY: case ORR_JSON_END:
  case ORR_JSON_ERROR: return false;
  }
  return false;
}

// Whether `types` (a name or a list of names) allows the value.
static bool type_allowed(struct orr_slice types, enum orr_json_type type, struct orr_slice value) {
  struct orr_json_reader reader;
  struct orr_slice name;
  if (types.len == 0) return true;
  orr_json_reader_init(&reader, types);
  enum orr_json_type event = orr_json_next(&reader);
  if (event != ORR_JSON_ARRAY_BEGIN) return type_named(types, type, value);
  while ((event = orr_json_next(&reader)) != ORR_JSON_ARRAY_END) {
    if (orr_json_skip(&reader, event, &name) != ORR_OK) return false;
    if (type_named(name, type, value)) return true;
  }
  return false;
}

// "a string", "an integer or null"
static void type_words(struct orr_buf *out, struct orr_slice types) {
  struct orr_json_reader reader;
  orr_json_reader_init(&reader, types);
  for (bool first = true;;) {
    enum orr_json_type event = orr_json_next(&reader);
    if (event == ORR_JSON_END || event == ORR_JSON_ERROR) return;
    if (event != ORR_JSON_STRING) continue;
    if (!first) orr_buf_text(out, " or ");
    first = false;
    bool null = orr_slice_equal(reader.text, ORR_SLICE_LITERAL("null"));
    bool vowel = reader.text.len > 0 && strchr("aio", reader.text.data[0]) != NULL;
    orr_buf_text(out, null ? "" : vowel ? "an " : "a ");
    orr_buf_slice_append(out, reader.text);
  }
}

// --- scalars -------------------------------------------------------------------------------------

static bool listed(struct orr_slice list, struct orr_slice value) {
  struct orr_json_reader reader;
  struct orr_slice item;
  enum orr_json_type type;
  orr_json_reader_init(&reader, list);
  if (orr_json_next(&reader) != ORR_JSON_ARRAY_BEGIN) return true;
  while ((type = orr_json_next(&reader)) != ORR_JSON_ARRAY_END) {
    if (orr_json_skip(&reader, type, &item) != ORR_OK) return false;
    if (orr__json_equal(item, value)) return true;
  }
  return false;
}

static void check_number(struct walk *walk, const struct keywords *at, struct orr_slice value) {
  struct orr__json_number number = orr__json_number_of(value);
  const struct {
    struct orr_slice bound;
    int low, high; // allowed results of the comparison with the bound
    const char *words;
  } bounds[] = {
      {at->minimum, 0, 1, "at least"},
      {at->maximum, -1, 0, "at most"},
      {at->above, 1, 1, "above"},
      {at->below, -1, -1, "below"},
  };
  for (size_t i = 0; i < sizeof bounds / sizeof *bounds; i++) {
    struct orr_slice bound = bounds[i].bound;
    if (bound.len == 0) continue;
    int order = orr__json_number_compare(number, orr__json_number_of(bound));
    if (order < bounds[i].low || order > bounds[i].high)
      problem(walk, "must be %s %.*s", bounds[i].words, shown(bound), bound.data);
  }
  if (at->multiple_of.len != 0 &&
      !orr__json_number_multiple(number, orr__json_number_of(at->multiple_of)))
    problem(walk, "must be a multiple of %.*s", shown(at->multiple_of), at->multiple_of.data);
}

static int64_t whole_of(struct orr_slice text) {
  struct orr__json_number number = orr__json_number_of(text);
  return number.is_integer ? number.integer : (int64_t)fmin(fmax(number.number, 0), 0x1p53);
}

// Reports a count outside of its bounds: "must have at least 3 characters".
static void check_count(struct walk *walk, int64_t count, struct orr_slice least,
                        struct orr_slice most, const char *what) {
  int64_t low = least.len != 0 ? whole_of(least) : 0;
  int64_t high = most.len != 0 ? whole_of(most) : INT64_MAX;
  if (count < low)
    problem(walk, "must have at least %lld %s%s", (long long)low, what, low == 1 ? "" : "s");
  if (count > high)
    problem(walk, "must have at most %lld %s%s", (long long)high, what, high == 1 ? "" : "s");
}

static void check_string(struct walk *walk, const struct keywords *at, struct orr_slice value) {
  if (at->min_length.len + at->max_length.len + at->pattern.len + at->format.len == 0) return;
  struct orr_buf plain = ORR_BUF_INIT, word = ORR_BUF_INIT;
  orr__json_plain(&plain, value);
  int64_t code_points = 0;
  for (size_t i = 0; i < plain.len; i++) code_points += (plain.data[i] & 0xc0) != 0x80;
  check_count(walk, code_points, at->min_length, at->max_length, "character");
  if (at->format.len != 0) {
    orr__json_plain(&word, at->format);
    const char *wrong = orr__schema_format(orr_buf_slice(&word), orr_buf_slice(&plain));
    if (wrong != NULL) problem(walk, "%s", wrong);
  }
  if (at->pattern.len != 0) {
    bool bad_pattern;
    orr_buf_clear(&word);
    orr__json_plain(&word, at->pattern);
    const char *wrong =
        orr__schema_pattern(orr_buf_slice(&word), orr_buf_slice(&plain), &bad_pattern);
    walk->bad_schema |= bad_pattern;
    if (wrong != NULL) problem(walk, "%s %.*s", wrong, shown(orr_buf_slice(&word)), word.data);
  }
  orr_buf_free(&word);
  orr_buf_free(&plain);
}

// --- arrays --------------------------------------------------------------------------------------

static void apply_array(struct walk *walk, const struct keywords *at, struct orr_slice value) {
  struct orr_json_reader reader;
  struct orr_slice item;
  enum orr_json_type type;
  int64_t count = 0;
  orr_json_reader_init(&reader, value);
  (void)orr_json_next(&reader);
  orr_buf_u8(walk->out, '[');
  while ((type = orr_json_next(&reader)) != ORR_JSON_ARRAY_END) {
    if (orr_json_skip(&reader, type, &item) != ORR_OK) break;
    if (count > 0) orr_buf_u8(walk->out, ',');
    size_t path_len = walk->path.len;
    orr_buf_printf(&walk->path, "/%lld", (long long)count++);
    apply(walk, at->items, item);
    walk->path.len = path_len;
  }
  orr_buf_u8(walk->out, ']');
  check_count(walk, count, at->min_items, at->max_items, "item");
  if (is_true(at->unique) && !orr__json_all_differ(value)) problem(walk, "must not hold an item twice");
}

// --- objects -------------------------------------------------------------------------------------

struct property { // as declared
  char *name;
  struct orr_slice schema;
  bool seen;
};
struct properties {
  struct property *list;
  uint32_t len, cap;
};

static struct properties read_properties(struct orr_slice text) {
  struct properties properties = {0};
  struct orr_json_reader reader;
  struct orr_buf key = ORR_BUF_INIT;
  struct orr_slice schema;
  enum orr_json_type type;
  orr_json_reader_init(&reader, text);
  if (text.len == 0 || orr_json_next(&reader) != ORR_JSON_OBJECT_BEGIN) return properties;
  while (next_member(&reader, &key, &schema, &type)) {
    if (properties.len == properties.cap) {
      properties.cap = properties.cap != 0 ? properties.cap * 2 : 8;
      properties.list = orr_realloc(properties.list, properties.cap * sizeof *properties.list);
    }
    char *name = orr_slice_strdup(orr_buf_slice(&key));
    properties.list[properties.len++] = (struct property){name, schema, false};
  }
  orr_buf_free(&key);
  return properties;
}

static void free_properties(struct properties *properties) {
  for (uint32_t i = 0; i < properties->len; i++) free(properties->list[i].name);
  free(properties->list);
}

static struct property *find_property(struct properties *properties, struct orr_slice name) {
  for (uint32_t i = 0; i < properties->len; i++) {
    if (orr_slice_equal(orr_slice_text(properties->list[i].name), name)) return &properties->list[i];
  }
  return NULL;
}

static void refuse_member(struct walk *walk, const struct properties *properties, const char *name) {
  const char **names = orr_alloc((properties->len + (size_t)1) * sizeof *names);
  for (uint32_t i = 0; i < properties->len; i++) names[i] = properties->list[i].name;
  const char *near = orr_suggest(name, names, properties->len);
  if (near != NULL) problem(walk, "is not known: did you mean \"%s\"?", near);
  else problem(walk, "is not known");
  free(names);
}

// Whether a null member stands for an absent one: its schema is specific and does not allow null.
static bool null_is_absent(struct orr_slice schema) {
  struct keywords at = read_keywords(schema);
  struct orr_slice null = ORR_SLICE_LITERAL("null");
  if (at.type.len != 0) return !type_allowed(at.type, ORR_JSON_NULL, null);
  return at.enumeration.len != 0 && !listed(at.enumeration, null);
}

static void put_member(struct walk *walk, struct orr_slice name) {
  orr_json_comma(walk->out);
  orr_json_string(walk->out, name);
  orr_buf_u8(walk->out, ':');
}

static void apply_member(struct walk *walk, const struct keywords *at, struct properties *properties,
                         struct orr_buf *key, struct orr_slice value, enum orr_json_type type) {
  struct property *property = find_property(properties, orr_buf_slice(key));
  if (property != NULL && type == ORR_JSON_NULL && null_is_absent(property->schema)) return;
  size_t path_len = path_push(walk, orr_buf_slice(key));
  if (property != NULL) property->seen = true;
  if (property == NULL && orr_slice_equal(at->additional, ORR_SLICE_LITERAL("false"))) {
    refuse_member(walk, properties, orr_buf_cstr(key));
  } else {
    put_member(walk, orr_buf_slice(key));
    struct orr_slice any = orr_slice_of(NULL, 0);
    apply(walk, property != NULL ? property->schema : any, value);
  }
  walk->path.len = path_len;
}

static void fill_defaults(struct walk *walk, struct properties *properties) {
  for (uint32_t i = 0; i < properties->len; i++) {
    struct property *property = &properties->list[i];
    if (property->seen) continue;
    struct keywords at = read_keywords(property->schema);
    if (at.fallback.len == 0) continue;
    property->seen = true;
    struct orr_slice name = orr_slice_text(property->name);
    size_t path_len = path_push(walk, name);
    put_member(walk, name);
    apply(walk, property->schema, at.fallback);
    walk->path.len = path_len;
  }
}

static void check_required(struct walk *walk, const struct keywords *at, struct properties *properties,
                           struct orr_slice value) {
  struct orr_json_reader reader;
  struct orr_buf name = ORR_BUF_INIT, key = ORR_BUF_INIT;
  orr_json_reader_init(&reader, at->required);
  if (at->required.len == 0 || orr_json_next(&reader) != ORR_JSON_ARRAY_BEGIN) return;
  while (orr_json_next(&reader) == ORR_JSON_STRING) {
    orr_buf_clear(&name);
    orr_json_unescape(&name, reader.text);
    const struct property *property = find_property(properties, orr_buf_slice(&name));
    bool there = property != NULL && property->seen;
    struct orr_json_reader members;
    struct orr_slice ignored;
    enum orr_json_type type;
    orr_json_reader_init(&members, value);
    (void)orr_json_next(&members);
    while (property == NULL && !there && next_member(&members, &key, &ignored, &type))
      there = orr_slice_equal(orr_buf_slice(&key), orr_buf_slice(&name));
    if (there) continue;
    size_t path_len = path_push(walk, orr_buf_slice(&name));
    problem(walk, "is required");
    walk->path.len = path_len;
  }
  orr_buf_free(&key);
  orr_buf_free(&name);
}

static void apply_object(struct walk *walk, const struct keywords *at, struct orr_slice value) {
  struct properties properties = read_properties(at->properties);
  struct orr_json_reader reader;
  struct orr_buf key = ORR_BUF_INIT;
  struct orr_slice member;
  enum orr_json_type type;
  orr_json_reader_init(&reader, value);
  (void)orr_json_next(&reader);
  orr_buf_u8(walk->out, '{');
  while (next_member(&reader, &key, &member, &type))
    apply_member(walk, at, &properties, &key, member, type);
  fill_defaults(walk, &properties);
  check_required(walk, at, &properties, value);
  orr_buf_u8(walk->out, '}');
  orr_buf_free(&key);
  free_properties(&properties);
}

// --- any value -----------------------------------------------------------------------------------

static void put_number(struct walk *walk, const struct keywords *at, struct orr_slice value) {
  struct orr__json_number number = orr__json_number_of(value);
  if (!number.is_integer && orr_slice_equal(at->type, ORR_SLICE_LITERAL("\"integer\"")) &&
      orr__json_number_whole(number))
    orr_buf_printf(walk->out, "%lld", (long long)number.number);
  else
    orr_buf_slice_append(walk->out, value);
}

static void apply(struct walk *walk, struct orr_slice schema, struct orr_slice value) {
  if (schema.len == 0 || is_true(schema) || walk->problems_len >= PROBLEMS_MAX) {
    orr_buf_slice_append(walk->out, value);
    return;
  }
  if (schema.data[0] != '{') {
    walk->bad_schema |= !orr_slice_equal(schema, ORR_SLICE_LITERAL("false"));
    problem(walk, "is not allowed");
    return;
  }
  struct keywords at = read_keywords(schema);
  enum orr_json_type type = orr__json_type(value);
  if (!type_allowed(at.type, type, value)) {
    struct orr_buf words = ORR_BUF_INIT;
    type_words(&words, at.type);
    problem(walk, "must be %s", orr_buf_cstr(&words));
    orr_buf_free(&words);
    return;
  }
  if (at.enumeration.len != 0 && !listed(at.enumeration, value))
    problem(walk, "must be one of %.*s", shown(at.enumeration), at.enumeration.data);
  if (at.constant.len != 0 && !orr__json_equal(at.constant, value))
    problem(walk, "must be %.*s", shown(at.constant), at.constant.data);
  if (type == ORR_JSON_OBJECT_BEGIN) {
    apply_object(walk, &at, value);
  } else if (type == ORR_JSON_ARRAY_BEGIN) {
    apply_array(walk, &at, value);
  } else if (type == ORR_JSON_INTEGER || type == ORR_JSON_FLOAT) {
    check_number(walk, &at, value);
    put_number(walk, &at, value);
  } else {
    if (type == ORR_JSON_STRING) check_string(walk, &at, value);
    orr_buf_slice_append(walk->out, value);
  }
}

static bool is_space(uint8_t c) { return c == ' ' || c == '\t' || c == '\r' || c == '\n'; }

static struct orr_slice trim(struct orr_slice text) {
  while (text.len > 0 && is_space(text.data[0])) text = orr_slice_of(text.data + 1, text.len - 1);
  while (text.len > 0 && is_space(text.data[text.len - 1])) text.len--;
  return text;
}

// The value that the input stands for: nothing, or null where an object is wanted, is {}.
static struct orr_slice whole_value(struct orr_slice schema, struct orr_slice input) {
  bool null = orr_slice_equal(input, ORR_SLICE_LITERAL("null"));
  if (input.len != 0 && !null) return input;
  struct orr_slice empty = ORR_SLICE_LITERAL("{}");
  if (schema.len == 0) return input.len == 0 ? empty : input;
  struct keywords at = read_keywords(schema);
  bool object = type_allowed(at.type, ORR_JSON_OBJECT_BEGIN, empty);
  bool takes_null = at.type.len != 0 && type_allowed(at.type, ORR_JSON_NULL, input);
  if (object && !(null && takes_null)) return empty;
  return ORR_SLICE_LITERAL("null");
}

enum orr_status orr_schema_apply(struct orr_slice schema, struct orr_slice input,
                                 struct orr_buf *out, struct orr_buf *problems) {
  schema = trim(schema);
  input = trim(input);
  size_t out_len = out->len, problems_before = problems->len, offset = 0;
  const char *error = "";
  if (schema.len != 0 && orr_json_check(schema, NULL, NULL) != ORR_OK) return ORR_ERR_CORRUPT;
  struct walk walk = {.out = out, .problems = problems};
  orr_buf_u8(problems, '[');
  if (input.len != 0 && orr_json_check(input, &error, &offset) != ORR_OK)
    problem(&walk, "is not valid JSON: %s at byte %zu", error, offset + 1);
  else
    apply(&walk, schema, whole_value(schema, input));
  orr_buf_u8(problems, ']');
  orr_buf_free(&walk.path);
  if (walk.problems_len == 0) {
    problems->len = problems_before;
    return ORR_OK;
  }
  out->len = out_len;
  if (!walk.bad_schema) return ORR_ERR_INVALID;
  problems->len = problems_before;
  return ORR_ERR_CORRUPT;
}
