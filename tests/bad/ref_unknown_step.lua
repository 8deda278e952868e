local o = require "orrery"

o.pipeline "etl" {
  o.step "parse" { run = print },
  o.map "each" { after = "parse", over = "prase.items", run = print },
}
