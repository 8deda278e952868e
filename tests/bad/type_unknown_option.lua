local o = require "orrery"

o.pipeline "etl" {
  input = { count = o.integer { min = 1 } },
  o.step "fetch" { run = print },
}
