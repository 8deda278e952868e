local o = require "orrery"

o.pipeline "etl" { o.step "input" { run = print } }
