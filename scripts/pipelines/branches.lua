-- Conditions and rules: `when` skips a step, `rule` says which outcomes before it let a step run.
local o = require "orrery"

o.pipeline "branches" {
  description = "Takes one of two ways, and tidies up whatever happened.",
  input = { amount = o.integer { default = 250, minimum = 0 } },

  o.step "check" { run = function(ctx) return { large = ctx.input.amount >= 100 } end },
  o.step "approve" {
    after = "check",
    when = function(ctx) return ctx.results.check.large end,
    run = function(ctx) return "looked at " .. ctx.input.amount end,
  },
  o.step "wave_through" {
    after = "check",
    when = function(ctx) return not ctx.results.check.large end,
    run = function(ctx) return "small: " .. ctx.input.amount end,
  },
  o.step "book" {
    after = { "approve", "wave_through" }, rule = "one_success",
    run = function(ctx) return { booked = ctx.input.amount } end,
  },
  o.step "tidy_up" { after = "book", rule = "all_done", run = function(ctx) return ctx.results.book end },
}
