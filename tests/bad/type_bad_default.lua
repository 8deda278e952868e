local o = require "orrery"

o.pipeline "etl" {
  input = { count = o.integer { default = "three" } },
  o.step "fetch" { run = print },
}
