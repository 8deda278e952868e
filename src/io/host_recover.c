// SPDX-License-Identifier: MIT
// What an earlier process left: open runs from the store, and which of their attempts were at
// workers when it died. Everything is read first, then handed to a new engine as events, oldest run
// first. Runs on the starting thread, before the engine's and the writer's.
#include "io/host_internal.h"

#include "base/log.h"

#include <stdlib.h>

struct recovery {
  struct orr_host *host;
  struct orr_link *first, *last; // events
  struct orr_in_flight_unit *units;
  size_t units_len;
  bool known;
  uint32_t lost;
  struct key {
    struct key *next;
    struct orr_slice text;
    struct orr_id run;
    struct orr_digest request;
    int64_t expires_ms;
    uint8_t bytes[];
  } * keys;
};

static size_t first_unit(const struct recovery *recovery, const struct orr_id *id) {
  size_t low = 0, high = recovery->units_len;
  while (low < high) {
    size_t middle = (low + high) / 2;
    if (orr_id_compare(&recovery->units[middle].run, id) < 0)
      low = middle + 1;
    else
      high = middle;
  }
  return low;
}

static void add_in_flight(const struct recovery *recovery, const struct orr_id *id,
                          struct orr_event *event) {
  event->recover.in_flight_known = recovery->known;
  size_t from = first_unit(recovery, id), to = from;
  while (to < recovery->units_len && orr_id_compare(&recovery->units[to].run, id) == 0) to++;
  if (to == from) return;
  event->recover.in_flight = orr_alloc((to - from) * sizeof *event->recover.in_flight);
  event->recover.in_flight_len = (uint32_t)(to - from);
  for (size_t i = from; i < to; i++)
    event->recover.in_flight[i - from] =
        (struct orr_unit_ref){recovery->units[i].step, recovery->units[i].item};
}

static void lose(struct recovery *recovery, const struct orr_id *id, const char *why) {
  char text[ORR_ID_TEXT + 1];
  orr_id_text(id, text);
  orr_log(ORR_LOG_ERROR, "recovery", "run %s stays closed: %s", text, why);
  recovery->lost++;
}

static void recover_run(void *context, enum orr_status status, const struct orr_id *id,
                        struct orr_slice journal, uint64_t last_pos) {
  struct recovery *recovery = context;
  const struct orr_host_options *options = &recovery->host->options;
  struct orr_reader reader = orr_reader_of(journal);
  struct orr_fact created;
  if (status != ORR_OK || orr_fact_decode(&reader, &created) != ORR_OK) {
    lose(recovery, id, "its journal is damaged");
    return;
  }
  struct orr_def *def = NULL;
  if (options->find_def != NULL)
    def = options->find_def(options->find_def_context, &created.created.generation,
                            created.created.pipeline);
  if (def == NULL) {
    lose(recovery, id, "its code is not in the store");
    return;
  }
  struct orr_event *event = orr_event_new(ORR_EVENT_RECOVER);
  event->recover.def = def;
  event->recover.journal = orr_blob_new(journal);
  event->recover.last_pos = last_pos;
  add_in_flight(recovery, id, event);
  event->link.next = NULL;
  if (recovery->last == NULL)
    recovery->first = &event->link;
  else
    recovery->last->next = &event->link;
  recovery->last = &event->link;
}

static void recover_key(void *context, struct orr_slice text, const struct orr_id *run,
                        const struct orr_digest *request, int64_t expires_ms) {
  struct recovery *recovery = context;
  struct key *key = orr_alloc(sizeof *key + text.len);
  memcpy(key->bytes, text.data, text.len);
  key->text = orr_slice_of(key->bytes, text.len);
  key->run = *run;
  key->request = *request;
  key->expires_ms = expires_ms;
  key->next = recovery->keys;
  recovery->keys = key;
}

static void feed_engine(struct recovery *recovery, const struct orr_now *now) {
  struct orr_engine *engine = recovery->host->engine;
  while (recovery->keys != NULL) {
    struct key *key = recovery->keys;
    recovery->keys = key->next;
    if (engine != NULL)
      orr_engine_remember_key(engine, key->text, &key->run, &key->request, key->expires_ms);
    free(key);
  }
  while (recovery->first != NULL) {
    struct orr_event *event = ORR_CONTAINER_OF(recovery->first, struct orr_event, link);
    recovery->first = recovery->first->next;
    if (engine != NULL)
      orr_engine_apply(engine, now, event);
    else
      orr_event_free(event);
  }
}

static void open_in_flight(struct orr_host *host, uint32_t slots) {
  // Given-up attempts keep their slot until their late result; hence some more than may be in
  // flight.
  uint32_t places = slots + slots / 4 + 64;
  orr__host_slots_init(host, places);
  if (host->options.in_flight_path == NULL) return;
  host->in_flight = orr_in_flight_open(host->options.in_flight_path, places);
  if (host->in_flight == NULL)
    orr_log(ORR_LOG_WARN, "recovery", "cannot make %s: attempts in flight are not tracked",
            host->options.in_flight_path);
}

enum orr_status orr__host_recover(struct orr_host *host, uint32_t *recovered) {
  struct recovery recovery = {.host = host};
  if (host->options.in_flight_path != NULL)
    recovery.known =
        orr_in_flight_read(host->options.in_flight_path, &recovery.units, &recovery.units_len);
  struct orr_store_recovered found = {
      .run = recover_run, .idempotency = recover_key, .context = &recovery};
  struct orr_now now = orr_clock_now();
  enum orr_status status = orr_store_recover(host->options.store, &found, now.wall_ms);
  if (status == ORR_OK) {
    uint32_t slots = host->workers_len * host->options.tasks_per_worker;
    struct orr_engine_config config = {
        .seed = host->options.seed, .next_pos = found.next_pos, .node = host->node, .slots = slots};
    now = orr_clock_now();
    host->engine = orr_engine_new(&config, &now);
    open_in_flight(host, slots);
  }
  feed_engine(&recovery, &now);
  if (status == ORR_OK) *recovered = orr_engine_live(host->engine);
  free(recovery.units);
  return status;
}
