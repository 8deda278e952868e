local o = require "orrery"

o.pipeline "etl" {
  o.step "parse" { run = print },
  o.shell "digest" { command = { "sha256sum", o.ref "parse.file" } },
}
