// SPDX-License-Identifier: MIT
// The map of attempts in flight: a header page and slots of 32 bytes. Invariant: a slot counts only
// if its check value fits its content, so one that was being written at the kill is as if it were
// empty: its attempt had not been handed to a worker yet, or its result was committed already.
#include "io/in_flight.h"

#include "base/check.h"
#include "base/hash.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAGIC "ORRFLY1"
#define HEADER_BYTES 4096u

struct header {
  char magic[8];
  char boot[40];
  uint32_t slots;
  uint32_t incomplete; // an attempt found no slot
};
struct slot {
  uint8_t run[ORR_ID_BYTES];
  uint32_t step, item;
  uint64_t check; // 0: empty
};

struct orr_in_flight {
  struct header *header;
  struct slot *slots;
  uint32_t slots_len;
  size_t bytes;
};

static void boot_id(char boot[40]) {
  memset(boot, 0, 40);
  int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
  if (fd < 0) return;
  ssize_t got = read(fd, boot, 36);
  if (got != 36) memset(boot, 0, 40);
  close(fd);
}

static uint64_t check_of(const struct slot *slot) {
  uint64_t check = orr_hash64(1, orr_slice_of(slot, offsetof(struct slot, check)));
  return check != 0 ? check : 1;
}

static int by_run(const void *a, const void *b) {
  const struct orr_in_flight_unit *left = a, *right = b;
  int order = orr_id_compare(&left->run, &right->run);
  if (order != 0) return order;
  if (left->step != right->step) return left->step < right->step ? -1 : 1;
  return left->item < right->item ? -1 : left->item > right->item;
}

static bool usable(const struct header *header, size_t bytes) {
  char boot[40];
  boot_id(boot);
  return memcmp(header->magic, MAGIC, sizeof header->magic) == 0 && boot[0] != 0 &&
         memcmp(header->boot, boot, sizeof boot) == 0 && header->incomplete == 0 &&
         bytes == HEADER_BYTES + (size_t)header->slots * sizeof(struct slot);
}

bool orr_in_flight_read(const char *path, struct orr_in_flight_unit **units, size_t *units_len) {
  bool known = false;
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return false;
  struct stat info;
  if (fstat(fd, &info) != 0 || info.st_size < (off_t)HEADER_BYTES) goto out;
  size_t bytes = (size_t)info.st_size;
  void *memory = mmap(NULL, bytes, PROT_READ, MAP_PRIVATE, fd, 0);
  if (memory == MAP_FAILED) goto out;
  const struct header *header = memory;
  known = usable(header, bytes);
  if (known) {
    const struct slot *slots = (const void *)((const char *)memory + HEADER_BYTES);
    *units = orr_alloc((header->slots + 1) * sizeof **units);
    *units_len = 0;
    for (uint32_t i = 0; i < header->slots; i++) {
      if (slots[i].check == 0 || slots[i].check != check_of(&slots[i])) continue;
      struct orr_in_flight_unit *unit = &(*units)[(*units_len)++];
      memcpy(unit->run.bytes, slots[i].run, ORR_ID_BYTES);
      unit->step = slots[i].step;
      unit->item = slots[i].item;
    }
    if (*units_len > 1) qsort(*units, *units_len, sizeof **units, by_run);
  }
  munmap(memory, bytes);
out:
  close(fd);
  return known;
}

// Made aside and renamed into place: a half-made file never stands under the name.
struct orr_in_flight *orr_in_flight_open(const char *path, uint32_t slots) {
  struct orr_in_flight *map = NULL;
  struct orr_buf aside = ORR_BUF_INIT;
  orr_buf_printf(&aside, "%s.new", path);
  int fd = open(orr_buf_cstr(&aside), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  if (fd < 0) goto out;
  size_t bytes = HEADER_BYTES + (size_t)slots * sizeof(struct slot);
  // Allocated, not only sized: a full disk must not become a SIGBUS later.
  if (posix_fallocate(fd, 0, (off_t)bytes) != 0) goto out;
  void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (memory == MAP_FAILED) goto out;
  map = orr_alloc(sizeof *map);
  *map = (struct orr_in_flight){memory, (void *)((char *)memory + HEADER_BYTES), slots, bytes};
  memcpy(map->header->magic, MAGIC, sizeof map->header->magic);
  boot_id(map->header->boot);
  map->header->slots = slots;
  if (rename(orr_buf_cstr(&aside), path) != 0) {
    orr_in_flight_close(map);
    map = NULL;
  }
out:
  if (fd >= 0) close(fd);
  orr_buf_free(&aside);
  return map;
}

void orr_in_flight_close(struct orr_in_flight *map) {
  if (map == NULL) return;
  munmap(map->header, map->bytes);
  free(map);
}

void orr_in_flight_set(struct orr_in_flight *map, uint32_t slot,
                       const struct orr_in_flight_unit *unit) {
  if (slot == ORR_IN_FLIGHT_NONE) {
    map->header->incomplete = 1;
    return;
  }
  orr_assert(slot < map->slots_len);
  struct slot *place = &map->slots[slot];
  memcpy(place->run, unit->run.bytes, ORR_ID_BYTES);
  place->step = unit->step;
  place->item = unit->item;
  place->check = check_of(place);
}

void orr_in_flight_clear(struct orr_in_flight *map, uint32_t slot) {
  if (slot == ORR_IN_FLIGHT_NONE) return;
  orr_assert(slot < map->slots_len);
  map->slots[slot].check = 0;
}
