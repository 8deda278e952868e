local o = require "orrery"

o.pipeline "etl" {
  o.step "fetch" { run = print, timout = "5s" },
}
