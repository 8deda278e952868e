local o = require "orrery"

o.pipeline "etl" { description = "Nothing to do." }
