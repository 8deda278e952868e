local o = require "orrery"

o.get("/api/custom/x", { json = {} })
