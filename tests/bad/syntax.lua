local o = require "orrery"

o.pipeline "etl" {
  o.step "fetch" { run = function( return 1 end },
}
