// SPDX-License-Identifier: MIT
// What the files of the definition share: the allocation behind a finished definition, and the
// builder's door for decoded dependencies, which come as indices. Not for other parts of the core.
#pragma once

#include "base/arena.h"
#include "base/map.h"
#include "core/def.h"

struct orr__def_whole { // a finished definition and what it owns; everything is in the arena
  struct orr_def def;
  struct orr_arena arena;
  struct orr_map by_name;      // step name -> its entry in def.steps
  const uint32_t *position;    // of each step in def.order
};

struct orr__edge { // a dependency as it was declared
  uint32_t step;
  uint32_t target;  // index, or UINT32_MAX until the name is looked up
  const char *name; // NULL when the target is known
};

struct orr__builder_step {
  struct orr_step_def def;
  uint32_t edge_first, edge_len; // after sorting by step: its dependencies without doubles
};

struct orr_def_builder {
  struct orr_def head;
  struct orr_arena arena;    // texts of steps and edges
  struct orr_arena problems; // texts of the last problem
  struct orr_map by_name;
  struct orr__builder_step *steps;
  uint32_t steps_len, steps_cap;
  struct orr__edge *edges;
  size_t edges_len, edges_cap;
};

void orr__def_builder_edge(struct orr_def_builder *builder, uint32_t step, uint32_t target,
                           const char *name);
// All checks but those of the graph. Fills builder->by_name.
enum orr_status orr__def_check(struct orr_def_builder *builder, struct orr_def_problem *problem);
// Resolves names, sorts and thins the edges, and finds the topological order (steps_len entries) that
// keeps the order of declaration wherever dependencies allow it.
enum orr_status orr__def_graph(struct orr_def_builder *builder, uint32_t *order,
                               struct orr_def_problem *problem);
// Fills *problem (may be NULL) with texts of the builder; returns ORR_ERR_INVALID.
enum orr_status orr__def_refuse(struct orr_def_builder *builder, struct orr_def_problem *problem,
                                enum orr_def_problem_code code, uint32_t step, const char *word,
                                const char *help, const char *format, ...)
    __attribute__((format(printf, 7, 8)));
