-- SPDX-License-Identifier: MIT
-- Answers: whole ones, and streams whose body comes by pieces.
local json = require "orrery.c.json"
local retry_after = require "orrery.http.retry_after"

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

--- An error table for a status that was not wanted. 5xx, 429 and 408 may be tried again, after a wait if the server asks so.
function M.status_error(response, body)
  local excerpt = (body or response.body or ""):sub(1, 200):gsub("%c+", " ")
  local status = response.status
  return { code = "http_" .. status, status = status,
           message = excerpt ~= "" and ("%s: %s"):format(tostring(response), excerpt) or tostring(response),
           retryable = status >= 500 or status == 429 or status == 408,
           retry_after_ms = (status == 429 or status == 503) and retry_after.ms(response.headers["retry-after"]) or nil }
end

--- Whether the status is as wanted.
---@param response table
---@param wanted? integer|integer[]  default: 200 to 299
function M.is_wanted(response, wanted)
  if wanted == nil then return response.ok end
  for _, status in ipairs(type(wanted) == "table" and wanted or { wanted }) do
    if status == response.status then return true end
  end
  return false
end

--- Raises unless the status is as wanted.
function Response:expect(wanted)
  if M.is_wanted(self, wanted) then return self end
  error(M.status_error(self), 0)
end

function M.new(status, headers, body, url, seconds, version)
  return setmetatable({ status = status, ok = status >= 200 and status < 300, headers = headers, body = body, url = url,
                        seconds = seconds, http_version = version }, Response)
end

-- --- streams -----------------------------------------------------------------------------------------------------------

local Stream = {}
Stream.__index = Stream
Stream.__tostring = Response.__tostring
Stream.__close = function(self) self.handle:close() end
Stream.__metatable = "protected"

--- The next piece of the body as soon as there is one; nil at the end; nil, err if it broke off.
---@return string? bytes
---@return table? err
function Stream:read() return self.handle:read() end

local function next_chunk(self)
  local bytes, err = self.handle:read()
  if err then error(err, 0) end
  return bytes
end

--- For `for chunk in res:chunks() do`: raises if the body breaks off, and closes the stream when the loop ends, however.
function Stream:chunks() return next_chunk, self, nil, self end

--- Lines of the body without their line ends, for `for line in res:lines() do`.
---@param max_bytes? integer  longest line; default 1 MiB
function Stream:lines(max_bytes)
  max_bytes = max_bytes or 1024 * 1024
  local rest, ended = "", false
  local function next_line()
    while true do
      local line, after = rest:match("^([^\n]*)\n()")
      if line then
        rest = rest:sub(after)
        return (line:gsub("\r$", ""))
      end
      if ended then
        local last = rest
        rest = ""
        return last ~= "" and last or nil
      end
      if #rest > max_bytes then
        error({ code = "too_large", message = ("a line of the answer is longer than %d bytes"):format(max_bytes),
                retryable = false }, 0)
      end
      local bytes = next_chunk(self)
      if bytes then rest = rest .. bytes else ended = true end
    end
  end
  return next_line, nil, nil, self
end

--- Raises unless the status is as wanted.
function Stream:expect(wanted)
  if M.is_wanted(self, wanted) then return self end
  local excerpt = self:read()
  self:close()
  error(M.status_error(self, excerpt), 0)
end

--- Ends the request; harmless when it has ended.
function Stream:close() self.handle:close() end

function M.stream(handle, status, headers, url)
  return setmetatable({ handle = handle, status = status, ok = status >= 200 and status < 300, headers = headers,
                        url = url }, Stream)
end

return M
