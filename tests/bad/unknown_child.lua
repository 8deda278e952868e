local o = require "orrery"

o.pipeline "parent" { o.run "child" { pipeline = "chlid" } }
o.pipeline "child" { o.step "work" { run = print } }
