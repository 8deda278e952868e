local o = require "orrery"

o.pipeline "etl" {
  o.shell "tell" { command = { "echo", o.ref "run.number" } },
}
