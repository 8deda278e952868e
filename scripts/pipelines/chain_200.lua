-- 200 steps in a row, made by a loop: a declaration is plain Lua data.
local o = require "orrery"

local steps = {}
for i = 1, 200 do
  local name, before = ("step_%03d"):format(i), ("step_%03d"):format(i - 1)
  steps[i] = o.step(name) {
    after = i > 1 and before or nil,
    run = function(ctx) return (i > 1 and ctx.results[before] or 0) + 1 end,
  }
end

o.pipeline "chain_200" { description = "Counts to 200, one step at a time.", steps }
