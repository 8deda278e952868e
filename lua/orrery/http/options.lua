-- SPDX-License-Identifier: MIT
-- The options of a request: checked, and turned into what orrery.c.http takes. Mistakes raise at the caller's line.
local c_time = require "orrery.c.time"
local suggest = require "orrery.suggest"

local M = {}

local KINDS = { method = "string", headers = "table", query = "table", body = "string or function", json = "any",
                multipart = "table", from_file = "string", to_file = "string", timeout = "duration",
                connect_timeout = "duration", idle_timeout = "duration", min_speed = "integer", redirects = "integer",
                max_bytes = "integer", guard = "boolean", proxy = "string", http_version = "string", ca_file = "string" }
local VERSIONS = { ["1.1"] = true, ["2"] = true, ["2-prior-knowledge"] = true }
local BODIES = { "body", "json", "multipart", "from_file" }

--- Raises at the first caller outside the client.
function M.fail(format, ...)
  local level = 2
  while true do
    local info = debug.getinfo(level, "S")
    if not info or not info.short_src:find("orrery/http", 1, true) then break end
    level = level + 1
  end
  error("o.http: " .. format:format(...), level)
end

local function fits(kind, value)
  if kind == "any" then return true end
  if kind == "duration" then return c_time.duration(value) ~= nil end
  if kind == "integer" then return math.type(value) == "integer" and value >= 0 end
  for word in kind:gmatch("%a+") do
    if type(value) == word then return true end
  end
  return false
end

local function names()
  local list = {}
  for name in pairs(KINDS) do list[#list + 1] = name end
  return list
end

--- Checks names and types of options.
---@param options table
---@param more? table<string, string>  further names and their types
function M.check(options, more)
  if type(options) ~= "table" then M.fail("options are a table, given a %s", type(options)) end
  for name, value in pairs(options) do
    local kind = KINDS[name] or (more and more[name])
    if not kind then
      local near = suggest.nearest(tostring(name), names())
      M.fail('there is no option "%s"%s', tostring(name), near and ('; did you mean "%s"?'):format(near) or "")
    end
    if not fits(kind, value) then
      M.fail("%s is a %s, given %s", name, kind, type(value) == "table" and "a table" or tostring(value))
    end
  end
  if options.http_version and not VERSIONS[options.http_version] then
    M.fail('http_version is "1.1", "2" or "2-prior-knowledge", given "%s"', options.http_version)
  end
  local found
  for _, name in ipairs(BODIES) do
    if options[name] ~= nil then
      if found then M.fail("%s and %s exclude each other", found, name) end
      found = name
    end
  end
end

local function ms(options, name)
  local value = options[name]
  if value == nil then return nil end
  return math.max(1, c_time.duration(value)) -- 0 would mean the default
end

--- What the C module takes of these options.
function M.spec(options, jar)
  return { timeout_ms = ms(options, "timeout"), connect_ms = ms(options, "connect_timeout"),
           idle_ms = ms(options, "idle_timeout"), rate_min = options.min_speed, redirects = options.redirects or 5,
           bytes_max = options.max_bytes, guard = options.guard, proxy = options.proxy,
           http_version = options.http_version, ca_file = options.ca_file, jar = jar }
end

--- "Name: value" lines, by name.
---@param headers? table<string, any>
---@param body_type? string  the Content-Type unless they have one
---@return string[]
function M.header_lines(headers, body_type)
  local lines, typed = {}, false
  for name, value in pairs(headers or {}) do
    typed = typed or tostring(name):lower() == "content-type"
    lines[#lines + 1] = ("%s: %s"):format(name, tostring(value))
  end
  table.sort(lines)
  if body_type and not typed then lines[#lines + 1] = "Content-Type: " .. body_type end
  return lines
end

local function escape(text)
  return (tostring(text):gsub("[^%w_.~-]", function(char) return ("%%%02X"):format(char:byte()) end))
end

--- The URL with `query` added, names in order.
---@param url string
---@param query? table<string, any>
---@return string
function M.with_query(url, query)
  if not query or next(query) == nil then return url end
  local keys, parts = {}, {}
  for name in pairs(query) do keys[#keys + 1] = name end
  table.sort(keys)
  for _, name in ipairs(keys) do
    local value = query[name]
    for _, item in ipairs(type(value) == "table" and value or { value }) do
      parts[#parts + 1] = escape(name) .. "=" .. escape(item)
    end
  end
  local base, fragment = url:match("^([^#]*)(#?.*)$")
  return base .. (base:find("?", 1, true) and "&" or "?") .. table.concat(parts, "&") .. fragment
end

return M
