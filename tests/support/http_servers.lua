-- SPDX-License-Identifier: MIT
-- Small HTTP servers on loopback for the tests of the HTTP client, all in the test's own luv loop: an origin, a proxy, and
-- nghttpd for HTTP/2.
local uv = require "luv"
local e2e = require "e2e"

local M = {}

-- Listens on a free port and gives each connection to `serve(client)`.
local function listen(serve)
  local server, clients = uv.new_tcp(), {}
  assert(server:bind("127.0.0.1", 0))
  assert(server:listen(64, function(err)
    assert(not err, err)
    local client = uv.new_tcp()
    server:accept(client)
    clients[#clients + 1] = client
    serve(client)
  end))
  local self = { port = server:getsockname().port, connections = clients }
  self.url = "http://127.0.0.1:" .. self.port
  function self.close()
    for _, client in ipairs(clients) do if not client:is_closing() then client:close() end end
    if not server:is_closing() then server:close() end
    uv.run("nowait")
  end
  return self
end

local function shut(socket) if not socket:is_closing() then socket:close() end end

local function head_of(text)
  local head, rest = text:match("^(.-\r\n)\r\n(.*)$")
  if not head then return nil end
  local request = { headers = {}, method = head:match("^(%S+)"), path = head:match("^%S+ (%S+)"), head = head }
  for name, value in head:gmatch("\r\n([^:\r\n]+): *([^\r\n]*)") do request.headers[name:lower()] = value end
  return request, rest
end

local function body_of(request, text)
  if request.headers["transfer-encoding"] == "chunked" then
    if not text:find("\r\n0\r\n\r\n", 1, true) and text:sub(1, 5) ~= "0\r\n\r\n" then return nil end
    return e2e.unchunk(text)
  end
  local length = tonumber(request.headers["content-length"] or "0")
  if #text < length then return nil end
  return text:sub(1, length)
end

function M.reply(status, body, headers)
  local lines = { "HTTP/1.1 " .. status, "Content-Length: " .. #body }
  for name, value in pairs(headers or {}) do lines[#lines + 1] = name .. ": " .. value end
  return table.concat(lines, "\r\n") .. "\r\n\r\n" .. body
end

--- An HTTP/1.1 server with keep-alive. handler(request, client) gives the answer's bytes, or nil if it answers by itself.
--- With on_head(request, client) a request is handed over before its body: true takes it.
function M.origin(handler, on_head)
  local self
  self = listen(function(client)
    local text, taken = "", false
    client:read_start(function(err, data)
      if err or not data then return shut(client) end
      if taken then return end
      text = text .. data
      local request, rest = head_of(text)
      if not request then return end
      if on_head and on_head(request, client, rest) then taken = true return end
      local body = body_of(request, rest)
      if not body then return end
      text = ""
      request.body = body
      self.requests[#self.requests + 1] = request
      local answer = handler(request, client)
      if answer then client:write(answer) end
    end)
  end)
  self.requests = {}
  return self
end

--- A proxy that forwards absolute URLs and opens tunnels for CONNECT; `asked` lists what was asked of it.
function M.proxy(refuse)
  local self
  local function join(client, host, port, first, greeting)
    local upstream = uv.new_tcp()
    upstream:connect(host, tonumber(port), function(err)
      if err then return shut(client) end
      if greeting then client:write(greeting) end
      if first ~= "" then upstream:write(first) end
      upstream:read_start(function(_, data) if data then client:write(data) else shut(client) shut(upstream) end end)
    end)
    client:read_stop()
    client:read_start(function(_, data) if data then upstream:write(data) else shut(client) shut(upstream) end end)
  end
  self = listen(function(client)
    local text = ""
    client:read_start(function(err, data)
      if err or not data then return shut(client) end
      text = text .. data
      local request, rest = head_of(text)
      if not request then return end
      self.asked[#self.asked + 1] = request.method .. " " .. request.path
      self.authorization = request.headers["proxy-authorization"]
      if refuse then return client:write(M.reply("403 Forbidden", "no")) end
      if request.method == "CONNECT" then
        local host, port = request.path:match("^(.-):(%d+)$")
        return join(client, host, port, rest, "HTTP/1.1 200 Connection established\r\n\r\n")
      end
      local host, port, path = request.path:match("^http://([^:/]+):(%d+)(/.*)$")
      join(client, host, port, (text:gsub("^(%S+) %S+", "%1 " .. path:gsub("%%", "%%%%"), 1)))
    end)
  end)
  self.asked = {}
  return self
end

--- A process that listens on a port: waits until it does.
function M.process(argv, port)
  local process = e2e.start(argv)
  e2e.must(function()
    if process.code then error(argv[1] .. " ended: " .. process.out .. process.err, 0) end
    local socket, answer = uv.new_tcp(), nil
    socket:connect("127.0.0.1", port, function(err) answer = err == nil end)
    e2e.eventually(function() return answer ~= nil end, 5)
    shut(socket)
    return answer
  end, 10, argv[1])
  return process
end

return M
