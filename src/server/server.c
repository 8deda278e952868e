// SPDX-License-Identifier: MIT
// Life of the HTTP door: settings of civetweb, the watchdog of slow bodies, start and stop. Foreign library: civetweb.
#include "server/server.h"

#include "base/check.h"
#include "base/clock.h"
#include "base/log.h"
#include "server/connection.h"

#include <arpa/inet.h>
#include <civetweb.h>
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define STOP_REQUESTS_MS 3000u

// --- the address ------------------------------------------------------------------------------------------

struct address {
  char host[64]; // dotted, as civetweb wants it
  int port;
};

// Digits only, at most `max`; else -1.
static int small_number(const char *text, long max) {
  char *end = NULL;
  if (text[0] < '0' || text[0] > '9') return -1;
  long value = strtol(text, &end, 10);
  return *end == 0 && value <= max ? (int)value : -1;
}

static bool read_address(const char *listen, struct address *address, char *message, size_t size) {
  const char *colon = strrchr(listen, ':');
  size_t host_len = colon != NULL ? (size_t)(colon - listen) : 0;
  const char *digits = colon != NULL ? colon + 1 : listen;
  address->port = small_number(digits, 65535);
  if (address->port < 0 || host_len > 60) {
    snprintf(message, size, "cannot listen on \"%s\": write it as HOST:PORT, for example 127.0.0.1:8080", listen);
    return false;
  }
  struct orr_slice host = orr_slice_of(listen, host_len);
  if (host_len > 0 && listen[0] == '[') {
    snprintf(message, size, "cannot listen on \"%s\": IPv6 is not available, use 127.0.0.1:%d", listen, address->port);
    return false;
  }
  if (host_len > 0 && !orr_loopback_name(host)) {
    snprintf(message, size,
             "refusing to listen on \"%s\": without a login only loopback is allowed; "
             "use 127.0.0.1:%d and put a proxy with a login in front", listen, address->port);
    return false;
  }
  bool dotted = host_len > 0 && listen[0] >= '0' && listen[0] <= '9';
  snprintf(address->host, sizeof(address->host), "%.*s", dotted ? (int)host_len : 9, dotted ? listen : "127.0.0.1");
  return true;
}

// --- sockets by port ---------------------------------------------------------------------------------------

static uint32_t port_of(int fd, bool remote) {
  struct sockaddr_in address = {0};
  socklen_t len = sizeof(address);
  int result = remote ? getpeername(fd, (struct sockaddr *)&address, &len)
                      : getsockname(fd, (struct sockaddr *)&address, &len);
  return result == 0 && address.sin_family == AF_INET ? ntohs(address.sin_port) : 0;
}

// Calls visit for each of our sockets with the client's port (0: the listener).
static void each_socket(const struct orr_server *server,
                        void (*visit)(const struct orr_server *server, int fd, uint32_t remote_port, uint32_t wanted),
                        uint32_t wanted) {
  DIR *dir = opendir("/proc/self/fd");
  if (dir == NULL) return;
  for (struct dirent *entry = readdir(dir); entry != NULL; entry = readdir(dir)) {
    int fd = small_number(entry->d_name, INT_MAX);
    if (fd > 2 && port_of(fd, false) == (uint32_t)server->port) visit(server, fd, port_of(fd, true), wanted);
  }
  closedir(dir);
}

static void shut_wanted(const struct orr_server *server, int fd, uint32_t remote_port, uint32_t wanted) {
  (void)server;
  if (remote_port == wanted) shutdown(fd, SHUT_RD);
}
void orr__socket_shut(const struct orr_server *server, uint32_t remote_port) {
  if (remote_port != 0) each_socket(server, shut_wanted, remote_port);
}

static bool under_way(const struct orr_server *server, uint32_t remote_port) { // 0: any at all
  for (uint32_t i = 0; i < ORR__HTTP_THREADS_MAX; i++) {
    uint32_t port = atomic_load(&server->threads[i].remote_port);
    if (port != 0 && (remote_port == 0 || port == remote_port)) return true;
  }
  return false;
}
static void shut_idle(const struct orr_server *server, int fd, uint32_t remote_port, uint32_t wanted) {
  (void)wanted;
  if (remote_port == 0 || !under_way(server, remote_port)) shutdown(fd, SHUT_RDWR);
}

// --- the watchdog: bodies that come too slowly ---------------------------------------------------------------

static void end_slow_bodies(struct orr_server *server) {
  uint64_t now_ms = orr_clock_now().mono_ms;
  for (uint32_t i = 0; i < ORR__HTTP_THREADS_MAX; i++) {
    struct orr__http_thread *thread = &server->threads[i];
    uint64_t deadline_ms = atomic_load(&thread->body_deadline_ms);
    if (deadline_ms == 0 || now_ms < deadline_ms) continue;
    uint32_t remote_port = atomic_load(&thread->remote_port);
    if (atomic_load(&thread->body_deadline_ms) == deadline_ms) orr__socket_shut(server, remote_port);
  }
}

static void *watchdog(void *context) {
  struct orr_server *server = context;
  pthread_mutex_lock(&server->mutex);
  while (!server->stopping) {
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += 1;
    if (pthread_cond_timedwait(&server->wake, &server->mutex, &until) == ETIMEDOUT) end_slow_bodies(server);
  }
  pthread_mutex_unlock(&server->mutex);
  return NULL;
}

static void start_watchdog(struct orr_server *server) {
  pthread_condattr_t attributes;
  pthread_condattr_init(&attributes);
  pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
  pthread_mutex_init(&server->mutex, NULL);
  pthread_cond_init(&server->wake, &attributes);
  pthread_condattr_destroy(&attributes);
  server->watchdog_runs = pthread_create(&server->watchdog, NULL, watchdog, server) == 0;
}

static void stop_watchdog(struct orr_server *server) {
  pthread_mutex_lock(&server->mutex);
  server->stopping = true;
  pthread_cond_signal(&server->wake);
  pthread_mutex_unlock(&server->mutex);
  if (server->watchdog_runs) pthread_join(server->watchdog, NULL);
  pthread_cond_destroy(&server->wake);
  pthread_mutex_destroy(&server->mutex);
}

// --- civetweb ------------------------------------------------------------------------------------------------

static void *init_thread(const struct mg_context *civetweb, int type) {
  struct orr_server *server = mg_get_user_data(civetweb);
  (void)type;
  uint32_t index = atomic_fetch_add(&server->threads_len, 1);
  return index < ORR__HTTP_THREADS_MAX ? &server->threads[index] : NULL;
}

static int log_message(const struct mg_connection *connection, const char *text) {
  (void)connection;
  orr_log(ORR_LOG_DEBUG, "http", "%s", text);
  return 1;
}

static struct mg_context *start_civetweb(struct orr_server *server, const char *ports, char *text, size_t size) {
  char threads[12], head_bytes[12];
  snprintf(threads, sizeof(threads), "%u", ORR_HTTP_THREADS);
  snprintf(head_bytes, sizeof(head_bytes), "%d", ORR_HTTP_HEAD_BYTES_MAX);
  const char *settings[] = {
      "listening_ports", ports, "num_threads", threads, "max_request_size", head_bytes,
      "enable_keep_alive", "yes", "keep_alive_timeout_ms", "15000", "tcp_nodelay", "1",
      "request_timeout_ms", "1000", // of a head; bodies and answers have deadlines of their own
      "connection_queue", "128", "listen_backlog", "511", "decode_url", "no",
      "enable_directory_listing", "no", "cgi_pattern", "", "ssi_pattern", "", "lua_script_pattern", "",
      "access_control_allow_origin", "", "access_control_allow_methods", "", "access_control_allow_headers", "",
      NULL};
  size_t count = 0;
  const char *known[sizeof(settings) / sizeof(settings[0])];
  for (size_t i = 0; settings[i] != NULL; i += 2) { // a build without a feature refuses its settings
    const struct mg_option *options = mg_get_valid_options();
    while (options->name != NULL && strcmp(options->name, settings[i]) != 0) options++;
    if (options->name == NULL) continue;
    known[count++] = settings[i];
    known[count++] = settings[i + 1];
  }
  known[count] = NULL;
  struct mg_callbacks callbacks = {
      .begin_request = orr__connection_begin, .http_error = orr__connection_error,
      .log_message = log_message, .init_thread = init_thread, // no log_access: it would cost a localtime() each
  };
  unsigned code = 0;
  struct mg_init_data init = {&callbacks, server, known};
  struct mg_error_data error = {&code, text, size};
  return mg_start2(&init, &error);
}

// Asks the system first, because civetweb does not tell why it could not bind.
static int bind_errno(const struct address *address) {
  struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)address->port)};
  if (inet_pton(AF_INET, address->host, &to.sin_addr) != 1) return EADDRNOTAVAIL;
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return errno;
  int on = 1, result = 0;
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
  if (bind(fd, (struct sockaddr *)&to, sizeof(to)) != 0 || listen(fd, 1) != 0) result = errno;
  close(fd);
  return result;
}

static void server_free(struct orr_server *server) {
  for (uint32_t i = 0; i < ORR__HTTP_THREADS_MAX; i++) {
    orr_buf_free(&server->threads[i].body);
    orr_buf_free(&server->threads[i].out);
    orr_buf_free(&server->threads[i].answer.body);
    orr_buf_free(&server->threads[i].answer.headers);
  }
  free(server->hosts);
  free(server->url);
  free(server);
}

enum orr_status orr_server_start(const struct orr_server_options *options, struct orr_server **out,
                                 char *message, size_t message_size) {
  orr_assert(options->listen != NULL && message_size > 0);
  struct address address;
  message[0] = 0;
  if (!read_address(options->listen, &address, message, message_size)) return ORR_ERR_INVALID;
  int reason = bind_errno(&address);
  if (reason != 0) {
    snprintf(message, message_size, "cannot listen on %s:%d: %s%s", address.host, address.port, strerror(reason),
             reason == EADDRINUSE ? "; choose another with --listen" : "");
    return reason == EADDRINUSE ? ORR_ERR_BUSY : ORR_ERR_IO;
  }
  struct orr_server *server = orr_alloc(sizeof(*server));
  server->options = *options;
  server->hosts = options->hosts != NULL ? orr_strdup(options->hosts) : NULL;
  char ports[96], text[256] = "";
  snprintf(ports, sizeof(ports), "%s:%d", address.host, address.port);
  mg_init_library(0);
  server->civetweb = start_civetweb(server, ports, text, sizeof(text));
  if (server->civetweb == NULL) {
    snprintf(message, message_size, "cannot listen on %s: %s", ports, text[0] != 0 ? text : "civetweb refused");
    mg_exit_library();
    server_free(server);
    return ORR_ERR_IO;
  }
  struct mg_server_port port = {0};
  if (mg_get_server_ports(server->civetweb, 1, &port) == 1) address.port = port.port;
  server->port = address.port;
  struct orr_buf url = ORR_BUF_INIT;
  orr_buf_printf(&url, "http://%s:%d", address.host, address.port);
  server->url = orr_slice_strdup(orr_buf_slice(&url));
  orr_buf_free(&url);
  start_watchdog(server);
  *out = server;
  return ORR_OK;
}

const char *orr_server_url(const struct orr_server *server) { return server->url; }

void orr_server_drain(struct orr_server *server) { atomic_store(&server->draining, true); }

void orr_server_stop(struct orr_server *server) {
  if (server == NULL) return;
  orr_server_drain(server);
  stop_watchdog(server);
  // civetweb cuts answers short once it stops, so what is under way may end first.
  uint64_t deadline_ms = orr_clock_now().mono_ms + STOP_REQUESTS_MS;
  while (under_way(server, 0) && orr_clock_now().mono_ms < deadline_ms) usleep(2000);
  each_socket(server, shut_idle, 0); // else its threads notice the stop only after up to 2 s
  mg_stop(server->civetweb);
  mg_exit_library();
  server_free(server);
}
