// SPDX-License-Identifier: MIT
// Redis URLs. Invariant: what is accepted is complete and in bounds; a message names a part of the
// URL, never the password.
#include "io/redis_url.h"

#include "core/def.h"

#include <stdio.h>
#include <stdlib.h>

struct parse {
  struct orr_redis_url *url;
  char *message;
};

static bool refuse(struct parse *parse, const char *text) {
  snprintf(parse->message, 256, "%s", text);
  return false;
}

static bool starts(struct orr_slice text, const char *with) {
  size_t len = strlen(with);
  return text.len >= len && memcmp(text.data, with, len) == 0;
}
static struct orr_slice after(struct orr_slice text, size_t count) {
  return orr_slice_of(text.data + count, text.len - count);
}

// Cuts `text` at the first `mark`: what follows it goes to *rest (empty if it is not there), and
// the mark is found or not.
static bool cut(struct orr_slice *text, char mark, struct orr_slice *rest) {
  const uint8_t *at = text->len > 0 ? memchr(text->data, mark, text->len) : NULL;
  *rest = orr_slice_of(text->data + text->len, 0);
  if (at == NULL) return false;
  size_t before = (size_t)(at - text->data);
  *rest = after(*text, before + 1);
  text->len = before;
  return true;
}

static int hex(uint8_t c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

static bool decode(struct parse *parse, struct orr_slice text, char *out, size_t size) {
  size_t len = 0;
  for (size_t i = 0; i < text.len; i++) {
    uint8_t c = text.data[i];
    if (c == '%') {
      int high = i + 2 < text.len ? hex(text.data[i + 1]) : -1,
          low = i + 2 < text.len ? hex(text.data[i + 2]) : -1;
      if (high >= 0 && low >= 0)
        c = (uint8_t)(high * 16 + low);
      else
        return refuse(parse, "a % in the Redis URL must be followed by two hex digits");
      i += 2;
    }
    if (c == 0) return refuse(parse, "the Redis URL contains a NUL");
    if (len + 1 >= size) return refuse(parse, "a part of the Redis URL is too long");
    out[len++] = (char)c;
  }
  out[len] = 0;
  return true;
}

static bool number(struct orr_slice text, uint32_t max, uint32_t *value) {
  uint64_t sum = 0;
  if (text.len == 0 || text.len > 9) return false;
  for (size_t i = 0; i < text.len; i++) {
    if (text.data[i] < '0' || text.data[i] > '9') return false;
    sum = sum * 10 + (uint64_t)(text.data[i] - '0');
  }
  if (sum > max) return false;
  *value = (uint32_t)sum;
  return true;
}

static bool parse_host(struct parse *parse, struct orr_slice text, uint16_t port_default) {
  struct orr_redis_url *url = parse->url;
  if (url->hosts_len == ORR_REDIS_HOSTS_MAX)
    return refuse(parse, "a Redis URL names at most 32 hosts");
  struct orr_redis_host *host = &url->hosts[url->hosts_len];
  struct orr_slice name = text, port;
  bool has_port;
  if (starts(text, "[")) {
    name = after(text, 1);
    struct orr_slice rest;
    if (!cut(&name, ']', &rest))
      return refuse(parse, "an IPv6 address in the Redis URL lacks its ]");
    has_port = starts(rest, ":");
    port = has_port ? after(rest, 1) : rest;
    if (!has_port && rest.len > 0) return refuse(parse, "after ] in the Redis URL comes :port");
  } else {
    has_port = cut(&name, ':', &port);
  }
  if (name.len == 0) return refuse(parse, "the Redis URL lacks a host");
  if (!decode(parse, name, host->name, sizeof(host->name))) return false;
  uint32_t value = port_default;
  if (has_port && (!number(port, 65535, &value) || value == 0))
    return refuse(parse, "a port in the Redis URL is a number from 1 to 65535");
  host->port = (uint16_t)value;
  url->hosts_len++;
  return true;
}

static bool parse_database(struct parse *parse, struct orr_slice text) {
  if (text.len == 0 || number(text, 1000000, &parse->url->database)) return true;
  return refuse(parse, "the database in the Redis URL is a number, such as /0");
}

static bool parse_path(struct parse *parse, struct orr_slice path) {
  struct orr_redis_url *url = parse->url;
  struct orr_slice rest;
  switch (url->mode) {
  case ORR_REDIS_SINGLE:
    return parse_database(parse, path);
  case ORR_REDIS_CLUSTER:
    return path.len == 0 ? true
                         : refuse(parse, "a Redis Cluster has only database 0: leave out the path");
  case ORR_REDIS_SENTINEL:
    break;
  }
  cut(&path, '/', &rest);
  if (path.len == 0)
    return refuse(
        parse, "redis+sentinel:// needs the master's name: redis+sentinel://host:26379/mymaster");
  return decode(parse, path, url->master, sizeof(url->master)) && parse_database(parse, rest);
}

static bool parse_duration(struct parse *parse, struct orr_slice text, uint64_t *ms) {
  char digits[64];
  if (!decode(parse, text, digits, sizeof(digits))) return false;
  if (orr_duration_parse(orr_slice_text(digits), ms) == ORR_OK && *ms > 0) return true;
  return refuse(parse,
                "timeout and connect_timeout in the Redis URL are durations, such as 500ms or 10s");
}

static bool parse_option(struct parse *parse, struct orr_slice key, struct orr_slice value) {
  struct orr_redis_url *url = parse->url;
  if (orr_slice_equal(key, ORR_SLICE_LITERAL("timeout")))
    return parse_duration(parse, value, &url->timeout_ms);
  if (orr_slice_equal(key, ORR_SLICE_LITERAL("connect_timeout")))
    return parse_duration(parse, value, &url->connect_timeout_ms);
  if (orr_slice_equal(key, ORR_SLICE_LITERAL("pool"))) {
    if (number(value, ORR_REDIS_POOL_MAX, &url->pool_max) && url->pool_max > 0) return true;
    return refuse(parse, "pool in the Redis URL is a number from 1 to 64");
  }
  if (orr_slice_equal(key, ORR_SLICE_LITERAL("name")))
    return decode(parse, value, url->name, sizeof(url->name));
  if (url->mode == ORR_REDIS_SENTINEL && orr_slice_equal(key, ORR_SLICE_LITERAL("sentinel_user")))
    return decode(parse, value, url->sentinel_user, sizeof(url->sentinel_user));
  if (url->mode == ORR_REDIS_SENTINEL &&
      orr_slice_equal(key, ORR_SLICE_LITERAL("sentinel_password")))
    return decode(parse, value, url->sentinel_password, sizeof(url->sentinel_password));
  snprintf(
      parse->message, 256,
      "the Redis URL has an unknown option \"%.*s\": it takes timeout, connect_timeout, pool, name",
      (int)(key.len < 40 ? key.len : 40), (const char *)key.data);
  return false;
}

static bool parse_query(struct parse *parse, struct orr_slice query) {
  while (query.len > 0) {
    struct orr_slice option = query, rest, value;
    cut(&option, '&', &rest);
    cut(&option, '=', &value);
    if (!parse_option(parse, option, value)) return false;
    query = rest;
  }
  return true;
}

static bool parse_user(struct parse *parse, struct orr_slice *text) {
  const uint8_t *at = text->len > 0 ? memrchr(text->data, '@', text->len) : NULL;
  if (at == NULL) return true;
  struct orr_slice user = orr_slice_of(text->data, (size_t)(at - text->data)), password;
  *text = after(*text, user.len + 1);
  bool has_password = cut(&user, ':', &password);
  if (!decode(parse, user, parse->url->user, sizeof(parse->url->user))) return false;
  if (has_password && !decode(parse, password, parse->url->password, sizeof(parse->url->password)))
    return false;
  if (user.len > 0 && password.len == 0)
    return refuse(parse, "the Redis URL has a user and no password");
  return true;
}

static bool parse_scheme(struct parse *parse, struct orr_slice *text, uint16_t *port) {
  static const struct {
    const char *scheme;
    enum orr_redis_mode mode;
    uint16_t port;
  } schemes[] = {{"redis://", ORR_REDIS_SINGLE, 6379},
                 {"redis+sentinel://", ORR_REDIS_SENTINEL, 26379},
                 {"redis+cluster://", ORR_REDIS_CLUSTER, 6379}};
  for (size_t i = 0; i < sizeof(schemes) / sizeof(*schemes); i++) {
    if (!starts(*text, schemes[i].scheme)) continue;
    parse->url->mode = schemes[i].mode;
    *port = schemes[i].port;
    *text = after(*text, strlen(schemes[i].scheme));
    return true;
  }
  if (starts(*text, "rediss://") || starts(*text, "rediss+"))
    return refuse(parse, "rediss:// is not spoken here: run a TLS tunnel (stunnel, a sidecar) and "
                         "give its redis:// address");
  return refuse(parse, "a Redis URL begins with redis://, redis+sentinel:// or redis+cluster://");
}

static bool parse_all(struct parse *parse, struct orr_slice text) {
  uint16_t port;
  struct orr_slice query, path, host;
  if (!parse_scheme(parse, &text, &port)) return false;
  cut(&text, '?', &query);
  // A password may hold a slash only when it is encoded; the path begins after the hosts.
  cut(&text, '/', &path);
  if (!parse_user(parse, &text)) return false;
  do {
    bool more = cut(&text, ',', &host);
    if (more && parse->url->mode == ORR_REDIS_SINGLE)
      return refuse(
          parse, "redis:// names one host; several are for redis+sentinel:// and redis+cluster://");
    if (!parse_host(parse, text, port)) return false;
    text = host;
  } while (text.len > 0);
  return parse_path(parse, path) && parse_query(parse, query);
}

enum orr_status orr_redis_url_parse(struct orr_slice text, struct orr_redis_url *url,
                                    char message[256]) {
  struct orr_redis_url *parsed = orr_alloc(sizeof(*parsed));
  parsed->timeout_ms = ORR_REDIS_TIMEOUT_MS;
  parsed->connect_timeout_ms = ORR_REDIS_CONNECT_TIMEOUT_MS;
  parsed->pool_max = ORR_REDIS_POOL_MAX;
  struct parse parse = {parsed, message};
  bool ok = parse_all(&parse, text);
  if (ok) *url = *parsed;
  free(parsed);
  return ok ? ORR_OK : ORR_ERR_INVALID;
}
