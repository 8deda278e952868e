-- A tiny receiver of web-hooks with luv, for the demo webhook_sender: it checks every signature, is busy at first, and drops
-- what it has seen already.
local o = require "orrery"
local uv = require "luv"

local M = {}

local function answer(status, more)
  return ("HTTP/1.1 %s\r\nContent-Length: 0\r\nConnection: close\r\n%s\r\n"):format(status, more or "")
end

local function receive(state, headers, body)
  local ok, err = o.http.verify(headers, body, { secret = state.secrets, tolerance = "5m" })
  if not ok then
    state.refused[#state.refused + 1] = err.code
    return answer("401 Unauthorized")
  end
  if state.busy > 0 then
    state.busy = state.busy - 1
    return answer("503 Service Unavailable", "Retry-After: 1\r\n")
  end
  local id = headers["webhook-id"]
  if not state.seen[id] then
    state.seen[id] = true
    state.accepted[#state.accepted + 1] = o.json.decode(body)
  end
  return answer("204 No Content")
end

local function serve_client(state, client)
  local text = ""
  client:read_start(function(err, data)
    if err or not data then
      if not client:is_closing() then client:close() end
      return
    end
    text = text .. data
    local head, body = text:match("^(.-\r\n)\r\n(.*)$")
    if not head then return end
    local headers = {}
    for name, value in head:gmatch("\r\n([^:\r\n]+): *([^\r\n]*)") do headers[name:lower()] = value end
    if #body < tonumber(headers["content-length"] or "0") then return end
    client:read_stop()
    client:write(receive(state, headers, body), function()
      if not client:is_closing() then client:close() end
    end)
  end)
end

--- Starts it on a free port of loopback.
---@param secrets string[]  any of them is taken
---@param busy integer  how many messages it answers with 503 first
---@return { url: string, accepted: table[], refused: string[], close: fun() }
function M.start(secrets, busy)
  local state = { secrets = secrets, busy = busy, seen = {}, accepted = {}, refused = {} }
  local server = assert(uv.new_tcp())
  assert(server:bind("127.0.0.1", 0))
  assert(server:listen(16, function(err)
    if err then return end
    local client = assert(uv.new_tcp())
    server:accept(client)
    serve_client(state, client)
  end))
  state.url = ("http://127.0.0.1:%d/hooks"):format(server:getsockname().port)
  function state.close() server:close() end
  return state
end

return M
