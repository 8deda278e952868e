// SPDX-License-Identifier: MIT
// Module "orrery.c.base64": RFC 4648, standard and URL alphabets. Pure.
#include "base/buf.h"
#include "script/worker_parts.h"

static const char standard[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
static const char url_safe[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

static int encode(lua_State *L) { // encode(bytes, url) -> text; the URL form has no padding
  size_t len;
  const uint8_t *in = (const uint8_t *)luaL_checklstring(L, 1, &len);
  bool url = lua_toboolean(L, 2) != 0;
  const char *digits = url ? url_safe : standard;
  luaL_Buffer buffer;
  char *out = luaL_buffinitsize(L, &buffer, (len + 2) / 3 * 4);
  size_t at = 0;
  for (size_t i = 0; i < len; i += 3) {
    size_t left = len - i;
    uint32_t word = (uint32_t)in[i] << 16 | (left > 1 ? (uint32_t)in[i + 1] << 8 : 0) | (left > 2 ? in[i + 2] : 0);
    out[at++] = digits[word >> 18];
    out[at++] = digits[word >> 12 & 63];
    if (left > 1) out[at++] = digits[word >> 6 & 63];
    else if (!url) out[at++] = '=';
    if (left > 2) out[at++] = digits[word & 63];
    else if (!url) out[at++] = '=';
  }
  luaL_pushresultsize(&buffer, at);
  return 1;
}

static int digit_value(uint8_t digit) {
  if (digit >= 'A' && digit <= 'Z') return digit - 'A';
  if (digit >= 'a' && digit <= 'z') return digit - 'a' + 26;
  if (digit >= '0' && digit <= '9') return digit - '0' + 52;
  if (digit == '+' || digit == '-') return 62;
  if (digit == '/' || digit == '_') return 63;
  return -1;
}

static int decode(lua_State *L) { // decode(text) -> bytes or nil; both alphabets, padding optional, line breaks skipped
  size_t len;
  const uint8_t *in = (const uint8_t *)luaL_checklstring(L, 1, &len);
  luaL_Buffer buffer;
  char *out = luaL_buffinitsize(L, &buffer, len / 4 * 3 + 3);
  size_t at = 0, digits = 0, padding = 0;
  uint32_t word = 0;
  bool valid = true;
  for (size_t i = 0; i < len && valid; i++) {
    if (in[i] == '\n' || in[i] == '\r') continue;
    if (in[i] == '=') {
      padding++;
      continue;
    }
    int value = digit_value(in[i]);
    valid = value >= 0 && padding == 0;
    word = word << 6 | (uint32_t)(value & 63);
    if (++digits % 4 != 0) continue;
    out[at++] = (char)(word >> 16);
    out[at++] = (char)(word >> 8);
    out[at++] = (char)word;
    word = 0;
  }
  size_t rest = digits % 4;
  valid = valid && rest != 1 && (padding == 0 || (padding + rest) % 4 == 0);
  if (rest >= 2) out[at++] = (char)(word >> (rest == 2 ? 4 : 10));
  if (rest == 3) out[at++] = (char)(word >> 2);
  luaL_pushresultsize(&buffer, at);
  if (!valid) lua_pushnil(L);
  return 1;
}

int orr_luaopen_c_base64(lua_State *L) {
  static const luaL_Reg functions[] = {{"encode", encode}, {"decode", decode}, {NULL, NULL}};
  luaL_newlib(L, functions);
  return 1;
}
