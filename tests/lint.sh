#!/bin/sh
# Static checks over the tree: cppcheck, clang-tidy, luacheck. Needs build/compile_commands.json (./dev lint makes it).
set -u
code=0
cppcheck --quiet --error-exitcode=1 --enable=warning,portability --inline-suppr --suppressions-list=tests/cppcheck.supp \
  --std=c11 -I src src || code=1
git ls-files 'src/*.c' | xargs -P "$(nproc)" -n 8 clang-tidy -p build --quiet 2>/dev/null || code=1
luacheck --quiet lua scripts tests/e2e tests/support tests/bench tests/lua || code=1
[ "$code" = 0 ] && echo "lint: nothing found"
exit "$code"
