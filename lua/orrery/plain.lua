-- SPDX-License-Identifier: MIT
-- Declarations as JSON text with sorted keys, so that equal declarations give equal bytes (versions are hashes of
-- them). Only for data of scripts; values of runs use orrery.json. Pure.
local M = {}

M.null = setmetatable({}, { __tostring = function() return "null" end })
M.array_mt = {}
local has_json, c_json = pcall(require, "orrery.c.json") -- absent where the library is tested without the host
local host_array_mt = has_json and c_json.array_mt or M.array_mt

--- Marks a list, also an empty one.
function M.array(list) return setmetatable(list or {}, M.array_mt) end

local ESCAPES = { ['"'] = '\\"', ["\\"] = "\\\\", ["\n"] = "\\n", ["\r"] = "\\r", ["\t"] = "\\t" }

--- A JSON string.
---@param text string
---@return string
function M.string(text)
  return '"' .. text:gsub('[%c"\\\127]', function(c)
    return ESCAPES[c] or ("\\u%04x"):format(c:byte())
  end) .. '"'
end

local function number(value)
  if math.type(value) == "integer" then return ("%d"):format(value) end
  if value ~= value or value == math.huge or value == -math.huge then return nil, "a number that JSON lacks" end
  local text = ("%.17g"):format(value)
  for digits = 1, 16 do
    local short = ("%." .. digits .. "g"):format(value)
    if tonumber(short) == value then text = short break end
  end
  return text:find("[.e]") and text or text .. ".0"
end

local encode

local function sorted_keys(value, path)
  local keys = {}
  for key in pairs(value) do
    if type(key) ~= "string" then return nil, path .. ": a table with mixed keys" end
    keys[#keys + 1] = key
  end
  table.sort(keys)
  return keys
end

local function list(value, path, depth)
  local parts, count = {}, 0
  for _ in pairs(value) do count = count + 1 end
  if count ~= #value then return nil, path .. ": a table with mixed keys" end
  for i = 1, #value do
    local text, err = encode(value[i], path .. "." .. i, depth)
    if not text then return nil, err end
    parts[i] = text
  end
  return "[" .. table.concat(parts, ",") .. "]"
end

local function object(value, path, depth)
  local keys, err = sorted_keys(value, path)
  if not keys then return nil, err end
  for i, key in ipairs(keys) do
    local text
    text, err = encode(value[key], path .. "." .. key, depth)
    if not text then return nil, err end
    keys[i] = M.string(key) .. ":" .. text
  end
  return "{" .. table.concat(keys, ",") .. "}"
end

function encode(value, path, depth)
  local kind = type(value)
  if kind == "string" then
    if not utf8.len(value) then return nil, path .. ": a string that is not UTF-8" end
    return M.string(value)
  end
  if kind == "boolean" then return tostring(value) end
  if kind == "number" then
    local text, err = number(value)
    return text, err and (path .. ": " .. err)
  end
  if value == M.null or kind == "userdata" then return "null" end
  if kind ~= "table" then return nil, path .. ": a " .. kind end
  if depth > 100 then return nil, path .. ": nested too deep, or a cycle" end
  local mt = getmetatable(value)
  if mt == M.array_mt or mt == host_array_mt or #value > 0 then return list(value, path, depth + 1) end
  return object(value, path, depth + 1)
end

--- Encodes a value.
---@param value any
---@param name? string  what to call it in an error
---@return string? text
---@return string? err  names the path
function M.encode(value, name) return encode(value, name or "value", 0) end

return M
