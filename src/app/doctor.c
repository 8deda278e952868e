// SPDX-License-Identifier: MIT
// See doctor.h.
#include "app/doctor.h"

#include "base/clock.h"
#include "base/json.h"
#include "io/store.h"
#include "script/loader.h"

#include <arpa/inet.h>
#include <civetweb.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <lua.h>
#include <netinet/in.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>
#include <uv.h>

#define SYNC_PROBES 20
#define SLOW_SYNC_US 5000u
#define FREE_BYTES_MIN (256 * ORR_MIB)
#define FILES_MIN 1024u

static void check(struct orr_buf *out, const char *name, bool ok, const char *detail, const char *help) {
  orr_json_comma(out);
  orr_buf_u8(out, '{');
  orr_json_key(out, "name");
  orr_json_string(out, orr_slice_text(name));
  orr_json_key(out, "ok");
  orr_buf_text(out, ok ? "true" : "false");
  orr_json_key(out, "detail");
  orr_json_string(out, orr_slice_text(detail));
  orr_json_key(out, "help");
  if (ok) orr_buf_text(out, "null");
  else orr_json_string(out, orr_slice_text(help));
  orr_buf_u8(out, '}');
}

static void check_versions(struct orr_buf *out) {
  char text[160];
  snprintf(text, sizeof(text), "%s, SQLite %s, libuv %s, civetweb %s", LUA_RELEASE, sqlite3_libversion(),
           uv_version_string(), mg_version());
  check(out, "libraries", sqlite3_libversion_number() >= 3040000, text, "SQLite 3.40 or newer is needed");
  void *curl = dlopen("libcurl.so.4", RTLD_LAZY | RTLD_LOCAL);
  check(out, "libcurl", curl != NULL, curl != NULL ? "found" : "not found",
        "o.http needs it: apt-get install libcurl4");
  if (curl != NULL) dlclose(curl);
}

// Median time of an fdatasync of one page in the data folder, in microseconds; 0 if it cannot be told.
static uint64_t sync_us(const char *folder) {
  char path[4096], page[4096] = {0};
  snprintf(path, sizeof(path), "%s/doctor.probe", folder);
  int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  if (fd < 0) return 0;
  uint64_t best = UINT64_MAX;
  for (int i = 0; i < SYNC_PROBES; i++) {
    uint64_t start = orr_clock_mono_us();
    if (pwrite(fd, page, sizeof(page), 0) != (ssize_t)sizeof(page) || fdatasync(fd) != 0) best = 0;
    uint64_t took = orr_clock_mono_us() - start;
    if (took < best) best = took;
  }
  close(fd);
  unlink(path);
  return best;
}

static void check_data(struct orr_buf *out, const char *folder) {
  char text[4300];
  struct stat info;
  if (stat(folder, &info) != 0) {
    snprintf(text, sizeof(text), "%s does not exist yet", folder);
    check(out, "data", true, text, "");
    return;
  }
  bool writable = access(folder, W_OK | X_OK) == 0;
  check(out, "data", writable, folder, "the engine must be able to write there: check owner and mode");
  struct statvfs space;
  if (statvfs(folder, &space) == 0) {
    uint64_t free_bytes = (uint64_t)space.f_bavail * space.f_frsize;
    snprintf(text, sizeof(text), "%llu MiB free", (unsigned long long)(free_bytes / ORR_MIB));
    check(out, "space", free_bytes >= FREE_BYTES_MIN, text, "make room: a full disk stops the engine");
  }
  if (!writable) return;
  uint64_t us = sync_us(folder);
  snprintf(text, sizeof(text), "%llu us a sync", (unsigned long long)us);
  check(out, "sync", us > 0 && us < SLOW_SYNC_US, text,
        "slow syncs make each durable step slow; --durability normal trades power-loss safety for speed");
}

static void check_store(struct orr_buf *out, const char *data) {
  char path[4096];
  snprintf(path, sizeof(path), "%s/orrery.db", data);
  if (access(path, F_OK) != 0) check(out, "store", true, "no store yet", "");
  else check(out, "store", true, orr_store_locked(path) ? "in use by an engine" : "free", "");
}

static void check_scripts(struct orr_buf *out, const struct orr_project *project) {
  struct orr_loader *loader = orr_loader_new(project);
  struct orr_generation *generation = NULL;
  struct orr_problems problems = {0};
  char text[256];
  if (orr_loader_build(loader, &generation, &problems) == ORR_OK) {
    snprintf(text, sizeof(text), "%u scripts, %u pipelines", generation->files_len, generation->defs_len);
    check(out, "scripts", true, text, "");
    orr_generation_unref(generation);
  } else {
    snprintf(text, sizeof(text), "%zu problems; the first: %.180s", problems.len,
             problems.len > 0 ? problems.items[0].message : "");
    check(out, "scripts", false, text, "orrery validate shows them all");
  }
  orr_problems_free(&problems);
  orr_loader_free(loader);
}

static void check_port(struct orr_buf *out) {
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(8080), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  int on = 1;
  if (fd < 0) return;
  (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
  bool free_port = bind(fd, (struct sockaddr *)&address, sizeof(address)) == 0;
  check(out, "port", true, free_port ? "127.0.0.1:8080 is free" : "127.0.0.1:8080 is taken (an engine, or use --listen)", "");
  close(fd);
}

static void check_limits(struct orr_buf *out) {
  struct rlimit files;
  char text[64];
  if (getrlimit(RLIMIT_NOFILE, &files) != 0) return;
  snprintf(text, sizeof(text), "%llu open files", (unsigned long long)files.rlim_cur);
  check(out, "files", files.rlim_cur >= FILES_MIN, text, "raise it: ulimit -n 4096");
}

void orr_doctor(const char *project_path, struct orr_buf *out) {
  struct orr_project project = {0};
  struct orr_problems problems = {0};
  orr_buf_u8(out, '[');
  check_versions(out);
  check_limits(out);
  if (orr_project_open(project_path, &project, &problems) == ORR_OK) {
    check_data(out, project.data);
    check_store(out, project.data);
    check_scripts(out, &project);
  } else {
    check(out, "project", false, problems.len > 0 ? problems.items[0].message : project_path, "name a folder or a script");
  }
  check_port(out);
  orr_buf_u8(out, ']');
  orr_problems_free(&problems);
  orr_project_close(&project);
}
