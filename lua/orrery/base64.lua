-- SPDX-License-Identifier: MIT
-- o.base64: bytes as text, RFC 4648.
local c = require "orrery.c.base64"

local M = {}

--- Bytes as base64. `url`: the URL alphabet, without padding.
---@param bytes string
---@param url? boolean
---@return string
function M.encode(bytes, url)
  if type(bytes) ~= "string" then error("o.base64.encode takes a string", 2) end
  return c.encode(bytes, url)
end

--- The bytes of a base64 text of either alphabet; padding may be missing.
---@param text string
---@return string? bytes
---@return table? err
function M.decode(text)
  if type(text) ~= "string" then error("o.base64.decode takes a string", 2) end
  local bytes = c.decode(text)
  if bytes then return bytes end
  return nil, { code = "invalid", message = "the text is not base64", retryable = false }
end

return M
