local o = require "orrery"

o.pipeline "etl" {
  input = { file = "status" },
  o.step "fetch" { run = print },
}
