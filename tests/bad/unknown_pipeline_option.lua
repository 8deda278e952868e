local o = require "orrery"

o.pipeline "etl" {
  descripton = "Extract",
  o.step "fetch" { run = print },
}
