local o = require "orrery"

o.pipeline "etl" {
  o.step "extract" { after = "load", run = print },
  o.step "transform" { after = "extract", run = print },
  o.step "load" { after = "transform", run = print },
}
