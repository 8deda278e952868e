-- SPDX-License-Identifier: MIT
-- A session: requests that share a base URL, headers, options and cookies. Connections are kept alive by the worker for all
-- requests, with a session or without. What a session adds goes to its base URL's origin only.
local c = require "orrery.c.http"
local options_of = require "orrery.http.options"

local M = {}

local OWN = { base_url = "string", cookies = "boolean" }
local NOT_SHARED = { "method", "query", "body", "json", "multipart", "from_file", "to_file" }

local Session = {}
Session.__index = Session
Session.__metatable = "protected"

--- "https://host:port" of a URL, lower-case.
local function origin_of(url)
  local scheme, rest = url:match("^(%a[%w+.-]*)://(.*)$")
  if not scheme then return nil end
  scheme = scheme:lower()
  local authority = rest:match("^[^/?#\\]*"):match("[^@]*$"):lower()
  local host, port = authority:match("^(.-):?(%d*)$")
  if authority:find("^%[") then host, port = authority:match("^(%[[^%]]*%]):?(%d*)$") end
  if not host then return nil end
  if port == "" then port = scheme == "https" and "443" or "80" end
  return scheme .. "://" .. host .. ":" .. port
end

local function join(self, url)
  if type(url) ~= "string" then options_of.fail("a request takes a URL as its first argument") end
  if not self.base_url then return url end
  if url:find("^%a[%w+.-]*://") then
    if origin_of(url) ~= self.origin then
      options_of.fail("this session is for %s; %s is elsewhere", self.origin, url)
    end
    return url
  end
  if url == "" then return self.base_url end
  if url:find("^[?#]") then return self.base_url .. url end
  return (self.base_url:gsub("/+$", "")) .. "/" .. (url:gsub("^/+", ""))
end

-- Names in any case: a request's header replaces the session's.
local function merged_headers(ours, theirs)
  local out, by_name = {}, {}
  for _, headers in ipairs { ours, theirs } do
    for name, value in pairs(headers) do
      local lower = tostring(name):lower()
      if by_name[lower] then out[by_name[lower]] = nil end
      by_name[lower] = name
      out[name] = value
    end
  end
  return out
end

function Session:merge(url, options)
  if self.closed then options_of.fail("the session is closed") end
  options = options or {}
  options_of.check(options)
  local out = {}
  for name, value in pairs(self.options) do out[name] = value end
  for name, value in pairs(options) do out[name] = value end
  out.headers = merged_headers(self.options.headers or {}, options.headers or {})
  return join(self, url), out, self.jar
end

--- Lets go of the cookies; harmless when done already.
function Session:close()
  self.closed = true
  if self.jar then self.jar:close() end
end
Session.__close = Session.close

--- Makes the session's class out of the client's functions.
---@param request fun(url: string, options: table, jar: any): table?, table?
---@param stream fun(url: string, options: table, jar: any): table?, table?
---@param methods string[]
function M.new_class(request, stream, methods)
  function Session:request(url, options) return request(self:merge(url, options)) end
  function Session:stream(url, options) return stream(self:merge(url, options)) end
  for _, method in ipairs(methods) do
    Session[method:lower()] = function(self, url, options)
      local whole, merged, jar = self:merge(url, options)
      merged.method = method
      return request(whole, merged, jar)
    end
  end

  return function(options)
    options = options or {}
    options_of.check(options, OWN)
    for _, name in ipairs(NOT_SHARED) do
      if options[name] ~= nil then options_of.fail("%s belongs to a request, not to the session", name) end
    end
    local self = setmetatable({ options = {}, base_url = options.base_url, closed = false }, Session)
    for name, value in pairs(options) do
      if not OWN[name] then self.options[name] = value end
    end
    if self.base_url then
      self.origin = self.base_url:find("^https?://.") and origin_of(self.base_url)
      if not self.origin then options_of.fail("base_url begins with http:// or https:// and names a host") end
    end
    if options.cookies then self.jar = c.jar() end
    return self
  end
end

return M
