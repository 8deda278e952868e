local o = require "orrery"

o.pipeline "etl" { o.shell "list" { cwd = "/tmp" } }
