-- SPDX-License-Identifier: MIT
-- o.time: clocks, ISO 8601 instants, durations, and a sleep that suspends the step.
local c = require "orrery.c.time"

local M = {}

--- The wall clock: milliseconds since 1970-01-01T00:00:00Z.
---@return integer
function M.now() return c.now_ms() end

--- A clock that never goes back, in milliseconds with fractions; for measuring.
---@return number
function M.mono() return c.mono_ms() end

--- An instant as ISO 8601 in UTC: "2026-11-20T21:34:00.123Z".
---@param ms? integer  since the epoch; default now
---@return string
function M.iso(ms)
  if ms ~= nil and type(ms) ~= "number" then error("o.time.iso takes milliseconds since the epoch", 2) end
  return c.iso(ms and math.floor(ms) or c.now_ms())
end

--- Parses ISO 8601; without a zone it is UTC.
---@param text string
---@return integer? ms  nil if it is no instant
---@return table? err
function M.parse(text)
  if type(text) ~= "string" then error("o.time.parse takes a text", 2) end
  local ms = c.parse(text)
  if ms then return ms end
  return nil, { code = "invalid", message = ("%q is not an ISO 8601 time"):format(text) }
end

--- The milliseconds of a duration: "1500ms", "30s", "1h30m", "7d", or seconds as a number.
---@param value string|number
---@return integer? ms
---@return table? err
function M.duration(value)
  local ms = (type(value) == "string" or type(value) == "number") and c.duration(value)
  if ms then return ms end
  return nil, { code = "invalid", message = ("%s is not a duration such as \"30s\""):format(tostring(value)) }
end

--- Suspends this step; the worker goes on with others.
---@param duration string|number
function M.sleep(duration)
  local ms, err = M.duration(duration)
  if not ms then error("sleep: " .. err.message, 2) end
  c.sleep(ms)
end

return M
