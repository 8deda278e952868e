// SPDX-License-Identifier: MIT
// People: random pipelines in generations, submissions with and without idempotency keys, cancels,
// pauses, questions, and what they are told. Every answer is held against the models.
#include "world.h"

#include "base/check.h"

#include <stdio.h>
#include <stdlib.h>

#define KEYS 12u // idempotency keys in use
#define OPEN_RUNS_MAX 40u

// --- definitions
// -----------------------------------------------------------------------------------------

static void step_draw(struct world *w, uint32_t pipeline, struct orr_step_def *step) {
  uint32_t kind = sim_draw(w, 0, 99);
  step->kind = kind < 55   ? ORR_STEP_LUA
               : kind < 60 ? ORR_STEP_SHELL
               : kind < 65 ? ORR_STEP_HTTP
               : kind < 79 ? ORR_STEP_MAP
               : kind < 90 ? ORR_STEP_SLEEP
                           : ORR_STEP_RUN;
  if (step->kind == ORR_STEP_RUN && pipeline + 1 >= w->pipelines) step->kind = ORR_STEP_LUA;
  step->rule = sim_chance(w, 700) ? ORR_RULE_ALL_SUCCESS : (enum orr_rule)sim_draw(w, 0, 4);
  step->retry = (struct orr_retry){.attempts = sim_chance(w, 500) ? 1 : sim_draw(w, 2, 4),
                                   .delay_ms = sim_draw(w, 0, 1500),
                                   .backoff_permille = sim_draw(w, 1000, 3000),
                                   .delay_ms_max = sim_chance(w, 500) ? 0 : sim_draw(w, 1, 3000),
                                   .jitter = sim_chance(w, 500)};
  if (sim_chance(w, 300)) step->timeout_ms = sim_draw(w, 30, 5000);
  step->priority = (uint8_t)sim_draw(w, 0, 9);
  if (step->kind == ORR_STEP_MAP) step->parallel = sim_draw(w, 0, 3);
  if (step->kind == ORR_STEP_SLEEP && sim_chance(w, 600)) step->sleep_ms = sim_draw(w, 1, 6000);
  if (sim_chance(w, 120)) step->flags |= ORR_STEP_ONCE;
  if (sim_chance(w, 250)) step->flags |= ORR_STEP_UNDO;
  if (sim_chance(w, 120)) step->flags |= ORR_STEP_ON_SUCCESS;
  if (sim_chance(w, 120)) step->flags |= ORR_STEP_ON_FAILURE;
  if (sim_chance(w, 120)) step->flags |= ORR_STEP_ON_RETRY;
  if (sim_chance(w, 200)) step->flags |= ORR_STEP_HAS_WHEN;
  if (step->kind == ORR_STEP_RUN && sim_chance(w, 200)) step->flags |= ORR_STEP_NO_WAIT;
}

static void head_draw(struct world *w, struct orr_def *head) {
  head->script = "pipelines/sim.lua";
  head->description = "";
  if (sim_chance(w, 200)) head->timeout_ms = sim_draw(w, 300, 20000);
  head->priority = (uint8_t)sim_draw(w, 0, 9);
  head->has_output = sim_chance(w, 250);
  if (!sim_chance(w, 450)) return;
  head->concurrency = sim_draw(w, 1, 3);
  head->concurrency_active = sim_chance(w, 300);
  head->when_full =
      sim_chance(w, 600) ? ORR_WHEN_FULL_QUEUE : (enum orr_when_full)sim_draw(w, 0, 2);
  uint32_t key = sim_draw(w, 0, 2);
  if (key == 0) head->concurrency_key_path = ORR_SLICE_LITERAL("k");
  if (key == 1) head->concurrency_key_function = true;
}

static struct orr_def *def_make(struct world *w, uint32_t pipeline, uint32_t generation) {
  struct orr_def_builder *builder = orr_def_builder_new();
  char name[16], names[MODEL_STEPS_MAX][16], child[16];
  snprintf(name, sizeof(name), "p%u", pipeline);
  struct orr_def *head = orr_def_builder_head(builder);
  head->name = name;
  head_draw(w, head);
  head->version.bytes[0] = (uint8_t)(generation + 1);
  head->version.bytes[1] = (uint8_t)pipeline;
  uint32_t steps = sim_chance(w, 300) ? sim_draw(w, 1, MODEL_STEPS_MAX) : sim_draw(w, 1, 5);
  uint32_t place[MODEL_STEPS_MAX]; // order of declaration differs from the order of work
  for (uint32_t i = 0; i < steps; i++) {
    uint32_t at = sim_draw(w, 0, i);
    place[i] = place[at];
    place[at] = i;
  }
  for (uint32_t i = 0; i < steps; i++) {
    struct orr_step_def step = {.line = i + 1};
    step_draw(w, pipeline, &step);
    snprintf(names[i], sizeof(names[i]), "s%u", i);
    step.name = names[i];
    if (step.kind == ORR_STEP_RUN) {
      snprintf(child, sizeof(child), "p%u", sim_draw(w, pipeline + 1, w->pipelines - 1));
      step.child = child;
    }
    orr_def_builder_step(builder, &step);
  }
  for (uint32_t i = 1; i < steps; i++)
    for (uint32_t k = 0; k < i; k++)
      if (sim_chance(w, 1500 / i))
        orr_def_builder_after(builder, place[i], orr_slice_text(names[place[k]]));
  struct orr_def *def = NULL;
  struct orr_def_problem problem = {0};
  enum orr_status status = orr_def_builder_finish(builder, &def, &problem);
  if (status != ORR_OK) sim_fail(w, "a random definition is refused: %s", problem.message);
  orr_def_builder_free(builder);
  struct orr_digest digest = {{0}};
  digest.bytes[0] = (uint8_t)(generation + 1);
  orr_def_attach(def, &digest, NULL, NULL);
  return def;
}

struct orr_def *workload_def(struct world *w, const struct orr_digest *generation,
                             struct orr_slice pipeline) {
  uint32_t g = generation->bytes[0];
  if (g == 0 || g > w->generations || pipeline.len != 2 || pipeline.data[0] != 'p') return NULL;
  uint32_t index = (uint32_t)(pipeline.data[1] - '0');
  return index < w->pipelines ? w->defs[g - 1][index] : NULL;
}

static void generation_add(struct world *w) {
  uint32_t g = w->generations;
  bool some = g > 0;
  for (uint32_t i = 0; i < w->pipelines; i++) w->defs[g][i] = NULL;
  w->generations++;
  for (uint32_t i = 0; i < w->pipelines; i++) w->defs[g][i] = def_make(w, i, g);
  (void)some;
}

void workload_reload(struct world *w) {
  if (w->generations >= SIM_GENERATIONS_MAX) return;
  sim_say(w, "reload: generation %u", w->generations + 1);
  generation_add(w);
}

void workload_free(struct world *w) {
  for (uint32_t g = 0; g < w->generations; g++)
    for (uint32_t i = 0; i < w->pipelines; i++) orr_def_unref(w->defs[g][i]);
  free(w->requests);
}

void workload_start(struct world *w) {
  w->pipelines = w->options.small ? sim_draw(w, 1, 2) : sim_draw(w, 1, SIM_PIPELINES_MAX);
  w->submit_max = w->options.small ? sim_draw(w, 1, 3) : UINT32_MAX;
  w->submit_every_ms = sim_draw(w, 20, 2000);
  if (w->options.small) { // small worlds get their variety from the outcomes alone
    w->faults.error_permille = sim_draw(w, 0, 300);
    w->faults.skip_permille = sim_draw(w, 0, 200);
    w->submit_every_ms = sim_draw(w, 1, 200);
  }
  generation_add(w);
  sim_at(w, 1, SIM_SUBMIT, 0, 0);
}

// --- requests
// --------------------------------------------------------------------------------------------

static uint64_t request_new(struct world *w, struct sim_request request) {
  if (w->requests_len == w->requests_cap) {
    w->requests_cap = w->requests_cap == 0 ? 64 : w->requests_cap * 2;
    w->requests = orr_realloc(w->requests, w->requests_cap * sizeof(*w->requests));
  }
  request.epoch = w->epoch;
  w->requests[w->requests_len] = request;
  return w->requests_len++;
}

static struct orr_digest body_digest(uint32_t key, uint32_t body) {
  struct orr_digest digest = {{0}};
  digest.bytes[0] = (uint8_t)key;
  digest.bytes[1] = (uint8_t)body;
  return digest;
}

static void key_text(uint32_t key, char text[24]) { snprintf(text, 24, "key-%u", key); }

static uint32_t open_runs(const struct world *w) {
  uint32_t open = 0;
  for (uint32_t i = w->oracle.open; i < w->oracle.runs_len; i++) open += !w->oracle.runs[i]->final;
  return open;
}

void workload_submit(struct world *w) {
  if (w->submitted >= w->submit_max) return;
  sim_at(w, sim_draw(w, 1, w->submit_every_ms * 2), SIM_SUBMIT, 0, 0);
  if (w->engine == NULL || (w->draining && sim_chance(w, 700)) || open_runs(w) >= OPEN_RUNS_MAX)
    return;
  w->submitted++;
  uint32_t pipeline = sim_draw(w, 0, w->pipelines - 1);
  uint32_t generation = w->generations - 1;
  bool keyed = sim_chance(w, 200);
  uint32_t inputs = !keyed && sim_chance(w, 100) ? sim_draw(w, 2, 5) : 1;
  struct sim_request request = {.ask = SIM_ASK_SUBMIT,
                                .inputs = inputs,
                                .key = -1,
                                .run = UINT32_MAX,
                                .pipeline = pipeline,
                                .generation = generation};
  struct orr_event *event = orr_event_new(ORR_EVENT_SUBMIT);
  event->submit.def = orr_def_ref(w->defs[generation][pipeline]);
  event->submit.inputs = orr_alloc(inputs * sizeof(struct orr_blob *));
  event->submit.inputs_len = inputs;
  for (uint32_t i = 0; i < inputs; i++) {
    char input[48];
    int len = snprintf(input, sizeof(input), "{\"k\":\"k%u\",\"n\":%u}", sim_draw(w, 0, 2),
                       sim_draw(w, 0, 9999));
    event->submit.inputs[i] = orr_blob_new(orr_slice_of(input, (size_t)len));
  }
  snprintf(event->submit.trigger, sizeof(event->submit.trigger), "sim");
  event->submit.watch = sim_chance(w, 100);
  if (keyed) {
    char text[24];
    request.key = (int32_t)sim_draw(w, 0, KEYS - 1);
    request.body = sim_chance(w, 100);
    key_text((uint32_t)request.key, text);
    event->submit.idempotency_key = orr_blob_new(orr_slice_text(text));
    event->submit.request = body_digest((uint32_t)request.key, request.body);
  }
  event->reply_to.port = w;
  event->reply_to.token = request_new(w, request);
  sim_post(w, event);
}

// A random run that may be open; UINT32_MAX: none.
static uint32_t run_pick(struct world *w) {
  const struct oracle *o = &w->oracle;
  if (o->runs_len == 0) return UINT32_MAX;
  uint32_t low = o->open < o->runs_len ? o->open : o->runs_len - 1;
  if (sim_chance(w, 50)) low = 0; // also those that are long gone
  uint32_t index = sim_draw(w, low, o->runs_len - 1);
  return o->runs[index]->gone ? UINT32_MAX : index;
}

static void control_post(struct world *w, enum sim_ask ask, uint32_t run) {
  struct orr_event *event = orr_event_new(ask == SIM_ASK_CANCEL  ? ORR_EVENT_CANCEL
                                          : ask == SIM_ASK_PAUSE ? ORR_EVENT_PAUSE
                                                                 : ORR_EVENT_RESUME);
  event->control.id = w->oracle.runs[run]->id;
  snprintf(event->control.reason, sizeof(event->control.reason), "by hand");
  event->reply_to.port = w;
  event->reply_to.token = request_new(w, (struct sim_request){.ask = ask, .run = run});
  sim_post(w, event);
}

void workload_control(struct world *w) {
  uint32_t run = run_pick(w);
  if (w->engine == NULL || run == UINT32_MAX) return;
  uint32_t what = sim_draw(w, 0, 9);
  enum sim_ask ask = what < 3 ? SIM_ASK_CANCEL : what < 6 ? SIM_ASK_PAUSE : SIM_ASK_RESUME;
  if (ask == SIM_ASK_PAUSE) // most pauses end
    sim_at(w, sim_draw(w, 1, 3000), SIM_CONTROL, 0, 0);
  control_post(w, ask, run);
}

void workload_resume_all(struct world *w) {
  for (uint32_t i = w->oracle.open; i < w->oracle.runs_len; i++)
    if (!w->oracle.runs[i]->final && !w->oracle.runs[i]->gone) control_post(w, SIM_ASK_RESUME, i);
}

static void query_fetch(struct world *w) {
  if (w->open_len == 0) return;
  const struct sim_attempt *attempt = &w->attempts[w->open[sim_draw(w, 0, w->open_len - 1)]];
  if (attempt->task == NULL || attempt->op == ORR_OP_KEY || attempt->op == ORR_OP_OUTPUT) return;
  const struct orr_def *def = attempt->task->def;
  uint32_t step = sim_draw(w, 0, def->steps_len - 1);
  if (!orr_def_is_ancestor(def, step, attempt->step)) return;
  struct orr_event *event = orr_event_new(ORR_EVENT_FETCH);
  event->fetch.run_handle = attempt->task->run_handle;
  event->fetch.run_id = attempt->task->run_id;
  event->fetch.step = step;
  event->reply_to.port = w;
  event->reply_to.token =
      request_new(w, (struct sim_request){.ask = SIM_ASK_FETCH, .run = attempt->run, .step = step});
  sim_post(w, event);
}

void workload_query(struct world *w) {
  if (w->engine == NULL) return;
  uint32_t what = sim_draw(w, 0, 3), run = run_pick(w);
  if (what == 0 && sim_chance(w, 500) && run != UINT32_MAX) {
    struct orr_event *event = orr_event_new(ORR_EVENT_AWAIT);
    event->get.id = w->oracle.runs[run]->id;
    event->reply_to.port = w;
    event->reply_to.token = request_new(w, (struct sim_request){.ask = SIM_ASK_AWAIT, .run = run});
    sim_post(w, event);
  } else if (what == 0) {
    query_fetch(w);
  } else if (what == 1) {
    struct orr_event *event = orr_event_new(ORR_EVENT_LIST);
    event->list.limit = sim_draw(w, 1, 10);
    event->list.status =
        sim_chance(w, 500) ? -1 : (int32_t)sim_draw(w, 0, ORR_RUN_STATUS_COUNT - 1);
    event->reply_to.port = w;
    event->reply_to.token =
        request_new(w, (struct sim_request){.ask = SIM_ASK_LIST, .run = UINT32_MAX});
    sim_post(w, event);
  } else if (what == 2 && run != UINT32_MAX) {
    struct orr_event *event = orr_event_new(ORR_EVENT_GET);
    event->get.id = w->oracle.runs[run]->id;
    event->reply_to.port = w;
    event->reply_to.token = request_new(w, (struct sim_request){.ask = SIM_ASK_GET, .run = run});
    sim_post(w, event);
  } else if (run != UINT32_MAX) {
    struct orr_event *event = orr_event_new(ORR_EVENT_WATCH);
    event->watch.id = w->oracle.runs[run]->id;
    event->watch.on = sim_chance(w, 500);
    sim_post(w, event);
  }
}

// --- answers
// -----------------------------------------------------------------------------------------------

static const struct model_key *key_find(const struct world *w, uint32_t key) {
  char text[24];
  key_text(key, text);
  for (uint32_t i = 0; i < w->oracle.keys_len; i++)
    if (strcmp(w->oracle.keys[i].text, text) == 0) return &w->oracle.keys[i];
  return NULL;
}

// Everything a person is told must be on disk: rows of batches that are not heard do not count.
static bool durable(const struct world *w, const struct model_run *run) {
  return run->rows_len > 0 && run->rows[0].batch <= w->pending[0].number + w->committing - 1;
}

static void answer_submit(struct world *w, const struct sim_request *request,
                          const struct orr_reply *reply) {
  if (reply->status == ORR_ERR_UNAVAILABLE) {
    sim_check(w, w->draining, "a submission is refused without a drain");
    return;
  }
  const struct model_key *key = request->key >= 0 ? key_find(w, (uint32_t)request->key) : NULL;
  if (reply->status == ORR_ERR_CONFLICT) {
    struct orr_digest digest = body_digest((uint32_t)request->key, request->body);
    sim_check(w, key != NULL && !orr_digest_equal(&key->request, &digest),
              "I27: a key conflicts with nothing");
    return;
  }
  sim_check(w, reply->status == ORR_OK && reply->ids_len == request->inputs,
            "a submission is answered by %s", orr_status_text(reply->status));
  for (uint32_t i = 0; i < reply->ids_len; i++) {
    struct model_run *run = oracle_find(w, &reply->ids[i], NULL);
    sim_check(w, run != NULL && !run->gone && durable(w, run),
              "I1: a run is acknowledged before its row is kept");
    run->acknowledged = true;
  }
  if (request->key < 0) return;
  struct orr_digest digest = body_digest((uint32_t)request->key, request->body);
  sim_check(w, key != NULL && orr_id_compare(&key->run, &reply->ids[0]) == 0,
            "I27: a key gives another run");
  sim_check(w, orr_digest_equal(&key->request, &digest), "I27: another request under the same key");
}

static void answer_control(struct world *w, const struct sim_request *request,
                           const struct orr_reply *reply) {
  struct model_run *run = w->oracle.runs[request->run];
  switch ((int)reply->status) {
  case ORR_OK:
    if (request->ask == SIM_ASK_CANCEL) {
      sim_check(w, run->cancelled, "a cancel is acknowledged and not recorded");
      run->cancel_acknowledged = true;
    }
    if (request->ask == SIM_ASK_PAUSE)
      sim_check(w, run->ever_paused, "a pause is acknowledged and not recorded");
    break;
  case ORR_ERR_CONFLICT:
    sim_check(w, run->final || run->cancelled, "a control is refused without a reason");
    break;
  case ORR_ERR_NOT_FOUND:
    sim_check(w, run->gathered || run->gone, "I1: a run is not found");
    break;
  default:
    sim_fail(w, "a control is answered by %s", orr_status_text(reply->status));
  }
}

static void answer_get(struct world *w, const struct sim_request *request,
                       const struct orr_reply *reply) {
  const struct model_run *run = w->oracle.runs[request->run];
  if (reply->status == ORR_ERR_NOT_FOUND) {
    sim_check(w, run->gathered || run->gone, "I1: a run is not found");
    return;
  }
  sim_check(w, reply->status == ORR_OK, "a run is asked for: %s", orr_status_text(reply->status));
  struct orr_slice journal = orr_blob_slice(reply->journal);
  uint64_t heard = w->pending[0].number + w->committing - 1, kept = 0;
  for (uint32_t i = 0; i < run->rows_len && run->rows[i].batch <= heard; i++)
    kept += run->rows[i].len;
  sim_check(w, journal.len <= kept, "a reader is shown what is not kept yet");
  sim_check(w, orr_slice_equal(journal, orr_slice_of(run->journal.data, journal.len)),
            "a reader is shown another journal");
  bool reason = reply->reasons_len > 0 || reply->attempts_len > 0;
  sim_check(w, orr_run_status_final(reply->run_status) || reason,
            "promise 9: run %u is %s without a reason", request->run,
            orr_run_status_text(reply->run_status));
}

static void answer_await(struct world *w, const struct sim_request *request,
                         const struct orr_reply *reply) {
  const struct model_run *run = w->oracle.runs[request->run];
  if (reply->status == ORR_ERR_NOT_FOUND) {
    sim_check(w, run->gathered || run->gone, "I1: a run is not found");
    return;
  }
  sim_check(w, reply->status == ORR_OK && run->final && reply->run_status == run->status,
            "the end of a run is told otherwise than it is recorded");
  sim_check(w, run->rows[run->rows_len - 1].batch <= w->batch_heard + 1,
            "the end of a run is told before it is kept");
}

static void answer_list(struct world *w, const struct orr_reply *reply) {
  sim_check(w, reply->status == ORR_OK, "a list fails");
  for (uint32_t i = 0; i < reply->runs_len; i++) {
    const struct model_run *run = oracle_find(w, &reply->runs[i].id, NULL);
    sim_check(w, run != NULL && !run->gone && durable(w, run), "a list shows what is not kept yet");
    sim_check(w, i == 0 || orr_id_compare(&reply->runs[i - 1].id, &reply->runs[i].id) > 0,
              "a list is out of order");
  }
}

static void answer_fetch(struct world *w, const struct sim_request *request,
                         const struct orr_reply *reply) {
  struct model_run *run = w->oracle.runs[request->run];
  if (reply->status != ORR_OK) {
    sim_check(w, run->final, "a result is not found");
    return;
  }
  const struct model_unit *unit = model_unit(run, request->step, 0);
  if (unit->outcome == ORR_STEP_STATUS_PENDING) return;
  sim_check(w,
            orr_slice_equal(orr_blob_slice(reply->value),
                            model_bytes(run, unit->value_at, unit->value_len)),
            "a result that is fetched is another one (run %u step %u, status %u and %u)",
            request->run, request->step, reply->step_status, unit->outcome);
}

void workload_reply(struct world *w, struct orr_reply *reply) {
  if (reply->to.port == NULL) { // of a recovery
    sim_check(w, reply->status == ORR_OK, "a run is not recovered: %s", reply->message);
    orr_reply_free(reply);
    return;
  }
  sim_check(w, reply->to.port == w && reply->to.token < w->requests_len, "an answer to nobody");
  struct sim_request *request = &w->requests[reply->to.token];
  sim_check(w, request->epoch == w->epoch && !request->answered, "a question is answered twice");
  request->answered = true;
  sim_trace(w, reply->to.token << 8 ^ (uint64_t)reply->status);
  switch (request->ask) {
  case SIM_ASK_SUBMIT:
    answer_submit(w, request, reply);
    break;
  case SIM_ASK_CANCEL:
  case SIM_ASK_PAUSE:
  case SIM_ASK_RESUME:
    answer_control(w, request, reply);
    break;
  case SIM_ASK_GET:
    answer_get(w, request, reply);
    break;
  case SIM_ASK_AWAIT:
    answer_await(w, request, reply);
    break;
  case SIM_ASK_LIST:
    answer_list(w, reply);
    break;
  case SIM_ASK_FETCH:
    answer_fetch(w, request, reply);
    break;
  }
  orr_reply_free(reply);
}
