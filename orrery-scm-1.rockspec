rockspec_format = "3.0"
package = "orrery"
version = "scm-1"
source = { url = "git+file://." }
description = {
  summary = "Durable workflows written as Lua scripts, in one small binary",
  detailed = "A C core gives the DAG executor, the timer wheel, the store and HTTP; pipelines are Lua scripts that it hot-reloads.",
  license = "MIT",
}
dependencies = { "lua >= 5.4, < 5.5" }
build = {
  type = "cmake",
  variables = { CMAKE_INSTALL_PREFIX = "$(PREFIX)", CMAKE_BUILD_TYPE = "RelWithDebInfo" },
}
test = { type = "busted" }
