// SPDX-License-Identifier: MIT
// Definitions: bytes that decode are the only form of what they say; definitions built from choices
// are refused with a problem, or are sound: an order that fits, edges both ways, ancestors as a
// naive search finds them, and the same again after encoding.
#include "base/check.h"
#include "core/def.h"
#include "fuzz_input.h"

#include <stdio.h>
#include <stdlib.h>

#define STEPS_MAX 10u

static bool reaches(const struct orr_def *def, uint32_t ancestor, uint32_t step, uint32_t depth) {
  orr_assert(depth <= def->steps_len);
  for (uint32_t i = 0; i < def->steps[step].after_len; i++) {
    uint32_t before = def->steps[step].after[i];
    if (before == ancestor || reaches(def, ancestor, before, depth + 1)) return true;
  }
  return false;
}

static void check_sound(const struct orr_def *def) {
  uint32_t edges_after = 0, edges_next = 0;
  uint32_t *place = orr_alloc(def->steps_len * sizeof(*place));
  for (uint32_t i = 0; i < def->steps_len; i++) place[i] = UINT32_MAX;
  for (uint32_t i = 0; i < def->steps_len; i++) {
    orr_assert(def->order[i] < def->steps_len && place[def->order[i]] == UINT32_MAX);
    place[def->order[i]] = i;
  }
  for (uint32_t i = 0; i < def->steps_len; i++) {
    const struct orr_step_def *step = &def->steps[i];
    orr_assert(orr_name_valid(orr_slice_text(step->name)));
    orr_assert(orr_def_step(def, orr_slice_text(step->name)) == i);
    edges_after += step->after_len;
    edges_next += step->next_len;
    for (uint32_t k = 0; k < step->after_len; k++) {
      uint32_t before = step->after[k];
      orr_assert(place[before] < place[i]);
      bool back = false;
      for (uint32_t n = 0; n < def->steps[before].next_len; n++)
        back = back || def->steps[before].next[n] == i;
      orr_assert(back);
    }
  }
  orr_assert(edges_after == edges_next);
  free(place);
  if (def->steps_len > STEPS_MAX) return;
  for (uint32_t a = 0; a < def->steps_len; a++)
    for (uint32_t b = 0; b < def->steps_len; b++)
      orr_assert(orr_def_is_ancestor(def, a, b) == reaches(def, a, b, 0));
}

static void check_same_bytes(const struct orr_def *def, struct orr_slice bytes) {
  struct orr_buf again = ORR_BUF_INIT;
  orr_def_encode(def, &again);
  orr_assert(orr_slice_equal(orr_buf_slice(&again), bytes));
  orr_buf_free(&again);
}

static void decoded(struct orr_slice bytes) {
  struct orr_def *def = NULL;
  enum orr_status status = orr_def_decode(bytes, &def);
  if (status != ORR_OK) {
    orr_assert(def == NULL);
    return;
  }
  check_sound(def);
  check_same_bytes(def, bytes);
  orr_def_unref(def);
}

static void built(struct fuzz_input *input) {
  char names[STEPS_MAX][8], head_name[41];
  struct orr_def_builder *builder = orr_def_builder_new();
  struct orr_def *head = orr_def_builder_head(builder);
  struct orr_slice name = fuzz_u8(input) & 1 ? ORR_SLICE_LITERAL("p") : fuzz_slice(input);
  memcpy(head_name, name.data, name.len);
  head_name[name.len] = '\0';
  head->name = head_name;
  head->script = head->description = "";
  head->timeout_ms = fuzz_u64(input);
  head->priority = fuzz_u8(input) % 12;
  head->concurrency = fuzz_u8(input);
  head->when_full = (enum orr_when_full)(fuzz_u8(input) % 3);
  uint32_t steps = fuzz_u8(input) % (STEPS_MAX + 1);
  for (uint32_t i = 0; i < steps; i++) {
    uint8_t odd = fuzz_u8(input);
    if (odd < 4)
      snprintf(names[i], sizeof(names[i]), "%s", odd < 2 ? "s0" : odd == 2 ? "input" : "a b");
    else
      snprintf(names[i], sizeof(names[i]), "s%u", i);
    struct orr_step_def step = {
        .name = names[i],
        .kind = (enum orr_step_kind)(fuzz_u8(input) % 6),
        .rule = (enum orr_rule)(fuzz_u8(input) % 5),
        .flags = fuzz_u8(input) & 127,
        .retry = {fuzz_u8(input) % 8, fuzz_u32(input), fuzz_u32(input), fuzz_u32(input), false},
        .timeout_ms = fuzz_u64(input),
        .priority = fuzz_u8(input) % 11,
        .child = "c"};
    if (step.kind != ORR_STEP_RUN) step.child = NULL;
    if (fuzz_u8(input) & 3) step.retry = (struct orr_retry){1, 0, 1000, 0, false};
    if (fuzz_u8(input) & 3) step.timeout_ms = 0;
    orr_assert(orr_def_builder_step(builder, &step) == i);
  }
  for (uint32_t edges = fuzz_u8(input) % 30; steps > 0 && edges > 0; edges--) {
    uint32_t to = fuzz_u8(input) % steps, from = fuzz_u8(input) % (steps + 1);
    bool backward = fuzz_u8(input) == 9; // rarely: cycles
    if (from > to && from < steps && !backward) {
      uint32_t t = to;
      to = from;
      from = t;
    }
    if (from == steps && !backward) continue;
    orr_def_builder_after(builder, to,
                          from < steps ? orr_slice_text(names[from]) : ORR_SLICE_LITERAL("nobody"));
  }
  struct orr_def *def = NULL;
  struct orr_def_problem problem = {0};
  if (orr_def_builder_finish(builder, &def, &problem) == ORR_OK) {
    check_sound(def);
    struct orr_buf bytes = ORR_BUF_INIT;
    orr_def_encode(def, &bytes);
    struct orr_def *read = NULL;
    orr_assert(orr_def_decode(orr_buf_slice(&bytes), &read) == ORR_OK);
    check_same_bytes(read, orr_buf_slice(&bytes));
    orr_def_unref(read);
    orr_buf_free(&bytes);
    orr_def_unref(def);
  } else {
    orr_assert(def == NULL && problem.code != NULL && problem.code[0] == 'E');
    orr_assert(problem.message != NULL && problem.message[0] != '\0');
  }
  orr_def_builder_free(builder);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len) {
  if (len == 0) return 0;
  struct fuzz_input input = {data + 1, data + len};
  if (data[0] & 1)
    decoded(orr_slice_of(data + 1, len - 1));
  else
    built(&input);
  return 0;
}
