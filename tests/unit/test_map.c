// SPDX-License-Identifier: MIT
// The hash map against a plain array over random operations; keys of every length.
#include "base/map.h"
#include "base/rng.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#define KEYS 300u

// Keys around the length at which they move to the heap; the first is empty.
static struct orr_slice key_of(unsigned i, char text[64]) {
  if (i == 0) return orr_slice_of(NULL, 0);
  int len = snprintf(text, 64, "%u%.*s", i, (int)(i % 40), "----------------------------------------");
  return orr_slice_of(text, (size_t)len);
}

static void map_agrees_with_an_array_over_random_operations(void **state) {
  (void)state;
  struct orr_map map = ORR_MAP_INIT;
  struct orr_rng rng = {11};
  int values[KEYS];
  void *model[KEYS] = {NULL};
  size_t len = 0;
  char text[64];
  for (int i = 0; i < 200000; i++) {
    // Phases of growing and shrinking, so that removal meets long probes.
    unsigned at = (unsigned)orr_rng_below(&rng, KEYS);
    bool growing = i / 2000 % 2 == 0;
    struct orr_slice key = key_of(at, text);
    assert_ptr_equal(orr_map_get(&map, key), model[at]);
    if (orr_rng_below(&rng, 4) < (growing ? 3 : 1)) {
      assert_ptr_equal(orr_map_put(&map, key, &values[i % KEYS]), model[at]);
      len += model[at] == NULL;
      model[at] = &values[i % KEYS];
    } else {
      assert_ptr_equal(orr_map_remove(&map, key), model[at]);
      len -= model[at] != NULL;
      model[at] = NULL;
    }
    assert_int_equal(map.len, len);
  }
  for (unsigned i = 0; i < KEYS; i++) assert_ptr_equal(orr_map_get(&map, key_of(i, text)), model[i]);
  orr_map_free(&map);
}

static void walking_meets_every_entry_once(void **state) {
  (void)state;
  struct orr_map map = ORR_MAP_INIT;
  int met[KEYS] = {0};
  char text[64];
  for (unsigned i = 0; i < KEYS; i++) orr_map_put(&map, key_of(i, text), &met[i]);
  struct orr_slice key;
  void *value;
  size_t walked = 0;
  for (size_t cursor = 0; orr_map_next(&map, &cursor, &key, &value); walked++) {
    unsigned i = (unsigned)((int *)value - met);
    assert_true(orr_slice_equal(key, key_of(i, text)));
    met[i]++;
  }
  assert_int_equal(walked, KEYS);
  for (unsigned i = 0; i < KEYS; i++) assert_int_equal(met[i], 1);
  orr_map_free(&map);
}

static void an_empty_map_answers(void **state) {
  (void)state;
  struct orr_map map = ORR_MAP_INIT;
  size_t cursor = 0;
  assert_null(orr_map_get(&map, ORR_SLICE_LITERAL("a")));
  assert_null(orr_map_remove(&map, ORR_SLICE_LITERAL("a")));
  assert_false(orr_map_next(&map, &cursor, NULL, NULL));
  orr_map_free(&map);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(map_agrees_with_an_array_over_random_operations),
      cmocka_unit_test(walking_meets_every_entry_once),
      cmocka_unit_test(an_empty_map_answers),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
