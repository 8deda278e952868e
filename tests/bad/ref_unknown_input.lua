local o = require "orrery"

o.pipeline "etl" {
  input = { status_file = o.string { default = "/var/lib/dpkg/status" } },
  o.shell "digest" { command = { "sha256sum", o.ref "input.statusfile" } },
}
