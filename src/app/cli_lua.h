// SPDX-License-Identifier: MIT
// The command line's Lua state: main thread, the embedded library, modules "orrery.c.app" (app_lua.h), "orrery.c.cli"
// (cli_lua.c) and "orrery.c.json". What the verbs say and read is in lua/orrery/cli.
#pragma once

// Returns the exit code of DESIGN section 8.
int orr_cli_main(int argc, char **argv);
