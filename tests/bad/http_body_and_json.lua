local o = require "orrery"

o.pipeline "etl" {
  o.http "page" { url = "http://127.0.0.1/", body = "x", json = { 1 } },
}
