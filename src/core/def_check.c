// SPDX-License-Identifier: MIT
// Whether a declaration is allowed, apart from its graph: names and bounds. The first fault in order
// of declaration is the one reported. Pure.
#include "base/check.h"
#include "base/json.h"
#include "core/def_internal.h"

#define NAME_HELP "names are 1 to 64 letters, digits, '_', '-' or '.'"
#define BACKOFF_PERMILLE_MAX 1000000u
#define STEP_FLAGS_ALL                                                                             \
  (ORR_STEP_ONCE | ORR_STEP_UNDO | ORR_STEP_ON_SUCCESS | ORR_STEP_ON_FAILURE | ORR_STEP_ON_RETRY | \
   ORR_STEP_NO_WAIT | ORR_STEP_HAS_WHEN)

static const char *const PROBLEM_CODES[] = {
#define X(name, code, text) code,
    ORR_DEF_PROBLEM_LIST(X)
#undef X
};

enum orr_status orr__def_refuse(struct orr_def_builder *builder, struct orr_def_problem *problem,
                                enum orr_def_problem_code code, uint32_t step, const char *word,
                                const char *help, const char *format, ...) {
  if (problem == NULL) return ORR_ERR_INVALID;
  struct orr_buf text = ORR_BUF_INIT, message = ORR_BUF_INIT;
  va_list args;
  va_start(args, format);
  orr_buf_vprintf(&text, format, args);
  va_end(args);
  orr_utf8_repair(&message, orr_buf_slice(&text)); // names that were refused may hold anything
  problem->code = PROBLEM_CODES[code];
  problem->message = orr_arena_text(&builder->problems, orr_buf_slice(&message));
  problem->help = help != NULL ? orr_arena_text(&builder->problems, orr_slice_text(help)) : NULL;
  problem->step = step;
  problem->word = word != NULL ? orr_arena_text(&builder->problems, orr_slice_text(word)) : NULL;
  orr_buf_free(&message);
  orr_buf_free(&text);
  return ORR_ERR_INVALID;
}

// --- bounds --------------------------------------------------------------------------------------

struct bound {
  const char *what;
  uint64_t value, least, most;
};

static enum orr_status check_bounds(struct orr_def_builder *builder, struct orr_def_problem *problem,
                                    uint32_t step, const struct bound *bounds, size_t bounds_len) {
  for (size_t i = 0; i < bounds_len; i++) {
    const struct bound *bound = &bounds[i];
    if (bound->value >= bound->least && bound->value <= bound->most) continue;
    bool of_step = step != UINT32_MAX;
    return orr__def_refuse(builder, problem, ORR_DEF_PROBLEM_OUT_OF_BOUNDS, step, bound->what, NULL,
                           "%s \"%.80s\": %s must be from %llu to %llu, not %llu",
                           of_step ? "step" : "pipeline",
                           of_step ? builder->steps[step].def.name : builder->head.name, bound->what,
                           (unsigned long long)bound->least, (unsigned long long)bound->most,
                           (unsigned long long)bound->value);
  }
  return ORR_OK;
}

static enum orr_status check_head(struct orr_def_builder *builder, struct orr_def_problem *problem) {
  const struct orr_def *head = &builder->head;
  const char *name = head->name != NULL ? head->name : "";
  if (!orr_name_valid(orr_slice_text(name)))
    return orr__def_refuse(builder, problem, ORR_DEF_PROBLEM_BAD_NAME, UINT32_MAX, name, NAME_HELP,
                           "\"%.80s\" is not a valid name of a pipeline", name);
  for (uint32_t i = 0; i < head->tags_len; i++) {
    if (!orr_name_valid(orr_slice_text(head->tags[i])))
      return orr__def_refuse(builder, problem, ORR_DEF_PROBLEM_BAD_NAME, UINT32_MAX, head->tags[i],
                             NAME_HELP, "\"%.80s\" is not a valid tag", head->tags[i]);
  }
  if (builder->steps_len == 0)
    return orr__def_refuse(builder, problem, ORR_DEF_PROBLEM_NO_STEPS, UINT32_MAX, name, NULL,
                           "pipeline \"%s\" has no steps", name);
  const struct bound bounds[] = {
      {"number of steps", builder->steps_len, 1, ORR_STEPS_MAX},
      {"timeout", head->timeout_ms, 0, ORR_DURATION_MS_MAX},
      {"priority", head->priority, 0, 9},
      {"when_full", head->when_full, 0, ORR_WHEN_FULL_CANCEL_OLDEST},
      {"size of the input schema", head->input_schema.len, 0, ORR_SCRIPT_BYTES_MAX},
      {"size of the metadata", head->meta.len, 0, ORR_SCRIPT_BYTES_MAX},
  };
  return check_bounds(builder, problem, UINT32_MAX, bounds, sizeof bounds / sizeof *bounds);
}

static enum orr_status check_step(struct orr_def_builder *builder, uint32_t index,
                                  struct orr_def_problem *problem) {
  const struct orr_step_def *step = &builder->steps[index].def;
  const struct bound bounds[] = {
      {"kind", step->kind, 0, ORR_STEP_KIND_LAST},
      {"rule", step->rule, 0, ORR_RULE_NONE_FAILED},
      {"flags", step->flags, 0, STEP_FLAGS_ALL},
      {"retry.attempts", step->retry.attempts, 1, ORR_ATTEMPTS_MAX},
      {"retry.delay", step->retry.delay_ms, 0, ORR_DURATION_MS_MAX},
      {"retry.max_delay", step->retry.delay_ms_max, 0, ORR_DURATION_MS_MAX},
      {"retry.backoff in thousandths", step->retry.backoff_permille, 1, BACKOFF_PERMILLE_MAX},
      {"timeout", step->timeout_ms, 0, ORR_DURATION_MS_MAX},
      {"priority", step->priority, 0, 9},
      {"parallel", step->parallel, 0, ORR_MAP_ITEMS_MAX},
      {"duration", step->sleep_ms, 0, ORR_DURATION_MS_MAX},
  };
  enum orr_status status =
      check_bounds(builder, problem, index, bounds, sizeof bounds / sizeof *bounds);
  if (status != ORR_OK || step->kind != ORR_STEP_RUN) return status;
  const char *child = step->child != NULL ? step->child : "";
  if (orr_name_valid(orr_slice_text(child))) return ORR_OK;
  return orr__def_refuse(builder, problem, ORR_DEF_PROBLEM_BAD_NAME, index, child, NAME_HELP,
                         "step \"%s\": \"%.80s\" is not a valid name of a pipeline", step->name,
                         child);
}

// --- names ---------------------------------------------------------------------------------------

static enum orr_status check_step_name(struct orr_def_builder *builder, uint32_t index,
                                       struct orr_def_problem *problem) {
  struct orr__builder_step *step = &builder->steps[index];
  const char *name = step->def.name;
  struct orr_slice slice = orr_slice_text(name);
  if (!orr_name_valid(slice))
    return orr__def_refuse(builder, problem, ORR_DEF_PROBLEM_BAD_NAME, index, name, NAME_HELP,
                           "\"%.80s\" is not a valid name of a step", name);
  if (orr_slice_equal(slice, ORR_SLICE_LITERAL("input")) ||
      orr_slice_equal(slice, ORR_SLICE_LITERAL("run")))
    return orr__def_refuse(builder, problem, ORR_DEF_PROBLEM_RESERVED_NAME, index, name,
                           "o.ref uses \"input\" and \"run\" for what the run brings along",
                           "a step cannot be named \"%s\"", name);
  if (orr_map_get(&builder->by_name, slice) == NULL) {
    // Indices, because the array may move; from 1, because NULL means absent.
    orr_map_put(&builder->by_name, slice, (void *)(uintptr_t)(index + 1));
    return ORR_OK;
  }
  uint32_t first = (uint32_t)(uintptr_t)orr_map_get(&builder->by_name, slice) - 1;
  struct orr_buf help = ORR_BUF_INIT;
  uint32_t line = builder->steps[first].def.line;
  if (line != 0) orr_buf_printf(&help, "the first one is in line %u", line);
  enum orr_status status =
      orr__def_refuse(builder, problem, ORR_DEF_PROBLEM_DUPLICATE_STEP, index, name,
                      line != 0 ? orr_buf_cstr(&help) : NULL, "step \"%s\" is declared twice", name);
  orr_buf_free(&help);
  return status;
}

enum orr_status orr__def_check(struct orr_def_builder *builder, struct orr_def_problem *problem) {
  enum orr_status status = check_head(builder, problem);
  orr_map_free(&builder->by_name);
  for (uint32_t i = 0; i < builder->steps_len && status == ORR_OK; i++) {
    status = check_step_name(builder, i, problem);
    if (status == ORR_OK) status = check_step(builder, i, problem);
  }
  return status;
}
