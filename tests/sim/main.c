// SPDX-License-Identifier: MIT
// The simulator's command line. `orrery_sim` runs seeds until a bound is met; every 16th twice, to
// see that the same seed gives the same trace. A failure prints its seed, what broke, and a line
// that repeats it; the last line is "N passed, N failed".
#include "bug_hunt.h"
#include "exhaustive.h"
#include "world.h"

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#define SEED_SECONDS_MAX 60u // a seed that takes longer hangs
#define FAILURES_MAX 10u

struct arguments {
  uint64_t seed, seeds;
  uint32_t seconds, events;
  bool one, verbose, exhaustive, bugs, long_mode;
  int bug;
};

static volatile uint64_t current_seed;
static uint32_t current_events;
static uint64_t passed_so_far;

// An assertion of the core, a crash or a hang: say where, in signal-safe calls only.
static void on_signal(int number) {
  char text[256];
  const char *what = number == SIGALRM ? "hangs" : number == SIGABRT ? "aborts" : "crashes";
  int len = snprintf(text, sizeof(text),
                     "seed %" PRIu64 ": %s (signal %d)\n  repeat: orrery_sim --seed %" PRIu64
                     " --events %u\n%" PRIu64 " passed, 1 failed\n",
                     current_seed, what, number, current_seed, current_events, passed_so_far);
  if (len > 0 && write(STDOUT_FILENO, text, (size_t)len) < 0) _exit(2);
  _exit(1);
}

static double seconds_now(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static bool run_seed(const struct arguments *arguments, uint64_t seed, struct sim_report *total) {
  struct sim_options options = {
      .seed = seed, .events = arguments->events, .verbose = arguments->verbose};
  struct sim_report report, again;
  char message[640];
  current_seed = seed;
  alarm(SEED_SECONDS_MAX);
  bool good = sim_run(&options, &report, message, sizeof(message));
  if (good && (seed % 16 == 0 || arguments->one)) {
    options.verbose = false;
    good = sim_run(&options, &again, message, sizeof(message));
    if (good && again.trace != report.trace) {
      snprintf(message, sizeof(message), "I35: two traces of one seed: %016" PRIx64 " %016" PRIx64,
               report.trace, again.trace);
      good = false;
    }
  }
  alarm(0);
  if (!good) {
    printf("seed %" PRIu64 ": %s\n  repeat: orrery_sim --seed %" PRIu64 " --events %u\n", seed,
           message, seed, arguments->events);
    fflush(stdout);
    return false;
  }
  if (arguments->one)
    printf("seed %" PRIu64 ": trace %016" PRIx64 ", %" PRIu64 " events, %" PRIu64 " runs, %" PRIu64
           " crashes, %" PRIu64 " store calls, %" PRIu64 " facts, %.1f simulated seconds\n",
           seed, report.trace, report.events, report.runs, report.crashes, report.store_calls,
           report.facts, (double)report.simulated_ms / 1e3);
  total->events += report.events;
  total->runs += report.runs;
  total->crashes += report.crashes;
  total->store_calls += report.store_calls;
  total->facts += report.facts;
  return true;
}

static int run_seeds(const struct arguments *arguments) {
  struct sim_report total = {0};
  uint64_t failed = 0;
  double start = seconds_now();
  uint64_t before = passed_so_far;
  for (uint64_t i = 0; i < arguments->seeds && failed < FAILURES_MAX; i++) {
    if (arguments->seconds > 0 && seconds_now() - start >= arguments->seconds) break;
    if (run_seed(arguments, arguments->seed + i, &total))
      passed_so_far++;
    else
      failed++;
  }
  double took = seconds_now() - start;
  fprintf(stderr,
          "%" PRIu64 " events, %" PRIu64 " runs, %" PRIu64 " facts, %" PRIu64 " crashes, %" PRIu64
          " store calls in %.1f s: %.0f seeds/s, %.0f events/s\n",
          total.events, total.runs, total.facts, total.crashes, total.store_calls, took,
          (double)(passed_so_far - before) / took, (double)total.events / took);
  printf("%" PRIu64 " passed, %" PRIu64 " failed\n", passed_so_far, failed);
  return failed > 0;
}

// The seeds of tests/seeds.txt broke something once: they run first, for ever.
static uint64_t run_known(const struct arguments *arguments, const char *path, uint64_t *failed) {
  FILE *file = fopen(path, "r");
  if (file == NULL) return 0;
  char line[256];
  uint64_t passed = 0;
  struct sim_report total = {0};
  while (fgets(line, sizeof(line), file) != NULL) {
    struct arguments one = *arguments;
    uint64_t seed;
    uint32_t events;
    if (sscanf(line, "%" SCNu64 " %" SCNu32, &seed, &events) != 2) continue;
    one.events = current_events = events;
    if (run_seed(&one, seed, &total))
      passed++;
    else
      ++*failed;
  }
  fclose(file);
  current_events = arguments->events;
  return passed;
}

static int usage(void) {
  fputs("usage: orrery_sim [--seed N] [--seeds N] [--seconds S] [--events N] [--long] [--verbose]\n"
        "                  [--exhaustive] [--bugs] [--bug N]\n",
        stderr);
  return 2;
}

static bool number(int argc, char **argv, int *at, uint64_t *value) {
  if (*at + 1 >= argc) return false;
  char *end;
  *value = strtoull(argv[++*at], &end, 0);
  return *end == '\0' && end != argv[*at];
}

static bool parse(int argc, char **argv, struct arguments *arguments) {
  for (int i = 1; i < argc; i++) {
    uint64_t value = 0;
    const char *name = argv[i];
    bool good = true;
    if (strcmp(name, "--verbose") == 0)
      arguments->verbose = true;
    else if (strcmp(name, "--exhaustive") == 0)
      arguments->exhaustive = true;
    else if (strcmp(name, "--bugs") == 0)
      arguments->bugs = true;
    else if (strcmp(name, "--long") == 0)
      arguments->long_mode = true;
    else if (strcmp(name, "--seed") == 0) {
      good = number(argc, argv, &i, &arguments->seed);
      if (arguments->seeds == 0) arguments->one = true;
    } else if (strcmp(name, "--seeds") == 0) {
      good = number(argc, argv, &i, &arguments->seeds);
      arguments->one = false;
    } else if ((good = number(argc, argv, &i, &value))) {
      if (strcmp(name, "--seconds") == 0)
        arguments->seconds = (uint32_t)value;
      else if (strcmp(name, "--events") == 0)
        arguments->events = (uint32_t)value;
      else if (strcmp(name, "--bug") == 0)
        arguments->bug = (int)value;
      else
        good = false;
    }
    if (!good) return false;
  }
  return true;
}

int main(int argc, char **argv) {
  struct arguments arguments = {.seed = 1, .events = 2000};
  if (!parse(argc, argv, &arguments)) return usage();
  if (arguments.long_mode) {
    if (arguments.seconds == 0) arguments.seconds = 600;
    arguments.events *= 10;
  }
  if (arguments.seeds == 0)
    arguments.seeds = arguments.one ? 1 : arguments.seconds > 0 ? UINT64_MAX : 1000;
  signal(SIGABRT, on_signal);
  signal(SIGSEGV, on_signal);
  signal(SIGALRM, on_signal);
  setvbuf(stdout, NULL, _IOLBF, 0);
  current_events = arguments.events;
  if (arguments.bugs) return bug_hunt(arguments.bug);
  if (arguments.bug != 0) bug_arm(arguments.bug);
  uint64_t failed = 0;
  if (arguments.exhaustive) {
    uint64_t passed = exhaustive_run(&current_seed, &failed);
    printf("%" PRIu64 " passed, %" PRIu64 " failed\n", passed, failed);
    return failed > 0;
  }
  if (!arguments.one && arguments.bug == 0) {
    passed_so_far += run_known(&arguments, "tests/seeds.txt", &failed);
    if (failed == 0) passed_so_far += exhaustive_run(&current_seed, &failed);
    if (failed > 0) {
      printf("%" PRIu64 " passed, %" PRIu64 " failed\n", passed_so_far, failed);
      return 1;
    }
  }
  return run_seeds(&arguments);
}
