// SPDX-License-Identifier: MIT
// From declarations in the validating state to plain data: definitions, routes, settings. All
// mistakes of a pipeline are found, not only the first: the builder refuses, the fault is left out,
// it is built again.
#include "base/check.h"
#include "io/digest.h"
#include "script/loader_internal.h"

#include <stdlib.h>

#define FAULTS_MAX 20u // of one pipeline

struct fault { // left out of the next try
  uint32_t step;
  char *after; // that dependency only; NULL: the whole step
};
struct packing {
  struct orr__load *load;
  lua_State *L;
  int pipeline, steps; // stack indices
  struct fault faults[FAULTS_MAX];
  uint32_t faults_len;
  uint32_t *indices; // of builder steps -> steps of the declaration
};

// --- reading Lua tables
// ----------------------------------------------------------------------------------------

static const char *get_text(lua_State *L, int table,
                            const char *key) { // lives as long as the table
  lua_getfield(L, table, key);
  const char *text = lua_type(L, -1) == LUA_TSTRING ? lua_tostring(L, -1) : NULL;
  lua_pop(L, 1);
  return text;
}

static uint64_t get_number(lua_State *L, int table, const char *key, uint64_t otherwise) {
  lua_getfield(L, table, key);
  uint64_t number = lua_isinteger(L, -1) ? (uint64_t)lua_tointeger(L, -1) : otherwise;
  lua_pop(L, 1);
  return number;
}

static bool get_true(lua_State *L, int table, const char *key) { // anything but nil and false
  lua_getfield(L, table, key);
  bool set = lua_toboolean(L, -1);
  lua_pop(L, 1);
  return set;
}

// --- steps
// ---------------------------------------------------------------------------------------------------------

static uint32_t read_flags(lua_State *L, int step, int options) {
  static const struct {
    const char *name;
    uint32_t flag;
  } FUNCTIONS[] = {
      {"undo", ORR_STEP_UNDO},
      {"on_success", ORR_STEP_ON_SUCCESS},
      {"on_failure", ORR_STEP_ON_FAILURE},
      {"on_retry", ORR_STEP_ON_RETRY},
      {"when", ORR_STEP_HAS_WHEN},
  };
  uint32_t flags = get_true(L, options, "once") ? ORR_STEP_ONCE : 0;
  for (size_t i = 0; i < sizeof(FUNCTIONS) / sizeof(FUNCTIONS[0]); i++) {
    if (get_true(L, step, FUNCTIONS[i].name)) flags |= FUNCTIONS[i].flag;
  }
  lua_getfield(L, options, "wait");
  if (lua_isboolean(L, -1) && !lua_toboolean(L, -1)) flags |= ORR_STEP_NO_WAIT;
  lua_pop(L, 1);
  return flags;
}

static void read_retry(lua_State *L, int options, struct orr_retry *retry) {
  *retry = (struct orr_retry){.attempts = 1, .backoff_permille = 1000};
  if (lua_getfield(L, options, "retry") == LUA_TTABLE) {
    int at = lua_gettop(L);
    retry->attempts = (uint32_t)get_number(L, at, "attempts", 1);
    retry->delay_ms = get_number(L, at, "delay_ms", 0);
    retry->backoff_permille = (uint32_t)get_number(L, at, "backoff_permille", 1000);
    retry->delay_ms_max = get_number(L, at, "max_delay_ms", retry->delay_ms);
    retry->jitter = get_true(L, at, "jitter");
  }
  lua_pop(L, 1);
}

static void read_step(lua_State *L, int step, uint8_t priority, struct orr_step_def *def) {
  lua_getfield(L, step, "options");
  int options = lua_gettop(L);
  *def = (struct orr_step_def){.name = get_text(L, step, "name")};
  const char *kind = get_text(L, step, "kind"), *rule = get_text(L, options, "rule");
  bool known = orr_step_kind_parse(orr_slice_text(kind), &def->kind);
  if (rule != NULL) known = orr_rule_parse(orr_slice_text(rule), &def->rule) && known;
  orr_assert(known); // options.lua and core name the same
  def->flags = read_flags(L, step, options);
  read_retry(L, options, &def->retry);
  def->timeout_ms = get_number(L, options, "timeout_ms", 0);
  def->priority = (uint8_t)get_number(L, options, "priority", priority);
  def->parallel = (uint32_t)get_number(L, options, "parallel", 0);
  if (def->kind == ORR_STEP_SLEEP) def->sleep_ms = get_number(L, options, "duration_ms", 0);
  if (def->kind == ORR_STEP_RUN) def->child = get_text(L, options, "pipeline");
  def->line = (uint32_t)get_number(L, step, "line", 0);
  lua_pop(L, 1);
}

static const struct fault *find_fault(const struct packing *p, uint32_t step, const char *after) {
  for (uint32_t i = 0; i < p->faults_len; i++) {
    const struct fault *fault = &p->faults[i];
    if (fault->step != step) continue;
    if (fault->after == NULL || (after != NULL && strcmp(fault->after, after) == 0)) return fault;
  }
  return NULL;
}

static void add_steps(struct packing *p, struct orr_def_builder *builder, uint8_t priority) {
  lua_State *L = p->L;
  uint32_t len = (uint32_t)luaL_len(L, p->steps), count = 0;
  p->indices = orr_realloc(p->indices, (len + 1) * sizeof(*p->indices));
  for (uint32_t i = 0; i < len; i++) {
    if (find_fault(p, i, NULL) != NULL && find_fault(p, i, NULL)->after == NULL) continue;
    lua_geti(L, p->steps, (lua_Integer)i + 1);
    int step = lua_gettop(L);
    struct orr_step_def def;
    read_step(L, step, priority, &def);
    uint32_t index = orr_def_builder_step(builder, &def);
    orr_assert(index == count);
    p->indices[count++] = i;
    lua_getfield(L, step, "after");
    lua_Integer after_len = luaL_len(L, -1);
    for (lua_Integer k = 1; k <= after_len; k++) {
      lua_geti(L, -1, k);
      const char *name = lua_tostring(L, -1);
      if (find_fault(p, i, name) == NULL)
        orr_def_builder_after(builder, index, orr_slice_text(name));
      lua_pop(L, 1);
    }
    lua_settop(L, step - 1);
  }
}

// --- the pipeline
// ----------------------------------------------------------------------------------------------------

static void read_concurrency(lua_State *L, int options, struct orr_def *head) {
  if (lua_getfield(L, options, "concurrency") == LUA_TTABLE) {
    int at = lua_gettop(L);
    const char *when_full = get_text(L, at, "when_full"), *hold = get_text(L, at, "hold");
    head->concurrency = (uint32_t)get_number(L, at, "limit", 0);
    head->concurrency_active = hold != NULL && strcmp(hold, "active") == 0;
    bool known =
        when_full == NULL || orr_when_full_parse(orr_slice_text(when_full), &head->when_full);
    orr_assert(known);
    int type = lua_getfield(L, at, "key");
    head->concurrency_key_function = type == LUA_TFUNCTION;
    if (type == LUA_TTABLE) { // a ref "input.customer": the engine wants what is below input
      const char *path = get_text(L, lua_gettop(L), "path");
      head->concurrency_key_path = orr_slice_text(path + strlen("input."));
    }
    lua_pop(L, 1);
  }
  lua_pop(L, 1);
}

// Leaves texts that the head points at on the stack.
static void read_head(struct packing *p, struct orr_def *head, const struct orr_digest *version) {
  lua_State *L = p->L;
  lua_getfield(L, p->pipeline, "options");
  int options = lua_gettop(L);
  head->name = get_text(L, p->pipeline, "name");
  head->script = get_text(L, p->pipeline, "script");
  head->description = get_text(L, options, "description");
  if (head->description == NULL) head->description = "";
  head->version = *version;
  head->timeout_ms = get_number(L, options, "timeout_ms", 0);
  head->priority = (uint8_t)get_number(L, options, "priority", 5);
  head->has_output = get_true(L, options, "output");
  read_concurrency(L, options, head);
  if (lua_getfield(L, options, "tags") == LUA_TTABLE) {
    int tags = lua_gettop(L);
    head->tags_len = (uint32_t)luaL_len(L, tags);
    const char **list = lua_newuserdatauv(L, (head->tags_len + 1) * sizeof(*list), 0);
    for (uint32_t i = 0; i < head->tags_len; i++) {
      lua_geti(L, tags, (lua_Integer)i + 1);
      list[i] = lua_tostring(L, -1);
      lua_pop(L, 1);
    }
    head->tags = list;
  }
}

static struct orr_slice describe(struct packing *p,
                                 const char *what) { // leaves the text on the stack
  lua_State *L = p->L;
  size_t len;
  lua_getfield(L, LUA_REGISTRYINDEX, LUA_LOADED_TABLE);
  lua_getfield(L, -1, "orrery.describe");
  lua_getfield(L, -1, what);
  lua_pushvalue(L, p->pipeline);
  lua_call(L, 1, 1);
  const char *text = lua_tolstring(L, -1, &len);
  return orr_slice_of(text, len);
}

static enum orr_status build(struct packing *p, const struct orr_digest *version,
                             struct orr_def **def, struct orr_def_problem *problem,
                             struct orr_def_builder *builder) {
  lua_State *L = p->L;
  int top = lua_gettop(L);
  luaL_checkstack(L, 20, NULL);
  struct orr_def *head = orr_def_builder_head(builder);
  read_head(p, head, version);
  head->meta = describe(p, "meta");
  head->input_schema = describe(p, "input");
  add_steps(p, builder, head->priority);
  enum orr_status status = orr_def_builder_finish(builder, def, problem);
  lua_settop(L, top);
  return status;
}

// Notes what the next try leaves out. False: no next try.
static bool leave_out(struct packing *p, const struct orr_def_problem *problem) {
  if (problem->step == UINT32_MAX || p->faults_len == FAULTS_MAX) return false;
  struct fault *fault = &p->faults[p->faults_len];
  fault->step = p->indices[problem->step];
  bool dependency = strcmp(problem->code, "E0203") == 0 || strcmp(problem->code, "E0208") == 0;
  bool twice = strcmp(problem->code, "E0202") == 0;
  if (!dependency && !twice) return false;
  fault->after = dependency && problem->word != NULL ? orr_strdup(problem->word) : NULL;
  p->faults_len++;
  return true;
}

static void report(struct packing *p, const struct orr_def_problem *from) {
  lua_State *L = p->L;
  struct orr_problem *problem = orr_problems_add(p->load->problems, from->code, from->message);
  if (from->help != NULL) problem->help = orr_strdup(from->help);
  int top = lua_gettop(L);
  int at = p->pipeline;
  const char *file_key = "file";
  if (from->step != UINT32_MAX) {
    lua_geti(L, p->steps, (lua_Integer)p->indices[from->step] + 1);
    at = lua_gettop(L);
    file_key = "script";
  }
  const char *file = get_text(L, at, file_key);
  problem->line = (uint32_t)get_number(L, at, "line", 0);
  if (file != NULL) {
    problem->file = orr_strdup(file);
    struct orr__source *source = orr__loader_find(p->load->loader, file);
    if (source != NULL) orr_problem_locate(problem, orr_blob_slice(source->content), from->word);
  }
  lua_settop(L, top);
}

// The hash of a script and of the project modules that loading it required, in order of path.
static int by_path(const void *a, const void *b) {
  return strcmp((*(struct orr__source *const *)a)->path, (*(struct orr__source *const *)b)->path);
}

struct orr_digest orr__load_version(struct orr_loader *loader, struct orr__source *script) {
  struct orr__source **all = orr_alloc((loader->sources_len + 1) * sizeof(struct orr__source *));
  uint32_t len = 0;
  script->mark = ++loader->walk;
  all[len++] = script;
  for (uint32_t i = 0; i < len; i++) {
    for (uint32_t k = 0; k < all[i]->needs_len; k++) {
      struct orr__source *module = all[i]->needs[k];
      if (module->mark == loader->walk) continue;
      module->mark = loader->walk;
      all[len++] = module;
    }
  }
  qsort(all + 1, len - 1, sizeof(struct orr__source *), by_path);
  struct orr_buf hashes = ORR_BUF_INIT;
  for (uint32_t i = 0; i < len; i++)
    orr_buf_append(&hashes, all[i]->digest.bytes, ORR_SHA256_BYTES);
  struct orr_digest version;
  orr_sha256(orr_buf_slice(&hashes), &version);
  orr_buf_free(&hashes);
  free(all);
  return version;
}

// The pipeline at the top of the stack.
static struct orr_def *pack_pipeline(struct orr__load *load) {
  struct packing p = {.load = load, .L = load->L, .pipeline = lua_gettop(load->L)};
  struct orr_def *def = NULL;
  lua_getfield(p.L, p.pipeline, "steps");
  p.steps = lua_gettop(p.L);
  const char *script = get_text(p.L, p.pipeline, "script");
  struct orr__source *source = script != NULL ? orr__loader_find(load->loader, script) : NULL;
  orr_assert(source != NULL);
  struct orr_digest version = orr__load_version(load->loader, source);
  bool again = true;
  while (again) {
    struct orr_def_builder *builder = orr_def_builder_new();
    struct orr_def_problem problem;
    again = false;
    if (build(&p, &version, &def, &problem, builder) != ORR_OK) {
      def = NULL;
      report(&p, &problem);
      again = leave_out(&p, &problem);
    } else if (p.faults_len > 0) {
      orr_def_unref(def);
      def = NULL;
    }
    orr_def_builder_free(builder);
  }
  for (uint32_t i = 0; i < p.faults_len; i++) free(p.faults[i].after);
  free(p.indices);
  lua_settop(p.L, p.pipeline);
  return def;
}

static void push_registry(lua_State *L, const char *field) {
  lua_getfield(L, LUA_REGISTRYINDEX, LUA_LOADED_TABLE);
  lua_getfield(L, -1, "orrery.registry");
  lua_getfield(L, -1, field);
  lua_replace(L, -3);
  lua_pop(L, 1);
}

void orr__load_pack(struct orr__load *load, struct orr_def ***defs, uint32_t *defs_len) {
  lua_State *L = load->L;
  push_registry(L, "list");
  lua_Integer len = luaL_len(L, -1);
  *defs = orr_alloc(((size_t)len + 1) * sizeof(struct orr_def *));
  *defs_len = 0;
  for (lua_Integer i = 1; i <= len; i++) {
    lua_geti(L, -1, i);
    struct orr_def *def = pack_pipeline(load);
    if (def != NULL) (*defs)[(*defs_len)++] = def;
    lua_pop(L, 1);
  }
  lua_pop(L, 1);
}

// --- routes and settings
// -----------------------------------------------------------------------------------------------

void orr__load_routes(struct orr__load *load, struct orr_arena *arena, struct orr_route **routes,
                      uint32_t *routes_len) {
  lua_State *L = load->L;
  push_registry(L, "routes");
  uint32_t len = (uint32_t)luaL_len(L, -1);
  *routes = orr_arena_alloc(arena, (len + 1) * sizeof(**routes));
  *routes_len = len;
  for (uint32_t i = 0; i < len; i++) {
    struct orr_route *route = &(*routes)[i];
    lua_geti(L, -1, (lua_Integer)i + 1);
    int at = lua_gettop(L);
    route->method = orr_arena_text(arena, orr_slice_text(get_text(L, at, "method")));
    route->pattern = orr_arena_text(arena, orr_slice_text(get_text(L, at, "pattern")));
    route->script = orr_arena_text(arena, orr_slice_text(get_text(L, at, "script")));
    route->index = 1;
    for (uint32_t k = 0; k < i; k++)
      route->index += strcmp((*routes)[k].script, route->script) == 0;
    lua_pop(L, 1);
  }
  lua_pop(L, 1);
}

struct orr_blob *orr__load_settings(struct orr__load *load) {
  lua_State *L = load->L;
  push_registry(L, "settings_text"); // function() -> text or nil
  lua_call(L, 0, 1);
  size_t len;
  const char *text = lua_tolstring(L, -1, &len);
  struct orr_blob *blob = text != NULL ? orr_blob_new(orr_slice_of(text, len)) : NULL;
  lua_pop(L, 1);
  return blob;
}
