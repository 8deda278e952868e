local o = require "orrery"

local packages = require "pakages"
