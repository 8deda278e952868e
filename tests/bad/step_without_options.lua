local o = require "orrery"

o.pipeline "etl" {
  o.step "fetch",
}
