local o = require "orrery"

local n = math.random(10)
o.pipeline "etl" { o.step "fetch" { run = print } }
