-- SPDX-License-Identifier: MIT
-- A mistake in a script as a value: { orrery_problem = { code, message, help, script, line, word } }. The loader
-- collects them and finds column and excerpt. Raised with error(); printable, so that a worker shows it too.
local getinfo = debug.getinfo

local M = {}

local mt = {
  __tostring = function(self)
    local p = self.orrery_problem
    local place = p.script and ("%s:%d: "):format(p.script, p.line or 0) or ""
    return ("%serror[%s]: %s%s"):format(place, p.code, p.message, p.help and ("\n  help: " .. p.help) or "")
  end,
}
M.mt = mt

-- A frame of the library itself: embedded chunks are named "=orrery/...", those of a tree "@.../lua/orrery/...".
local function is_library(source)
  return source:byte() ~= 64 or source:find("lua/orrery/", 1, true) ~= nil
end

--- Where the user's script called the library: the innermost frame that is neither C nor the library's own.
---@return string? script  project path
---@return integer line    0 when unknown
function M.place()
  for level = 2, 40 do
    local info = getinfo(level, "Sl")
    if not info then break end
    if not is_library(info.source) then return info.source:sub(2), info.currentline end
  end
  return nil, 0
end

--- Makes a problem. `fields` needs code and message; script and line default to the caller's place.
---@param fields table
---@return table problem
function M.new(fields)
  if fields.line == nil then fields.script, fields.line = M.place() end
  return setmetatable({ orrery_problem = fields }, mt)
end

--- Raises a problem; does not return.
---@param fields table
function M.raise(fields) error(M.new(fields), 0) end

--- What was given, for "…, given 5 (a number)".
---@param value any
---@return string
function M.given(value)
  local kind = type(value)
  if kind == "nil" then return "nothing given" end
  if kind == "string" then
    local text = #value > 40 and value:sub(1, 37) .. "..." or value
    return ("given %q"):format(text):gsub("\\\n", "\\n")
  end
  if kind == "number" or kind == "boolean" then return ("given %s (a %s)"):format(tostring(value), kind) end
  if kind == "table" and getmetatable(value) and getmetatable(value).orrery_name then
    return "given " .. getmetatable(value).orrery_name
  end
  return "given a " .. kind
end

return M
