local o = require "orrery"

local text = o.fs.read("/etc/hostname")
o.pipeline "etl" { o.step "fetch" { run = print } }
