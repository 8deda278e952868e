local o = require "orrery"

o.pipeline "etl" {
  concurrency = { limit = 1, key = "run.id" },
  o.step "fetch" { run = print },
}
