-- Child runs: a step may run another pipeline and take its output. A file may declare several pipelines.
local o = require "orrery"

o.pipeline "shout" {
  description = "Makes a text loud.",
  input = { text = o.string {} },
  o.step "upper" { run = function(ctx) return ctx.input.text:upper() .. "!" end },
}

o.pipeline "parent" {
  description = "Has each word shouted by a child run.",
  input = { first = o.string { default = "hello" }, second = o.string { default = "world" } },
  output = function(ctx) return ctx.results.one .. " " .. ctx.results.two end,

  o.run "one" { pipeline = "shout", input = { text = o.ref "input.first" }, timeout = "30s" },
  o.run "two" { pipeline = "shout", input = { text = o.ref "input.second" }, timeout = "30s" },
}
