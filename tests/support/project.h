// SPDX-License-Identifier: MIT
// A project in a temporary folder, for tests: write files, build, throw away.
#pragma once

#include "script/loader.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

struct test_project {
  char root[64];
  struct orr_project project;
  struct orr_loader *loader;
  struct orr_problems problems; // of the last build
};

static inline void test_path(const struct test_project *p, const char *path, char out[256]) {
  snprintf(out, 256, "%s/%s", p->root, path);
}

static inline void test_folders(const char *path) { // mkdir -p of a file's folder
  char copy[256];
  snprintf(copy, sizeof(copy), "%s", path);
  for (char *at = copy + 1; (at = strchr(at, '/')) != NULL; *at++ = '/') {
    *at = '\0';
    if (mkdir(copy, 0755) != 0 && errno != EEXIST) abort();
  }
}

static inline void test_write(const struct test_project *p, const char *path, const char *text) {
  char full[256];
  test_path(p, path, full);
  test_folders(full);
  FILE *file = fopen(full, "wb");
  if (file == NULL) abort();
  fputs(text, file);
  fclose(file);
}

static inline void test_remove(const struct test_project *p, const char *path) {
  char full[256];
  test_path(p, path, full);
  if (unlink(full) != 0) abort();
}

// What editors do: write beside, rename over.
static inline void test_rename_over(const struct test_project *p, const char *path,
                                    const char *text) {
  char from[256], to[256];
  test_write(p, ".editor.tmp", text);
  test_path(p, ".editor.tmp", from);
  test_path(p, path, to);
  if (rename(from, to) != 0) abort();
}

static inline void test_project_open(struct test_project *p) {
  *p = (struct test_project){0};
  snprintf(p->root, sizeof(p->root), "/tmp/orrery_test_XXXXXX");
  if (mkdtemp(p->root) == NULL) abort();
  if (orr_project_open(p->root, &p->project, &p->problems) != ORR_OK) abort();
  p->loader = orr_loader_new(&p->project);
}

static inline struct orr_generation *test_build(struct test_project *p) { // NULL: see problems
  struct orr_generation *generation = NULL;
  orr_problems_free(&p->problems);
  orr_loader_build(p->loader, &generation, &p->problems);
  return generation;
}

static inline void test_project_close(struct test_project *p) {
  char command[128];
  orr_loader_free(p->loader);
  orr_project_close(&p->project);
  orr_problems_free(&p->problems);
  snprintf(command, sizeof(command), "rm -rf '%s'", p->root);
  if (system(command) != 0) abort();
}
