// SPDX-License-Identifier: MIT
// One HTTP request: its options checked and turned into a libcurl handle, its outcome named. Invariant: nothing from the environment (proxy, netrc, cookies)
// and no scheme but http and https gets in, on redirects neither. A method other than GET, HEAD and
// POST is kept over every redirect. Thread: the client's loop. Must not know the multi handle.
#include "base/limits.h"
#include "io/http_curl.h"
#include "io/http_guard.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>
#include <sys/socket.h>

#define REDIRECTS_MAX 10u
#define TIMEOUT_MS_DEFAULT 30000u
#define CONNECT_TIMEOUT_MS_DEFAULT 10000u
#define METHOD_BYTES_MAX 32u
#define STREAM_IDLE_MS_DEFAULT 60000u

void orr__http_fail(struct orr_http_request *request, enum orr_status status, const char *code,
                    const char *message) {
  request->result.status = status;
  snprintf(request->result.code, sizeof request->result.code, "%s", code);
  snprintf(request->result.message, sizeof request->result.message, "%s", message);
}

// --- the outcome ---------------------------------------------------------------------------------

static const struct outcome {
  CURLcode curl;
  enum orr_status status;
  const char *code;
} outcomes[] = {
    {CURLE_COULDNT_RESOLVE_HOST, ORR_ERR_IO, "resolve"},
    {CURLE_COULDNT_CONNECT, ORR_ERR_IO, "connect"},
    {CURLE_OPERATION_TIMEDOUT, ORR_ERR_TIMEOUT, "timeout"},
    {CURLE_FILESIZE_EXCEEDED, ORR_ERR_LIMIT, "too_large"},
    {CURLE_TOO_MANY_REDIRECTS, ORR_ERR_LIMIT, "redirects"},
    {CURLE_URL_MALFORMAT, ORR_ERR_INVALID, "invalid_url"},
    {CURLE_UNSUPPORTED_PROTOCOL, ORR_ERR_INVALID, "invalid_url"},
    {CURLE_BAD_CONTENT_ENCODING, ORR_ERR_IO, "encoding"},
    {CURLE_SSL_CONNECT_ERROR, ORR_ERR_IO, "tls"},
    {CURLE_PEER_FAILED_VERIFICATION, ORR_ERR_IO, "tls"},
    {CURLE_SSL_CERTPROBLEM, ORR_ERR_IO, "tls"},
    {CURLE_SSL_CIPHER, ORR_ERR_IO, "tls"},
    {CURLE_SSL_CACERT_BADFILE, ORR_ERR_IO, "tls"},
    {CURLE_COULDNT_RESOLVE_PROXY, ORR_ERR_IO, "proxy"},
    {CURLE_PROXY, ORR_ERR_IO, "proxy"},
    {CURLE_SEND_FAIL_REWIND, ORR_ERR_INVALID, "rewind"},
};

// What libcurl's code does not tell by itself. Returns false if there is no more to say.
static bool fail_specially(struct orr_http_request *request, CURLcode code) {
  char message[128];
  long tunnel = 0;
  request->curl->easy_getinfo(request->easy, CURLINFO_HTTP_CONNECTCODE, &tunnel);
  if (request->over_bound || code == CURLE_FILESIZE_EXCEEDED) {
    snprintf(message, sizeof message, "the answer is larger than %llu bytes",
             (unsigned long long)request->body_bytes_max);
    orr__http_fail(request, ORR_ERR_LIMIT, "too_large", message);
  } else if (request->guarded && code == CURLE_COULDNT_CONNECT) {
    char *url = NULL;
    request->curl->easy_getinfo(request->easy, CURLINFO_EFFECTIVE_URL, &url);
    snprintf(message, sizeof message, "%.80s leads to an address that is not public",
             url != NULL ? url : "the URL");
    orr__http_fail(request, ORR_ERR_INVALID, "guarded", message);
  } else if (code != CURLE_OPERATION_TIMEDOUT && tunnel >= 300) {
    snprintf(message, sizeof message, "the proxy refused the tunnel with status %ld", tunnel);
    orr__http_fail(request, ORR_ERR_IO, "proxy", message);
  } else if (code == CURLE_SEND_FAIL_REWIND) {
    orr__http_fail(request, ORR_ERR_INVALID, "rewind",
                   "a redirect or a retry wants the body again, and a streamed body is gone");
  } else {
    return false;
  }
  return true;
}

static int version_number(long version) {
  switch (version) {
  case CURL_HTTP_VERSION_1_0: return 10;
  case CURL_HTTP_VERSION_1_1: return 11;
  case CURL_HTTP_VERSION_2_0: return 20;
  default: return 0;
  }
}

void orr__http_conclude(struct orr_http_request *request, CURLcode code) {
  const struct orr__curl *curl = request->curl;
  struct orr_http_result *result = &request->result;
  char *url = NULL;
  curl_off_t total_us = 0;
  long version = 0;
  curl->easy_getinfo(request->easy, CURLINFO_RESPONSE_CODE, &result->http_status);
  curl->easy_getinfo(request->easy, CURLINFO_HTTP_VERSION, &version);
  result->head_known = request->head_known;
  result->http_version = version_number(version);
  if (curl->easy_getinfo(request->easy, CURLINFO_EFFECTIVE_URL, &url) == CURLE_OK && url != NULL) {
    result->url = orr_strdup(url);
  }
  curl->easy_getinfo(request->easy, CURLINFO_TOTAL_TIME_T, &total_us);
  result->seconds = (double)total_us / 1e6;
  if (code == CURLE_OK || fail_specially(request, code)) return;
  const char *message = request->error[0] != '\0' ? request->error : curl->easy_strerror(code);
  struct outcome outcome = {code, ORR_ERR_IO, "io"};
  for (size_t i = 0; i < sizeof outcomes / sizeof outcomes[0]; i++) {
    if (outcomes[i].curl == code) outcome = outcomes[i];
  }
  orr__http_fail(request, outcome.status, outcome.code, message);
}

// --- checks --------------------------------------------------------------------------------------

static bool token_valid(const char *text, size_t len) { // RFC 9110
  if (len == 0) return false;
  for (size_t i = 0; i < len; i++) {
    if (!isalnum((unsigned char)text[i]) &&
        (text[i] == '\0' || strchr("!#$%&'*+-.^_`|~", text[i]) == NULL))
      return false;
  }
  return true;
}

static bool header_valid(const char *header) {
  const char *colon = strchr(header, ':');
  if (colon == NULL || !token_valid(header, (size_t)(colon - header))) return false;
  for (const char *at = colon; *at != '\0'; at++) {
    if (((unsigned char)*at < ' ' && *at != '\t') || *at == 0x7f) return false;
  }
  return true;
}

static bool url_valid(const char *url) {
  if (url == NULL || strlen(url) > ORR_HTTP_URL_BYTES_MAX) return false;
  if (strncasecmp(url, "http://", 7) != 0 && strncasecmp(url, "https://", 8) != 0) return false;
  for (const char *at = url; *at != '\0'; at++) {
    if ((unsigned char)*at <= ' ' || *at == 0x7f) return false;
  }
  return true;
}

static bool proxy_valid(const char *proxy) {
  static const char *const schemes[] = {"http://", "https://", "socks5://", "socks5h://"};
  for (const char *at = proxy; *at != '\0'; at++) {
    if ((unsigned char)*at <= ' ' || *at == 0x7f) return false;
  }
  for (size_t i = 0; i < sizeof schemes / sizeof schemes[0]; i++) {
    size_t len = strlen(schemes[i]);
    if (strncasecmp(proxy, schemes[i], len) == 0 && proxy[len] != '\0') return true;
  }
  return false;
}

static enum orr_status proxy_check(struct orr_http_request *request,
                                   const struct orr_http_options *options) {
  if (options->proxy == NULL) return ORR_OK;
  if (options->guard) {
    orr__http_fail(request, ORR_ERR_INVALID, "guarded",
                   "guard and proxy don't go together: the proxy picks the address, unseen");
  } else if (!proxy_valid(options->proxy)) {
    orr__http_fail(request, ORR_ERR_INVALID, "proxy",
                   "the proxy must be http://, https://, socks5:// or socks5h:// and a host");
  } else {
    return ORR_OK;
  }
  return ORR_ERR_INVALID;
}

static enum orr_status options_check(struct orr_http_request *request,
                                     const struct orr_http_options *options) {
  if (!url_valid(options->url)) {
    orr__http_fail(
        request, ORR_ERR_INVALID, "invalid_url",
        "the URL must begin with http:// or https:// and hold no spaces, control characters or more"
        " than 4096 bytes");
    return ORR_ERR_INVALID;
  }
  if (options->method != NULL && (strlen(options->method) > METHOD_BYTES_MAX ||
                                  !token_valid(options->method, strlen(options->method)))) {
    orr__http_fail(request, ORR_ERR_INVALID, "invalid_method", "the method is not an HTTP token");
    return ORR_ERR_INVALID;
  }
  for (size_t i = 0; options->headers != NULL && options->headers[i] != NULL; i++) {
    if (header_valid(options->headers[i])) continue;
    char message[128];
    snprintf(message, sizeof message,
             "header %zu is not \"Name: value\" without control characters", i + 1);
    orr__http_fail(request, ORR_ERR_INVALID, "invalid_header", message);
    return ORR_ERR_INVALID;
  }
  return proxy_check(request, options);
}

// --- the handle ----------------------------------------------------------------------------------

static bool has_header(const struct orr_http_options *options, const char *name) {
  size_t len = strlen(name);
  for (size_t i = 0; options->headers != NULL && options->headers[i] != NULL; i++) {
    if (strncasecmp(options->headers[i], name, len) == 0 && options->headers[i][len] == ':')
      return true;
  }
  return false;
}

static bool header_add(struct orr_http_request *request, const char *header) {
  struct curl_slist *more = request->curl->slist_append(request->headers, header);
  if (more != NULL) request->headers = more;
  return more != NULL;
}

// libcurl takes "Name:" as "send no such header" and "Name;" as an empty one.
static bool headers_fill(struct orr_http_request *request, const struct orr_http_options *options) {
  bool ok = true;
  for (size_t i = 0; options->headers != NULL && options->headers[i] != NULL; i++) {
    const char *header = options->headers[i], *colon = strchr(header, ':');
    if (colon[1 + strspn(colon + 1, " \t")] != '\0') {
      ok = ok && header_add(request, header);
      continue;
    }
    char *empty = orr_strdup(header);
    memcpy(empty + (colon - header), ";", 2);
    ok = ok && header_add(request, empty);
    free(empty);
  }
  if (!has_header(options, "Expect"))
    ok = ok && header_add(request, "Expect:"); // else a wait of 1 s
  if (!has_header(options, "Content-Type"))
    ok = ok && header_add(request, "Content-Type:"); // it would say "form"
  return ok;
}

struct setter { // remembers the first refusal
  const struct orr__curl *curl;
  CURL *easy;
  CURLcode code;
};
#define SET(setter, option, value)                                                                 \
  do {                                                                                             \
    if ((setter)->code == CURLE_OK)                                                                \
      (setter)->code = (setter)->curl->easy_setopt((setter)->easy, option, value);                 \
  } while (0)

static void set_method(struct setter *setter, const struct orr_http_options *options) {
  const char *method = options->method != NULL ? options->method : "GET";
  bool posts = strcmp(method, "POST") == 0;
  if (options->upload) {
    if (posts) { // as POST itself, so that a 303 makes it a GET
      SET(setter, CURLOPT_POST, 1L);
      SET(setter, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)options->upload_bytes);
    } else {
      SET(setter, CURLOPT_UPLOAD, 1L);
      SET(setter, CURLOPT_INFILESIZE_LARGE, (curl_off_t)options->upload_bytes);
      SET(setter, CURLOPT_CUSTOMREQUEST, method);
    }
    SET(setter, CURLOPT_FRESH_CONNECT, 1L); // on a dead connection the body could not be sent again
  } else if (options->has_body || posts) {
    SET(setter, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)options->body.len);
    SET(setter, CURLOPT_COPYPOSTFIELDS,
        options->body.len > 0 ? (const char *)options->body.data : "");
    if (!posts) SET(setter, CURLOPT_CUSTOMREQUEST, method);
  } else if (strcmp(method, "HEAD") == 0) {
    SET(setter, CURLOPT_NOBODY, 1L);
  } else {
    SET(setter, CURLOPT_HTTPGET, 1L);
    if (strcmp(method, "GET") != 0) SET(setter, CURLOPT_CUSTOMREQUEST, method);
  }
}

static void set_times(struct setter *setter, const struct orr_http_options *options) {
  bool flows = options->stream || options->upload;
  uint64_t timeout_ms = options->timeout_ms, idle_ms = options->idle_timeout_ms;
  uint64_t connect_ms =
      options->connect_timeout_ms != 0 ? options->connect_timeout_ms : CONNECT_TIMEOUT_MS_DEFAULT;
  if (timeout_ms == 0 && !flows) timeout_ms = TIMEOUT_MS_DEFAULT;
  if (idle_ms == 0 && flows) idle_ms = STREAM_IDLE_MS_DEFAULT;
  if (timeout_ms > INT32_MAX) timeout_ms = INT32_MAX; // libcurl's own bound
  if (timeout_ms != 0 && connect_ms > timeout_ms) connect_ms = timeout_ms;
  if (connect_ms > INT32_MAX) connect_ms = INT32_MAX;
  if (idle_ms > INT32_MAX) idle_ms = INT32_MAX;
  SET(setter, CURLOPT_TIMEOUT_MS, (long)timeout_ms);
  SET(setter, CURLOPT_CONNECTTIMEOUT_MS, (long)connect_ms);
  SET(setter, CURLOPT_LOW_SPEED_TIME, (long)((idle_ms + 999) / 1000));
  SET(setter, CURLOPT_LOW_SPEED_LIMIT,
      options->bytes_per_s_min != 0 ? (long)options->bytes_per_s_min : 1L);
}

static void set_bounds(struct setter *setter, struct orr_http_request *request,
                       const struct orr_http_options *options) {
  uint32_t redirects =
      options->redirects_max < REDIRECTS_MAX ? options->redirects_max : REDIRECTS_MAX;
  bool head = options->method != NULL &&
              strcmp(options->method, "HEAD") == 0; // announces a body, sends none
  if (!head && request->body_bytes_max <= INT64_MAX)
    SET(setter, CURLOPT_MAXFILESIZE_LARGE, (curl_off_t)request->body_bytes_max);
  request->follows = redirects > 0;
  SET(setter, CURLOPT_FOLLOWLOCATION, redirects > 0 ? 1L : 0L);
  SET(setter, CURLOPT_MAXREDIRS, (long)redirects);
}

static void set_version(struct setter *setter, const struct orr_http_options *options) {
  long version = CURL_HTTP_VERSION_NONE;
  switch (options->version) {
  case ORR_HTTP_VERSION_ANY:
    version = options->stream || options->upload ? CURL_HTTP_VERSION_1_1 : CURL_HTTP_VERSION_2TLS;
    break;
  case ORR_HTTP_VERSION_1_1: version = CURL_HTTP_VERSION_1_1; break;
  case ORR_HTTP_VERSION_2: version = CURL_HTTP_VERSION_2TLS; break;
  case ORR_HTTP_VERSION_2_PRIOR:
    version = CURL_HTTP_VERSION_2_PRIOR_KNOWLEDGE;
    // libcurl 7.88 takes such a connection up again and then fails: "Error in the HTTP2 framing layer".
    SET(setter, CURLOPT_FRESH_CONNECT, 1L);
    SET(setter, CURLOPT_FORBID_REUSE, 1L);
    break;
  }
  SET(setter, CURLOPT_HTTP_VERSION, version);
}

// Opens the socket of one address of one hop, as libcurl itself would, if it may be reached.
static curl_socket_t guarded_open(void *context, curlsocktype purpose,
                                  struct curl_sockaddr *address) {
  struct orr_http_request *request = context;
  (void)purpose;
  if (!orr_address_is_public(&address->addr)) {
    request->guarded = true;
    return CURL_SOCKET_BAD; // it tries the next address
  }
  return socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
}

static void set_peer(struct setter *setter, struct orr_http_request *request,
                     const struct orr_http_options *options) {
  SET(setter, CURLOPT_PROXY, options->proxy != NULL ? options->proxy : "");
  SET(setter, CURLOPT_NOPROXY, ""); // nor this from the environment
  SET(setter, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
  if (options->ca_file != NULL) {
    SET(setter, CURLOPT_CAINFO, options->ca_file);
    SET(setter, CURLOPT_CAPATH, NULL);
  }
  request->guard = options->guard;
  if (options->guard) {
    SET(setter, CURLOPT_OPENSOCKETFUNCTION, guarded_open);
    SET(setter, CURLOPT_OPENSOCKETDATA, request);
  }
  if (options->jar != NULL) {
    CURLSH *share = orr__http_jar_take(options->jar);
    request->jar = options->jar;
    SET(setter, CURLOPT_SHARE, share);
    SET(setter, CURLOPT_COOKIEFILE, ""); // the engine without a file
  }
}

static void set_world(struct setter *setter) {
  SET(setter, CURLOPT_PROTOCOLS_STR, "http,https");
  SET(setter, CURLOPT_REDIR_PROTOCOLS_STR, "http,https");
  SET(setter, CURLOPT_NOSIGNAL, 1L);
  SET(setter, CURLOPT_NETRC, (long)CURL_NETRC_IGNORED);
  SET(setter, CURLOPT_USERAGENT, "orrery");
  SET(setter, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
  SET(setter, CURLOPT_QUICK_EXIT, 1L); // a cancel doesn't wait for the resolver's thread
}

static void set_callbacks(struct setter *setter, struct orr_http_request *request) {
  SET(setter, CURLOPT_HTTPHEADER, request->headers);
  SET(setter, CURLOPT_ERRORBUFFER, request->error);
  SET(setter, CURLOPT_PRIVATE, request);
  SET(setter, CURLOPT_WRITEFUNCTION, orr__http_body_take);
  SET(setter, CURLOPT_WRITEDATA, request);
  SET(setter, CURLOPT_HEADERFUNCTION, orr__http_header_take);
  SET(setter, CURLOPT_HEADERDATA, request);
  // What is unpacked can't be bounded piece by piece, so a stream comes as it is.
  if (!request->streams) SET(setter, CURLOPT_ACCEPT_ENCODING, "");
  if (!request->uploads) return;
  SET(setter, CURLOPT_READFUNCTION, orr__http_body_give);
  SET(setter, CURLOPT_READDATA, request);
}

enum orr_status orr__http_prepare(struct orr_http_request *request,
                                  const struct orr_http_options *options) {
  request->streams = options->stream;
  request->uploads = options->upload;
  request->body_bytes_max = options->body_bytes_max;
  if (request->body_bytes_max == 0)
    request->body_bytes_max = options->stream ? UINT64_MAX : ORR_OUTPUT_BYTES_MAX;
  enum orr_status status = options_check(request, options);
  if (status != ORR_OK) return status;
  struct setter setter = {request->curl, request->curl->easy_init(), CURLE_OK};
  request->easy = setter.easy;
  if (setter.easy == NULL || !headers_fill(request, options)) {
    orr__http_fail(request, ORR_ERR_IO, "io", "out of memory");
    return ORR_ERR_IO;
  }
  set_world(&setter);
  SET(&setter, CURLOPT_URL, options->url);
  set_method(&setter, options);
  set_bounds(&setter, request, options);
  set_times(&setter, options);
  set_version(&setter, options);
  set_peer(&setter, request, options);
  set_callbacks(&setter, request);
  if (setter.code == CURLE_OK) return ORR_OK;
  orr__http_conclude(request, setter.code);
  return request->result.status;
}
