-- A tiny HTTP server with luv, for the demo fetch_pages: it answers the first request of every page with 503.
local uv = require "luv"

local M = {}

--- A port on loopback that is free right now.
---@return integer
function M.free_port()
  local socket = assert(uv.new_tcp())
  assert(socket:bind("127.0.0.1", 0))
  local port = socket:getsockname().port
  socket:close()
  return port
end

local function response(status, body)
  return ("HTTP/1.1 %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s")
    :format(status, #body, body)
end

local function answer(state, path)
  local page = path:match("^/page/(%d+)$")
  if not page then return response("404 Not Found", "{}") end
  state.asked[page] = (state.asked[page] or 0) + 1
  if state.asked[page] == 1 then
    state.refused = state.refused + 1
    return response("503 Service Unavailable", '{"error":"try again"}')
  end
  if not state.served[page] then state.served[page], state.count = true, state.count + 1 end
  return response("200 OK", ('{"page":%s,"title":"Page %s"}'):format(page, page))
end

local function serve_client(state, client)
  local request = ""
  client:read_start(function(err, data)
    if err or not data then
      if not client:is_closing() then client:close() end
      return
    end
    request = request .. data
    local path = request:match("^GET (%S+) HTTP/1%.[01]\r\n.-\r\n\r\n")
    if not path then return end
    client:read_stop()
    client:write(answer(state, path), function()
      if not client:is_closing() then client:close() end
    end)
  end)
end

--- Starts the server; `count` of the state grows with every page that was served for the first time.
---@param port integer
---@return { asked: table, served: table, count: integer, refused: integer, close: fun() }
function M.start(port)
  local state = { asked = {}, served = {}, count = 0, refused = 0 }
  local server = assert(uv.new_tcp())
  assert(server:bind("127.0.0.1", port))
  assert(server:listen(64, function(err)
    if err then return end
    local client = assert(uv.new_tcp())
    server:accept(client)
    serve_client(state, client)
  end))
  function state.close() server:close() end
  return state
end

return M
