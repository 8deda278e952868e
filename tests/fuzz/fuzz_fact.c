// SPDX-License-Identifier: MIT
// The journal codec. First byte chooses: arbitrary bytes; one body under a right checksum; facts
// built from choices, which must come back field by field, and whose damage must be seen; a whole
// journal, folded into a run, which may be refused but never breaks the run.
#include "base/check.h"
#include "core/def.h"
#include "core/run.h"
#include "fuzz_input.h"

#include <stdlib.h>

static const enum orr_fact_type TYPES[] = {
#define X(name, value, text) ORR_FACT_##name,
    ORR_FACT_LIST(X)
#undef X
};
#define TYPES_LEN (sizeof(TYPES) / sizeof(TYPES[0]))

static struct orr_unit_ref unit_of(struct fuzz_input *input) {
  struct orr_unit_ref unit = {fuzz_u8(input) % 8, fuzz_u8(input) % 4};
  return unit;
}

static void fact_of(struct fuzz_input *input, enum orr_fact_type type, struct orr_buf *extra,
                    struct orr_fact *fact) {
  *fact = (struct orr_fact){.type = type, .at_ms = (int64_t)fuzz_u64(input)};
  switch (type) {
  case ORR_FACT_CREATED:
    for (int i = 0; i < 16; i++) fact->created.id.bytes[i] = fuzz_u8(input);
    fact->created.pipeline = fuzz_slice(input);
    fact->created.generation.bytes[0] = fuzz_u8(input);
    fact->created.version.bytes[31] = fuzz_u8(input);
    fact->created.input = fuzz_slice(input);
    if (fuzz_u8(input) & 1) {
      fact->created.parent.bytes[3] = 1;
      fact->created.parent_step = fuzz_u32(input);
      fact->created.parent_item = fuzz_u32(input);
    }
    fact->created.trigger = fuzz_slice(input);
    fact->created.idempotency_key = fuzz_slice(input);
    fact->created.concurrency_key = fuzz_slice(input);
    fact->created.deadline_ms = (int64_t)fuzz_u64(input);
    fact->created.seed = fuzz_u64(input);
    fact->created.depth = fuzz_u32(input);
    break;
  case ORR_FACT_KEY:
    fact->key.key = fuzz_slice(input);
    break;
  case ORR_FACT_ADMITTED:
    break;
  case ORR_FACT_STARTED:
    fact->started.unit = unit_of(input);
    fact->started.attempt = fuzz_u8(input);
    break;
  case ORR_FACT_FINISHED:
  case ORR_FACT_RETRY:
  case ORR_FACT_LATE:
  case ORR_FACT_UNDONE:
    fact->finished.unit = unit_of(input);
    fact->finished.attempt = fuzz_u8(input) % 5;
    fact->finished.status = fuzz_u8(input) % ORR_STEP_STATUS_COUNT;
    fact->finished.flags = fuzz_u8(input) % 8;
    fact->finished.started_ms = (int64_t)fuzz_u64(input);
    fact->finished.finished_ms = (int64_t)fuzz_u64(input);
    fact->finished.value = fuzz_slice(input);
    fact->finished.state =
        fuzz_u8(input) & 1 ? ORR_SLICE_LITERAL("{\"a\":1,\"b\":null}") : fuzz_slice(input);
    fact->finished.until_ms = (int64_t)fuzz_u64(input);
    fact->finished.node = fuzz_slice(input);
    break;
  case ORR_FACT_WAITING:
    fact->waiting.unit = unit_of(input);
    fact->waiting.attempt = fuzz_u8(input) % 5;
    fact->waiting.started_ms = (int64_t)fuzz_u64(input);
    fact->waiting.until_ms = (int64_t)fuzz_u64(input);
    fact->waiting.value = fuzz_slice(input);
    break;
  case ORR_FACT_EXPANDED:
    fact->expanded.step = fuzz_u8(input) % 8;
    fact->expanded.count = fuzz_u8(input) % 4;
    fact->expanded.attempt = fuzz_u8(input) % 5;
    fact->expanded.started_ms = (int64_t)fuzz_u64(input);
    for (uint32_t i = 0; i < fact->expanded.count; i++) orr_buf_bytes(extra, fuzz_slice(input));
    if (fuzz_u8(input) == 7) fact->expanded.count = fuzz_u32(input); // a count that lies
    fact->expanded.items = orr_buf_slice(extra);
    break;
  case ORR_FACT_CHILD:
    fact->child.unit = unit_of(input);
    fact->child.attempt = fuzz_u8(input) % 5;
    fact->child.started_ms = (int64_t)fuzz_u64(input);
    fact->child.child.bytes[0] = fuzz_u8(input);
    break;
  case ORR_FACT_RECOVERED:
    fact->recovered.count = fuzz_u8(input) % 4;
    for (uint32_t i = 0; i < fact->recovered.count; i++) {
      orr_buf_varint(extra, fuzz_u8(input) % 8);
      orr_buf_varint(extra, fuzz_u8(input) % 4);
    }
    orr_buf_varint(extra, fuzz_u8(input) & 1);
    fact->recovered.units = orr_buf_slice(extra);
    break;
  case ORR_FACT_PAUSED:
  case ORR_FACT_RESUMED:
  case ORR_FACT_CANCEL:
    fact->paused.reason = fuzz_slice(input);
    break;
  case ORR_FACT_OUTPUT:
    fact->output.status = fuzz_u8(input) % ORR_STEP_STATUS_COUNT;
    fact->output.value = fuzz_slice(input);
    break;
  case ORR_FACT_RUN_FINISHED:
    fact->run_finished.status = fuzz_u8(input) % ORR_RUN_STATUS_COUNT;
    fact->run_finished.output = fuzz_slice(input);
    fact->run_finished.error = fuzz_slice(input);
    break;
  }
}

// --- fields come back
// ----------------------------------------------------------------------------------

#define same(a, b) orr_assert((a) == (b))
#define same_slice(a, b) orr_assert(orr_slice_equal((a), (b)))
#define same_unit(a, b) orr_assert((a).step == (b).step && (a).item == (b).item)

static void check_same(const struct orr_fact *a, const struct orr_fact *b) {
  same(a->type, b->type);
  same(a->at_ms, b->at_ms);
  switch (a->type) {
  case ORR_FACT_CREATED:
    orr_assert(memcmp(&a->created.id, &b->created.id, sizeof(a->created.id)) == 0);
    orr_assert(memcmp(&a->created.parent, &b->created.parent, sizeof(a->created.parent)) == 0);
    orr_assert(orr_digest_equal(&a->created.generation, &b->created.generation));
    orr_assert(orr_digest_equal(&a->created.version, &b->created.version));
    same_slice(a->created.pipeline, b->created.pipeline);
    same_slice(a->created.input, b->created.input);
    same(a->created.parent_step, b->created.parent_step);
    same(a->created.parent_item, b->created.parent_item);
    same_slice(a->created.trigger, b->created.trigger);
    same_slice(a->created.idempotency_key, b->created.idempotency_key);
    same_slice(a->created.concurrency_key, b->created.concurrency_key);
    same(a->created.deadline_ms, b->created.deadline_ms);
    same(a->created.seed, b->created.seed);
    same(a->created.depth, b->created.depth);
    break;
  case ORR_FACT_KEY:
    same_slice(a->key.key, b->key.key);
    break;
  case ORR_FACT_ADMITTED:
    break;
  case ORR_FACT_STARTED:
    same_unit(a->started.unit, b->started.unit);
    same(a->started.attempt, b->started.attempt);
    break;
  case ORR_FACT_FINISHED:
  case ORR_FACT_RETRY:
  case ORR_FACT_LATE:
  case ORR_FACT_UNDONE:
    same_unit(a->finished.unit, b->finished.unit);
    same(a->finished.attempt, b->finished.attempt);
    same(a->finished.status, b->finished.status);
    same(a->finished.flags, b->finished.flags);
    same(a->finished.started_ms, b->finished.started_ms);
    same(a->finished.finished_ms, b->finished.finished_ms);
    same_slice(a->finished.value, b->finished.value);
    same_slice(a->finished.state, b->finished.state);
    same(a->finished.until_ms, b->finished.until_ms);
    same_slice(a->finished.node, b->finished.node);
    break;
  case ORR_FACT_WAITING:
    same_unit(a->waiting.unit, b->waiting.unit);
    same(a->waiting.attempt, b->waiting.attempt);
    same(a->waiting.started_ms, b->waiting.started_ms);
    same(a->waiting.until_ms, b->waiting.until_ms);
    same_slice(a->waiting.value, b->waiting.value);
    break;
  case ORR_FACT_EXPANDED:
    same(a->expanded.step, b->expanded.step);
    same(a->expanded.count, b->expanded.count);
    same(a->expanded.attempt, b->expanded.attempt);
    same(a->expanded.started_ms, b->expanded.started_ms);
    same_slice(a->expanded.items, b->expanded.items);
    break;
  case ORR_FACT_CHILD:
    same_unit(a->child.unit, b->child.unit);
    same(a->child.attempt, b->child.attempt);
    same(a->child.started_ms, b->child.started_ms);
    orr_assert(memcmp(&a->child.child, &b->child.child, sizeof(a->child.child)) == 0);
    break;
  case ORR_FACT_RECOVERED:
    same(a->recovered.count, b->recovered.count);
    same_slice(a->recovered.units, b->recovered.units);
    break;
  case ORR_FACT_PAUSED:
  case ORR_FACT_RESUMED:
  case ORR_FACT_CANCEL:
    same_slice(a->paused.reason, b->paused.reason);
    break;
  case ORR_FACT_OUTPUT:
    same(a->output.status, b->output.status);
    same_slice(a->output.value, b->output.value);
    break;
  case ORR_FACT_RUN_FINISHED:
    same(a->run_finished.status, b->run_finished.status);
    same_slice(a->run_finished.output, b->run_finished.output);
    same_slice(a->run_finished.error, b->run_finished.error);
    break;
  }
}

// Whatever decodes is written and read again as the same fact.
static void check_again(const struct orr_fact *fact) {
  struct orr_buf bytes = ORR_BUF_INIT;
  orr_fact_encode(fact, &bytes);
  struct orr_reader reader = orr_reader_of(orr_buf_slice(&bytes));
  struct orr_fact again;
  orr_assert(orr_fact_decode(&reader, &again) == ORR_OK && reader.at == reader.end);
  check_same(fact, &again);
  orr_assert(orr_fact_decode(&reader, &again) == ORR_ERR_NOT_FOUND);
  orr_buf_free(&bytes);
}

static void read_all(struct orr_slice bytes) {
  struct orr_reader reader = orr_reader_of(bytes);
  struct orr_fact fact;
  for (;;) {
    const uint8_t *before = reader.at;
    enum orr_status status = orr_fact_decode(&reader, &fact);
    if (status != ORR_OK) {
      orr_assert(status == ORR_ERR_NOT_FOUND ? before == reader.end : status == ORR_ERR_CORRUPT);
      orr_assert(reader.at == before);
      return;
    }
    orr_assert(reader.at > before && reader.at <= reader.end);
    check_again(&fact);
  }
}

static void body(struct orr_slice bytes) {
  struct orr_buf record = ORR_BUF_INIT;
  orr_buf_bytes(&record, bytes);
  orr_buf_u32le(&record, orr_crc32c(0, bytes));
  read_all(orr_buf_slice(&record));
  orr_buf_free(&record);
}

// --- built facts
// ---------------------------------------------------------------------------------------

static void built(struct fuzz_input *input) {
  struct orr_buf extra = ORR_BUF_INIT, bytes = ORR_BUF_INIT;
  struct orr_fact fact, read;
  fact_of(input, TYPES[fuzz_u8(input) % TYPES_LEN], &extra, &fact);
  orr_fact_encode(&fact, &bytes);
  struct orr_reader reader = orr_reader_of(orr_buf_slice(&bytes));
  orr_assert(orr_fact_decode(&reader, &read) == ORR_OK && reader.at == reader.end);
  check_same(&fact, &read);
  // Cut anywhere, or one bit turned anywhere: never taken for a fact.
  size_t cut = fuzz_u32(input) % bytes.len;
  reader = orr_reader_of(orr_slice_of(bytes.data, cut));
  orr_assert(orr_fact_decode(&reader, &read) == (cut == 0 ? ORR_ERR_NOT_FOUND : ORR_ERR_CORRUPT));
  size_t bit = fuzz_u32(input) % (bytes.len * 8);
  bytes.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
  reader = orr_reader_of(orr_buf_slice(&bytes));
  orr_assert(orr_fact_decode(&reader, &read) == ORR_ERR_CORRUPT);
  orr_buf_free(&extra);
  orr_buf_free(&bytes);
}

// --- folding
// -------------------------------------------------------------------------------------------

static struct orr_def *fold_def(uint8_t shape) {
  struct orr_def_builder *builder = orr_def_builder_new();
  struct orr_def *head = orr_def_builder_head(builder);
  head->name = "fuzz";
  head->script = "f.lua";
  head->description = "";
  head->concurrency = shape & 1;
  head->concurrency_key_function = (shape & 2) != 0;
  static const char *const NAMES[] = {"a", "b", "c", "d", "e"};
  static const enum orr_step_kind KINDS[] = {ORR_STEP_LUA, ORR_STEP_MAP, ORR_STEP_SLEEP,
                                             ORR_STEP_RUN, ORR_STEP_LUA};
  for (uint32_t i = 0; i < 5; i++) {
    struct orr_step_def step = {.name = NAMES[i],
                                .kind = KINDS[i],
                                .retry = {.attempts = 3, .backoff_permille = 1000},
                                .child = KINDS[i] == ORR_STEP_RUN ? "x" : NULL,
                                .rule = (enum orr_rule)((shape >> 2) % 5),
                                .flags = i == 0 ? ORR_STEP_UNDO : 0};
    orr_def_builder_step(builder, &step);
  }
  orr_def_builder_after(builder, 1, orr_slice_text("a"));
  orr_def_builder_after(builder, 3, orr_slice_text("b"));
  orr_def_builder_after(builder, 4, orr_slice_text("b"));
  orr_def_builder_after(builder, 4, orr_slice_text("c"));
  struct orr_def *def = NULL;
  struct orr_def_problem problem;
  orr_assert(orr_def_builder_finish(builder, &def, &problem) == ORR_OK);
  orr_def_builder_free(builder);
  return def;
}

static void fold(struct fuzz_input *input) {
  struct orr_def *def = fold_def(fuzz_u8(input));
  struct orr_run *run = orr_run_new(def);
  for (uint32_t i = 0; i < 40 && input->at < input->end; i++) {
    struct orr_buf extra = ORR_BUF_INIT, bytes = ORR_BUF_INIT;
    struct orr_fact fact;
    enum orr_fact_type type = i == 0 ? ORR_FACT_CREATED : TYPES[fuzz_u8(input) % TYPES_LEN];
    fact_of(input, type, &extra, &fact);
    uint32_t facts = run->facts;
    uint64_t before = orr_run_fingerprint(run);
    orr_fact_encode(&fact, &bytes);
    if (orr_run_load(run, orr_buf_slice(&bytes)) == ORR_OK)
      orr_assert(run->facts == facts + 1);
    else // refused: the run is as it was
      orr_assert(run->facts == facts && orr_run_fingerprint(run) == before);
    orr_buf_free(&extra);
    orr_buf_free(&bytes);
  }
  struct orr_run *again = orr_run_new(def);
  orr_assert(orr_run_load(again, orr_buf_slice(&run->journal)) == ORR_OK);
  orr_assert(orr_run_fingerprint(again) == orr_run_fingerprint(run));
  orr_run_free(again);
  orr_run_free(run);
  orr_def_unref(def);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len) {
  if (len == 0) return 0;
  struct fuzz_input input = {data + 1, data + len};
  switch (data[0] % 4) {
  case 0:
    read_all(orr_slice_of(data + 1, len - 1));
    break;
  case 1:
    body(orr_slice_of(data + 1, len - 1));
    break;
  case 2:
    built(&input);
    break;
  case 3:
    fold(&input);
    break;
  }
  return 0;
}
