-- SPDX-License-Identifier: MIT
-- o.http from real scripts in the real binary, against servers that these tests start: HTTP/1.1 and a proxy of their own, and
-- nghttpd for HTTP/2.
package.path = "tests/support/?.lua;" .. package.path
local e2e = require "e2e"
local servers = require "http_servers"
local uv = require "luv"
local test, equal, contains = e2e.test, e2e.equal, e2e.contains

--- Runs the body of a step with input; returns its output, or nil, the run's error. `options` of the step as Lua text.
local function step(body, input, options)
  local project = e2e.project { ["s.lua"] = ([[
local o = require "orrery"
o.pipeline "s" {
  o.step "s" { %s run = function(ctx)
    local input = ctx.input
%s
  end },
}
]]):format(options or "", body) }
  local run = e2e.orrery({ "run", project .. "/s.lua", "--input", e2e.json.encode(input), "--json" })
  local ok, picture = pcall(e2e.json.decode, run.out)
  local kept = {} -- the project's files afterwards
  for name in uv.fs_scandir_next, uv.fs_scandir(project) do kept[name] = e2e.read(project .. "/" .. name) end
  e2e.remove(project)
  if run.code ~= 0 and run.code ~= 5 then error("run ended " .. tostring(run.code) .. ": " .. run.err, 2) end
  if not ok then error("run gave no JSON (" .. tostring(run.code) .. "): " .. run.err, 2) end
  return picture.output ~= e2e.json.null and picture.output or nil, picture.error, picture, kept
end

local function must(body, input, options)
  local output, err, picture, kept = step(body, input, options)
  if output == nil then error("the step failed: " .. e2e.json.encode(err), 2) end
  return output, picture, kept
end

local function echo()
  return servers.origin(function(request)
    return servers.reply("200 OK", e2e.json.encode { method = request.method, path = request.path, headers = request.headers,
                                                     body = request.body }, { ["Content-Type"] = "application/json" })
  end)
end

-- --- sessions --------------------------------------------------------------------------------------------------------------

test("a session adds its base URL and headers, and keeps its connection", function()
  local server = echo()
  local out = must([[
    local s <close> = o.http.session { base_url = input.url .. "/v1/", headers = { Authorization = "Bearer t", ["X-A"] = "1" } }
    local first = s:get("/users", { query = { q = "a b" } }):json()
    local second = s:post("items", { json = { n = 1 }, headers = { ["x-a"] = "2" } }):json()
    local third = s:delete(""):json()
    local put, patch, head = s:put("p", { body = "x" }), s:patch("p", { body = "y" }), s:head("h")
    local ok, err = pcall(function() local res = s:get("http://example.com/elsewhere") return res end)
    s:close()
    local closed, why = pcall(s.get, s, "/x")
    return { first = first, second = second, third = third, ok = ok, err = tostring(err), closed = closed, why = tostring(why),
             put = put:json().method, patch = patch:json().method, head = head.status }
  ]], { url = server.url })
  equal(out.first.path, "/v1/users?q=a%20b")
  equal(out.first.headers.authorization, "Bearer t")
  equal(out.second.path, "/v1/items")
  equal(out.second.headers["x-a"], "2")
  equal(out.second.body, '{"n":1}')
  equal(out.third.path, "/v1/")
  equal(out.third.method, "DELETE")
  equal(out.put .. out.patch, "PUTPATCH")
  equal(out.head, 200)
  equal(out.ok, false)
  contains(out.err, "is elsewhere")
  contains(out.err, "s.lua:")
  equal(out.closed, false)
  contains(out.why, "session is closed")
  equal(#server.connections, 1, "connections")
  server.close()
end)

test("a session with cookies sends back what it was given; requests outside of it do not", function()
  local server = servers.origin(function(request)
    return servers.reply("200 OK", request.headers.cookie or "none", { ["Set-Cookie"] = "id=7; Path=/" })
  end)
  local out = must([[
    local s <close> = o.http.session { base_url = input.url, cookies = true }
    local other <close> = o.http.session { base_url = input.url, cookies = true }
    return { s:get("/").body, s:get("/").body, o.http.get(input.url).body, other:get("/").body }
  ]], { url = server.url })
  equal(table.concat(out, " "), "none id=7 none none")
  server.close()
end)

-- --- streaming -------------------------------------------------------------------------------------------------------------

local PIECE = ("x"):rep(65536)

-- Writes pieces until `total` bytes went, each when the socket took the one before. Counts in state.sent.
local function pour(client, state, total)
  local function more(err)
    if err or client:is_closing() then return end
    if state.sent >= total then return client:close() end
    state.sent = state.sent + #PIECE
    client:write(PIECE, more)
  end
  client:write("HTTP/1.1 200 OK\r\nContent-Length: " .. total .. "\r\n\r\n", more)
end

test("a stream gives the head before the body, and pieces as they come", function()
  local held
  local server = servers.origin(function(request, client)
    if request.path == "/go" then
      held:write("5\r\nworld\r\n0\r\n\r\n")
      return servers.reply("200 OK", "went")
    end
    held = client
    client:write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nX-Kind: slow\r\n\r\n")
    client:write("6\r\nhello \r\n")
  end)
  local out = must([[
    local res <close> = o.http.stream(input.url .. "/slow"):expect()
    local first = res:read()
    o.http.get(input.url .. "/go")                     -- only now does the rest come
    local rest = {}
    for chunk in res:chunks() do rest[#rest + 1] = chunk end
    local after, err = res:read()
    return { kind = res.headers["x-kind"], first = first, rest = table.concat(rest), after = after == nil, err = err.code }
  ]], { url = server.url })
  equal(out.kind, "slow")
  equal(out.first, "hello ")
  equal(out.rest, "world")
  equal(out.after, true)
  equal(out.err, "closed")
  server.close()
end)

test("lines of a stream come one by one", function()
  local server = servers.origin(function()
    return servers.reply("200 OK", "one\r\ntwo\n\nlast")
  end)
  local out = must([[
    local lines = {}
    for line in o.http.stream(input.url):lines() do lines[#lines + 1] = line end
    return lines
  ]], { url = server.url })
  equal(table.concat(out, "|"), "one|two||last")
  server.close()
end)

test("a slow reader makes the server wait: no more is taken than the buffers hold", function()
  local total, state = 64 * 1024 * 1024, { sent = 0 }
  local server = servers.origin(function(request, client)
    if request.path == "/progress" then
      -- Answers once the server of the stream has been stuck: two looks apart by a whole turn of its loop, the same.
      local last, timer = -1, uv.new_timer()
      timer:start(50, 50, function()
        if state.sent > 0 and state.sent == last then
          timer:close()
          client:write(servers.reply("200 OK", tostring(state.sent)))
        end
        last = state.sent
      end)
      return nil
    end
    pour(client, state, total)
  end)
  local out = must([[
    local res <close> = o.http.stream(input.url)
    local stuck = tonumber(o.http.get(input.url .. "/progress").body)
    local bytes, largest = 0, 0
    for chunk in res:chunks() do bytes = bytes + #chunk; largest = math.max(largest, #chunk) end
    return { stuck = stuck, bytes = bytes, largest = largest }
  ]], { url = server.url })
  equal(out.bytes, total)
  equal(out.stuck < total / 2, true, "the server could send " .. out.stuck) -- sockets' buffers hold some MiB
  equal(out.largest <= 2 * 256 * 1024, true, "largest piece " .. out.largest)
  server.close()
end)

test("a slow server makes the writer wait: the body's function is asked only when there is room", function()
  local taken, release = 0, nil
  local server
  server = servers.origin(function(request)
    if request.path == "/release" then
      release()
      return servers.reply("200 OK", "ok")
    end
    return servers.reply("200 OK", tostring(taken))
  end, function(request, client)
    if request.path ~= "/upload" then return false end
    client:read_stop() -- takes nothing until released
    release = function()
      client:read_start(function(_, data)
        if not data then return end
        taken = taken + #data
        if data:sub(-5) == "0\r\n\r\n" then client:write(servers.reply("200 OK", tostring(taken))) end
      end)
    end
    return true
  end)
  local out = must([[
    local total, given, stuck = 64 * 1024 * 1024, 0, nil
    local piece = ("y"):rep(65536)
    local uv = require "luv"
    local watch = uv.new_timer()
    local last = -1
    watch:start(100, 100, function()
      if given > 0 and given == last then
        stuck = given
        watch:close()
        o.http.get(input.url .. "/release")
      end
      last = given
    end)
    local res, err = o.http.put(input.url .. "/upload", { body = function()
      if given == total then return nil end
      given = given + #piece
      return piece
    end })
    if not res then return nil, err end
    return { given = given, stuck = stuck, status = res.status, taken = tonumber(res.body) }
  ]], { url = server.url })
  equal(out.status, 200)
  equal(out.given, 64 * 1024 * 1024)
  equal(out.stuck < out.given / 2, true, "given before anything was taken: " .. tostring(out.stuck))
  equal(out.taken > out.given, true, "chunked framing included") -- all of it came
  server.close()
end)

test("an attempt that is ended closes its streams", function()
  local closed = 0
  local server = servers.origin(function(_, client)
    client:write("HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\nsome")
  end)
  local original = server
  local _, err = step([[
    local res = o.http.stream(input.url)
    res:read()
    res:read()
    return 1
  ]], { url = server.url }, 'timeout = "300ms",')
  equal(err.code, "timeout")
  e2e.must(function()
    closed = 0
    for _, client in ipairs(original.connections) do if client:is_closing() then closed = closed + 1 end end
    return closed == 1
  end, 10, "the end of the connection")
  server.close()
end)

test("a stream that is closed or collected ends its request, whoever waits for it", function()
  local server
  server = servers.origin(function(request, client)
    if request.path == "/hold" then
      client:write("HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\nsome")
      return nil
    end
    local open = 0
    for _, one in ipairs(server.connections) do if not one:is_closing() then open = open + 1 end end
    return servers.reply("200 OK", tostring(open))
  end)
  local out = must([[
    local uv = require "luv"
    local function open_until(count)
      while tonumber(o.http.get(input.url .. "/count").body) ~= count do ctx.sleep("10ms") end
    end
    local held = o.http.stream(input.url .. "/hold")
    held:read()
    local timer, why = uv.new_timer(), nil
    timer:start(1, 0, function()
      timer:close()
      local _, err = held:read()
      why = err.code
    end)
    ctx.sleep("50ms")
    local ok, second = pcall(held.read, held)          -- one waits already
    held:close()
    while not why do ctx.sleep("5ms") end
    open_until(1)
    do local lost = o.http.stream(input.url .. "/hold") lost:read() end
    collectgarbage()
    collectgarbage()
    open_until(1)
    for chunk in o.http.stream(input.url .. "/hold"):chunks() do break end
    open_until(1)
    local failed = pcall(function() for _ in o.http.stream(input.url .. "/hold"):chunks() do error("x") end end)
    open_until(1)
    local broke, message = pcall(o.http.put, input.url .. "/up", { body = function() error("no more") end })
    open_until(1)
    return { why = why, ok = ok, second = tostring(second), failed = failed, broke = broke, message = tostring(message) }
  ]], { url = server.url }, 'timeout = "20s",')
  equal(out.why, "closed")
  equal(out.ok, false)
  contains(out.second, "another coroutine waits for this stream")
  equal(out.failed, false)
  equal(out.broke, false)
  contains(out.message, "no more")
  server.close()
end)

test("an answer before the whole body was sent ends the sending", function()
  local server = servers.origin(function() error("not reached") end, function(_, client)
    client:read_stop()
    client:write(servers.reply("413 Payload Too Large", "too much", { Connection = "close" }))
    return true
  end)
  local out = must([[
    local pieces = 0
    local res, err = o.http.put(input.url, { body = function()
      pieces = pieces + 1
      return pieces <= 100000 and ("x"):rep(65536) or nil
    end })
    return { status = res and res.status, body = res and res.body, code = err and err.code, pieces = pieces }
  ]], { url = server.url })
  equal(out.status, 413)
  equal(out.body, "too much")
  equal(out.pieces < 1000, true, "pieces given: " .. out.pieces)
  server.close()
end)

test("a redirect wants a streamed body again: that is an error, not a wrong request", function()
  local server = servers.origin(function(request)
    if request.path == "/other" then return servers.reply("303 See Other", "", { Location = "/seen" }) end
    if request.path == "/seen" then return servers.reply("200 OK", request.method .. #request.body) end
    if request.path == "/first" then return servers.reply("307 Temporary Redirect", "", { Location = "/second" }) end
    return servers.reply("200 OK", request.body)
  end)
  local out = must([[
    local first = true
    local res, failure = o.http.put(input.url .. "/first", { body = function() if first then first = false return "once" end end })
    local whole = o.http.put(input.url .. "/first", { body = "again" })
    local left = 3
    local seen = o.http.post(input.url .. "/other", { body = function() left = left - 1 return left >= 0 and "piece" or nil end })
    local nul = pcall(o.http.get, input.url .. "\0.example.com/")
    return { seen = seen.body, nul = nul, streamed = failure and failure.code or res.status, whole = whole.body }
  ]], { url = server.url })
  equal(out.streamed, "rewind")
  equal(out.whole, "again")
  equal(out.seen, "GET0")
  equal(server.requests[#server.requests - 1].headers["transfer-encoding"], "chunked")
  equal(server.requests[#server.requests - 1].body, "piecepiecepiece")
  equal(out.nul, false)
  server.close()
end)

test("a stream that breaks off raises in chunks and returns the error in read", function()
  local server = servers.origin(function(_, client)
    client:write("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf", function() client:close() end)
  end)
  local out = must([[
    local got = {}
    local ok, err = pcall(function() for chunk in o.http.stream(input.url):chunks() do got[#got + 1] = chunk end end)
    local res <close> = o.http.stream(input.url)
    local first = res:read()
    local second, why = res:read()
    return { ok = ok, code = err.code, got = table.concat(got), first = first, second = second == nil, why = why.code }
  ]], { url = server.url })
  equal(out.ok, false)
  equal(out.code, "io")
  equal(out.got .. out.first, "halfhalf")
  equal(out.why, "io")
  server.close()
end)

-- --- files and multipart -----------------------------------------------------------------------------------------------------

test("an answer goes straight to a file, whole or not at all", function()
  local server = servers.origin(function(request, client)
    if request.path == "/big" then pour(client, { sent = 0 }, 8 * 1024 * 1024) return nil end
    if request.path == "/cut" then
      client:write("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf", function() client:close() end)
      return nil
    end
    return servers.reply("404 Not Found", "no such thing")
  end)
  local out, _, kept = must([[
    local big = o.http.get(input.url .. "/big", { to_file = "big.bin" })
    local cut, cut_err = o.http.get(input.url .. "/cut", { to_file = "cut.bin" })
    local missing = o.http.get(input.url .. "/missing", { to_file = "missing.bin" })
    local bound, bound_err = o.http.get(input.url .. "/big", { to_file = "bound.bin", max_bytes = 100000 })
    return { big = big.status, file = big.file, body = big.body, cut = cut == nil, cut_code = cut_err.code,
             missing = missing.status, text = missing.body, bound = bound == nil, bound_code = bound_err.code }
  ]], { url = server.url })
  equal(out.big, 200)
  equal(out.file, "big.bin")
  equal(out.body, "")
  equal(#kept["big.bin"], 8 * 1024 * 1024)
  equal(out.cut_code, "io")
  equal(out.missing, 404)
  equal(out.text, "no such thing")
  equal(out.bound_code, "too_large")
  local names = {}
  for name in pairs(kept) do names[#names + 1] = name end
  table.sort(names)
  equal(table.concat(names, " "), "big.bin s.lua", "files left")
  server.close()
end)

test("a file is sent from disk with its length; a missing one is an error", function()
  local server = servers.origin(function(request)
    return servers.reply("200 OK", e2e.json.encode { length = request.headers["content-length"],
                                                     type = request.headers["content-type"], got = #request.body })
  end)
  local out = must([[
    o.fs.write("up.bin", ("z"):rep(3000000))
    local up = o.http.put(input.url, { from_file = "up.bin" }):json()
    local none, err = o.http.put(input.url, { from_file = "nothing.bin" })
    return { up = up, none = none == nil, code = err.code }
  ]], { url = server.url })
  equal(out.up.length, "3000000")
  equal(out.up.got, 3000000)
  equal(out.up.type, "application/octet-stream")
  equal(out.code, "not_found")
  server.close()
end)

test("multipart sends fields and files, and escapes what could break its headers", function()
  local server = servers.origin(function(request)
    return servers.reply("200 OK", e2e.json.encode { type = request.headers["content-type"], body = request.body,
                                                     length = request.headers["content-length"] })
  end)
  local out = must([[
    o.fs.write("report.csv", "a,b\n1,2\n")
    local small = o.http.post(input.url, { multipart = { { name = "a\"\r\nX: y", data = "1" } } }):json()
    local large = o.http.post(input.url, { multipart = {
      { name = "title", data = "Q4" }, { name = "file", file = "report.csv", type = "text/csv" },
      { name = "raw", data = "\0\1", filename = "raw.bin" } } })
    large = large:json()
    local ok, err = pcall(o.http.post, input.url, { multipart = { { name = "a" } } })
    return { small = small.body:gsub("%-%-orrery%-%x+", "BOUNDARY"), large = o.base64.encode(large.body), type = large.type, err = err,
             length = large.length }
  ]], { url = server.url })
  equal(out.small, 'BOUNDARY\r\nContent-Disposition: form-data; name="a%22%0D%0AX: y"\r\n\r\n1\r\nBOUNDARY--\r\n')
  local boundary = out.type:match("^multipart/form%-data; boundary=(orrery%-%x+)$")
  local b = "--" .. boundary
  local want = b .. '\r\nContent-Disposition: form-data; name="title"\r\n\r\nQ4\r\n'
    .. b .. '\r\nContent-Disposition: form-data; name="file"; filename="report.csv"\r\nContent-Type: text/csv\r\n\r\na,b\n1,2\n\r\n'
    .. b .. '\r\nContent-Disposition: form-data; name="raw"; filename="raw.bin"\r\nContent-Type: application/octet-stream\r\n\r\n\0\1\r\n'
    .. b .. "--\r\n"
  equal(out.length, tostring(#want))
  local function base64(text)
    local alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    return ((text:gsub(".", function(c)
      local bits = ""
      for i = 7, 0, -1 do bits = bits .. (c:byte() >> i & 1) end
      return bits
    end) .. "0000"):gsub("%d%d%d?%d?%d?%d?", function(six)
      if #six < 6 then return "" end
      local at = tonumber(six, 2)
      return alphabet:sub(at + 1, at + 1)
    end) .. ({ "", "==", "=" })[#text % 3 + 1])
  end
  equal(out.large, base64(want))
  contains(out.err, "needs data or file")
  server.close()
end)

-- --- guard -----------------------------------------------------------------------------------------------------------------

test("guard refuses loopback in every spelling, before a connection is made", function()
  local server = echo()
  local port = server.port
  local urls = {}
  for _, host in ipairs { "127.0.0.1", "localhost", "2130706433", "0x7f000001", "0x7f.1", "0177.0.0.1", "127.1", "0.0.0.0", "0",
                          "[::1]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[::]", "[64:ff9b::7f00:1]", "[2002:7f00:1::]",
                          "localhost.", "user:pass@127.0.0.1", "10.0.0.1", "192.168.0.1", "169.254.169.254", "100.64.0.1",
                          "[fe80::1]", "[fd00::1]", "255.255.255.255", "224.0.0.1" } do
    urls[#urls + 1] = ("http://%s:%d/"):format(host, port)
  end
  local out = must([[
    local codes = {}
    for i, url in ipairs(input.urls) do
      local res, err = o.http.get(url, { guard = true, timeout = "5s" })
      codes[i] = { url = url, code = res and "answered" or err.code, retryable = err and err.retryable }
    end
    local s <close> = o.http.session { base_url = input.urls[1], guard = true }
    local _, err = s:get("/")
    local _, stream_err = o.http.stream(input.urls[1], { guard = true })
    local open = o.http.get(input.urls[1])
    local _, again = o.http.get(input.urls[1], { guard = true }) -- not by the connection that is open already
    return { codes = codes, session = err.code, stream = stream_err.code, open = open.status, again = again.code }
  ]], { urls = urls })
  for _, one in ipairs(out.codes) do
    -- what this machine's resolver doesn't take for an address at all never connects either
    equal(one.code == "guarded" or one.code == "resolve", true, one.url .. ": " .. one.code)
    if one.url:find("//127.0.0.1", 1, true) or one.url:find("localhost:", 1, true) or one.url:find("2130706433", 1, true)
      or one.url:find("0x7f000001", 1, true) or one.url:find("ffff", 1, true) then
      equal(one.code, "guarded", one.url)
      equal(one.retryable, false, one.url)
    end
  end
  equal(out.session, "guarded")
  equal(out.stream, "guarded")
  equal(out.open, 200)
  equal(out.again, "guarded")
  equal(#server.requests, 1, "requests that came through")
  server.close()
end)

test("guard together with a proxy is refused", function()
  local _, err = step([[ return o.http.get("http://example.com/", { guard = true, proxy = "http://127.0.0.1:1" }) ]], { x = 1 })
  equal(err.code, "guarded")
  contains(err.message, "proxy")
end)

test("credentials do not follow a redirect to another origin", function()
  local second = echo()
  local first = servers.origin(function(request)
    if request.path == "/away" then
      return servers.reply("302 Found", "", { Location = second.url .. "/landed" })
    elseif request.path == "/same" then
      return servers.reply("302 Found", "", { Location = "/here" })
    end
    return servers.reply("200 OK", e2e.json.encode { headers = request.headers })
  end)
  local out = must([[
    local options = { headers = { Authorization = "Bearer secret", Cookie = "a=b" } }
    local away, same = o.http.get(input.url .. "/away", options), o.http.get(input.url .. "/same", options)
    local user = o.http.get((input.url:gsub("//", "//me:word@")) .. "/away")
    return { away = away:json().headers, same = same:json().headers, user = user:json().headers, url = away.url }
  ]], { url = first.url })
  equal(out.url, second.url .. "/landed")
  equal(out.away.authorization, nil)
  equal(out.away.cookie, nil)
  equal(out.user.authorization, nil)
  equal(out.same.authorization, "Bearer secret")
  first.close()
  second.close()
end)

-- --- proxies ---------------------------------------------------------------------------------------------------------------

test("a proxy is used when asked for, never from the environment", function()
  local server, proxy, refusing = echo(), servers.proxy(), servers.proxy(true)
  local out = must([[
    local plain = o.http.get(input.url .. "/plain", { proxy = input.proxy }):json()
    local s <close> = o.http.session { base_url = input.url, proxy = (input.proxy:gsub("//", "//me:word@")) }
    local named = s:get("/named"):json()
    local direct = o.http.get(input.url .. "/direct"):json()
    local tunnel, err = o.http.get("https://127.0.0.1:" .. input.port .. "/", { proxy = input.refusing })
    local bad, why = o.http.get(input.url, { proxy = "ftp://x" })
    local gone, none = o.http.get(input.url, { proxy = "http://127.0.0.1:1" })
    return { plain = plain.path, named = named.path, direct = direct.path, err = err, why = why.code, none = none.code }
  ]], { url = server.url, proxy = proxy.url, refusing = refusing.url, port = server.port })
  equal(out.plain .. out.named .. out.direct, "/plain/named/direct")
  equal(#proxy.asked, 2)
  equal(proxy.asked[1], "GET " .. server.url .. "/plain")
  contains(proxy.authorization, "Basic ")
  equal(out.err.code, "proxy")
  contains(out.err.message, "403")
  equal(refusing.asked[1], "CONNECT 127.0.0.1:" .. server.port)
  equal(out.why, "proxy")
  equal(out.none, "connect")
  for _, one in ipairs { server, proxy, refusing } do one.close() end
end)

-- --- HTTP/2, TLS -----------------------------------------------------------------------------------------------------------

local function nghttpd(folder, before, after)
  local port = e2e.free_port()
  local argv = { "nghttpd", "-d", folder, "-a", "127.0.0.1" }
  table.move(before, 1, #before, #argv + 1, argv)
  argv[#argv + 1] = tostring(port)
  table.move(after, 1, #after, #argv + 1, argv)
  return servers.process(argv, port), port
end

test("HTTP/2 in clear text by prior knowledge: requests side by side, streams with back-pressure, uploads", function()
  local folder = e2e.temp()
  e2e.write(folder .. "/big", ("b"):rep(20 * 1024 * 1024))
  e2e.write(folder .. "/small", "tiny")
  local server, port = nghttpd(folder, { "--no-tls", "--echo-upload" }, {})
  local out = must([[
    local s <close> = o.http.session { base_url = input.url, http_version = "2-prior-knowledge" }
    local small = s:get("/small")
    local held <close> = s:stream("/big")
    local first = #held:read()
    local beside = s:get("/small").body                -- while the stream is not read
    local other <close> = s:stream("/small")
    local bytes = first
    for chunk in held:chunks() do bytes = bytes + #chunk end
    local left, piece = 40, ("p"):rep(50000)
    local up = s:post("/echo", { body = function() left = left - 1; return left >= 0 and piece or nil end })
    return { version = small.http_version, body = small.body, beside = beside, other = other:read(), bytes = bytes, up = #up.body,
             status = up.status }
  ]], { url = "http://127.0.0.1:" .. port })
  equal(out.version, "2")
  equal(out.body .. out.beside .. out.other, "tinytinytiny")
  equal(out.bytes, 20 * 1024 * 1024)
  equal(out.status, 200)
  equal(out.up, 2000000)
  server.kill()
  e2e.remove(folder)
end)

test("TLS is verified: an unknown authority is refused, a given one is taken, and HTTP/2 agreed on", function()
  local folder = e2e.temp()
  e2e.write(folder .. "/small", "tiny")
  local made = e2e.start({ "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout",
                           folder .. "/key.pem", "-out", folder .. "/cert.pem", "-days", "2", "-subj", "/CN=localhost", "-addext",
                           "subjectAltName=DNS:localhost" }).wait(20)
  equal(made.code, 0, made.err)
  local server, port = nghttpd(folder, {}, { folder .. "/key.pem", folder .. "/cert.pem" })
  local out = must([[
    local url = "https://localhost:" .. input.port .. "/small"
    local none, err = o.http.get(url)
    local two = o.http.get(url, { ca_file = input.ca })
    two = o.http.get(url, { ca_file = input.ca }) -- by the connection that is open
    local wrong, name = o.http.get("https://127.0.0.1:" .. input.port .. "/small", { ca_file = input.ca })
    local res <close> = o.http.stream(url, { ca_file = input.ca, http_version = "2" })
    return { none = none == nil, code = err.code, body = two.body, version = two.http_version, name = name.code, stream = res:read() }
  ]], { port = port, ca = folder .. "/cert.pem" })
  equal(out.none, true)
  equal(out.code, "tls")
  equal(out.body .. out.stream, "tinytiny")
  equal(out.version, "2")
  equal(out.name, "tls")
  server.kill()
  e2e.remove(folder)
end)

-- --- web-hooks ---------------------------------------------------------------------------------------------------------------

test("signatures are those of the published examples, and verify refuses everything else", function()
  local out = must([[
    local secret, body = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", '{"test": 2432232314}'
    local headers = o.http.sign(body, { secret = secret, id = "msg_p5jXN8AQM9LWM0D4loKWxJek", timestamp = 1614265330 })
    local hub = o.http.sign("Hello, World!", { secret = "It's a Secret to Everybody", form = "github" })
    local now = o.http.sign(body, { secret = { "old secret", secret } })
    local function code(...) local ok, err = o.http.verify(...) return ok and "ok" or err.code end
    local upper = {}
    for name, value in pairs(now) do upper[name:upper()] = value end
    local changed = { ["webhook-id"] = "msg_x", ["webhook-timestamp"] = now["webhook-timestamp"],
                      ["webhook-signature"] = now["webhook-signature"] }
    -- A standard signature over a text does not pass for GitHub's over the same bytes unless it is asked for.
    local key = "shared"
    local std = o.http.sign("b", { secret = key, id = "m", timestamp = 1 })
    local text = "m.1.b"
    return { standard = headers["webhook-signature"], github = hub["X-Hub-Signature-256"],
             codes = { code(now, body, { secret = secret }), code(upper, body, { secret = { "x", "old secret" } }),
                       code(now, body .. " ", { secret = secret }), code(now, body, { secret = "other" }),
                       code(changed, body, { secret = secret }), code({}, body, { secret = secret }),
                       code(headers, body, { secret = secret }), code(headers, body, { secret = secret, tolerance = "100000d" }),
                       code(hub, "Hello, World!", { secret = "It's a Secret to Everybody", form = "github" }),
                       code(hub, "Hello, World?", { secret = "It's a Secret to Everybody", form = "github" }),
                       code(hub, "Hello, World!", { secret = "It's a Secret to Everybody" }) } }
  ]], { x = 1 })
  equal(out.standard, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=")
  equal(out.github, "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17")
  equal(table.concat(out.codes, " "), "ok ok signature_mismatch signature_mismatch signature_mismatch signature_missing "
    .. "timestamp_tolerance ok ok signature_mismatch signature_missing")
end)

-- --- retries -----------------------------------------------------------------------------------------------------------------

test("an http step is retried by its policy, and not before the server's Retry-After", function()
  local times, status = {}, { "503 Service Unavailable", "429 Too Many Requests" }
  local server = servers.origin(function()
    times[#times + 1] = uv.hrtime() / 1e6
    local failing = status[#times]
    if failing then return servers.reply(failing, "later", { ["Retry-After"] = "1" }) end
    return servers.reply("200 OK", "now")
  end)
  local project = e2e.project { ["s.lua"] = ([[
local o = require "orrery"
o.pipeline "s" { o.http "call" { url = "%s/", retry = { attempts = 3, delay = "10ms" } } }
]]):format(server.url) }
  local run = e2e.orrery({ "run", project .. "/s.lua", "--json" })
  equal(run.code, 0, run.err)
  equal(#times, 3)
  equal(times[2] - times[1] >= 990, true, "first wait " .. times[2] - times[1])
  equal(times[3] - times[2] >= 990, true, "second wait " .. times[3] - times[2])
  e2e.remove(project)
  server.close()
end)

test("a mistyped option is refused with a suggestion, at the script's line", function()
  local _, err = step([[ local res = o.http.get("http://127.0.0.1:1/", { gaurd = true }) return res.body ]], { x = 1 })
  contains(err.message, 'there is no option "gaurd"; did you mean "guard"?')
  contains(err.message, "s.lua:")
end)

e2e.finish()
