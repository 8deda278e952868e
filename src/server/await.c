// SPDX-License-Identifier: MIT
// See await.h. The engine answers ORR_EVENT_AWAIT after the run's last row is committed.
#include "server/await.h"

#include "base/json.h"
#include "base/limits.h"
#include "io/host.h"

#include <stdatomic.h>
#include <string.h>

static _Atomic uint32_t waiting; // civetweb threads of this process that wait here

enum orr_status orr_await_parse(const char *query, uint64_t *wait_ms) {
  *wait_ms = 0;
  for (const char *at = query; at != NULL && *at != '\0'; at = strchr(at, '&'), at += at != NULL) {
    if (strncmp(at, "wait=", 5) != 0) continue;
    uint64_t ms;
    enum orr_status status = orr_duration_parse(orr_slice_of(at + 5, strcspn(at + 5, "&")), &ms);
    if (status != ORR_OK) return ORR_ERR_INVALID;
    *wait_ms = ms < ORR_HTTP_WAIT_MS_MAX ? ms : ORR_HTTP_WAIT_MS_MAX;
  }
  return ORR_OK;
}

static void ended(const struct orr_reply *reply, struct orr_answer *answer) {
  const struct orr_run_summary *run = &reply->runs[0];
  bool succeeded = reply->run_status == ORR_RUN_SUCCEEDED;
  struct orr_slice value = orr_blob_slice(reply->value);
  char id[ORR_ID_TEXT + 1], version[65];
  orr_id_text(&run->id, id);
  orr_digest_text(&run->def->version, version);
  answer->status = 200;
  orr_buf_clear(&answer->body);
  orr_buf_printf(&answer->body, "{\"id\":\"%s\",\"pipeline\":\"%s\",\"version\":\"%s\",\"status\":\"%s\"", id,
                 run->def->name, version, orr_run_status_text(reply->run_status));
  orr_json_key(&answer->body, succeeded ? "output" : "error");
  if (value.len > 0) orr_buf_slice_append(&answer->body, value);
  else orr_buf_text(&answer->body, "null");
  orr_json_key(&answer->body, "created_at");
  orr_json_time(&answer->body, run->created_ms);
  orr_json_key(&answer->body, "finished_at");
  orr_json_time(&answer->body, run->finished_ms);
  orr_buf_u8(&answer->body, '}');
}

void orr_await_answer(struct orr_host *host, const struct orr_id *id, uint64_t wait_ms, struct orr_answer *answer) {
  if (atomic_fetch_add(&waiting, 1) < ORR_HTTP_LIVE_MAX) {
    struct orr_event *event = orr_event_new(ORR_EVENT_AWAIT);
    event->get.id = *id;
    struct orr_reply *reply = NULL;
    if (orr_host_ask(host, event, wait_ms, &reply) == ORR_OK && reply->status == ORR_OK) ended(reply, answer);
    if (reply != NULL) orr_reply_free(reply);
  }
  atomic_fetch_sub(&waiting, 1);
}
