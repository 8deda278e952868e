-- SPDX-License-Identifier: MIT
-- The Retry-After header: seconds, or an HTTP date.
local c_time = require "orrery.c.time"

local M = {}

local MONTHS = { Jan = 1, Feb = 2, Mar = 3, Apr = 4, May = 5, Jun = 6, Jul = 7, Aug = 8, Sep = 9, Oct = 10, Nov = 11, Dec = 12 }

--- How long to wait, in milliseconds from now; nil if the header says nothing that can be read.
---@param text? string
---@return integer? ms
function M.ms(text)
  if not text then return nil end
  local seconds = text:match("^%s*(%d+)%s*$")
  if seconds then return #seconds <= 9 and math.tointeger(tonumber(seconds)) * 1000 or nil end
  local day, month, year, clock = text:match("^%a+, (%d%d) (%a%a%a) (%d%d%d%d) (%d%d:%d%d:%d%d) GMT$")
  if not day or not MONTHS[month] then return nil end
  local at = c_time.parse(("%s-%02d-%sT%sZ"):format(year, MONTHS[month], day, clock))
  return at and math.max(0, at - c_time.now_ms()) or nil
end

return M
