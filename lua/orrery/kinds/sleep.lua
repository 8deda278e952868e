-- SPDX-License-Identifier: MIT
-- Kind sleep: only decides until when; the engine waits, without a worker.
local resolve = require("orrery.ctx").resolve
local time = require "orrery.c.time"

local M = {}

local function until_ms(value)
  if type(value) == "number" then return math.floor(value * 1000) end -- seconds since the epoch
  local ms = type(value) == "string" and time.parse(value)
  if not ms then
    error({ code = "invalid", retryable = false,
            message = ("until_ must be an ISO 8601 time such as \"2026-12-24T18:00:00Z\", got %s"):format(tostring(value)) }, 0)
  end
  return ms
end

local function duration_ms(value)
  local ms = (type(value) == "string" or type(value) == "number") and time.duration(value)
  if not ms then
    error({ code = "invalid", retryable = false,
            message = ("duration must be a duration such as \"90s\", got %s"):format(tostring(value)) }, 0)
  end
  return ms
end

function M.run(ctx, pipeline, step)
  local options = step.options
  if options.until_ ~= nil then return "sleep", until_ms(resolve(ctx, options.until_, pipeline)) end
  local given = options.duration
  if type(given) == "number" then return "sleep", time.now_ms() + math.floor(given) end -- normalised to ms at load
  return "sleep", time.now_ms() + duration_ms(resolve(ctx, given, pipeline))
end

return M
