// SPDX-License-Identifier: MIT
// The watcher: what people do to files leads to a build. Waits for conditions, never for a time.
#include "project.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <time.h>

#include <cmocka.h>

#define HEAD "local o = require 'orrery'\n"
#define DEADLINE_S 20

static struct test_project p;
static struct orr_watcher *watcher;

static struct seen { // by the watcher's callback
  pthread_mutex_t mutex;
  pthread_cond_t changed;
  struct orr_generation *generation; // newest good one
  uint32_t good, bad;
} seen = {.mutex = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

static void built(void *context, struct orr_generation *generation, struct orr_problems *problems,
                  double ms) {
  (void)context, (void)ms;
  pthread_mutex_lock(&seen.mutex);
  if (generation != NULL) {
    orr_generation_unref(seen.generation);
    seen.generation = generation;
    seen.good++;
  } else {
    assert_true(problems->len > 0);
    seen.bad++;
  }
  pthread_cond_broadcast(&seen.changed);
  pthread_mutex_unlock(&seen.mutex);
}

static int start(void **state) {
  (void)state;
  test_project_open(&p);
  test_write(&p, "pipelines/a.lua", HEAD "o.pipeline 'a' { o.step 's' { run = print } }");
  orr_generation_unref(test_build(&p));
  struct orr_watcher_options options = {.loader = p.loader, .project = &p.project, .built = built};
  watcher = orr_watcher_start(&options);
  return 0;
}
static int stop(void **state) {
  (void)state;
  orr_watcher_stop(watcher);
  orr_generation_unref(seen.generation);
  seen.generation = NULL;
  seen.good = seen.bad = 0;
  test_project_close(&p);
  return 0;
}

static bool has(const char *pipeline, const char *step) {
  struct orr_def *def = seen.generation != NULL
                            ? orr_generation_def(seen.generation, orr_slice_text(pipeline))
                            : NULL;
  return def != NULL && orr_def_step(def, orr_slice_text(step)) != UINT32_MAX;
}

// Waits until the newest good generation has that step, or until a bad build (step NULL).
static void wait_for(const char *pipeline, const char *step) {
  struct timespec deadline;
  clock_gettime(CLOCK_REALTIME, &deadline);
  deadline.tv_sec += DEADLINE_S;
  int error = 0;
  pthread_mutex_lock(&seen.mutex);
  while (error == 0 && !(step != NULL ? has(pipeline, step) : seen.bad > 0)) {
    error = pthread_cond_timedwait(&seen.changed, &seen.mutex, &deadline);
  }
  pthread_mutex_unlock(&seen.mutex);
  assert_int_equal(error, 0);
}

static void a_saved_script_is_built(void **state) {
  (void)state;
  test_write(&p, "pipelines/a.lua", HEAD "o.pipeline 'a' { o.step 'edited' { run = print } }");
  wait_for("a", "edited");
}

static void an_editor_that_renames_over_is_noticed_each_time(void **state) {
  (void)state;
  test_rename_over(&p, "pipelines/a.lua", HEAD "o.pipeline 'a' { o.step 'first' { run = print } }");
  wait_for("a", "first");
  test_rename_over(&p, "pipelines/a.lua",
                   HEAD "o.pipeline 'a' { o.step 'second' { run = print } }");
  wait_for("a", "second");
}

static void new_folders_are_watched_too(void **state) {
  (void)state;
  test_write(&p, "pipelines/team/deep/b.lua",
             HEAD "o.pipeline 'b' { o.step 'one' { run = print } }");
  wait_for("b", "one");
  test_write(&p, "pipelines/team/deep/b.lua",
             HEAD "o.pipeline 'b' { o.step 'two' { run = print } }");
  wait_for("b", "two");
  test_write(&p, "lib/m.lua", "return { name = 'from_m' }");
  test_write(&p, "pipelines/c.lua",
             HEAD "o.pipeline 'c' { o.step(require('m').name) { run = print } }");
  wait_for("c", "from_m");
  test_write(&p, "lib/m.lua", "return { name = 'renamed_in_m' }");
  wait_for("c", "renamed_in_m");
}

static void a_broken_script_is_told_and_the_repair_is_built(void **state) {
  (void)state;
  test_write(&p, "pipelines/a.lua", "local x = = 1");
  wait_for(NULL, NULL);
  test_write(&p, "pipelines/a.lua", HEAD "o.pipeline 'a' { o.step 'repaired' { run = print } }");
  wait_for("a", "repaired");
}

static void files_of_no_concern_build_nothing(void **state) {
  (void)state;
  for (int i = 0; i < 20; i++) test_write(&p, "report.html", "<p>");
  test_write(&p, "pipelines/a.lua", HEAD "o.pipeline 'a' { o.step 'last' { run = print } }");
  wait_for("a", "last");
  assert_int_equal(seen.bad, 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, start, stop)

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(a_saved_script_is_built),
      TEST(an_editor_that_renames_over_is_noticed_each_time),
      TEST(new_folders_are_watched_too),
      TEST(a_broken_script_is_told_and_the_repair_is_built),
      TEST(files_of_no_concern_build_nothing),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
