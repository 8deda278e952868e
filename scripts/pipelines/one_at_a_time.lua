-- Concurrency with a key: one run for each customer at once; further ones wait in their order.
local o = require "orrery"

o.pipeline "one_at_a_time" {
  description = "Works for one customer at a time.",
  input = { customer = o.string { default = "acme" }, work = o.string { default = "200ms", format = "duration" } },
  concurrency = { limit = 1, key = "input.customer", when_full = "queue" },
  tags = { "demo", "concurrency" },

  o.sleep "work" { duration = function(ctx) return ctx.input.work end },
  o.step "done" { after = "work", run = function(ctx) return ctx.input.customer .. " served" end },
}
