local o = require "orrery"

error { reason = "no" }
