// SPDX-License-Identifier: MIT
// Where a project is: a folder, or one script whose folder (or the project around it) serves it.
// Any thread.
#include "script/loader.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

static const char *const FOLDERS[] = {"pipelines", "workflows", "triggers",
                                      "chains",    "routes",    "plugins"};

static bool exists(const char *folder, const char *name) {
  struct orr_buf path = ORR_BUF_INIT;
  struct stat info;
  orr_buf_printf(&path, "%s/%s", folder, name);
  bool found = stat(orr_buf_cstr(&path), &info) == 0;
  orr_buf_free(&path);
  return found;
}

static bool is_script_folder(const char *folder) {
  const char *name = strrchr(folder, '/');
  for (size_t i = 0; name != NULL && i < sizeof(FOLDERS) / sizeof(FOLDERS[0]); i++) {
    if (strcmp(name + 1, FOLDERS[i]) == 0) return true;
  }
  return false;
}

// The root of a single script's project: its folder; but of PROJECT/pipelines/x.lua the PROJECT, so that a script of a
// project means the same alone, unless its folder has modules of its own.
static void find_root(const char *file, struct orr_project *project) {
  char *folder = orr_strdup(file);
  *strrchr(folder, '/') = '\0';
  char *slash;
  if (!exists(folder, "lib"))
    while (is_script_folder(folder) && (slash = strrchr(folder, '/')) != folder) *slash = '\0';
  project->root = orr_strdup(folder[0] != '\0' ? folder : "/");
  size_t root_len = strcmp(project->root, "/") == 0 ? 0 : strlen(project->root);
  project->only = orr_strdup(file + root_len + 1);
  free(folder);
}

static void refuse(struct orr_problems *problems, const char *code, const char *path,
                   const char *message, const char *help) {
  struct orr_buf text = ORR_BUF_INIT;
  orr_buf_printf(&text, "%s: %s", path, message);
  struct orr_problem *problem = orr_problems_add(problems, code, orr_buf_cstr(&text));
  if (help != NULL) problem->help = orr_strdup(help);
  orr_buf_free(&text);
}

static bool is_lua(const char *path) {
  size_t len = strlen(path);
  return len > 4 && strcmp(path + len - 4, ".lua") == 0;
}

enum orr_status orr_project_open(const char *path, struct orr_project *project,
                                 struct orr_problems *problems) {
  struct stat info;
  char *real = realpath(path, NULL);
  if (real == NULL || stat(real, &info) != 0) {
    refuse(problems, "E0110", path, errno == ENOENT ? "no such file or folder" : strerror(errno),
           "give a project's folder or a .lua file");
    free(real);
    return ORR_ERR_NOT_FOUND;
  }
  if (!S_ISDIR(info.st_mode) && !is_lua(real)) {
    refuse(problems, "E0110", path, "not a Lua script", "give a project's folder or a .lua file");
    free(real);
    return ORR_ERR_INVALID;
  }
  *project = (struct orr_project){0};
  if (S_ISDIR(info.st_mode)) {
    project->root = orr_strdup(real);
  } else {
    find_root(real, project);
  }
  free(real);
  struct orr_buf data = ORR_BUF_INIT;
  orr_buf_printf(&data, "%s/.orrery", strcmp(project->root, "/") == 0 ? "" : project->root);
  project->data = orr_strdup(orr_buf_cstr(&data));
  orr_buf_free(&data);
  return ORR_OK;
}

void orr_project_close(struct orr_project *project) {
  free(project->root);
  free(project->only);
  free(project->data);
  *project = (struct orr_project){0};
}
