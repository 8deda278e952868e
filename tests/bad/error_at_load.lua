local o = require "orrery"

local function prepare(list) return #list.items end
local count = prepare {}
o.pipeline "etl" { o.step "fetch" { run = print } }
