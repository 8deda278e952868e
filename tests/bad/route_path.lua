local o = require "orrery"

o.get("api/custom/x", function() return { json = {} } end)
