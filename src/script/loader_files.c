// SPDX-License-Identifier: MIT
// The project's files: found by folder, read when their stamp (size, times, inode) changed, hashed.
// The loader's thread. Knows nothing of Lua.
#include "base/check.h"
#include "io/digest.h"
#include "script/loader_internal.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define DEPTH_MAX 16u // folders below folders

static const char *const SCRIPT_FOLDERS[] = {"pipelines", "workflows", "triggers",
                                             "chains",    "routes",    "plugins"};

void orr__source_free(struct orr__source *source) {
  orr_blob_unref(source->content);
  orr_blob_unref(source->code);
  for (uint32_t i = 0; i < source->env_len; i++) free(source->env[i]);
  free(source->env);
  free(source->needs);
  free(source->path);
  free(source);
}

struct orr__source *orr__loader_find(const struct orr_loader *loader, const char *path) {
  return orr_map_get(&loader->by_path, orr_slice_text(path));
}

static void unreadable(struct orr_problems *problems, const char *path, const char *code,
                       const char *why) {
  struct orr_buf text = ORR_BUF_INIT;
  orr_buf_printf(&text, "cannot read %s: %s", path, why);
  orr_problems_add(problems, code, orr_buf_cstr(&text))->file = orr_strdup(path);
  orr_buf_free(&text);
}

// Reads a whole file whose size is known roughly; the file may change under us, the bytes read are
// what counts.
static struct orr_blob *read_all(int fd, size_t size, int *error_number) {
  struct orr_buf bytes = ORR_BUF_INIT;
  struct orr_blob *blob = NULL;
  for (;;) {
    orr_buf_reserve(&bytes, size + 1 > bytes.len ? size + 1 - bytes.len : 4096);
    ssize_t got = read(fd, bytes.data + bytes.len, bytes.cap - bytes.len);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) *error_number = errno;
    if (got <= 0) break;
    bytes.len += (size_t)got;
    if (bytes.len > ORR_SCRIPT_BYTES_MAX) {
      *error_number = EFBIG;
      break;
    }
  }
  if (*error_number == 0) blob = orr_blob_new(orr_buf_slice(&bytes));
  orr_buf_free(&bytes);
  return blob;
}

static int64_t nanoseconds(struct timespec at) {
  return (int64_t)at.tv_sec * 1000000000 + at.tv_nsec;
}

static bool same_stamp(const struct orr__source *source, const struct stat *info) {
  return source->content != NULL && source->size == (uint64_t)info->st_size &&
         source->inode == info->st_ino && source->modified_ns == nanoseconds(info->st_mtim) &&
         source->changed_ns == nanoseconds(info->st_ctim);
}

static void read_source(struct orr__source *source, int folder, const char *name,
                        const struct stat *info, struct orr_problems *problems) {
  int error_number = 0;
  int fd = openat(folder, name, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  struct orr_blob *content = fd >= 0 ? read_all(fd, (size_t)info->st_size, &error_number) : NULL;
  if (fd < 0) error_number = errno;
  if (fd >= 0) close(fd);
  orr_blob_unref(source->content);
  source->content = content;
  if (content == NULL) {
    bool large = error_number == EFBIG;
    unreadable(problems, source->path, "E0109",
               large ? "larger than 4 MiB" : strerror(error_number));
    source->seen = false;
    return;
  }
  struct orr_digest digest;
  orr_sha256(orr_blob_slice(content), &digest);
  if (!orr_digest_equal(&digest, &source->digest)) {
    orr_blob_unref(source->code);
    source->code = NULL;
    source->digest = digest;
  }
  // A file written within the clock's tick of our reading may change again under the same stamp.
  source->size = (uint64_t)info->st_size;
  source->inode = info->st_ino;
  source->modified_ns = nanoseconds(info->st_mtim);
  source->changed_ns = nanoseconds(info->st_ctim);
}

static bool too_fresh(const struct stat *info) {
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  return nanoseconds(now) - nanoseconds(info->st_ctim) < 20000000;
}

// Summed over all files, so the order of the walk does not matter.
static uint64_t stamp_of(const char *path, const struct stat *info) {
  int64_t parts[4] = {nanoseconds(info->st_mtim), nanoseconds(info->st_ctim),
                      (int64_t)info->st_size, (int64_t)info->st_ino};
  return orr_hash64(orr_hash64(1, orr_slice_text(path)), orr_slice_of(parts, sizeof(parts)));
}

static void visit_file(struct orr_loader *loader, int folder, const char *name, const char *path,
                       enum orr__source_kind kind, struct orr_problems *problems) {
  struct stat info;
  if (fstatat(folder, name, &info, 0) != 0) return; // gone meanwhile: not there
  if (!S_ISREG(info.st_mode)) return;
  loader->stamp += stamp_of(path, &info);
  if (loader->looking) return;
  struct orr__source *source = orr__loader_find(loader, path);
  if (source == NULL) {
    source = orr_alloc(sizeof(*source));
    source->path = orr_strdup(path);
    orr_map_put(&loader->by_path, orr_slice_text(path), source);
    if (loader->sources_len == loader->sources_cap) {
      loader->sources_cap = loader->sources_cap == 0 ? 64 : loader->sources_cap * 2;
      loader->sources =
          orr_realloc(loader->sources, loader->sources_cap * sizeof(struct orr__source *));
    }
    loader->sources[loader->sources_len++] = source;
    loader->moved = loader->moved || kind == ORR__SOURCE_MODULE;
  }
  source->kind = kind;
  source->seen = true;
  if (!same_stamp(source, &info)) read_source(source, folder, name, &info, problems);
  if (too_fresh(&info)) source->size = UINT64_MAX; // look again next time
}

static bool ends_with(const char *text, const char *end) {
  size_t len = strlen(text), end_len = strlen(end);
  return len > end_len && strcmp(text + len - end_len, end) == 0;
}

static int open_folder(int at, const char *name) {
  return openat(at, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

struct level { // of the walk below a folder
  DIR *dir;
  size_t path_len;
};

static bool enter(struct level *levels, uint32_t *depth, int fd, size_t path_len) {
  DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
  if (dir == NULL) {
    if (fd >= 0) close(fd);
    return false;
  }
  levels[(*depth)++] = (struct level){dir, path_len};
  return true;
}

static void tell(struct orr_loader *loader, const char *folder) {
  if (loader->folder != NULL) loader->folder(loader->folder_context, folder);
}

static void walk(struct orr_loader *loader, int root, const char *folder,
                 enum orr__source_kind kind, struct orr_problems *problems) {
  struct level levels[DEPTH_MAX];
  uint32_t depth = 0;
  struct orr_buf path = ORR_BUF_INIT;
  orr_buf_text(&path, folder);
  if (enter(levels, &depth, open_folder(root, folder), path.len)) tell(loader, orr_buf_cstr(&path));
  while (depth > 0) {
    struct level *level = &levels[depth - 1];
    path.len = level->path_len;
    struct dirent *entry = readdir(level->dir);
    if (entry == NULL) {
      closedir(level->dir);
      depth--;
      continue;
    }
    if (entry->d_name[0] == '.') continue; // hidden files, and the temporary ones of editors
    orr_buf_printf(&path, "/%s", entry->d_name);
    const char *text = orr_buf_cstr(&path);
    if (ends_with(text, ".lua") && entry->d_type != DT_DIR) {
      bool test = ends_with(text, "_test.lua");
      if (!test) visit_file(loader, dirfd(level->dir), entry->d_name, text, kind, problems);
    } else if (entry->d_type == DT_DIR || entry->d_type == DT_LNK || entry->d_type == DT_UNKNOWN) {
      bool in = depth < DEPTH_MAX &&
                enter(levels, &depth, open_folder(dirfd(level->dir), entry->d_name), path.len);
      if (in) tell(loader, text);
    }
  }
  orr_buf_free(&path);
}

static int by_path(const void *a, const void *b) {
  return strcmp((*(struct orr__source *const *)a)->path, (*(struct orr__source *const *)b)->path);
}

static void forget_unseen(struct orr_loader *loader) {
  uint32_t kept = 0;
  for (uint32_t i = 0; i < loader->sources_len; i++) {
    struct orr__source *source = loader->sources[i];
    if (source->seen) {
      loader->sources[kept++] = source;
    } else {
      orr_map_remove(&loader->by_path, orr_slice_text(source->path));
      loader->moved = loader->moved || source->kind == ORR__SOURCE_MODULE;
      orr__source_free(source);
    }
  }
  loader->sources_len = kept;
  if (kept > 0) qsort(loader->sources, kept, sizeof(struct orr__source *), by_path);
}

// A single script of a project's folder: that folder.
static void tell_folder_of(struct orr_loader *loader, const char *script) {
  char *folder = orr_strdup(script);
  char *slash = strrchr(folder, '/');
  if (slash != NULL) {
    *slash = '\0';
    tell(loader, folder);
  }
  free(folder);
}

static void walk_all(struct orr_loader *loader, int root, struct orr_problems *problems) {
  const struct orr_project *project = &loader->project;
  loader->stamp = 0;
  tell(loader, "");
  visit_file(loader, root, "orrery.lua", "orrery.lua", ORR__SOURCE_CONFIG, problems);
  walk(loader, root, "lib", ORR__SOURCE_MODULE, problems);
  if (project->only != NULL) {
    tell_folder_of(loader, project->only);
    visit_file(loader, root, project->only, project->only, ORR__SOURCE_SCRIPT, problems);
    return;
  }
  for (size_t i = 0; i < sizeof(SCRIPT_FOLDERS) / sizeof(SCRIPT_FOLDERS[0]); i++) {
    walk(loader, root, SCRIPT_FOLDERS[i], ORR__SOURCE_SCRIPT, problems);
  }
}

void orr__loader_scan(struct orr_loader *loader, struct orr_problems *problems) {
  for (uint32_t i = 0; i < loader->sources_len; i++) loader->sources[i]->seen = false;
  int root = open_folder(AT_FDCWD, loader->project.root);
  if (root < 0) {
    unreadable(problems, loader->project.root, "E0109", strerror(errno));
  } else {
    walk_all(loader, root, problems);
    close(root);
  }
  forget_unseen(loader);
}

uint64_t orr__loader_look(struct orr_loader *loader,
                          void (*folder)(void *context, const char *path), void *context) {
  uint64_t before = loader->stamp, now = 0;
  int root = open_folder(AT_FDCWD, loader->project.root);
  if (root < 0) return 0;
  loader->looking = true;
  loader->folder = folder;
  loader->folder_context = context;
  walk_all(loader, root, NULL);
  now = loader->stamp;
  loader->stamp = before;
  loader->looking = false;
  loader->folder = NULL;
  close(root);
  return now;
}
