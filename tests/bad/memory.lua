local o = require "orrery"

local t = {}
for i = 1, 1e9 do t[i] = ("x"):rep(1 << 20) .. i end
