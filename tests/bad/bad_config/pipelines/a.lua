local o = require "orrery"

o.pipeline "a" { o.step "x" { run = print } }
