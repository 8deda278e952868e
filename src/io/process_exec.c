// SPDX-License-Identifier: MIT
// Starting one child from the helper: everything that may allocate or fail on input happens before
// the clone; the child itself, which shares the helper's memory until it execs (the helper stands
// still meanwhile), makes raw system calls only. Invariant: the helper blocks every signal and
// handles none, so no handler can run in the child. Thread: the helper's only one. Must not know
// the channel, the engine or libuv.
#include "base/check.h"
#include "io/process_wire.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define STACK_BYTES 65536
#define PATH_DEFAULT "/usr/local/bin:/usr/bin:/bin"

extern char **environ;

struct plan { // read by the child; `error` and `stage` are its answer
  char **argv, **env, **programs;
  const char *cwd;
  int fds[3];
  pid_t helper;
  volatile int error;
  volatile enum orr__wire_stage stage;
};

#define UNWATCHED __attribute__((no_sanitize("address", "thread", "undefined")))

static UNWATCHED _Noreturn void child_fail(struct plan *plan, enum orr__wire_stage stage,
                                           int error) {
  plan->stage = stage;
  plan->error = error;
  for (;;) syscall(SYS_exit_group, 127);
}

// Like execvp: a missing or forbidden file in one folder of PATH doesn't hide one in a later
// folder.
static UNWATCHED int child_exec(const struct plan *plan) {
  int error = ENOENT;
  for (char **program = plan->programs; *program != NULL; program++) {
    syscall(SYS_execve, *program, plan->argv, plan->env);
    int now = errno;
    if (now == EACCES)
      error = EACCES;
    else if (now != ENOENT && now != ENOTDIR)
      return now;
  }
  return error;
}

static UNWATCHED int child_main(void *argument) {
  struct plan *plan = argument;
  syscall(SYS_setsid);
  syscall(SYS_prctl, PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
  if (syscall(SYS_getppid) != plan->helper) child_fail(plan, ORR__STAGE_FORK, ESRCH);
  for (int i = 0; i < 3; i++) {
    if (syscall(SYS_dup3, plan->fds[i], i, 0) < 0) child_fail(plan, ORR__STAGE_FORK, errno);
  }
  syscall(SYS_close_range, 3u, ~0u, 0u);
  if (plan->cwd != NULL && syscall(SYS_chdir, plan->cwd) < 0)
    child_fail(plan, ORR__STAGE_CWD, errno);
  uint64_t none = 0;
  syscall(SYS_rt_sigprocmask, SIG_SETMASK, &none, NULL, sizeof none);
  child_fail(plan, ORR__STAGE_EXEC, child_exec(plan));
}

static const char *env_path(char **env) {
  for (; *env != NULL; env++) {
    if (strncmp(*env, "PATH=", 5) == 0) return *env + 5;
  }
  return PATH_DEFAULT;
}

// The files to try in turn: argv[0] itself when it has a slash, else it in every folder of the
// child's PATH (an empty folder is the working directory). Heap; one block.
static char **programs_new(const char *name, char **env) {
  size_t name_len = strlen(name);
  if (name_len == 0 || strchr(name, '/') != NULL) {
    char **one = orr_alloc(2 * sizeof *one + name_len + 1);
    one[0] = memcpy((char *)(one + 2), name, name_len + 1);
    if (name_len == 0) one[0] = NULL;
    return one;
  }
  const char *path = env_path(env);
  size_t folders = 1;
  for (const char *at = path; *at != '\0'; at++) folders += *at == ':';
  char **all = orr_alloc((folders + 1) * sizeof *all + strlen(path) + folders * (name_len + 2) + 1);
  char *text = (char *)(all + folders + 1);
  for (size_t i = 0; i < folders; i++) {
    size_t len = strcspn(path, ":");
    all[i] = text;
    memcpy(text, path, len);
    text += len;
    if (len > 0) *text++ = '/';
    memcpy(text, name, name_len + 1);
    text += name_len + 1;
    path += len + (path[len] == ':');
  }
  return all;
}

// Points `list` at `count` strings and NULL. False if the strings end too early.
static bool strings_take(char **list, uint32_t count, char **at, const char *end) {
  for (uint32_t i = 0; i < count; i++) {
    char *nul = *at < end ? memchr(*at, 0, (size_t)(end - *at)) : NULL;
    if (nul == NULL) return false;
    list[i] = *at;
    *at = nul + 1;
  }
  list[count] = NULL;
  return true;
}

static int clone_plan(struct plan *plan, pid_t *pid, enum orr__wire_stage *stage) {
  static uint8_t stack[STACK_BYTES] __attribute__((aligned(16)));
  *stage = ORR__STAGE_FORK;
  pid_t child = clone(child_main, stack + sizeof stack, CLONE_VM | CLONE_VFORK | SIGCHLD, plan);
  if (child < 0) return errno;
  if (plan->error != 0) {
    *stage = plan->stage;
    while (waitpid(child, NULL, 0) < 0 && errno == EINTR) {}
    return plan->error;
  }
  *pid = child;
  return 0;
}

int orr__exec_start(const struct orr__exec *exec, pid_t *pid, enum orr__wire_stage *stage) {
  const struct orr__wire_request *request = exec->request;
  *stage = ORR__STAGE_REQUEST;
  bool has_cwd = (request->flags & ORR__WIRE_CWD) != 0;
  if (request->argc == 0 || request->argc > request->bytes || request->envc > request->bytes)
    return EINVAL;
  char **lists = orr_alloc(((size_t)request->argc + request->envc + 4) * sizeof *lists);
  char **argv = lists, **env = argv + request->argc + 1, **cwd = env + request->envc + 1;
  char *at = exec->strings;
  const char *end = at + request->bytes;
  int error = EINVAL;
  if (strings_take(argv, request->argc, &at, end) && strings_take(env, request->envc, &at, end) &&
      strings_take(cwd, has_cwd, &at, end)) {
    if (request->flags & ORR__WIRE_OWN_ENV) env = environ;
    struct plan plan = {.argv = argv, .env = env, .cwd = cwd[0], .helper = exec->helper};
    memcpy(plan.fds, exec->fds, sizeof plan.fds);
    plan.programs = programs_new(argv[0], env);
    error = clone_plan(&plan, pid, stage);
    free(plan.programs);
  }
  free(lists);
  return error;
}
