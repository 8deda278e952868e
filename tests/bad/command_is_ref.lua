local o = require "orrery"

o.pipeline "etl" {
  input = { command = o.string {} },
  o.shell "tell" { command = o.ref "input.command" },
}
