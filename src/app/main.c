// SPDX-License-Identifier: MIT
// Where the process begins: everything a verb says and reads is Lua (lua/orrery/cli), everything it does is C.
#include "app/cli_lua.h"

int main(int argc, char **argv) { return orr_cli_main(argc, argv); }
