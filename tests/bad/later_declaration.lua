local o = require "orrery"

o.pipeline "etl" { o.step "fetch" { run = print } }
o.trigger "nightly" { start = "etl" }
