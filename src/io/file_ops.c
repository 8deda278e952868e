// SPDX-License-Identifier: MIT
// Reading, writing and copying one file, blocking. Invariant: a write or copy becomes visible whole
// or not at all, and leaves no temporary file behind when it fails; nothing here waits on a FIFO.
// Any thread.
#include "io/file_ops.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#define READ_BYTES 65536u
#define TEMP_TRIES 16

// 0, or why a file of this mode is neither read nor written. Devices are fine: /dev/null is useful.
static int mode_refused(mode_t mode) {
  if (S_ISDIR(mode)) return EISDIR;
  return S_ISREG(mode) || S_ISCHR(mode) ? 0 : EINVAL;
}

static int open_checked(const char *path, int flags, struct stat *info) { // fd, or -errno
  int fd = open(path, flags | O_CLOEXEC | O_NONBLOCK | O_NOCTTY, 0666);
  if (fd < 0) return -errno;
  int error = fstat(fd, info) < 0 ? errno : mode_refused(info->st_mode);
  if (error == 0) return fd;
  close(fd);
  return -error;
}

static int read_all(int fd, size_t bytes_max, struct orr_buf *data) {
  for (;;) {
    orr_buf_reserve(data, READ_BYTES);
    size_t room = data->cap - data->len;
    ssize_t n = read(fd, data->data + data->len, room);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return n < 0 ? errno : 0;
    data->len += (size_t)n;
    if (data->len > bytes_max) return EFBIG;
  }
}

int orr__file_read(const char *path, size_t bytes_max, struct orr_buf *data) {
  struct stat info;
  int fd = open_checked(path, O_RDONLY, &info);
  if (fd < 0) return -fd;
  int error = S_ISREG(info.st_mode) && (uint64_t)info.st_size > bytes_max ? EFBIG : 0;
  if (error == 0 && info.st_size > 0)
    orr_buf_reserve(data, (size_t)info.st_size + 1);     // so that EOF needs no growth
  if (error == 0) error = read_all(fd, bytes_max, data); // a size of 0 means nothing in /proc
  close(fd);
  if (error != 0) orr_buf_free(data);
  return error;
}

int orr__file_read_at(const char *path, uint64_t offset, size_t bytes_max, struct orr_buf *data) {
  struct stat info;
  int fd = open_checked(path, O_RDONLY, &info);
  if (fd < 0) return -fd;
  int error = 0;
  orr_buf_reserve(data, bytes_max);
  while (data->len < bytes_max) {
    ssize_t n = pread(fd, data->data + data->len, bytes_max - data->len, (off_t)(offset + data->len));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) error = errno;
    if (n <= 0) break;
    data->len += (size_t)n;
  }
  close(fd);
  if (error != 0) orr_buf_free(data);
  return error;
}

static int write_all(int fd, struct orr_slice data) {
  while (data.len > 0) {
    ssize_t n = write(fd, data.data, data.len);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return errno;
    data = orr_slice_of(data.data + n, data.len - (size_t)n);
  }
  return 0;
}

int orr__file_append(const char *path, struct orr_slice data, bool sync) {
  struct stat info;
  int fd = open_checked(path, O_WRONLY | O_APPEND | O_CREAT, &info);
  if (fd < 0) return -fd;
  int error = write_all(fd, data);
  if (error == 0 && sync && fsync(fd) < 0) error = errno;
  if (close(fd) < 0 && error == 0) error = errno;
  return error;
}

// --- replacing a file ----------------------------------------------------------------------------

struct replacement {
  char *target;    // links followed
  char *temporary; // in the same folder, so that rename(2) works
  int fd;
};

static char *folder_of(const char *path) { // heap
  const char *slash = strrchr(path, '/');
  if (slash == NULL) return orr_strdup(".");
  return orr_slice_strdup(orr_slice_of(path, slash == path ? 1 : (size_t)(slash - path)));
}

// Opens a new file of a random name beside the target. Mode: the umask applies to it.
static int temporary_open(struct replacement *replacement, mode_t mode) {
  char *folder = folder_of(replacement->target);
  size_t size = strlen(folder) + 40;
  replacement->temporary = orr_alloc(size);
  int error = EEXIST;
  for (int i = 0; i < TEMP_TRIES && error == EEXIST; i++) {
    uint64_t word = 0;
    if (getrandom(&word, sizeof word, 0) != sizeof word)
      word ^= (uintptr_t)replacement ^ (uint64_t)i;
    snprintf(replacement->temporary, size, "%s/.orrery-%016" PRIx64 ".tmp", folder, word);
    replacement->fd = open(replacement->temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
    error = replacement->fd < 0 ? errno : 0;
  }
  free(folder);
  return error;
}

static void replacement_drop(struct replacement *replacement) {
  if (replacement->fd >= 0) {
    close(replacement->fd);
    unlink(replacement->temporary);
  }
  free(replacement->temporary);
  free(replacement->target);
}

// A file that is there keeps its mode, and a link to it stays a link.
static int replacement_begin(struct replacement *replacement, const char *path, mode_t mode) {
  *replacement = (struct replacement){.fd = -1};
  struct stat info;
  bool exists = stat(path, &info) == 0;
  if (exists && S_ISREG(info.st_mode)) replacement->target = realpath(path, NULL);
  if (replacement->target == NULL) replacement->target = orr_strdup(path);
  int error = exists && !S_ISREG(info.st_mode) ? (S_ISDIR(info.st_mode) ? EISDIR : EINVAL) : 0;
  if (error == 0) error = temporary_open(replacement, mode);
  if (error == 0 && exists && fchmod(replacement->fd, info.st_mode & 07777) < 0) error = errno;
  if (error != 0) replacement_drop(replacement);
  return error;
}

static int folder_sync(const char *file) {
  char *folder = folder_of(file);
  int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  int error = fd < 0 || fsync(fd) < 0 ? errno : 0;
  if (fd >= 0) close(fd);
  free(folder);
  return error;
}

static int replacement_commit(struct replacement *replacement, bool sync) {
  int error = sync && fsync(replacement->fd) < 0 ? errno : 0;
  if (error == 0 && rename(replacement->temporary, replacement->target) < 0) error = errno;
  if (error == 0) {
    close(replacement->fd);
    replacement->fd = -1;
    if (sync) error = folder_sync(replacement->target);
  }
  replacement_drop(replacement);
  return error;
}

static int device_write(const char *path, struct orr_slice data) {
  struct stat info;
  int fd = open_checked(path, O_WRONLY, &info);
  if (fd < 0) return -fd;
  int error = write_all(fd, data);
  close(fd);
  return error;
}

int orr__file_write(const char *path, struct orr_slice data, bool sync) {
  struct stat info;
  if (stat(path, &info) == 0 && S_ISCHR(info.st_mode)) return device_write(path, data);
  struct replacement replacement;
  int error = replacement_begin(&replacement, path, 0666);
  if (error != 0) return error;
  error = write_all(replacement.fd, data);
  if (error == 0) return replacement_commit(&replacement, sync);
  replacement_drop(&replacement);
  return error;
}

static int copy_plain(int from, int to) {
  uint8_t *bytes = orr_alloc(READ_BYTES);
  int error = 0;
  for (;;) {
    ssize_t n = read(from, bytes, READ_BYTES);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) {
      error = n < 0 ? errno : 0;
      break;
    }
    error = write_all(to, orr_slice_of(bytes, (size_t)n));
    if (error != 0) break;
  }
  free(bytes);
  return error;
}

// The kernel copies (or shares) the bytes where it can; what is left, all of it in /proc, goes by
// hand.
static int copy_bytes(int from, int to) {
  for (;;) {
    ssize_t n = copy_file_range(from, NULL, to, NULL, 1 << 30, 0);
    if (n <= 0) return copy_plain(from, to);
  }
}

int orr__file_copy(const char *path, const char *to, bool sync) {
  struct stat info;
  int from = open_checked(path, O_RDONLY, &info);
  if (from < 0) return -from;
  if (!S_ISREG(info.st_mode)) { // a device may have no end
    close(from);
    return EINVAL;
  }
  struct replacement replacement;
  int error = replacement_begin(&replacement, to, info.st_mode & 0777);
  if (error == 0) {
    error = copy_bytes(from, replacement.fd);
    if (error == 0)
      error = replacement_commit(&replacement, sync);
    else
      replacement_drop(&replacement);
  }
  close(from);
  return error;
}
