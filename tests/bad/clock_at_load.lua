local o = require "orrery"

o.pipeline "etl" { description = "Made at " .. os.time(), o.step "fetch" { run = print } }
