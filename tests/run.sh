#!/bin/sh
# All tests of `./dev test`: builds (plain, ASan+UBSan, TSan, fuzzers), then every suite, then one closing line.
# Called by ./dev; ORRERY_TESTS="unit lua" runs only those suites.
set -u
jobs=$(nproc 2>/dev/null || echo 2)
mkdir -p build
results=build/results
: >"$results"
suites=${ORRERY_TESTS:-"tidy lua unit sim e2e faults crash fuzz tsan rock"}

wants() { case " $suites " in *" $1 "*) return 0 ;; *) return 1 ;; esac; }
say() { printf '%s\n' "$*"; }

# build DIR TARGETS -- OPTIONS
build() {
  dir=$1 targets=$2; shift 3
  mkdir -p "$dir"
  cmake -G Ninja -S . -B "$dir" "$@" >"$dir/dev.log" 2>&1 && ninja -C "$dir" -j "$jobs" $targets >"$dir/dev.log" 2>&1 && return 0
  tail -n 80 "$dir/dev.log"
  say "build of $dir failed"
  echo "0 1 build-$dir" >>"$results"
  return 1
}

# suite NAME COMMAND...: runs it, takes its counts from the plain closing line, TAP, busted or cmocka.
suite() {
  name=$1; shift
  start=$(date +%s)
  "$@" >build/suite.log 2>&1
  code=$?
  passed=$(sed -n 's/^\([0-9][0-9]*\) passed, \([0-9][0-9]*\) failed.*/\1/p' build/suite.log | tail -n 1)
  failed=$(sed -n 's/^\([0-9][0-9]*\) passed, \([0-9][0-9]*\) failed.*/\2/p' build/suite.log | tail -n 1)
  if [ -z "$passed" ]; then # cmocka or TAP of busted
    passed=$(grep -c -E '^\[       OK \]|^ok ' build/suite.log)
    failed=$(grep -c -E '^\[  FAILED  \] [a-z_]|^not ok ' build/suite.log)
  fi
  [ "$code" -ne 0 ] && [ "$failed" = 0 ] && failed=1
  [ "$code" -eq 0 ] && [ "$passed" = 0 ] && failed=1
  say "$name: $passed passed, $failed failed ($(($(date +%s) - start)) s)"
  [ "$failed" = 0 ] && [ "$code" -eq 0 ] || { say "--- $name (exit $code)"; tail -n 120 build/suite.log; say "---"; }
  echo "$passed $failed $name" >>"$results"
}

build build "orrery orrery_sim" -- || true
wants unit && { build build/asan "orrery unit_tests" -- -DORR_SANITIZE=address,undefined || true; }

wants tidy && suite tidy lua5.4 tests/tidy/tidy.lua build
wants lua && suite lua lua5.4 /usr/bin/busted --output=TAP
if wants unit; then
  export ASAN_OPTIONS=detect_leaks=1:abort_on_error=0 UBSAN_OPTIONS=print_stacktrace=1
  for test in build/asan/test_*; do
    [ -x "$test" ] && [ -f "$test" ] && suite "$(basename "$test")" timeout 300 "$test"
  done
fi
wants sim && suite simulator ./build/orrery_sim --seeds 3000
wants sim && suite planted-bugs ./build/orrery_sim --bugs
wants e2e && suite e2e lua5.4 tests/e2e/engine_e2e.lua
for name in engine http redis; do
  wants e2e && [ -x build/asan/orrery ] &&
    suite "$name-asan" env ORRERY_BINARY="$PWD/build/asan/orrery" ORRERY_TEST_SLOWNESS=4 lua5.4 "tests/e2e/${name}_e2e.lua"
done
for file in tests/e2e/*_e2e.lua; do
  case $file in *engine_e2e.lua | *faults_e2e.lua) continue ;; esac
  wants e2e && suite "$(basename "$file" .lua)" lua5.4 "$file"
done
wants faults && suite faults lua5.4 tests/e2e/faults_e2e.lua
wants crash && suite crash lua5.4 tests/e2e/crash.lua --kills 20
if wants tsan && build build/tsan "orrery test_redis_client test_redis_topology" -- -DORR_SANITIZE=thread; then
  suite redis-tsan timeout 300 build/tsan/test_redis_client
  suite redis-topology-tsan timeout 300 build/tsan/test_redis_topology
  suite e2e-tsan env ORRERY_BINARY="$PWD/build/tsan/orrery" ORRERY_TEST_SLOWNESS=8 \
    TSAN_OPTIONS="halt_on_error=1 exitcode=66 suppressions=$PWD/tests/support/tsan.supp" lua5.4 tests/e2e/engine_e2e.lua
fi
wants fuzz && suite fuzz tests/fuzz/run.sh 5
wants rock && suite rockspec tests/rock.sh

awk '{ p += $1; f += $2 } END { printf "%d passed, %d failed\n", p, f; exit f > 0 }' "$results"
