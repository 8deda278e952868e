local o = require "orrery"

o.pipeline "b" { o.step "x" { run = 5 } }
