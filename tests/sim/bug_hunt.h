// SPDX-License-Identifier: MIT
// Checks the checker: arms planted bugs, one at a time, and counts the seeds until each is found.
#pragma once

void bug_arm(int number);
int bug_hunt(int only); // 0: all; exit code
