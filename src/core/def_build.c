// SPDX-License-Identifier: MIT
// The builder: collects a declaration and turns it, once checked (def_check.c, def_graph.c), into the
// immutable definition, which owns its bytes in one arena. One thread; pure.
#include "base/check.h"
#include "core/def_internal.h"

#include <stdlib.h>

static void head_reset(struct orr_def_builder *builder) {
  builder->head = (struct orr_def){.priority = 5};
}

struct orr_def_builder *orr_def_builder_new(void) {
  struct orr_def_builder *builder = orr_alloc(sizeof *builder);
  head_reset(builder);
  return builder;
}

static void builder_clear(struct orr_def_builder *builder) {
  orr_arena_free(&builder->arena);
  orr_map_free(&builder->by_name);
  builder->steps_len = 0;
  builder->edges_len = 0;
  head_reset(builder);
}

void orr_def_builder_free(struct orr_def_builder *builder) {
  if (builder == NULL) return;
  builder_clear(builder);
  orr_arena_free(&builder->problems);
  free(builder->steps);
  free(builder->edges);
  free(builder);
}

struct orr_def *orr_def_builder_head(struct orr_def_builder *builder) { return &builder->head; }

static const char *text_copy(struct orr_arena *arena, const char *text) {
  return text != NULL ? orr_arena_text(arena, orr_slice_text(text)) : NULL;
}

uint32_t orr_def_builder_step(struct orr_def_builder *builder, const struct orr_step_def *step) {
  if (builder->steps_len == builder->steps_cap) {
    builder->steps_cap = builder->steps_cap != 0 ? builder->steps_cap * 2 : 8;
    builder->steps = orr_realloc(builder->steps, builder->steps_cap * sizeof *builder->steps);
  }
  uint32_t index = builder->steps_len++;
  struct orr_step_def copy = *step;
  copy.name = orr_arena_text(&builder->arena, orr_slice_text(step->name));
  copy.child = step->kind == ORR_STEP_RUN ? text_copy(&builder->arena, step->child) : NULL;
  copy.after_len = copy.next_len = 0;
  copy.after = copy.next = NULL;
  if (copy.retry.attempts == 0 && copy.retry.delay_ms == 0) copy.retry.attempts = 1;
  if (copy.retry.backoff_permille == 0) copy.retry.backoff_permille = 1000;
  builder->steps[index] = (struct orr__builder_step){.def = copy};
  return index;
}

void orr__def_builder_edge(struct orr_def_builder *builder, uint32_t step, uint32_t target,
                           const char *name) {
  orr_assert(step < builder->steps_len);
  if (builder->edges_len == builder->edges_cap) {
    builder->edges_cap = builder->edges_cap != 0 ? builder->edges_cap * 2 : 8;
    builder->edges = orr_realloc(builder->edges, builder->edges_cap * sizeof *builder->edges);
  }
  builder->edges[builder->edges_len++] = (struct orr__edge){step, target, name};
}

void orr_def_builder_after(struct orr_def_builder *builder, uint32_t step, struct orr_slice name) {
  orr__def_builder_edge(builder, step, UINT32_MAX, orr_arena_text(&builder->arena, name));
}

// --- the finished definition ---------------------------------------------------------------------

static void copy_head(struct orr__def_whole *whole, const struct orr_def *head) {
  struct orr_arena *arena = &whole->arena;
  struct orr_def *def = &whole->def;
  *def = *head;
  def->refs = 1;
  def->name = text_copy(arena, head->name);
  def->description = text_copy(arena, head->description != NULL ? head->description : "");
  def->script = text_copy(arena, head->script != NULL ? head->script : "");
  def->generation = (struct orr_digest){0};
  def->code = NULL;
  def->code_unref = NULL;
  def->input_schema = orr_arena_slice(arena, head->input_schema);
  def->meta = orr_arena_slice(arena, head->meta);
  def->concurrency_key_path = orr_arena_slice(arena, head->concurrency_key_path);
  const char **tags = orr_arena_alloc(arena, head->tags_len * sizeof *tags);
  for (uint32_t i = 0; i < head->tags_len; i++) tags[i] = text_copy(arena, head->tags[i]);
  def->tags = tags;
}

// Dependants of each step, by counting: their order is that of declaration.
static void link_next(struct orr_arena *arena, struct orr_step_def *steps, uint32_t steps_len,
                      size_t edges_len) {
  uint32_t *next = orr_arena_alloc(arena, edges_len * sizeof *next);
  uint32_t **fill = orr_alloc((steps_len + (size_t)1) * sizeof *fill);
  for (uint32_t i = 0; i < steps_len; i++) {
    for (uint32_t k = 0; k < steps[i].after_len; k++) steps[steps[i].after[k]].next_len++;
  }
  for (uint32_t i = 0; i < steps_len; i++) {
    steps[i].next = fill[i] = next;
    next += steps[i].next_len;
  }
  for (uint32_t i = 0; i < steps_len; i++) {
    for (uint32_t k = 0; k < steps[i].after_len; k++) *fill[steps[i].after[k]]++ = i;
  }
  free(fill);
}

static void copy_steps(struct orr__def_whole *whole, const struct orr_def_builder *builder) {
  struct orr_arena *arena = &whole->arena;
  struct orr_step_def *steps = orr_arena_alloc(arena, builder->steps_len * sizeof *steps);
  uint32_t *after = orr_arena_alloc(arena, builder->edges_len * sizeof *after);
  for (size_t i = 0; i < builder->edges_len; i++) after[i] = builder->edges[i].target;
  for (uint32_t i = 0; i < builder->steps_len; i++) {
    const struct orr__builder_step *from = &builder->steps[i];
    steps[i] = from->def;
    steps[i].name = text_copy(arena, from->def.name);
    steps[i].child = text_copy(arena, from->def.child);
    steps[i].after_len = from->edge_len;
    steps[i].after = after + from->edge_first;
    orr_map_put(&whole->by_name, orr_slice_text(steps[i].name), &steps[i]);
  }
  link_next(arena, steps, builder->steps_len, builder->edges_len);
  whole->def.steps_len = builder->steps_len;
  whole->def.steps = steps;
}

enum orr_status orr_def_builder_finish(struct orr_def_builder *builder, struct orr_def **def,
                                       struct orr_def_problem *problem) {
  orr_arena_free(&builder->problems);
  enum orr_status status = orr__def_check(builder, problem);
  if (status != ORR_OK) return status;
  struct orr__def_whole *whole = orr_alloc(sizeof *whole);
  uint32_t *order = orr_arena_alloc(&whole->arena, builder->steps_len * sizeof *order);
  status = orr__def_graph(builder, order, problem);
  if (status != ORR_OK) {
    orr_arena_free(&whole->arena);
    free(whole);
    return status;
  }
  copy_head(whole, &builder->head);
  copy_steps(whole, builder);
  uint32_t *position = orr_arena_alloc(&whole->arena, builder->steps_len * sizeof *position);
  for (uint32_t i = 0; i < builder->steps_len; i++) position[order[i]] = i;
  whole->def.order = order;
  whole->position = position;
  builder_clear(builder);
  *def = &whole->def;
  return ORR_OK;
}
