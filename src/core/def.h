// SPDX-License-Identifier: MIT
// A pipeline's definition: what the engine needs to know of the Lua declaration, as plain immutable
// data. Made by the loader through orr_def_builder, validated once, stored by content hash, decoded at
// recovery. Reference-counted (atomic), so any thread may hold and read one. Functions of the script
// (run, when, undo ...) are only flags here: workers find them by step name in the script itself.
#pragma once

#include "base/buf.h"
#include "base/hash.h"
#include "base/limits.h"
#include "base/status.h"

// One table for names in C, Lua, JSON: X(ENUM, "text").
#define ORR_STEP_KIND_LIST(X) \
  X(LUA, "lua") X(SHELL, "shell") X(HTTP, "http") X(MAP, "map") X(SLEEP, "sleep") X(RUN, "pipeline") \
  X(REDIS, "redis")
#define ORR_STEP_KIND_LAST ORR_STEP_REDIS // of the list
#define ORR_RULE_LIST(X)                                                                          \
  X(ALL_SUCCESS, "all_success") X(ALL_DONE, "all_done") X(ONE_SUCCESS, "one_success")             \
  X(ALL_FAILED, "all_failed") X(NONE_FAILED, "none_failed")
#define ORR_WHEN_FULL_LIST(X) X(QUEUE, "queue") X(SKIP, "skip") X(CANCEL_OLDEST, "cancel_oldest")

enum orr_step_kind {
#define X(name, text) ORR_STEP_##name,
  ORR_STEP_KIND_LIST(X)
#undef X
};
enum orr_rule {
#define X(name, text) ORR_RULE_##name,
  ORR_RULE_LIST(X)
#undef X
};
enum orr_when_full {
#define X(name, text) ORR_WHEN_FULL_##name,
  ORR_WHEN_FULL_LIST(X)
#undef X
};
const char *orr_step_kind_text(enum orr_step_kind kind);
bool orr_step_kind_parse(struct orr_slice text, enum orr_step_kind *kind);
const char *orr_rule_text(enum orr_rule rule);
bool orr_rule_parse(struct orr_slice text, enum orr_rule *rule);
bool orr_when_full_parse(struct orr_slice text, enum orr_when_full *when_full);

// Flags of a step. Functions live in the script; the engine only has to know that there is one.
enum orr_step_flag {
  ORR_STEP_ONCE = 1 << 0,        // `started` is committed before the body runs; never repeated
  ORR_STEP_UNDO = 1 << 1,        // has undo(ctx, output)
  ORR_STEP_ON_SUCCESS = 1 << 2,
  ORR_STEP_ON_FAILURE = 1 << 3,
  ORR_STEP_ON_RETRY = 1 << 4,
  ORR_STEP_NO_WAIT = 1 << 5,     // kind pipeline: wait = false
  ORR_STEP_HAS_WHEN = 1 << 6,
};

struct orr_retry {
  uint32_t attempts;    // 1 .. ORR_ATTEMPTS_MAX; counts the first
  uint64_t delay_ms;    // before the second attempt
  uint32_t backoff_permille; // factor per further attempt: 1000 keeps the delay, 2000 doubles it
  uint64_t delay_ms_max;
  bool jitter;          // draw uniformly from half the delay to the delay
};

struct orr_step_def {
  const char *name;
  enum orr_step_kind kind;
  enum orr_rule rule;
  uint32_t flags;       // enum orr_step_flag
  struct orr_retry retry;
  uint64_t timeout_ms;  // of one attempt; 0: none
  uint8_t priority;     // 0 .. 9, higher first; default 5
  uint32_t parallel;    // map: items at once; 0: no limit of its own
  uint64_t sleep_ms;    // sleep with a constant duration; 0: the worker evaluates it
  const char *child;    // kind pipeline: name of the pipeline to run; else NULL
  uint32_t line;        // of the declaration, for messages; 0 unknown
  uint32_t after_len, next_len;
  const uint32_t *after; // dependencies: indices into steps
  const uint32_t *next;  // dependants
};

struct orr_def {
  uint32_t refs; // atomic
  const char *name;
  const char *description; // "" when none
  const char *script;      // path in the project, "pipelines/etl.lua"
  struct orr_digest version;    // of its script and the modules that loading it required
  struct orr_digest generation; // whose files a run of it sees; set by orr_def_attach
  void *code;                   // struct orr_generation of the script floor, opaque here; owned by a ref
  void (*code_unref)(void *code);
  struct orr_slice input_schema; // JSON Schema text, or empty: any input
  struct orr_slice meta;         // JSON object for display: tags, output schema, step options
  uint32_t tags_len;
  const char *const *tags;
  uint64_t timeout_ms; // of a run; 0: none
  uint8_t priority;    // default of its steps
  bool has_output;     // the pipeline's `output` is evaluated on a worker at the end
  uint32_t concurrency;     // runs at once per key; 0: no limit
  bool concurrency_active;  // hold = "active": waiting runs do not count
  enum orr_when_full when_full;
  struct orr_slice concurrency_key_path; // REF below input, "customer.id"; empty: one key for all
  bool concurrency_key_function;         // the key is evaluated on a worker before admission
  uint32_t steps_len;
  const struct orr_step_def *steps; // in order of declaration
  const uint32_t *order;            // a topological order of step indices
};

struct orr_def *orr_def_ref(struct orr_def *def);
void orr_def_unref(struct orr_def *def);
// Index of a step, or UINT32_MAX.
uint32_t orr_def_step(const struct orr_def *def, struct orr_slice name);
// True if `ancestor` is reachable from `step` over `after`.
bool orr_def_is_ancestor(const struct orr_def *def, uint32_t ancestor, uint32_t step);

// --- building -------------------------------------------------------------------------------------

struct orr_def_builder; // owns everything until finish; one thread

// The codes of refused definitions: X(ENUM, "code", what it means).
#define ORR_DEF_PROBLEM_LIST(X)                                                                    \
  X(BAD_NAME, "E0201", "not a valid name")                                                         \
  X(DUPLICATE_STEP, "E0202", "two steps of one name")                                              \
  X(UNKNOWN_STEP, "E0203", "depends on an unknown step")                                           \
  X(CYCLE, "E0204", "steps wait for each other in a cycle")                                        \
  X(NO_STEPS, "E0205", "a pipeline without steps")                                                 \
  X(RESERVED_NAME, "E0206", "a step named input or run")                                           \
  X(OUT_OF_BOUNDS, "E0207", "a number out of its bounds")                                          \
  X(SELF_DEPENDENCY, "E0208", "a step depends on itself")
enum orr_def_problem_code {
#define X(name, code, text) ORR_DEF_PROBLEM_##name,
  ORR_DEF_PROBLEM_LIST(X)
#undef X
};

struct orr_def_problem { // why a definition was refused; texts owned by the builder
  const char *code;      // "E0203"
  const char *message;   // step "load" depends on unknown step "fetchh"
  const char *help;      // did you mean "fetch"? -- or NULL
  uint32_t step;         // whose declaration it is about, UINT32_MAX for the pipeline
  const char *word;      // the offending word, for the column; may be NULL
};

struct orr_def_builder *orr_def_builder_new(void);
void orr_def_builder_free(struct orr_def_builder *builder);
// Scalars of the pipeline: set the fields of the returned struct; texts are copied by finish.
struct orr_def *orr_def_builder_head(struct orr_def_builder *builder);
// Adds a step; fields but after/next are taken from `step` (texts copied). Returns its index.
uint32_t orr_def_builder_step(struct orr_def_builder *builder, const struct orr_step_def *step);
void orr_def_builder_after(struct orr_def_builder *builder, uint32_t step, struct orr_slice name);
// Checks names (syntax, duplicates, reserved input and run), unknown dependencies (with the nearest
// name as help), a cycle (as its path of names, in the order of running: a -> b -> a), empty pipelines,
// bounds. A dependency named twice counts once; a retry policy of zeros is one attempt. On success
// gives the finished definition (one reference) and leaves the builder empty. `problem` may be NULL.
enum orr_status orr_def_builder_finish(struct orr_def_builder *builder, struct orr_def **def,
                                       struct orr_def_problem *problem);

// Content-addressed form. Excludes generation and code, so equal declarations give equal bytes.
void orr_def_encode(const struct orr_def *def, struct orr_buf *out);
enum orr_status orr_def_decode(struct orr_slice bytes, struct orr_def **def);
// Binds a finished definition to the generation whose files its runs see. Before first use only.
void orr_def_attach(struct orr_def *def, const struct orr_digest *generation, void *code,
                    void (*code_unref)(void *code));

// The nearest of `names` by edit distance, if it is near enough to suggest; else NULL.
const char *orr_suggest(const char *word, const char *const *names, size_t names_len);
// Names: letters, digits, '_', '-', '.', 1 to ORR_NAME_BYTES_MAX bytes.
bool orr_name_valid(struct orr_slice name);
// "1500ms", "30s", "1h30m", "7d", units ms s m h d w in falling order, or a bare number of seconds
// ("2.5"). ORR_ERR_INVALID for anything else, ORR_ERR_LIMIT above ORR_DURATION_MS_MAX.
enum orr_status orr_duration_parse(struct orr_slice text, uint64_t *ms);
