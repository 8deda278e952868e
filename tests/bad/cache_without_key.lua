local o = require "orrery"

o.pipeline "etl" {
  o.step "fetch" { run = print, cache = { ttl = "1h" } },
}
