local o = require "orrery"

o.pipeline "etl/daily" { o.step "fetch" { run = print } }
