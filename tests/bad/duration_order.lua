local o = require "orrery"

o.pipeline "etl" {
  o.step "fetch" { run = print, timeout = "30m1h" },
}
