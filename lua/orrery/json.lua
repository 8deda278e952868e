-- SPDX-License-Identifier: MIT
-- o.json: values as JSON text. Integers keep 64 bits, arrays stay arrays.
local c = require "orrery.c.json"

local M = {}

--- JSON null. In an object a null is the same as no value; in a list it holds the place.
M.null = c.null

--- JSON text of a value, keys in order. NaN, functions, cycles, mixed keys: nil and an error that names the path.
---@param value any
---@return string? text
---@return table? err
function M.encode(value)
  local text, message = c.encode(value, "value")
  if text then return text end
  return nil, { code = "not_serialisable", message = message, retryable = false }
end

--- The value of a JSON text.
---@param text string
---@return any value
---@return table? err
function M.decode(text)
  if type(text) ~= "string" then error("o.json.decode takes a text", 2) end
  local value, message = c.decode(text)
  if message == nil then return value end
  return nil, { code = "invalid_json", message = "invalid JSON: " .. message, retryable = false }
end

--- Marks a list as an array, also an empty one (a plain {} is an object).
---@param list? any[]
---@return any[]
function M.array(list)
  if list ~= nil and type(list) ~= "table" then error("o.json.array takes a list", 2) end
  return setmetatable(list or {}, c.array_mt)
end

return M
