local o = require "orrery"

prnt("loading")
o.pipeline "etl" { o.step "fetch" { run = print } }
