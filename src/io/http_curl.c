// SPDX-License-Identifier: MIT
// Opens libcurl when the first request needs it: linking it would cost an idle engine more start
// time and memory than all the rest of it. Never closed again. Any thread.
#include "io/http_curl.h"

#include <dlfcn.h>
#include <pthread.h>

static struct orr__curl table;
static const char *failure;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static bool function_find(void *library, const char *name, void *slot) {
  void *function = dlsym(library, name);
  memcpy(slot, &function, sizeof function); // ISO C has no cast from object to function pointer
  return function != NULL;
}

static void open_once(void) {
  void *library = dlopen("libcurl.so.4", RTLD_NOW | RTLD_LOCAL);
  if (library == NULL) {
    failure = "libcurl.so.4 can't be opened; install libcurl4";
    return;
  }
  bool all = true;
#define FIND(name) all = function_find(library, "curl_" #name, &table.name) && all;
  ORR__CURL_LIST(FIND)
#undef FIND
  if (!all)
    failure = "libcurl.so.4 lacks a function; version 7.87 or newer is needed";
  else if (table.global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
    failure = "libcurl can't be initialised";
}

const struct orr__curl *orr__curl_load(const char **message) {
  pthread_once(&once, open_once);
  *message = failure;
  return failure == NULL ? &table : NULL;
}
