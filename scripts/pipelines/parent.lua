-- Child runs: a step may run another pipeline and take its output.
local o = require "orrery"

o.pipeline "parent" {
  description = "Greets by way of another pipeline.",
  input = { name = o.string { default = "orrery" } },
  output = o.ref "shout",

  o.run "child" { pipeline = "hello", input = { name = o.ref "input.name" }, timeout = "30s" },
  o.step "shout" { after = "child", run = function(ctx) return ctx.results.child:upper() end },
}
