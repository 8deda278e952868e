-- SPDX-License-Identifier: MIT
-- Requests of routes: what a route's function is given and what its answer means. The server adds what all answers share.
local json = require "orrery.c.json"

local M = {}

local function unescape(text)
  return (text:gsub("+", " "):gsub("%%(%x%x)", function(hex) return string.char(tonumber(hex, 16)) end))
end

--- Decodes a query: "a=1&b=x%20y" -> { a = "1", b = "x y" }. Of a name that stands twice the last counts.
function M.query(text)
  local out = {}
  for pair in text:gmatch("[^&]+") do
    local name, value = pair:match("^([^=]*)=?(.*)$")
    if name ~= "" then out[unescape(name)] = unescape(value) end
  end
  return out
end

local request = {}
request.__index = request

--- The body as a value; raises if it is no JSON.
function request:json()
  local value, err = json.decode(self.body)
  if err then error({ message = "the body is no JSON: " .. err, code = "invalid" }, 2) end
  return value
end

local function header_lines(headers, default_type)
  local lines, has_type = {}, false
  for name, value in pairs(headers) do
    name, value = tostring(name), tostring(value)
    if not name:find("^[%w-]+$") or value:find("[%c]") then
      error(("header %q cannot be sent"):format(name), 0)
    end
    has_type = has_type or name:lower() == "content-type"
    lines[#lines + 1] = name .. ": " .. value .. "\r\n"
  end
  table.sort(lines)
  if not has_type and default_type then lines[#lines + 1] = "Content-Type: " .. default_type .. "\r\n" end
  return table.concat(lines)
end

local JSON, TEXT = "application/json", "text/plain; charset=utf-8"

local function answer_of(given)
  if type(given) ~= "table" then
    error(("a route returns a table such as { json = value }, got a %s"):format(type(given)), 0)
  end
  local status = given.status or 200
  if math.type(status) ~= "integer" or status < 100 or status > 599 then
    error(("status must be an integer from 100 to 599, got %s"):format(tostring(status)), 0)
  end
  if given.json ~= nil then
    local text, err = json.encode(given.json, "json")
    if not text then error(err, 0) end
    return status, text, JSON
  end
  if given.text ~= nil then return status, tostring(given.text), TEXT end
  return status, given.body ~= nil and tostring(given.body) or "", JSON
end

--- Runs a route. Returns status, header lines, body.
---@param run fun(req: table): table
---@param req table
function M.serve(run, req)
  req.query = M.query(req.query_text)
  req.query_text = nil
  local given = run(setmetatable(req, request))
  local status, body, kind = answer_of(given)
  return status, header_lines(given.headers or {}, kind), body
end

return M
