// SPDX-License-Identifier: MIT
// The deny list of guarded requests, after the IANA special-purpose registries. IPv4 is what is not
// listed; IPv6 is 2000::/3 and 64:ff9b::/96 less what is listed. Pure; any thread. Must not know libcurl.
#include "io/http_guard.h"

#include <netinet/in.h>
#include <stdint.h>
#include <string.h>

struct range {
  uint32_t base;
  uint32_t bits;
};
static const struct range denied[] = {
    {0x00000000, 8},  // 0/8: this network
    {0x0a000000, 8},  // 10/8: private
    {0x64400000, 10}, // 100.64/10: carrier-grade NAT
    {0x7f000000, 8},  // 127/8: loopback
    {0xa9fe0000, 16}, // 169.254/16: link-local, clouds' metadata services
    {0xac100000, 12}, // 172.16/12: private
    {0xc0000000, 24}, // 192.0.0/24: protocol assignments
    {0xc0000200, 24}, // 192.0.2/24: documentation
    {0xc0586300, 24}, // 192.88.99/24: 6to4 relays, retired
    {0xc0a80000, 16}, // 192.168/16: private
    {0xc6120000, 15}, // 198.18/15: benchmarking
    {0xc6336400, 24}, // 198.51.100/24: documentation
    {0xcb007100, 24}, // 203.0.113/24: documentation
    {0xe0000000, 4},  // 224/4: multicast
    {0xf0000000, 4},  // 240/4: reserved, broadcast
};

static bool v4_public(const uint8_t *bytes) { // network order
  uint32_t address = (uint32_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 | (uint32_t)bytes[2] << 8 | bytes[3];
  for (size_t i = 0; i < sizeof denied / sizeof denied[0]; i++) {
    if ((address ^ denied[i].base) >> (32 - denied[i].bits) == 0) return false;
  }
  return true;
}

static bool begins(const uint8_t *bytes, const char *prefix, size_t len) { return memcmp(bytes, prefix, len) == 0; }

static bool v6_public(const uint8_t *bytes) {
  if (begins(bytes, "\0\0\0\0\0\0\0\0\0\0\xff\xff", 12)) return v4_public(bytes + 12);    // mapped
  if (begins(bytes, "\0\x64\xff\x9b\0\0\0\0\0\0\0\0", 12)) return v4_public(bytes + 12); // NAT64
  if ((bytes[0] & 0xe0) != 0x20) return false; // ::, ::1, compatible, fc00::/7, fe80::/10, ff00::/8, …
  if (begins(bytes, "\x20\x02", 2)) return v4_public(bytes + 2);               // 6to4
  if (begins(bytes, "\x20\x01", 2) && (bytes[2] & 0xfe) == 0) return false;    // 2001::/23: Teredo, assignments
  if (begins(bytes, "\x20\x01\x0d\xb8", 4)) return false;                     // documentation
  if (begins(bytes, "\x3f\xff", 2) && (bytes[2] & 0xf0) == 0) return false;    // 3fff::/20: documentation
  return true;
}

bool orr_address_is_public(const struct sockaddr *address) {
  if (address->sa_family == AF_INET) {
    struct sockaddr_in v4;
    memcpy(&v4, address, sizeof v4);
    return v4_public((const uint8_t *)&v4.sin_addr);
  }
  if (address->sa_family == AF_INET6) {
    struct sockaddr_in6 v6;
    memcpy(&v6, address, sizeof v6);
    return v6_public(v6.sin6_addr.s6_addr);
  }
  return false;
}
