local o = require "orrery"

o.pipeline "etl" {
  input = { size = o.enum {} },
  o.step "fetch" { run = print },
}
