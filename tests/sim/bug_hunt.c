// SPDX-License-Identifier: MIT
// Hunts planted bugs in two processes at a time: a child arms one bug and runs seeds until
// something breaks, an assertion of the core included. A bug that is not found within its time is a
// failure.
#include "bug_hunt.h"

#include "bugs.h"
#include "core/bug.h"
#include "world.h"

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define HUNT_SECONDS 60.0
#define HUNTERS 2
#define HANG_SECONDS 20u

int orr_bug_armed;

static const struct sim_bug BUGS[] = {
#define X(number, text) {number, text},
    SIM_BUG_LIST(X)
#undef X
        {0, NULL}};
#define BUGS_LEN (sizeof(BUGS) / sizeof(BUGS[0]) - 1)

struct trail { // shared with a child
  uint64_t seeds;
  char message[640];
};
struct hunter {
  pid_t pid;
  size_t bug;
  double start;
  struct trail *trail;
};

void bug_arm(int number) { orr_bug_armed = number; }

static double seconds_now(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

_Noreturn static void hunt(int number, struct trail *trail) {
  signal(SIGABRT, SIG_DFL); // an assertion of the core is a find
  signal(SIGSEGV, SIG_DFL);
  signal(SIGALRM, SIG_DFL); // so is a hang
  if (freopen("/dev/null", "w", stderr) == NULL) _exit(3);
  orr_bug_armed = number;
  double start = seconds_now();
  while (seconds_now() - start < HUNT_SECONDS) {
    struct sim_options options = {.seed = ++trail->seeds, .events = 2000};
    struct sim_report report;
    alarm(HANG_SECONDS);
    if (!sim_run(&options, &report, trail->message, sizeof(trail->message))) _exit(1);
  }
  _exit(0);
}

static void start(struct hunter *hunter, size_t bug) {
  hunter->bug = bug;
  hunter->start = seconds_now();
  hunter->trail =
      mmap(NULL, sizeof(*hunter->trail), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (hunter->trail == MAP_FAILED) abort();
  fflush(stdout);
  hunter->pid = fork();
  if (hunter->pid == 0) hunt(BUGS[bug].number, hunter->trail);
}

static bool report(struct hunter *hunter, int status) {
  const struct sim_bug *bug = &BUGS[hunter->bug];
  struct trail *trail = hunter->trail;
  bool found = !(WIFEXITED(status) && WEXITSTATUS(status) == 0);
  if (WIFEXITED(status) && WEXITSTATUS(status) == 3) found = false;
  const char *how = trail->message;
  if (WIFSIGNALED(status))
    how = WTERMSIG(status) == SIGALRM ? "a hang" : "an assertion or crash of the core";
  printf("%s %d - %s: %" PRIu64 " seeds, %.1f s%s%s\n", found ? "ok" : "not ok", bug->number,
         bug->text, trail->seeds, seconds_now() - hunter->start, found ? ": " : ", not found",
         found ? how : "");
  munmap(trail, sizeof(*trail));
  hunter->pid = 0;
  return found;
}

int bug_hunt(int only) {
  struct hunter hunters[HUNTERS] = {{0}};
  size_t next = 0;
  uint32_t running = 0, found = 0, missed = 0;
  for (;;) {
    for (int i = 0; i < HUNTERS; i++) {
      while (next < BUGS_LEN && only != 0 && BUGS[next].number != only) next++;
      if (hunters[i].pid != 0 || next >= BUGS_LEN) continue;
      start(&hunters[i], next++);
      running++;
    }
    if (running == 0) break;
    int status;
    pid_t pid = wait(&status);
    for (int i = 0; i < HUNTERS; i++) {
      if (hunters[i].pid != pid) continue;
      running--;
      if (report(&hunters[i], status))
        found++;
      else
        missed++;
    }
  }
  printf("%u passed, %u failed\n", found, missed);
  return missed > 0 || found == 0;
}
