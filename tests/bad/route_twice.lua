local o = require "orrery"

o.get("/api/custom/{name}", function() return { json = {} } end)
o.get("/api/custom/{id}", function() return { json = {} } end)
