// SPDX-License-Identifier: MIT
// Folders and what lies in them, blocking: look, list, make, remove. Invariant: removing never
// follows a symbolic link. Any thread.
#include "io/file_ops.h"

#include <dirent.h>
#include <errno.h>
#include <fts.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define ENTRIES_MAX 1000000u

static int64_t modified_ms(const struct stat *info) {
  return (int64_t)info->st_mtim.tv_sec * 1000 + info->st_mtim.tv_nsec / 1000000;
}

int orr__file_stat(const char *path, struct orr_file_result *result) {
  struct stat info;
  if (stat(path, &info) < 0) return errno == ENOENT || errno == ENOTDIR ? 0 : errno;
  result->exists = true;
  result->is_dir = S_ISDIR(info.st_mode);
  result->size = (uint64_t)info.st_size;
  result->modified_ms = modified_ms(&info);
  return 0;
}

static int compare_entries(const void *a, const void *b) {
  return strcmp(((const struct orr_file_entry *)a)->name, ((const struct orr_file_entry *)b)->name);
}

static void entry_add(struct orr_file_result *result, size_t *cap, int folder_fd,
                      const char *name) {
  if (result->entries_len == *cap) {
    *cap = *cap == 0 ? 16 : *cap * 2;
    result->entries = orr_realloc(result->entries, *cap * sizeof *result->entries);
  }
  struct orr_file_entry *entry = &result->entries[result->entries_len++];
  *entry = (struct orr_file_entry){.name = orr_strdup(name)};
  struct stat info; // a link counts as what it points at, a dangling one as an empty file
  if (fstatat(folder_fd, name, &info, 0) < 0) return;
  entry->is_dir = S_ISDIR(info.st_mode);
  entry->size = (uint64_t)info.st_size;
  entry->modified_ms = modified_ms(&info);
}

int orr__file_list(const char *path, struct orr_file_result *result) {
  DIR *folder = opendir(path);
  if (folder == NULL) return errno;
  size_t cap = 0;
  int error = 0;
  while (error == 0) {
    errno = 0;
    const struct dirent *found = readdir(folder);
    if (found == NULL) {
      error = errno;
      break;
    }
    if (strcmp(found->d_name, ".") == 0 || strcmp(found->d_name, "..") == 0) continue;
    if (result->entries_len == ENTRIES_MAX)
      error = EOVERFLOW;
    else
      entry_add(result, &cap, dirfd(folder), found->d_name);
  }
  closedir(folder);
  if (result->entries_len > 0)
    qsort(result->entries, result->entries_len, sizeof *result->entries, compare_entries);
  return error;
}

static int mkdir_one(const char *path) {
  if (mkdir(path, 0777) == 0) return 0;
  int error = errno;
  struct stat info; // also where we may not make it, or the disk is read-only: it is there already
  if (stat(path, &info) < 0) return error;
  return S_ISDIR(info.st_mode) ? 0 : ENOTDIR;
}

int orr__file_mkdir(const char *path) {
  char *copy = orr_strdup(path);
  int error = *path == '\0' ? ENOENT : 0;
  for (char *at = copy; error == 0 && *at != '\0';) {
    at += strspn(at, "/");
    at += strcspn(at, "/");
    char kept = *at;
    *at = '\0';
    error = mkdir_one(copy);
    *at = kept;
    if (at[strspn(at, "/")] == '\0') break; // slashes at the end
  }
  free(copy);
  return error;
}

static int remove_tree(char *path) {
  char *roots[] = {path, NULL};
  FTS *walk = fts_open(roots, FTS_PHYSICAL | FTS_NOCHDIR | FTS_NOSTAT, NULL);
  if (walk == NULL) return errno;
  int error = 0;
  const FTSENT *found;
  while (errno = 0, (found = fts_read(walk)) != NULL) {
    int result = 0;
    switch (found->fts_info) {
    case FTS_D:
      continue; // its contents come first
    case FTS_DP:
      result = rmdir(found->fts_accpath) < 0 ? errno : 0;
      break;
    case FTS_DNR:
    case FTS_ERR:
    case FTS_NS:
      result = found->fts_errno;
      break;
    default:
      result = unlink(found->fts_accpath) < 0 ? errno : 0;
      break; // files and links of any kind
    }
    if (error == 0) error = result; // go on: remove what can be removed, report the first failure
  }
  if (error == 0) error = errno;
  fts_close(walk);
  return error;
}

int orr__file_remove(const char *path, bool recursive) {
  struct stat info, root;
  if (lstat(path, &info) < 0) return errno;
  if (!S_ISDIR(info.st_mode)) return unlink(path) < 0 ? errno : 0;
  if (!recursive) return rmdir(path) < 0 ? errno : 0;
  if (stat("/", &root) == 0 && root.st_dev == info.st_dev && root.st_ino == info.st_ino)
    return EPERM;
  char *copy = orr_strdup(path);
  int error = remove_tree(copy);
  free(copy);
  return error;
}

int orr__file_temp_dir(const char *parent, struct orr_buf *path) {
  if (parent == NULL) parent = getenv("TMPDIR");
  if (parent == NULL || *parent == '\0') parent = "/tmp";
  orr_buf_printf(path, "%s/orrery-XXXXXX", parent);
  orr_buf_cstr(path);
  if (mkdtemp((char *)path->data) != NULL) return 0;
  int error = errno;
  orr_buf_free(path);
  return error;
}
