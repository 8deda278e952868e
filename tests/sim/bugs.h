// SPDX-License-Identifier: MIT
// The bugs planted in the core (src/core/bug.h, ORR_BUG(n)): each a mistake that somebody could make.
// `orrery_sim --bugs` arms one after the other and must find every one. X(NUMBER, "what is wrong").
#pragma once

#define SIM_BUG_LIST(X) \
  X(1, "a row names the wrong row before it") \
  X(2, "answers and dispatches go out before the rows that they are about") \
  X(3, "long timers fire a few milliseconds early") \
  X(4, "the wheel puts far timers one slot too late") \
  X(5, "the back-off begins one power too early") \
  X(6, "jitter makes a delay longer than the policy allows") \
  X(7, "one attempt more than the policy allows") \
  X(8, "an error that is not retryable is retried") \
  X(9, "a once step that failed is run again") \
  X(10, "a step is retried although its run is being cancelled") \
  X(11, "the started fact of a once step is forgotten") \
  X(12, "a once step that was in flight at a crash is dispatched again") \
  X(13, "attempts start after cancel") \
  X(14, "attempts start while the run is paused") \
  X(15, "one attempt more than there are slots") \
  X(16, "the result of an attempt that was given up counts for the next one") \
  X(17, "an attempt that is given up keeps its slot") \
  X(18, "writes to ctx.state are lost") \
  X(19, "a timer that fires while the run is paused is lost") \
  X(20, "an interruption does not count as an attempt") \
  X(21, "a retry scheduled by the policy forgets the failure before it") \
  X(22, "a map's output is in the order of its items from last to first") \
  X(23, "one item more than `parallel` allows") \
  X(24, "new items start after one has failed") \
  X(25, "a gate lets one run too many through") \
  X(26, "gates admit while recovery has not yet seen who holds them") \
  X(27, "undo goes in the order of the steps, not backwards") \
  X(28, "a cancelled run is not undone") \
  X(29, "a run whose output failed succeeds") \
  X(30, "an idempotency key is forgotten") \
  X(31, "another request under a known idempotency key gets the old run") \
  X(32, "none_failed does not run after a skip") \
  X(33, "all_done does not run after a failure") \
  X(34, "one_success waits for no success") \
  X(35, "a delay that was recorded is over at once after a restart") \
  X(36, "the deadline of a run is forgotten by a restart") \
  X(37, "a final run that was not gathered is not gathered after a restart") \
  X(38, "`when` is decided again by every attempt") \
  X(39, "a cancel does not reach child runs") \
  X(40, "a cancel does not tell the attempts in flight") \
  X(41, "a resumed run is not woken") \
  X(42, "a stopping engine still gives out work") \
  X(43, "an idempotency key is kept in memory only") \
  X(44, "a recovered run forgets the position of its newest row")

struct sim_bug {
  int number;
  const char *text;
};
