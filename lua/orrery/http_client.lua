-- SPDX-License-Identifier: MIT
-- o.http.get and its like: HTTP as straight code. Any status is an answer; only what keeps the answer from coming (no
-- connection, a timeout) is returned as nil, { code, message, retryable }.
local body_of = require "orrery.http.body"
local c = require "orrery.c.http"
local c_time = require "orrery.c.time"
local fs = require "orrery.c.fs"
local options_of = require "orrery.http.options"
local response = require "orrery.http.response"
local session = require "orrery.http.session"
local webhook = require "orrery.http.webhook"

local M = { with_query = options_of.with_query, status_error = response.status_error, sign = webhook.sign,
            verify = webhook.verify }

local METHODS = { "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS" }
local FILE_BYTES_MAX = 1 << 30 -- to_file without max_bytes
local EXCERPT_BYTES = 64 * 1024

-- Opens a stream and sends its body. The caller closes it.
local function open(url, options, body, spec)
  spec.upload, spec.upload_bytes = body.pieces ~= nil, body.bytes
  local has_body = body.pieces or body.text
  local stream = c.open(options.method or (has_body and "POST" or "GET"), options_of.with_query(url, options.query),
                        options_of.header_lines(options.headers, body.type), body.text, spec)
  return stream
end

local function sent(stream, body)
  if body.pieces then body_of.send(stream, body.pieces) end
  return stream
end

-- The body into a file that appears whole or not at all.
local function save(stream, path)
  local temporary = path .. ".part-" .. c.random_hex(8)
  local _ <close> = setmetatable({}, { __close = function() if temporary then os.remove(temporary) end end })
  local ok, err = fs.run("write", temporary, "", false)
  while ok do
    local bytes
    bytes, err = stream:read()
    if not bytes then break end
    ok, err = fs.run("append", temporary, bytes)
  end
  if err then return nil, err end
  ok, err = fs.run("rename", temporary, path)
  if not ok then return nil, err end
  temporary = nil
  return true
end

local function excerpt(stream)
  local parts, len = {}, 0
  while len < EXCERPT_BYTES do
    local bytes = stream:read()
    if not bytes then break end
    parts[#parts + 1], len = bytes, len + #bytes
  end
  return table.concat(parts):sub(1, EXCERPT_BYTES)
end

local function download(url, options, body, spec)
  spec.stream, spec.bytes_max = true, options.max_bytes or FILE_BYTES_MAX
  local started = c_time.mono_ms()
  local stream <close> = open(url, options, body, spec)
  sent(stream, body)
  local status, headers, effective = stream:head()
  if not status then return nil, headers end
  local answer = response.new(status, headers, "", effective or url)
  if answer.ok then
    local ok, err = save(stream, body_of.absolute(options.to_file))
    if not ok then return nil, err end
    answer.file = options.to_file
  else
    answer.body = excerpt(stream)
  end
  answer.seconds = (c_time.mono_ms() - started) / 1000
  return answer
end

local function answered(url, status, headers, answer, effective, seconds, version)
  if not status then return nil, headers end
  return response.new(status, headers, answer, effective or url, seconds, version)
end

local function request(url, options, jar)
  if type(url) ~= "string" then options_of.fail("a request takes a URL as its first argument") end
  options = options or {}
  options_of.check(options)
  local body, err = body_of.of(options)
  if not body then return nil, err end
  local spec = options_of.spec(options, jar)
  if options.to_file then return download(url, options, body, spec) end
  if body.pieces then
    local stream <close> = open(url, options, body, spec)
    return answered(url, sent(stream, body):result())
  end
  return answered(url, c.request(
    options.method or (body.text and "POST" or "GET"), options_of.with_query(url, options.query),
    options_of.header_lines(options.headers, body.type), body.text, spec))
end

local function stream(url, options, jar)
  if type(url) ~= "string" then options_of.fail("a request takes a URL as its first argument") end
  options = options or {}
  options_of.check(options)
  if options.to_file then options_of.fail("a stream has no to_file") end
  local body, err = body_of.of(options)
  if not body then return nil, err end
  local spec = options_of.spec(options, jar)
  spec.stream = true
  local handle = open(url, options, body, spec)
  local _ <close> = setmetatable({}, { __close = function() if handle then handle:close() end end })
  local status, headers, effective = sent(handle, body):head()
  if not status then return nil, headers end
  local answer = response.stream(handle, status, headers, effective or url)
  handle = nil
  return answer
end

--- Makes a request. See the functions below for the methods.
---@param url string
---@param options? table  see lua/meta/clients.lua, orrery.RequestOptions
---@return table? response  { status, ok, headers, body, url, seconds, http_version }, with :json() and :expect()
---@return table? err
function M.request(url, options) return request(url, options) end

--- As request, but the answer comes as soon as its head is there, and its body by pieces while it is read; the server has
--- to wait for a slow reader.
---@param url string
---@param options? table
---@return table? response  { status, ok, headers, url }, with :chunks(), :lines(), :read(), :expect() and :close()
---@return table? err
function M.stream(url, options) return stream(url, options) end

for _, method in ipairs(METHODS) do
  M[method:lower()] = function(url, options)
    local copy = {}
    if options ~= nil and type(options) ~= "table" then options_of.fail("options are a table") end
    for key, value in pairs(options or {}) do copy[key] = value end
    copy.method = method
    return request(url, copy)
  end
end

--- Requests that share a base URL, headers, options and cookies: `local s <close> = o.http.session { base_url = … }`.
M.session = session.new_class(request, stream, METHODS)

return M
