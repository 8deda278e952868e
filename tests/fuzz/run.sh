#!/bin/sh
# Builds every libFuzzer harness and runs each for SECONDS (default 60), starting from its corpus.
#   tests/fuzz/run.sh [SECONDS] [HARNESS...]
set -u
seconds=${1:-60}
[ $# -gt 0 ] && shift
jobs=$(nproc 2>/dev/null || echo 2)
mkdir -p build
CC=clang-14 cmake -G Ninja -S . -B build/fuzz -DORR_FUZZ=ON -DORR_SANITIZE=address,undefined >build/fuzz.log 2>&1 &&
  ninja -C build/fuzz -j "$jobs" fuzzers >>build/fuzz.log 2>&1 || { tail -n 60 build/fuzz.log; echo "0 passed, 1 failed"; exit 1; }
passed=0 failed=0
for binary in build/fuzz/fuzz_*; do
  [ -x "$binary" ] && [ -f "$binary" ] || continue
  name=$(basename "$binary")
  [ $# -gt 0 ] && case " $* " in *" $name "*) ;; *) continue ;; esac
  found=build/fuzz/found-$name
  mkdir -p "$found" "tests/fuzz/corpus/${name#fuzz_}"
  if "$binary" "$found" "tests/fuzz/corpus/${name#fuzz_}" -max_total_time="$seconds" -timeout=5 -rss_limit_mb=2048 \
    -artifact_prefix=build/fuzz/ -print_final_stats=1 >"build/fuzz/$name.log" 2>&1; then
    passed=$((passed + 1))
    echo "ok - $name $(sed -n 's/stat::number_of_executed_units: */executed /p' "build/fuzz/$name.log")"
  else
    failed=$((failed + 1))
    echo "not ok - $name"
    tail -n 40 "build/fuzz/$name.log"
  fi
done
echo "$passed passed, $failed failed"
[ "$failed" = 0 ] && [ "$passed" -gt 0 ]
