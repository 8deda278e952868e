local o = require "orrery"

o.step "fetch" { run = print }
o.pipeline "etl" { o.step "load" { run = print } }
