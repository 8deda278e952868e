// SPDX-License-Identifier: MIT
// Which addresses are public, and signatures.
#include "io/hmac.h"
#include "io/http_guard.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <sys/un.h>

#include <cmocka.h>

static bool is_public(const char *text) {
  struct sockaddr_in v4 = {.sin_family = AF_INET};
  struct sockaddr_in6 v6 = {.sin6_family = AF_INET6};
  if (inet_pton(AF_INET, text, &v4.sin_addr) == 1) return orr_address_is_public((struct sockaddr *)&v4);
  assert_int_equal(inet_pton(AF_INET6, text, &v6.sin6_addr), 1);
  return orr_address_is_public((struct sockaddr *)&v6);
}

static void private_and_special_addresses_are_not_public(void **state) {
  (void)state;
  static const char *const denied[] = {
      "0.0.0.0", "0.255.255.255", "10.0.0.0", "10.255.255.255", "100.64.0.0", "100.127.255.255", "127.0.0.1",
      "127.255.255.255", "169.254.0.0", "169.254.169.254", "172.16.0.0", "172.31.255.255", "192.0.0.8", "192.0.2.1",
      "192.88.99.1", "192.168.0.0", "192.168.255.255", "198.18.0.1", "198.19.255.255", "198.51.100.7", "203.0.113.9",
      "224.0.0.1", "239.255.255.255", "240.0.0.1", "255.255.255.255", "::", "::1", "::127.0.0.1", "::8.8.8.8",
      "::ffff:127.0.0.1", "::ffff:10.1.2.3", "64:ff9b::127.0.0.1", "64:ff9b::a9fe:a9fe", "64:ff9b:1::1", "100::1",
      "2001::1", "2001:db8::1", "2002:7f00:1::", "2002:c0a8:101::1", "3fff::1", "fc00::1", "fdff::1", "fe80::1",
      "febf::1", "fec0::1", "ff02::1", "4000::1"};
  for (size_t i = 0; i < sizeof denied / sizeof denied[0]; i++) {
    if (is_public(denied[i])) fail_msg("%s counts as public", denied[i]);
  }
}

static void the_neighbours_of_private_ranges_are_public(void **state) {
  (void)state;
  static const char *const allowed[] = {
      "1.1.1.1", "9.255.255.255", "11.0.0.0", "100.63.255.255", "100.128.0.0", "126.255.255.255", "128.0.0.0",
      "169.253.255.255", "169.255.0.0", "172.15.255.255", "172.32.0.0", "192.0.1.1", "192.167.255.255", "192.169.0.0",
      "198.17.255.255", "198.20.0.0", "223.255.255.255", "::ffff:8.8.8.8", "64:ff9b::808:808", "2002:808:808::1",
      "2606:4700:4700::1111", "2001:4860:4860::8888", "2a00::1"};
  for (size_t i = 0; i < sizeof allowed / sizeof allowed[0]; i++) {
    if (!is_public(allowed[i])) fail_msg("%s does not count as public", allowed[i]);
  }
}

static void other_families_are_not_public(void **state) {
  (void)state;
  struct sockaddr_un local = {.sun_family = AF_UNIX, .sun_path = "/tmp/x"};
  assert_false(orr_address_is_public((struct sockaddr *)&local));
}

static void hmac_gives_the_values_of_rfc_4231(void **state) {
  (void)state;
  uint8_t long_key[131];
  memset(long_key, 0xaa, sizeof long_key);
  const struct {
    struct orr_slice key, data;
    const char *want;
  } cases[] = {
      {ORR_SLICE_LITERAL("Jefe"), ORR_SLICE_LITERAL("what do ya want for nothing?"),
       "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"},
      {orr_slice_of(long_key, sizeof long_key), ORR_SLICE_LITERAL("Test Using Larger Than Block-Size Key - Hash Key First"),
       "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54"},
      {orr_slice_of(NULL, 0), orr_slice_of(NULL, 0), "b613679a0814d9ec772f95d778c35fc5ff1697c493715653c6c712144292c5ad"},
  };
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    struct orr_digest digest;
    char text[65];
    orr_hmac_sha256(cases[i].key, cases[i].data, &digest);
    orr_digest_text(&digest, text);
    assert_string_equal(text, cases[i].want);
  }
}

static void equal_compares_whole_texts(void **state) {
  (void)state;
  assert_true(orr_equal_constant_time(ORR_SLICE_LITERAL("abc"), ORR_SLICE_LITERAL("abc")));
  assert_false(orr_equal_constant_time(ORR_SLICE_LITERAL("abc"), ORR_SLICE_LITERAL("abd")));
  assert_false(orr_equal_constant_time(ORR_SLICE_LITERAL("abc"), ORR_SLICE_LITERAL("ab")));
  assert_true(orr_equal_constant_time(orr_slice_of(NULL, 0), orr_slice_of(NULL, 0)));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(private_and_special_addresses_are_not_public),
      cmocka_unit_test(the_neighbours_of_private_ranges_are_public),
      cmocka_unit_test(other_families_are_not_public),
      cmocka_unit_test(hmac_gives_the_values_of_rfc_4231),
      cmocka_unit_test(equal_compares_whole_texts),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
