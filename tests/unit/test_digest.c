// SPDX-License-Identifier: MIT
// SHA-256: the published values, at once and in parts.
#include "io/digest.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static void sha256_gives_the_published_values(void **state) {
  (void)state;
  struct orr_digest digest;
  char text[65];
  orr_sha256(ORR_SLICE_LITERAL("abc"), &digest);
  orr_digest_text(&digest, text);
  assert_string_equal(text, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  orr_sha256(orr_slice_of(NULL, 0), &digest);
  orr_digest_text(&digest, text);
  assert_string_equal(text, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
}

static void parts_give_the_same_as_the_whole(void **state) {
  (void)state;
  struct orr_digest whole, parts;
  struct orr_sha256 running;
  orr_sha256(ORR_SLICE_LITERAL("hello world"), &whole);
  orr_sha256_init(&running);
  orr_sha256_update(&running, ORR_SLICE_LITERAL("hello"));
  orr_sha256_update(&running, orr_slice_of(NULL, 0));
  orr_sha256_update(&running, ORR_SLICE_LITERAL(" world"));
  orr_sha256_final(&running, &parts);
  assert_true(orr_digest_equal(&whole, &parts));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(sha256_gives_the_published_values),
      cmocka_unit_test(parts_give_the_same_as_the_whole),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
