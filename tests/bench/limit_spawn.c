// SPDX-License-Identifier: MIT
// The physical limit of W7: posix_spawn and wait of /bin/true, 8 in flight.   limit_spawn N -> seconds
#include "bench.h"

#include <spawn.h>
#include <sys/wait.h>

extern char **environ;

int main(int argc, char **argv) {
  int count = argc > 1 ? atoi(argv[1]) : 2000, started = 0, live = 0, done = 0;
  char *child[] = {"/bin/true", NULL};
  double start = now_s();
  while (done < count) {
    for (; live < 8 && started < count; started++, live++) {
      pid_t pid;
      need(posix_spawn(&pid, child[0], NULL, NULL, child, environ) == 0, "posix_spawn");
    }
    need(waitpid(-1, NULL, 0) > 0, "waitpid");
    done++, live--;
  }
  printf("%.9f\n", now_s() - start);
  return 0;
}
