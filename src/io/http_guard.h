// SPDX-License-Identifier: MIT
// Which addresses a guarded request may reach: those of the public internet. Pure; any thread.
#pragma once

#include <stdbool.h>
#include <sys/socket.h>

// False for loopback, link-local, private, shared (100.64/10), multicast, reserved and documentation
// addresses, for the IPv6 forms that carry such an IPv4 address (mapped, compatible, NAT64, 6to4),
// for Teredo, and for any family but IPv4 and IPv6.
bool orr_address_is_public(const struct sockaddr *address);
