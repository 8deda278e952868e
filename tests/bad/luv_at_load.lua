local o = require "orrery"

local uv = require "luv"
uv.new_timer()
