local o = require "orrery"

o.pipeline "a" { o.step "x" { after = "y", run = print }, o.step "z" { after = "q", run = print } }
