// SPDX-License-Identifier: MIT
// A cookie jar: libcurl's share handle with cookies alone in it. Counted, since libcurl keeps using
// it until the last request is gone. One thread.
#include "base/check.h"
#include "io/http_curl.h"

#include <stdlib.h>

struct orr_http_jar {
  const struct orr__curl *curl;
  CURLSH *share;
  uint32_t refs;
};

struct orr_http_jar *orr_http_jar_new(const char **message) {
  const struct orr__curl *curl = orr__curl_load(message);
  if (curl == NULL) return NULL;
  struct orr_http_jar *jar = orr_alloc(sizeof *jar);
  jar->curl = curl;
  jar->refs = 1;
  jar->share = curl->share_init();
  orr_assert(jar->share != NULL);
  CURLSHcode code = curl->share_setopt(jar->share, CURLSHOPT_SHARE, CURL_LOCK_DATA_COOKIE);
  orr_assert(code == CURLSHE_OK);
  return jar;
}

CURLSH *orr__http_jar_take(struct orr_http_jar *jar) {
  jar->refs++;
  return jar->share;
}

void orr_http_jar_unref(struct orr_http_jar *jar) {
  if (jar == NULL || --jar->refs > 0) return;
  CURLSHcode code = jar->curl->share_cleanup(jar->share);
  orr_assert(code == CURLSHE_OK);
  free(jar);
}
