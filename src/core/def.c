// SPDX-License-Identifier: MIT
// A finished definition: names of its enums, counting of references, look-ups. Everything but the
// count is immutable, so look-ups need no lock. Pure; any thread.
#include "core/def.h"

#include "base/check.h"
#include "base/list.h"
#include "core/def_internal.h"

#include <stdlib.h>

static const char *const STEP_KINDS[] = {
#define X(name, text) text,
    ORR_STEP_KIND_LIST(X)
#undef X
};
static const char *const RULES[] = {
#define X(name, text) text,
    ORR_RULE_LIST(X)
#undef X
};
static const char *const WHEN_FULLS[] = {
#define X(name, text) text,
    ORR_WHEN_FULL_LIST(X)
#undef X
};
#define LEN(array) (sizeof(array) / sizeof *(array))

static bool text_index(const char *const *texts, size_t len, struct orr_slice text, size_t *index) {
  for (size_t i = 0; i < len; i++) {
    if (!orr_slice_equal(text, orr_slice_text(texts[i]))) continue;
    *index = i;
    return true;
  }
  return false;
}

const char *orr_step_kind_text(enum orr_step_kind kind) {
  orr_assert(kind < LEN(STEP_KINDS));
  return STEP_KINDS[kind];
}

bool orr_step_kind_parse(struct orr_slice text, enum orr_step_kind *kind) {
  size_t index;
  if (!text_index(STEP_KINDS, LEN(STEP_KINDS), text, &index)) return false;
  *kind = (enum orr_step_kind)index;
  return true;
}

const char *orr_rule_text(enum orr_rule rule) {
  orr_assert(rule < LEN(RULES));
  return RULES[rule];
}

bool orr_rule_parse(struct orr_slice text, enum orr_rule *rule) {
  size_t index;
  if (!text_index(RULES, LEN(RULES), text, &index)) return false;
  *rule = (enum orr_rule)index;
  return true;
}

bool orr_when_full_parse(struct orr_slice text, enum orr_when_full *when_full) {
  size_t index;
  if (!text_index(WHEN_FULLS, LEN(WHEN_FULLS), text, &index)) return false;
  *when_full = (enum orr_when_full)index;
  return true;
}

bool orr_name_valid(struct orr_slice name) {
  if (name.len == 0 || name.len > ORR_NAME_BYTES_MAX) return false;
  for (size_t i = 0; i < name.len; i++) {
    uint8_t c = name.data[i];
    bool valid = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                 c == '_' || c == '-' || c == '.';
    if (!valid) return false;
  }
  return true;
}

// --- references ----------------------------------------------------------------------------------

struct orr_def *orr_def_ref(struct orr_def *def) {
  uint32_t before = __atomic_fetch_add(&def->refs, 1, __ATOMIC_RELAXED);
  orr_assert(before != 0 && before != UINT32_MAX);
  return def;
}

void orr_def_unref(struct orr_def *def) {
  if (def == NULL) return;
  uint32_t before = __atomic_fetch_sub(&def->refs, 1, __ATOMIC_ACQ_REL);
  orr_assert(before != 0);
  if (before != 1) return;
  if (def->code_unref != NULL) def->code_unref(def->code);
  struct orr__def_whole *whole = ORR_CONTAINER_OF(def, struct orr__def_whole, def);
  orr_map_free(&whole->by_name);
  orr_arena_free(&whole->arena);
  free(whole);
}

void orr_def_attach(struct orr_def *def, const struct orr_digest *generation, void *code,
                    void (*code_unref)(void *code)) {
  orr_assert(def->code == NULL && def->code_unref == NULL);
  def->generation = *generation;
  def->code = code;
  def->code_unref = code_unref;
}

// --- look-ups ------------------------------------------------------------------------------------

uint32_t orr_def_step(const struct orr_def *def, struct orr_slice name) {
  const struct orr__def_whole *whole = ORR_CONTAINER_OF(def, struct orr__def_whole, def);
  const struct orr_step_def *step = orr_map_get(&whole->by_name, name);
  return step != NULL ? (uint32_t)(step - def->steps) : UINT32_MAX;
}

// Walks back from `step`; what stands at or before the ancestor in the topological order cannot
// depend on it, which bounds the walk to the steps between the two.
bool orr_def_is_ancestor(const struct orr_def *def, uint32_t ancestor, uint32_t step) {
  orr_assert(ancestor < def->steps_len && step < def->steps_len);
  const uint32_t *position = ORR_CONTAINER_OF(def, struct orr__def_whole, def)->position;
  if (position[ancestor] >= position[step]) return false;
  uint32_t first = position[ancestor], span = position[step] - first + 1;
  uint64_t *visited = orr_alloc((span / 64 + 1) * sizeof *visited);
  uint32_t *stack = orr_alloc(span * sizeof *stack);
  size_t depth = 0;
  bool found = false;
  stack[depth++] = step;
  while (depth > 0 && !found) {
    const struct orr_step_def *at = &def->steps[stack[--depth]];
    for (uint32_t i = 0; i < at->after_len && !found; i++) {
      uint32_t next = at->after[i];
      found = next == ancestor;
      if (position[next] <= first) continue;
      uint32_t bit = position[next] - first;
      if (visited[bit / 64] >> (bit % 64) & 1) continue;
      visited[bit / 64] |= (uint64_t)1 << (bit % 64);
      stack[depth++] = next;
    }
  }
  free(stack);
  free(visited);
  return found;
}
