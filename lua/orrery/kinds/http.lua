-- SPDX-License-Identifier: MIT
-- Kind http: one request; its output is { status, headers, body } with `json` in place of body when the answer is JSON, or
-- `file` with to_file.
local client = require "orrery.http_client"
local context = require "orrery.ctx"
local json = require "orrery.c.json"
local process_c = require "orrery.c.process"

local M = {}

local function wanted(expect, response)
  if expect == nil then return response.ok end
  if type(expect) == "function" then return expect(response) end
  for _, status in ipairs(expect) do
    if status == response.status then return true end
  end
  return false
end

local function output_of(response)
  local out = { status = response.status, headers = response.headers, file = response.file }
  if response.file then return out end
  local kind = response.headers["content-type"] or ""
  if kind:find("^application/json") or kind:find("^application/[%w.-]+%+json") then
    local value, err = json.decode(response.body)
    if not err then
      out.json = value
      return out
    end
  end
  out.body = process_c.repair(response.body)
  return out
end

function M.run(ctx, pipeline, step)
  local options = step.options
  local function value(name) return context.plain(context.resolve(ctx, options[name], pipeline)) end
  local body = value "body"
  local response, err = client.request(value "url", {
    method = options.method, headers = value "headers", query = value "query", json = value "json",
    body = body ~= nil and tostring(body) or nil, max_bytes = options.max_bytes,
    timeout = options.timeout and options.timeout / 1000 or nil, redirects = options.redirects, guard = options.guard,
    proxy = value "proxy", http_version = options.http_version, to_file = value "to_file",
  })
  if not response then error(err, 0) end
  if not wanted(options.expect, response) then error(client.status_error(response), 0) end
  return "ok", output_of(response)
end

return M
