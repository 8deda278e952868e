// SPDX-License-Identifier: MIT
// Checks a run's input against the JSON Schema subset that o.string, o.record ... export, and fills in
// defaults. Keywords: type (one or a list), properties, required, additionalProperties (bool), default,
// enum, const, minimum, maximum, exclusiveMinimum, exclusiveMaximum, multipleOf, minLength, maxLength
// (code points), pattern (PCRE2 with match and depth limits, unanchored as JSON Schema wants), format
// (date, date-time, email, uri, uuid, ipv4, duration), items, minItems, maxItems, uniqueItems.
// title, description, examples are ignored. Works on JSON text only. Any thread. Foreign library: pcre2.
#pragma once

#include "base/buf.h"
#include "base/status.h"

// Appends to `out` the input with defaults filled in (key order: as given, then defaults in schema
// order). An empty `input` or JSON null counts as {} for an object schema. ORR_ERR_INVALID: `problems`
// holds a JSON array of {"path":"/items/2/price","message":"must be at least 0"}, at most 20.
// An empty schema accepts any JSON value. A null member counts as absent (as it does in Lua) unless its
// schema accepts null. Integral floats for type integer become integers. ORR_ERR_CORRUPT, without
// problems: the schema itself is broken. `out` is unchanged unless the result is ORR_OK.
enum orr_status orr_schema_apply(struct orr_slice schema, struct orr_slice input,
                                 struct orr_buf *out, struct orr_buf *problems);
