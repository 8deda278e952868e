local o = require "orrery"

o.pipeline "etl" {
  input = { count = o.integer { minimum = 10, maximum = 1 } },
  o.step "fetch" { run = print },
}
