local o = require "orrery"

o.pipeline "etl" { o.sleep "pause" {} }
