local o = require "orrery"

o.pipeline "etl" {
  o.step "pay" { run = print, once = true, retry = 3 },
}
