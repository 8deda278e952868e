local o = require "orrery"

o.pipeline "etl" {
  o.step "fetch" { function(ctx) return ctx.input end },
}
