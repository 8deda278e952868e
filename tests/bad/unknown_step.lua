local o = require "orrery"

o.pipeline "etl" {
  o.step "fetch" { run = print },
  o.step "load" { after = "fetchh", run = print },
  o.step "tell" {
    run = print,
    after = { "load", "nowhere" },
  },
}
