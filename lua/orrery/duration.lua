-- SPDX-License-Identifier: MIT
-- Durations: "1500ms", "30s", "1h30m", "7d", units in falling order, or seconds as a number. Pure; the same
-- grammar as orr_duration_parse in core.
local M = {}

M.MAX_MS = 1 << 47
local UNIT_MS = { ms = 1, s = 1000, m = 60000, h = 3600000, d = 86400000, w = 604800000 }

local function of_seconds(seconds)
  if seconds ~= seconds or seconds < 0 then return nil, "a duration is not negative" end
  if seconds > M.MAX_MS / 1000 then return nil, "too long" end
  return math.floor(seconds * 1000 + 0.5)
end

local function of_text(text)
  if text:find("^%d+%.?%d*$") then return of_seconds(tonumber(text)) end
  local total, at, last = 0, 1, math.huge
  repeat
    local digits, unit, stop = text:match("^(%d+)(%a+)()", at)
    local ms = UNIT_MS[unit]
    if not ms then return nil, 'not a duration' end
    if ms >= last then return nil, "units go from large to small, each once" end
    if #digits > 15 then return nil, "too long" end
    total, at, last = total + tonumber(digits .. ".0") * ms, stop, ms
    if total > M.MAX_MS then return nil, "too long" end
  until at > #text
  return math.tointeger(total)
end

--- Parses a duration such as "1h30m".
---@param value string|number  text, or seconds
---@return integer? ms
---@return string? err  what is wrong
function M.parse(value)
  if type(value) == "number" then return of_seconds(value) end
  if type(value) == "string" then return of_text(value) end
  return nil, "not a duration"
end

return M
