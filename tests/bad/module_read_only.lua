local o = require "orrery"

o.step = function() end
