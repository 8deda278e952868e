local o = require "orrery"

o.pipeline "etl" {
  fetch = o.step "fetch" { run = print },
}
