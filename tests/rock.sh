#!/bin/sh
# The rockspec is sound, and `luarocks make` works without a network.
set -u
passed=0 failed=0
step() { sentence=$1; shift; if "$@" >build/rock.log 2>&1; then passed=$((passed + 1)); echo "ok - $sentence"; else failed=$((failed + 1)); echo "not ok - $sentence"; tail -n 40 build/rock.log; fi; }
tree=$(mktemp -d)
step "luarocks lint accepts the rockspec" luarocks --lua-version 5.4 lint orrery-scm-1.rockspec
step "luarocks make builds and installs it offline" luarocks --lua-version 5.4 make --tree "$tree" --deps-mode none orrery-scm-1.rockspec
step "the installed binary runs" sh -c "\$(find '$tree' -type f -name orrery -perm -u+x | head -n 1) --version"
rm -rf "$tree" build.luarocks
echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
