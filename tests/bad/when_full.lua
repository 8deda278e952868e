local o = require "orrery"

o.pipeline "etl" {
  concurrency = { limit = 1, when_full = "drop" },
  o.step "fetch" { run = print },
}
