-- once and undo: a charge never runs twice, and what succeeded is undone, in reverse, when the run fails.
local o = require "orrery"

o.pipeline "payment" {
  description = "Reserves, charges, ships; gives back what it took when shipping fails.",
  input = { amount = o.number { default = 20, minimum = 0.01 }, ship = o.boolean { default = true } },

  o.step "reserve" {
    run = function(ctx) return { reservation = "r-" .. ctx.run.id } end,
    undo = function(ctx, output) ctx.log("released " .. output.reservation) end,
  },
  o.step "charge" {
    after = "reserve", once = true,
    run = function(ctx) return { charged = ctx.input.amount, key = ctx.idempotency_key } end,
    undo = function(ctx, output) ctx.log("refunded", { amount = output.charged }) end,
  },
  o.step "ship" {
    after = "charge",
    run = function(ctx)
      if not ctx.input.ship then o.fail("nothing left to ship", { code = "sold_out", retryable = false }) end
      return "shipped"
    end,
  },
}
