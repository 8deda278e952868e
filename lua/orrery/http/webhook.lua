-- SPDX-License-Identifier: MIT
-- Signatures of web-hooks: the Standard Webhooks form (webhook-id, webhook-timestamp, webhook-signature) and GitHub's
-- (X-Hub-Signature-256). The form is never guessed from the headers: a signature of one form over a chosen text can be one
-- of the other, too. Comparison takes a constant time.
local base64 = require "orrery.c.base64"
local c = require "orrery.c.http"
local c_time = require "orrery.c.time"
local options_of = require "orrery.http.options"

local M = {}

local function hex(bytes)
  return (bytes:gsub(".", function(char) return ("%02x"):format(char:byte()) end))
end

-- "whsec_" and base64 is the standard's way to write a key; any other text is the key itself.
local function key_of(secret, form)
  if type(secret) ~= "string" or secret == "" then options_of.fail("secret is a text that is not empty") end
  local encoded = form == "standard" and secret:match("^whsec_(.+)$")
  if not encoded then return secret end
  local key = base64.decode(encoded)
  if not key then options_of.fail("a secret that begins with whsec_ goes on with base64") end
  return key
end

local function keys_of(secret, form)
  local keys = {}
  for i, one in ipairs(type(secret) == "table" and secret or { secret }) do keys[i] = key_of(one, form) end
  if #keys == 0 then options_of.fail("secret is missing") end
  return keys
end

local FORMS = { standard = true, github = true }
local function form_of(options, known)
  if type(options) ~= "table" then options_of.fail("the signature's options are a table with a secret") end
  for name in pairs(options) do
    if not known[name] then options_of.fail('a signature has no option "%s"', tostring(name)) end
  end
  local form = options.form or "standard"
  if not FORMS[form] then options_of.fail('form is "standard" or "github", given "%s"', tostring(form)) end
  return form
end

local function standard_signature(key, id, timestamp, body)
  return "v1," .. base64.encode(c.hmac(key, id .. "." .. timestamp .. "." .. body))
end
local function github_signature(key, body) return "sha256=" .. hex(c.hmac(key, body)) end

local SIGN = { secret = true, id = true, timestamp = true, form = true }

--- The headers that sign a body. Several secrets (while they are changed) give several signatures of the standard form.
---@param body string
---@param options { secret: string|string[], id?: string, timestamp?: integer, form?: "standard"|"github" }
---@return table<string, string> headers
function M.sign(body, options)
  if type(body) ~= "string" then options_of.fail("sign takes the body's text, given a %s", type(body)) end
  local form = form_of(options, SIGN)
  local keys = keys_of(options.secret, form)
  if form == "github" then
    if #keys > 1 then options_of.fail("GitHub's form has one signature: give one secret") end
    return { ["X-Hub-Signature-256"] = github_signature(keys[1], body) }
  end
  local id = options.id or "msg_" .. c.random_hex(16)
  if type(id) ~= "string" or not id:find("^[%w_-]+$") then options_of.fail("id is made of letters, digits, _ and -") end
  local timestamp = options.timestamp or c_time.now_ms() // 1000
  if math.type(timestamp) ~= "integer" then options_of.fail("timestamp is in whole seconds since 1970") end
  local signatures = {}
  for i, key in ipairs(keys) do signatures[i] = standard_signature(key, id, tostring(timestamp), body) end
  return { ["webhook-id"] = id, ["webhook-timestamp"] = tostring(timestamp),
           ["webhook-signature"] = table.concat(signatures, " ") }
end

local function refuse(code, message) return nil, { code = code, message = message, retryable = false } end

-- Whether one of the given signatures is one of the wanted; looks at all of them.
local function any_equal(given, wanted)
  local found = false
  for _, one in ipairs(given) do
    for _, other in ipairs(wanted) do found = c.equal(one, other) or found end
  end
  return found
end

local function lower_names(headers)
  local out = {}
  for name, value in pairs(headers) do out[tostring(name):lower()] = tostring(value) end
  return out
end

local SIGNATURES_MAX = 16

local function verify_standard(headers, body, keys, tolerance_ms)
  local id, timestamp, text = headers["webhook-id"], headers["webhook-timestamp"], headers["webhook-signature"]
  if not (id and timestamp and text) then
    return refuse("signature_missing", "webhook-id, webhook-timestamp and webhook-signature are needed")
  end
  if not timestamp:find("^%d+$") or #timestamp > 12 then return refuse("timestamp_invalid", "webhook-timestamp is in seconds") end
  local off_ms = math.abs(c_time.now_ms() - math.tointeger(tonumber(timestamp)) * 1000)
  local given, wanted = {}, {}
  for one in text:gmatch("%S+") do
    if #given < SIGNATURES_MAX then given[#given + 1] = one end
  end
  for i, key in ipairs(keys) do wanted[i] = standard_signature(key, id, timestamp, body) end
  if not any_equal(given, wanted) then return refuse("signature_mismatch", "no signature fits the body") end
  if off_ms > tolerance_ms then
    return refuse("timestamp_tolerance", ("the message is %d s off our clock"):format(off_ms // 1000))
  end
  return true
end

local function verify_github(headers, body, keys)
  local text = headers["x-hub-signature-256"]
  if not text then return refuse("signature_missing", "X-Hub-Signature-256 is needed") end
  local wanted = {}
  for i, key in ipairs(keys) do wanted[i] = github_signature(key, body) end
  if not any_equal({ text }, wanted) then return refuse("signature_mismatch", "the signature does not fit the body") end
  return true
end

local VERIFY = { secret = true, tolerance = true, form = true }

--- Whether the headers sign this body, byte for byte as it was received. Any of several secrets will do.
---@param headers table<string, string>
---@param body string
---@param options { secret: string|string[], tolerance?: orrery.Duration, form?: "standard"|"github" }  tolerance: "5m"
---@return true? ok
---@return table? err  code signature_missing, signature_mismatch, timestamp_invalid, timestamp_tolerance
function M.verify(headers, body, options)
  if type(headers) ~= "table" or type(body) ~= "string" then options_of.fail("verify takes headers and the body's text") end
  local form = form_of(options, VERIFY)
  local keys = keys_of(options.secret, form)
  headers = lower_names(headers)
  if form == "github" then return verify_github(headers, body, keys) end
  local tolerance_ms = c_time.duration(options.tolerance or "5m")
  if not tolerance_ms then options_of.fail("tolerance is no duration") end
  return verify_standard(headers, body, keys, tolerance_ms)
end

return M
