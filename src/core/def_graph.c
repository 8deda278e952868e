// SPDX-License-Identifier: MIT
// The graph of a declaration: names to indices, a topological order, or the reason why there is none.
// Kahn's algorithm with a heap of ready steps, lowest index first, so the order of declaration stays
// wherever dependencies allow it. No recursion: a chain of 200,000 steps is fine. Pure.
#include "base/check.h"
#include "core/def_internal.h"

#include <stdlib.h>

#define CYCLE_NAMES_MAX 20u // shown of a long cycle

// --- edges ---------------------------------------------------------------------------------------

static enum orr_status refuse_unknown(struct orr_def_builder *builder, const struct orr__edge *edge,
                                      struct orr_def_problem *problem) {
  const char **names = orr_alloc(builder->steps_len * sizeof *names);
  uint32_t names_len = 0;
  for (uint32_t i = 0; i < builder->steps_len; i++) {
    if (i != edge->step) names[names_len++] = builder->steps[i].def.name;
  }
  struct orr_buf help = ORR_BUF_INIT;
  const char *near = orr_suggest(edge->name, names, names_len);
  if (near != NULL) orr_buf_printf(&help, "did you mean \"%s\"?", near);
  free(names);
  enum orr_status status = orr__def_refuse(
      builder, problem, ORR_DEF_PROBLEM_UNKNOWN_STEP, edge->step, edge->name,
      near != NULL ? orr_buf_cstr(&help) : NULL, "step \"%s\" depends on unknown step \"%.80s\"",
      builder->steps[edge->step].def.name, edge->name);
  orr_buf_free(&help);
  return status;
}

static enum orr_status resolve_edges(struct orr_def_builder *builder,
                                     struct orr_def_problem *problem) {
  for (size_t i = 0; i < builder->edges_len; i++) {
    struct orr__edge *edge = &builder->edges[i];
    if (edge->name != NULL) {
      void *found = orr_map_get(&builder->by_name, orr_slice_text(edge->name));
      if (found == NULL) return refuse_unknown(builder, edge, problem);
      edge->target = (uint32_t)(uintptr_t)found - 1;
    }
    orr_assert(edge->target < builder->steps_len);
    if (edge->target != edge->step) continue;
    const char *name = builder->steps[edge->step].def.name;
    return orr__def_refuse(builder, problem, ORR_DEF_PROBLEM_SELF_DEPENDENCY, edge->step, name, NULL,
                           "step \"%s\" depends on itself", name);
  }
  return ORR_OK;
}

// Groups the edges by step, keeping their order (a counting sort), then drops doubles.
static void sort_edges(struct orr_def_builder *builder) {
  struct orr__edge *sorted = orr_alloc(builder->edges_len * sizeof *sorted);
  uint32_t *fill = orr_alloc((builder->steps_len + (size_t)1) * sizeof *fill);
  for (size_t i = 0; i < builder->edges_len; i++) fill[builder->edges[i].step + 1]++;
  for (uint32_t i = 0; i < builder->steps_len; i++) fill[i + 1] += fill[i];
  for (size_t i = 0; i < builder->edges_len; i++)
    sorted[fill[builder->edges[i].step]++] = builder->edges[i];
  // last_user[t] = step + 1 of the last step that named t
  uint32_t *last_user = orr_alloc(builder->steps_len * sizeof *last_user);
  for (uint32_t i = 0; i < builder->steps_len; i++) builder->steps[i].edge_len = 0;
  uint32_t kept = 0;
  for (size_t i = 0; i < builder->edges_len; i++) {
    struct orr__edge edge = sorted[i];
    if (last_user[edge.target] == edge.step + 1) continue;
    last_user[edge.target] = edge.step + 1;
    struct orr__builder_step *step = &builder->steps[edge.step];
    if (step->edge_len++ == 0) step->edge_first = kept;
    builder->edges[kept++] = edge;
  }
  builder->edges_len = kept;
  free(last_user);
  free(fill);
  free(sorted);
}

// --- order ---------------------------------------------------------------------------------------

static void heap_push(uint32_t *heap, uint32_t *len, uint32_t value) {
  uint32_t at = (*len)++;
  for (; at > 0 && heap[(at - 1) / 2] > value; at = (at - 1) / 2) heap[at] = heap[(at - 1) / 2];
  heap[at] = value;
}

static uint32_t heap_pop(uint32_t *heap, uint32_t *len) {
  uint32_t top = heap[0], value = heap[--*len], at = 0;
  for (;;) {
    uint32_t child = 2 * at + 1;
    if (child >= *len) break;
    if (child + 1 < *len && heap[child + 1] < heap[child]) child++;
    if (heap[child] >= value) break;
    heap[at] = heap[child];
    at = child;
  }
  heap[at] = value;
  return top;
}

// Writes what can be ordered to `order`, leaves in `waits` how many dependencies of each step could
// not be, and returns how many steps were ordered.
static uint32_t sort_steps(const struct orr_def_builder *builder, uint32_t *order, uint32_t *waits) {
  uint32_t steps_len = builder->steps_len, heap_len = 0, done = 0;
  uint32_t *first = orr_alloc((steps_len + (size_t)1) * sizeof *first); // dependants, by target
  uint32_t *users = orr_alloc(builder->edges_len * sizeof *users);
  uint32_t *heap = orr_alloc(steps_len * sizeof *heap);
  for (size_t i = 0; i < builder->edges_len; i++) first[builder->edges[i].target + 1]++;
  for (uint32_t i = 0; i < steps_len; i++) first[i + 1] += first[i];
  for (size_t i = builder->edges_len; i-- > 0;) { // backwards, so that first[t + 1] ends as t's begin
    users[--first[builder->edges[i].target + 1]] = builder->edges[i].step;
  }
  for (uint32_t i = 0; i < steps_len; i++) {
    waits[i] = builder->steps[i].edge_len;
    if (waits[i] == 0) heap_push(heap, &heap_len, i);
  }
  while (heap_len > 0) {
    uint32_t step = heap_pop(heap, &heap_len);
    order[done++] = step;
    size_t end = step + 2 <= steps_len ? first[step + 2] : builder->edges_len;
    for (size_t k = first[step + 1]; k < end; k++) {
      if (--waits[users[k]] == 0) heap_push(heap, &heap_len, users[k]);
    }
  }
  free(heap);
  free(users);
  free(first);
  return done;
}

// --- cycle ---------------------------------------------------------------------------------------

// A step that cannot be ordered has a dependency that cannot: following those must come round.
static uint32_t unordered_dependency(const struct orr_def_builder *builder, const uint32_t *waits,
                                     uint32_t step) {
  const struct orr__builder_step *at = &builder->steps[step];
  for (uint32_t i = 0; i < at->edge_len; i++) {
    uint32_t target = builder->edges[at->edge_first + i].target;
    if (waits[target] > 0) return target;
  }
  orr_unreachable();
}

static enum orr_status refuse_cycle(struct orr_def_builder *builder, const uint32_t *waits,
                                    struct orr_def_problem *problem) {
  uint32_t at = 0;
  while (waits[at] == 0) at++;
  for (uint32_t i = 0; i < builder->steps_len; i++) at = unordered_dependency(builder, waits, at);
  // Now on a cycle. Collect it against the arrows, starting behind its first declared step.
  uint32_t lowest = at, len = 1;
  for (uint32_t i = unordered_dependency(builder, waits, at); i != at; len++) {
    if (i < lowest) lowest = i;
    i = unordered_dependency(builder, waits, i);
  }
  uint32_t *path = orr_alloc(len * sizeof *path);
  path[0] = lowest;
  for (uint32_t i = 1; i < len; i++)
    path[len - i] = at = unordered_dependency(builder, waits, i == 1 ? lowest : at);
  struct orr_buf text = ORR_BUF_INIT;
  for (uint32_t i = 0; i < len; i++) {
    if (len > CYCLE_NAMES_MAX && i == CYCLE_NAMES_MAX / 2) {
      orr_buf_printf(&text, "... (%u more) -> ", len - CYCLE_NAMES_MAX);
      i += len - CYCLE_NAMES_MAX;
    }
    orr_buf_printf(&text, "%s -> ", builder->steps[path[i]].def.name);
  }
  orr_buf_text(&text, builder->steps[lowest].def.name);
  enum orr_status status = orr__def_refuse(
      builder, problem, ORR_DEF_PROBLEM_CYCLE, lowest, builder->steps[path[len - 1]].def.name, NULL,
      "steps wait for each other in a cycle: %s", orr_buf_cstr(&text));
  orr_buf_free(&text);
  free(path);
  return status;
}

enum orr_status orr__def_graph(struct orr_def_builder *builder, uint32_t *order,
                               struct orr_def_problem *problem) {
  enum orr_status status = resolve_edges(builder, problem);
  if (status != ORR_OK) return status;
  sort_edges(builder);
  uint32_t *waits = orr_alloc(builder->steps_len * sizeof *waits);
  if (sort_steps(builder, order, waits) != builder->steps_len)
    status = refuse_cycle(builder, waits, problem);
  free(waits);
  return status;
}
