local o = require "orrery"

o.pipelin "etl" { o.step "fetch" { run = print } }
