// SPDX-License-Identifier: MIT
// Between civetweb's connection and the rest of the server: reads a request's head and body under deadlines of our
// own, writes the answer. Internal to the server floor.
#pragma once

#include "server/filter.h"
#include "server/problem_json.h"
#include "server/server.h"

#include <pthread.h>
#include <stdatomic.h>

// What one civetweb thread keeps between requests, so that a small request allocates little.
struct orr__http_thread {
  _Atomic uint64_t body_deadline_ms; // 0: no body is being read; watched by the watchdog
  _Atomic uint32_t remote_port;      // of the request under way; 0: none
  struct orr_buf body, out;
  struct orr_answer answer;
};
#define ORR__HTTP_THREADS_MAX (ORR_HTTP_THREADS + 4u) // civetweb's workers, master and timer

struct mg_context;
struct mg_connection;

struct orr_server {
  struct orr_server_options options;
  char *hosts, *url;
  struct mg_context *civetweb;
  int port;
  _Atomic bool draining;
  struct orr__http_thread threads[ORR__HTTP_THREADS_MAX];
  _Atomic uint32_t threads_len;
  pthread_t watchdog;
  bool watchdog_runs;
  pthread_mutex_t mutex; // guards stopping
  pthread_cond_t wake;
  bool stopping;
};

int orr__connection_begin(struct mg_connection *connection); // civetweb's begin_request
int orr__connection_error(struct mg_connection *connection, int status, const char *text); // its http_error
// Ends the receiving half of that client's connection.
void orr__socket_shut(const struct orr_server *server, uint32_t remote_port);
