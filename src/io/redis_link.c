// SPDX-License-Identifier: MIT
// One connection: name, addresses, TCP, login, then bytes out and replies in. Invariant: every way
// out of a state that waits (OPENING, HANDSHAKE, BUSY with a bound) is guarded by the link's timer,
// and events come from the loop only. Memory is freed when libuv has let go of every handle and
// request. Thread: the loop's.
#include "io/redis_internal.h"

#include "base/check.h"

#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

#define KEEPALIVE_S 30u

static void address_try(struct orr__redis_link *link);

// --- ending --------------------------------------------------------------------------------------

static void free_when_idle(struct orr__redis_link *link) {
  if (link->state != ORR__LINK_CLOSED || link->tcp_open || link->resolving) return;
  struct orr_redis *client = link->client;
  if (link->addresses != NULL) uv_freeaddrinfo(link->addresses);
  orr_redis_reader_free(link->reader);
  orr_buf_free(&link->out);
  orr_buf_free(&link->next);
  orr_list_remove(&link->all);
  free(link);
  orr__redis_client_turn(client);
}

static void tcp_closed(uv_handle_t *handle) {
  struct orr__redis_link *link = handle->data;
  link->tcp_open = link->tcp_closing = false;
  if (link->state == ORR__LINK_CLOSED)
    free_when_idle(link);
  else
    address_try(link);
}

static void tcp_close(struct orr__redis_link *link) {
  if (!link->tcp_open || link->tcp_closing) return;
  link->tcp_closing = true;
  uv_close((uv_handle_t *)&link->tcp, tcp_closed);
}

void orr__redis_link_close(struct orr__redis_link *link) {
  if (link == NULL || link->told || link->state == ORR__LINK_CLOSED) return;
  link->state = ORR__LINK_CLOSED;
  orr_list_remove(&link->node);
  orr__redis_timer_stop(link->client, &link->timer);
  if (link->resolving) uv_cancel((uv_req_t *)&link->resolve);
  tcp_close(link);
  free_when_idle(link);
}

// Tells the owner and closes it; what the owner does to it meanwhile has no effect.
static void lose(struct orr__redis_link *link, const struct orr_redis_failure *failure) {
  struct orr_redis_failure copy = *failure;
  orr_assert(link->state != ORR__LINK_CLOSED && !link->told);
  orr__redis_timer_stop(link->client, &link->timer);
  link->told = true;
  link->events->lost(link, &copy);
  link->told = false;
  orr__redis_link_close(link);
}

static void lose_with(struct orr__redis_link *link, const char *code, const char *what) {
  struct orr_redis_failure failure;
  enum orr_status status = strcmp(code, "timeout") == 0 ? ORR_ERR_TIMEOUT : ORR_ERR_IO;
  orr__redis_fail(&failure, status, code, true, "%s: %s", link->label, what);
  lose(link, &failure);
}

static void timer_fired(struct orr__redis_timer *timer) {
  struct orr__redis_link *link = ORR_CONTAINER_OF(timer, struct orr__redis_link, timer);
  switch (link->state) {
  case ORR__LINK_OPENING:
    if (link->failure.status != ORR_OK)
      lose(link, &link->failure);
    else
      lose_with(link, "connect", "no connection within the connect timeout");
    return;
  case ORR__LINK_HANDSHAKE:
    lose_with(link, "connect", "no answer to the login within the connect timeout");
    return;
  case ORR__LINK_BUSY:
    lose_with(link, "timeout", "no answer in time");
    return;
  case ORR__LINK_IDLE:
  case ORR__LINK_PUSH:
  case ORR__LINK_CLOSED:
    orr_unreachable();
  }
}

// --- reading -------------------------------------------------------------------------------------

static void handshake_replies(struct orr__redis_link *link);

// Replies while they are expected. False: the link is gone.
static bool take_replies(struct orr__redis_link *link) {
  const char *message = "";
  while (link->expected > 0) {
    enum orr_status status = orr_redis_reader_next(link->reader, &message);
    if (status == ORR_ERR_NOT_FOUND) return true;
    if (status != ORR_OK) {
      lose_with(link, "protocol", message);
      return false;
    }
    link->expected--;
  }
  if (!orr_redis_reader_empty(link->reader)) {
    lose_with(link, "protocol", "more replies than commands");
    return false;
  }
  return true;
}

static void take_pushed(struct orr__redis_link *link) {
  const char *message = "";
  bool any = false;
  enum orr_status status;
  while ((status = orr_redis_reader_next(link->reader, &message)) == ORR_OK) any = true;
  if (status != ORR_ERR_NOT_FOUND)
    lose_with(link, "protocol", message);
  else if (any)
    link->events->pushed(link);
}

static void arrived(struct orr__redis_link *link, struct orr_slice bytes) {
  orr_redis_reader_feed(link->reader, bytes);
  switch (link->state) {
  case ORR__LINK_HANDSHAKE:
    if (take_replies(link) && link->expected == 0) handshake_replies(link);
    return;
  case ORR__LINK_BUSY:
    if (!take_replies(link) || link->expected > 0) return;
    orr__redis_timer_stop(link->client, &link->timer);
    link->state = ORR__LINK_IDLE;
    link->idle_since_ms = orr__redis_now_ms();
    link->events->replied(link);
    return;
  case ORR__LINK_PUSH:
    take_pushed(link);
    return;
  case ORR__LINK_IDLE:
    lose_with(link, "protocol", "a reply that nobody asked for");
    return;
  case ORR__LINK_OPENING:
  case ORR__LINK_CLOSED:
    return;
  }
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buffer) {
  struct orr__redis_link *link = handle->data;
  (void)suggested;
  *buffer = uv_buf_init(link->client->read_buffer, ORR__REDIS_READ_BYTES);
}

static void on_read(uv_stream_t *stream, ssize_t len, const uv_buf_t *buffer) {
  struct orr__redis_link *link = stream->data;
  if (len == 0 || link->state == ORR__LINK_CLOSED) return;
  if (len > 0) {
    arrived(link, orr_slice_of(buffer->base, (size_t)len));
    return;
  }
  const char *code = link->state == ORR__LINK_HANDSHAKE ? "connect" : "closed";
  lose_with(link, code, len == UV_EOF ? "Redis closed the connection" : uv_strerror((int)len));
}

static bool read_start(struct orr__redis_link *link) {
  if (link->reading) return true;
  link->reading = uv_read_start((uv_stream_t *)&link->tcp, on_alloc, on_read) == 0;
  return link->reading;
}

void orr__redis_link_pause(struct orr__redis_link *link, bool pause) {
  if (link->state == ORR__LINK_CLOSED || link->reading == !pause) return;
  if (pause) uv_read_stop((uv_stream_t *)&link->tcp);
  if (pause)
    link->reading = false;
  else
    read_start(link);
}

// --- writing -------------------------------------------------------------------------------------

static void write_on(struct orr__redis_link *link);

static void on_written(uv_write_t *write, int status) {
  struct orr__redis_link *link = write->data;
  link->writing = false;
  orr_buf_clear(&link->out);
  if (link->state == ORR__LINK_CLOSED) return; // tcp_closed frees it
  if (status < 0)
    lose_with(link, "closed", uv_strerror(status));
  else
    write_on(link);
}

static void write_on(struct orr__redis_link *link) { // what could not be written at once
  if (link->writing || link->next.len == 0) return;
  struct orr_buf out = link->out;
  link->out = link->next;
  link->next = out;
  orr_buf_clear(&link->next);
  link->writing = true;
  link->write.data = link;
  uv_buf_t buffer = uv_buf_init((char *)link->out.data, (unsigned)link->out.len);
  int error = uv_write(&link->write, (uv_stream_t *)&link->tcp, &buffer, 1, on_written);
  orr_assert(error == 0); // the stream is open: errors come through the callback
}

static void send_bytes(struct orr__redis_link *link, struct orr_slice bytes) {
  size_t written = 0;
  if (!link->writing && link->next.len == 0) {
    uv_buf_t buffer = uv_buf_init((char *)(uintptr_t)bytes.data, (unsigned)bytes.len);
    int count = uv_try_write((uv_stream_t *)&link->tcp, &buffer, 1);
    if (count > 0) written = (size_t)count; // an error comes back through uv_write
  }
  if (written == bytes.len) return;
  orr_buf_append(&link->next, bytes.data + written, bytes.len - written);
  write_on(link);
}

void orr__redis_link_send(struct orr__redis_link *link, struct orr_slice bytes, uint32_t expected,
                          uint64_t timeout_ms) {
  orr_assert(link->state == ORR__LINK_IDLE && expected > 0);
  link->state = ORR__LINK_BUSY;
  link->expected = expected;
  if (timeout_ms > 0)
    orr__redis_timer_set(link->client, &link->timer, orr__redis_now_ms() + timeout_ms, timer_fired);
  send_bytes(link, bytes);
}

void orr__redis_link_push(struct orr__redis_link *link) {
  orr_assert(link->state == ORR__LINK_IDLE);
  link->state = ORR__LINK_PUSH;
}

void orr__redis_link_more(struct orr__redis_link *link, struct orr_slice bytes) {
  orr_assert(link->state == ORR__LINK_PUSH);
  send_bytes(link, bytes);
}

bool orr__redis_link_alive(struct orr__redis_link *link) {
  uv_os_fd_t fd;
  char byte;
  if (link->state != ORR__LINK_IDLE || uv_fileno((uv_handle_t *)&link->tcp, &fd) != 0) return false;
  ssize_t count = recv(fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
  return count < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR);
}

// --- login ---------------------------------------------------------------------------------------

static void handshake_add(struct orr__redis_link *link, struct orr_buf *out,
                          const char *const *words) {
  struct orr_slice args[3];
  size_t count = 0;
  for (; words[count] != NULL; count++) args[count] = orr_slice_text(words[count]);
  orr_redis_format(out, args, count);
  link->expected++;
}

static void handshake(struct orr__redis_link *link) {
  const struct orr_redis_url *url = link->login;
  const char *user = link->for_sentinel ? url->sentinel_user : url->user;
  const char *password = link->for_sentinel ? url->sentinel_password : url->password;
  char database[16];
  struct orr_buf out = ORR_BUF_INIT;
  link->state = ORR__LINK_HANDSHAKE;
  snprintf(database, sizeof(database), "%u", url->database);
  if (password[0] != 0 && user[0] != 0)
    handshake_add(link, &out, (const char *const[]){"AUTH", user, password, NULL});
  else if (password[0] != 0)
    handshake_add(link, &out, (const char *const[]){"AUTH", password, NULL});
  if (url->name[0] != 0)
    handshake_add(link, &out, (const char *const[]){"CLIENT", "SETNAME", url->name, NULL});
  if (!link->for_sentinel && url->database != 0)
    handshake_add(link, &out, (const char *const[]){"SELECT", database, NULL});
  // The last one tells whether the server is up to work: LOADING, NOAUTH; behind Sentinel, whether
  // it is a master.
  bool asks_role = url->mode == ORR_REDIS_SENTINEL && !link->for_sentinel;
  handshake_add(link, &out, (const char *const[]){asks_role ? "ROLE" : "PING", NULL});
  send_bytes(link, orr_buf_slice(&out));
  orr_buf_free(&out);
}

static bool is_login_error(struct orr_slice text) {
  static const char *const words[] = {
      "NOAUTH", "WRONGPASS", "NOPERM", "ERR AUTH", "ERR invalid password", "ERR Client sent AUTH"};
  for (size_t i = 0; i < sizeof(words) / sizeof(*words); i++) {
    size_t len = strlen(words[i]);
    if (text.len >= len && memcmp(text.data, words[i], len) == 0) return true;
  }
  return false;
}

static void handshake_refused(struct orr__redis_link *link, struct orr_slice text) {
  struct orr_redis_failure failure;
  orr_redis_failure_of_reply(&failure, text);
  bool login = is_login_error(text), busy = strcmp(failure.code, "loading") == 0;
  busy = busy || strstr(failure.message, "max number of clients") != NULL; // later perhaps
  const char *code = login ? "auth" : busy ? "connect" : failure.code;
  orr__redis_fail(&failure, ORR_ERR_INVALID, code, !login && (busy || failure.retryable),
                  "%s: %.*s", link->label, (int)(text.len < 180 ? text.len : 180),
                  (const char *)text.data);
  lose(link, &failure);
}

static void handshake_replies(struct orr__redis_link *link) {
  struct orr_buf replies = orr_redis_reader_take(link->reader);
  struct orr_reader cursor = orr_reader_of(orr_buf_slice(&replies));
  struct orr_redis_node node = {.type = ORR_REDIS_NIL}, first = node;
  bool refused = false;
  while (!refused && orr_redis_node_next(&cursor, &node)) {
    refused = node.type == ORR_REDIS_ERROR;
    if (node.type == ORR_REDIS_STRING && first.type == ORR_REDIS_NIL)
      first = node; // "master" of ROLE
  }
  bool asks_role = link->login->mode == ORR_REDIS_SENTINEL && !link->for_sentinel;
  if (refused) {
    handshake_refused(link, node.text);
  } else if (asks_role && !(first.type == ORR_REDIS_STRING &&
                            orr_slice_equal(first.text, ORR_SLICE_LITERAL("master")))) {
    lose_with(link, "connect", "is no master (yet)");
  } else {
    link->state = ORR__LINK_IDLE;
    link->idle_since_ms = orr__redis_now_ms();
    orr__redis_timer_stop(link->client, &link->timer);
    link->events->opened(link);
  }
  orr_buf_free(&replies);
}

// --- connecting ----------------------------------------------------------------------------------

// Told by the timer, because an owner is never told from inside its own call.
static void fail_soon(struct orr__redis_link *link, const char *what) {
  orr__redis_fail(&link->failure, ORR_ERR_IO, "connect", true, "%s: %s", link->label, what);
  orr__redis_timer_set(link->client, &link->timer, 0, timer_fired);
}

static void on_connect(uv_connect_t *connect, int status) {
  struct orr__redis_link *link = connect->data;
  if (link->state == ORR__LINK_CLOSED) return;
  if (status == 0) {
    uv_tcp_nodelay(&link->tcp, 1);
    uv_tcp_keepalive(&link->tcp, 1, KEEPALIVE_S);
    if (read_start(link))
      handshake(link);
    else
      lose_with(link, "connect", "cannot read from the socket");
    return;
  }
  orr__redis_fail(&link->failure, ORR_ERR_IO, "connect", true, "%s: %s", link->label,
                  uv_strerror(status));
  if (link->address != NULL && link->address->ai_next != NULL) { // the next address of the name
    link->address = link->address->ai_next;
    tcp_close(link);
  } else {
    lose(link, &link->failure);
  }
}

static void connect_to(struct orr__redis_link *link, const struct sockaddr *address) {
  int error = uv_tcp_init(link->client->loop, &link->tcp);
  if (error != 0) {
    fail_soon(link, uv_strerror(error));
    return;
  }
  link->tcp_open = true;
  link->tcp.data = link->connect.data = link;
  link->failure.status = ORR_OK;
  error = uv_tcp_connect(&link->connect, &link->tcp, address, on_connect);
  if (error != 0) fail_soon(link, uv_strerror(error));
}

static void address_try(struct orr__redis_link *link) { connect_to(link, link->address->ai_addr); }

static void on_resolved(uv_getaddrinfo_t *resolve, int status, struct addrinfo *addresses) {
  struct orr__redis_link *link = resolve->data;
  link->resolving = false;
  link->addresses = link->address = addresses;
  if (link->state == ORR__LINK_CLOSED)
    free_when_idle(link);
  else if (status != 0)
    lose_with(link, "connect", uv_strerror(status));
  else
    address_try(link);
}

static void resolve(struct orr__redis_link *link, const char *name) {
  struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
  char port[8];
  snprintf(port, sizeof(port), "%u", (unsigned)link->port);
  link->resolve.data = link;
  int error = uv_getaddrinfo(link->client->loop, &link->resolve, on_resolved, name, port, &hints);
  if (error == 0)
    link->resolving = true;
  else
    fail_soon(link, uv_strerror(error));
}

struct orr__redis_link *orr__redis_link_open(struct orr_redis *client,
                                             const struct orr_redis_host *host, bool for_sentinel,
                                             uint64_t timeout_ms,
                                             const struct orr__redis_link_events *events,
                                             void *owner) {
  struct orr__redis_link *link = orr_alloc(sizeof(*link));
  orr_list_init(&link->node);
  orr_list_push_back(&client->links, &link->all);
  link->client = client;
  link->events = events;
  link->owner = owner;
  link->port = host->port;
  link->login = &client->url;
  link->for_sentinel = for_sentinel;
  link->reader = orr_redis_reader_new();
  snprintf(link->label, sizeof(link->label), "%s:%u", host->name, (unsigned)host->port);
  orr__redis_timer_set(client, &link->timer, orr__redis_now_ms() + timeout_ms, timer_fired);
  struct sockaddr_in v4;
  struct sockaddr_in6 v6;
  if (uv_ip4_addr(host->name, host->port, &v4) == 0)
    connect_to(link, (const struct sockaddr *)&v4);
  else if (uv_ip6_addr(host->name, host->port, &v6) == 0)
    connect_to(link, (const struct sockaddr *)&v6);
  else
    resolve(link, host->name);
  return link;
}
