local o = require "orrery"

o.pipeline "etl" {
  o.sleep "pause" { duration = "1s", until_ = "2026-12-24T18:00:00Z" },
}
