// SPDX-License-Identifier: MIT
// The HTTP door: civetweb threads on a loopback address. A request passes the filter (filter.h), the exact router
// (router.h), and is then answered here (/healthz, /readyz), by the engine (execute.h) or by Lua on the web worker.
// civetweb threads never touch Lua or the core. Foreign library: civetweb (server.c, connection.c).
#pragma once

#include "base/buf.h"
#include "base/status.h"

struct orr_host;
struct orr_code;
struct orr_worker;
struct orr_server;

struct orr_server_options {
  const char *listen;      // "127.0.0.1:8080", "localhost:8080", ":8080"; port 0 takes any free one
  const char *hosts;       // names accepted in Host besides loopback ones, separated by commas; or NULL
  struct orr_host *host;   // the engine; NULL: execute answers 503
  struct orr_code *code;   // pipelines and project routes; NULL: none
  struct orr_worker *web;  // runs Lua routes; NULL: they answer 503
  // "ready": a JSON object whose `ready` is true or false. Any thread. NULL: always ready.
  enum orr_status (*app_query)(void *context, const char *what, struct orr_buf *out);
  void *app_context;
};

// Borrowed parts of the options must outlive the server. ORR_ERR_INVALID: the address is malformed or not loopback
// (no login exists yet); ORR_ERR_BUSY: the port is taken; ORR_ERR_IO otherwise. `message` says what and what to do.
enum orr_status orr_server_start(const struct orr_server_options *options, struct orr_server **server,
                                 char *message, size_t message_size);
const char *orr_server_url(const struct orr_server *server); // "http://127.0.0.1:8080"
// New requests are answered 503 with Retry-After from here on; those under way go on.
void orr_server_drain(struct orr_server *server);
// Closes the port, waits for requests under way, joins all threads. NULL is fine.
void orr_server_stop(struct orr_server *server);
