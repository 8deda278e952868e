local o = require "orrery"

o.pipeline "etl" { o.step "extract" { after = "extract", run = print } }
