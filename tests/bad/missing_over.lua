local o = require "orrery"

o.pipeline "etl" { o.map "each" { run = print } }
