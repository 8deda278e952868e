-- SPDX-License-Identifier: MIT
-- Lines into the log of the running step, for library modules: ctx.log is the scripts' way.
local c = require "orrery.c.log"

local M = {}

for _, level in ipairs { "debug", "info", "warn", "error" } do
  --- Writes one line. `stream` says where it comes from.
  ---@param text string
  ---@param stream? string  default "log"
  M[level] = function(text, stream) c.write(level, stream or "log", tostring(text)) end
end

return M
