local o = require "orrery"

o.pipeline "etl" {
  "fetch",
}
