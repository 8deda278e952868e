local o = require "orrery"

o.pipeline "etl" {
  o.http "page" { url = "example.org/page" },
}
