-- cache: the recorded output of an equal step is taken instead of running it again, for a while.
local o = require "orrery"

o.pipeline "cached" {
  description = "Digests a file; the same path again within ten minutes costs nothing.",
  input = { path = o.string { default = "/etc/hostname", min_length = 1 } },

  o.shell "digest" {
    command = { "sha256sum", o.ref "input.path" },
    cache = { key = o.ref "input.path", ttl = "10m" },
  },
}
