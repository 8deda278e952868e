local o = require "orrery"

o.pipeline "etl" {
  o.step "fetch" { run = print, retry = { attempts = 3, dellay = "1s" } },
}
