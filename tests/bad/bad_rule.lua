local o = require "orrery"

o.pipeline "etl" {
  o.step "fetch" { run = print },
  o.step "tell" { after = "fetch", rule = "all_sucess", run = print },
}
