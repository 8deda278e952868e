-- SPDX-License-Identifier: MIT
-- Waiting inside a step for something that calls back, such as luv: straight code out of callbacks.
local time = require "orrery.c.time"

local M = {}

--- Starts something and waits until it calls back. Returns what the callback was given.
---   local err, address = task.await(function(done) uv.getaddrinfo("localhost", nil, {}, done) end)
---@param start fun(done: fun(...))
---@param timeout_ms? integer  nil, "timeout" when it passes
function M.await(start, timeout_ms)
  local results
  start(function(...) results = table.pack(...) end)
  local waited, pause = 0, 0
  while not results do
    if timeout_ms and waited >= timeout_ms then return nil, "timeout" end
    time.sleep(pause)
    waited = waited + pause
    if pause < 8 then pause = pause + 1 end
  end
  return table.unpack(results, 1, results.n)
end

return M
