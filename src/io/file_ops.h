// SPDX-License-Identifier: MIT
// The blocking file operations themselves. Internal to io. Any thread; each returns 0 or errno.
#pragma once

#include "io/file_job.h"

int orr__file_read(const char *path, size_t bytes_max, struct orr_buf *data);
// At most bytes_max bytes from `offset` on; fewer only at the end.
int orr__file_read_at(const char *path, uint64_t offset, size_t bytes_max, struct orr_buf *data);
int orr__file_write(const char *path, struct orr_slice data, bool sync);
int orr__file_append(const char *path, struct orr_slice data, bool sync);
int orr__file_copy(const char *path, const char *to, bool sync);
int orr__file_stat(const char *path, struct orr_file_result *result);
int orr__file_list(const char *path, struct orr_file_result *result);
int orr__file_mkdir(const char *path);
int orr__file_remove(const char *path, bool recursive);
int orr__file_temp_dir(const char *parent, struct orr_buf *path);
