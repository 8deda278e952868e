local o = require "orrery"

o.pipeline(42, { o.step "fetch" { run = print } })
