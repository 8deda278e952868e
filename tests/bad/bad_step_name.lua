local o = require "orrery"

o.pipeline "etl" { o.step "fetch pages" { run = print } }
