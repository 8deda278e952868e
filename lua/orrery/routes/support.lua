-- SPDX-License-Identifier: MIT
-- What the built-in routes share: problems (application/problem+json), checked query parameters, JSON texts passed on
-- as they are. A route is { method, pattern, run = function(req) return answer end }; see src/script/worker.h.
local json = require "orrery.c.json"
local suggest = require "orrery.suggest"

local M = {}

local TITLES = {
  [400] = "Bad Request", [404] = "Not Found", [409] = "Conflict", [422] = "Unprocessable Content",
  [500] = "Internal Server Error", [503] = "Service Unavailable", [504] = "Gateway Timeout",
}
local STATUS_OF = { -- code of an error of orrery.runs and its like -> HTTP
  not_found = 404, conflict = 409, invalid = 400, limit = 503, unavailable = 503, busy = 503, timeout = 504,
}

--- An answer that tells what is wrong.
---@param status integer
---@param detail string
function M.problem(status, detail)
  local headers = { ["Content-Type"] = "application/problem+json" }
  if status == 503 then headers["Retry-After"] = "1" end
  return {
    status = status, headers = headers,
    json = { type = "about:blank", title = TITLES[status] or "Error", status = status, detail = detail },
  }
end

--- The answer for an error value { code, message } of a module below.
function M.failure(err)
  local code = type(err) == "table" and err.code or nil
  return M.problem(STATUS_OF[code] or 500, type(err) == "table" and err.message or tostring(err))
end

--- Passes a JSON text on, or the failure.
function M.text(text, err)
  if not text then return M.failure(err) end
  return { body = text }
end

local function allowed_names(allowed)
  local names = {}
  for name in pairs(allowed) do names[#names + 1] = name end
  table.sort(names)
  return names
end

local function integer(name, text, check)
  local value = text:match("^%d+$") and math.tointeger(tonumber(text))
  if not value or value < check.min or value > check.max then
    return nil, ("%s must be a whole number from %d to %d"):format(name, check.min, check.max)
  end
  return value
end

local function one_of(name, text, check)
  for _, known in ipairs(check.values) do
    if known == text then return text end
  end
  return nil, ("%s must be one of: %s"):format(name, table.concat(check.values, ", "))
end

local CHECKS = {
  integer = integer,
  one_of = one_of,
  text = function(name, text, check)
    if #text > check.max then return nil, ("%s is longer than %d bytes"):format(name, check.max) end
    return text
  end,
}

--- Checks the query against { NAME = { kind, … } }; an unknown parameter is a mistake, not noise.
---@return table? values
---@return table? answer   a 400 when something is wrong
function M.query(req, allowed)
  local values = {}
  for name, text in pairs(req.query or {}) do
    local check = allowed[name]
    if not check then
      local names = allowed_names(allowed)
      local near = suggest.nearest(name, names)
      local hint = near and ('did you mean "%s"?'):format(near) or
        (#names == 0 and "it takes none" or "it takes " .. table.concat(names, ", "))
      return nil, M.problem(400, ('unknown query parameter "%s"; %s'):format(name, hint))
    end
    if text ~= "" then
      local value, wrong = CHECKS[check.kind](name, text, check)
      if value == nil then return nil, M.problem(400, wrong) end
      values[name] = value
    end
  end
  return values
end

--- The body as a table of known members; absent is empty.
---@return table? body
---@return table? answer
function M.body(req, known)
  if not req.body or req.body:match("^%s*$") then return {} end
  local body, err = json.decode(req.body)
  if type(body) ~= "table" or #body > 0 then
    return nil, M.problem(400, err and "the body is not JSON: " .. tostring(err) or "the body must be an object")
  end
  for name, value in pairs(body) do
    if known[name] ~= type(value) then
      return nil, M.problem(400, known[name] and ('"%s" must be a %s'):format(name, known[name]) or
        ('the body has the unknown member "%s"'):format(tostring(name)))
    end
  end
  return body
end

M.LIMIT = { kind = "integer", min = 1, max = 500 }

return M
