-- SPDX-License-Identifier: MIT
-- o.http.get and its like: HTTP as straight code. Any status is an answer; only what keeps the answer from coming (no
-- connection, a timeout) is returned as nil, { code, message, retryable }.
local c = require "orrery.c.http"
local json = require "orrery.c.json"
local c_time = require "orrery.c.time"

local M = {}

local Response = {}
Response.__index = Response
Response.__tostring = function(self) return ("HTTP %d from %s"):format(self.status, self.url) end

--- The body as a value; nil and an error if it is no JSON.
function Response:json()
  local value, message = json.decode(self.body)
  if message == nil then return value end
  return nil, { code = "invalid_json", message = ("%s: the body is no JSON: %s"):format(tostring(self), message) }
end

--- An error table for a status that was not wanted. 5xx, 429 and 408 may be tried again.
function M.status_error(response)
  local excerpt = response.body:sub(1, 200):gsub("%c+", " ")
  local status = response.status
  return { code = "http_" .. status, status = status,
           message = excerpt ~= "" and ("%s: %s"):format(tostring(response), excerpt) or tostring(response),
           retryable = status >= 500 or status == 429 or status == 408 }
end

--- Raises unless the status is as wanted.
---@param wanted? integer|integer[]  default: 200 to 299
function Response:expect(wanted)
  if wanted == nil then
    if self.ok then return self end
  else
    for _, status in ipairs(type(wanted) == "table" and wanted or { wanted }) do
      if status == self.status then return self end
    end
  end
  error(M.status_error(self), 0)
end

local function escape(text)
  return (tostring(text):gsub("[^%w_.~-]", function(char) return ("%%%02X"):format(char:byte()) end))
end

--- The URL with `query` added, names in order.
function M.with_query(url, query)
  if not query or next(query) == nil then return url end
  local names, parts = {}, {}
  for name in pairs(query) do names[#names + 1] = name end
  table.sort(names)
  for _, name in ipairs(names) do
    local value = query[name]
    for _, item in ipairs(type(value) == "table" and value or { value }) do
      parts[#parts + 1] = escape(name) .. "=" .. escape(item)
    end
  end
  local base, fragment = url:match("^([^#]*)(#?.*)$")
  return base .. (base:find("?", 1, true) and "&" or "?") .. table.concat(parts, "&") .. fragment
end

local OPTIONS = { method = "string", headers = "table", query = "table", body = "string", json = "any", timeout = "any",
                  connect_timeout = "any", redirects = "number", max_bytes = "number" }

local function check(url, options)
  if type(url) ~= "string" then error("o.http takes a URL as its first argument", 4) end
  for name, value in pairs(options) do
    local kind = OPTIONS[name]
    if not kind then error(('o.http has no option "%s"'):format(tostring(name)), 4) end
    if kind ~= "any" and type(value) ~= kind then
      error(("o.http: %s is a %s, given a %s"):format(name, kind, type(value)), 4)
    end
  end
end

local function duration_ms(value, what)
  if value == nil then return nil end
  local ms = c_time.duration(value)
  if not ms then error(("o.http: %s is no duration"):format(what), 4) end
  return ms
end

local function header_lines(headers, body_type)
  local lines, typed = {}, false
  for name, value in pairs(headers or {}) do
    typed = typed or tostring(name):lower() == "content-type"
    lines[#lines + 1] = ("%s: %s"):format(name, tostring(value))
  end
  table.sort(lines)
  if body_type and not typed then lines[#lines + 1] = "Content-Type: " .. body_type end
  return lines
end

--- Makes a request. See the functions below for the methods.
---@param url string
---@param options? table  { method, headers, query, body, json, timeout, connect_timeout, redirects, max_bytes }
---@return table? response  { status, ok, headers, body, url, seconds }, with :json() and :expect()
---@return table? err
function M.request(url, options)
  options = options or {}
  check(url, options)
  local body, body_type = options.body, nil
  if options.json ~= nil then
    local text, err = json.encode(options.json, "json")
    if not text then error("o.http: " .. err, 3) end
    body, body_type = text, "application/json"
  end
  local status, headers, answer, effective, seconds = c.request(
    options.method or (body and "POST" or "GET"), M.with_query(url, options.query),
    header_lines(options.headers, body_type), body, duration_ms(options.timeout, "timeout"),
    duration_ms(options.connect_timeout, "connect_timeout"), options.redirects and math.floor(options.redirects) or 5,
    options.max_bytes and math.floor(options.max_bytes))
  if not status then return nil, headers end
  return setmetatable({ status = status, ok = status >= 200 and status < 300, headers = headers, body = answer,
                        url = effective or url, seconds = seconds }, Response)
end

for _, method in ipairs { "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS" } do
  M[method:lower()] = function(url, options)
    local copy = {}
    for key, value in pairs(options or {}) do copy[key] = value end
    copy.method = method
    return M.request(url, copy)
  end
end

return M
