-- The smallest pipeline: one step, one input with a default.
local o = require "orrery"

o.pipeline "hello" {
  description = "Says hello.",
  input = { name = o.string { default = "world" } },

  o.step "greet" { run = function(ctx) return "Hello, " .. ctx.input.name .. "!" end },
}
