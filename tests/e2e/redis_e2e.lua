-- o.redis on the real binary: a real redis-server, a Sentinel trio around a master and a replica, a three-master Cluster; all on free
-- loopback ports, with data in temporary folders, started here and stopped by their process ids. See tests/support/e2e.lua.
package.path = "tests/support/?.lua;" .. package.path
local e2e = require "e2e"
local test, equal, contains = e2e.test, e2e.equal, e2e.contains

-- --- servers ----------------------------------------------------------------------------------------------------------

local function ask(port, ...)
  local cli = e2e.start({ "redis-cli", "-h", "127.0.0.1", "-p", tostring(port), ... }).wait(30)
  return (cli.out:gsub("%s+$", ""))
end

local function redis(args, port, folder)
  local server = { port = port or e2e.free_port(), folder = folder or e2e.temp() }
  local argv = { "redis-server", "--port", tostring(server.port), "--bind", "127.0.0.1", "--dir", server.folder, "--save", "" }
  for _, arg in ipairs(args or {}) do argv[#argv + 1] = arg end
  if args and args.config then table.insert(argv, 2, args.config) end
  server.process = e2e.start(argv)
  e2e.must(function()
    if server.process.code then error("redis-server ended: " .. server.process.out, 0) end
    return ask(server.port, "PING"):find("^PONG") or ask(server.port, "PING"):find("^NOAUTH")
  end, 20, "redis-server")
  function server.kill() server.process.kill("sigkill") server.process.wait() end
  function server.stop() server.kill() e2e.remove(server.folder) end
  return server
end

--- Runs one step's body in a project; returns its output, or nil and the run's error.
local function script(body, config, options)
  local project = e2e.project {
    ["orrery.lua"] = config or "return {}",
    ["pipelines/p.lua"] = 'local o = require "orrery"\no.pipeline "p" {\n' .. body .. "\n}\n",
  }
  local run = e2e.orrery({ "run", "p", "--project", project, "--json", table.unpack(options or {}) })
  e2e.remove(project)
  if run.out == "" then error("no run: " .. run.err, 2) end
  local picture = e2e.json.decode(run.out)
  if picture.status ~= "succeeded" then return nil, picture.error, picture end
  return picture.output, nil, picture
end

local function step(url, body, ...)
  return script(('o.step "s" { run = function(ctx)\nlocal r <close> = assert(o.redis.open(%q))\n%s\nend },'):format(url, body), ...)
end

-- --- one server ---------------------------------------------------------------------------------------------------------

test("commands, pipelines, transactions, scripts and functions are straight code", function()
  local server = redis()
  local output, err = step("redis://127.0.0.1:" .. server.port .. "/2", [[
    local out = {}
    out.set, out.get, out.number = r:set("k", "v"), r:get("k"), r:incrby("n", 41)
    out.none = r:get("none") == nil
    out.call = r:call("HSET", "h", "a", 1, "b", 2.5)
    out.hash = o.redis.fields(r:hgetall("h"))
    out.list = r:mget("k", "none", "n")
    local replies = r:pipeline { { "INCR", "n" }, { "LPUSH", "k", "x" }, { "GET", "none" } }
    out.pipeline = { replies[1], replies[2].code, replies[3] == o.json.null }
    out.empty = #r:pipeline {}
    out.all = r:transaction { { "SET", "t", 1 }, { "INCRBY", "t", 4 } }
    local bad, why = r:transaction { { "SET", "t", 1 }, { "NOSUCH" } }
    out.refused = { bad == nil, why.code, r:get "t" }
    local value, wrong = r:lpush("k", 1)
    out.wrong = { value == nil, wrong.code, wrong.retryable, tostring(wrong) }
    out.eval = r:eval("return { KEYS[1], ARGV[1], 7 }", 1, "key", "arg")
    out.library = r["function"](r, "LOAD", "REPLACE", "#!lua name=lib\nredis.register_function('twice', function(k, a) return a[1] * 2 end)")
    out.fcall = r:fcall("twice", 0, 21)
    out.binary = #r:echo("\0\255\r\n")
    return out]])
  assert(output, err and err.message)
  equal(output.set .. output.get, "OKv")
  equal(output.number, 41)
  equal(output.none, true)
  equal(output.call, 2)
  equal(output.hash.b, "2.5")
  equal(output.list[2], e2e.json.null)
  equal(output.pipeline[1], 42)
  equal(output.pipeline[2], "wrongtype")
  equal(output.pipeline[3], true)
  equal(output.empty, 0)
  equal(output.all[2], 5)
  equal(output.refused[1], true)
  equal(output.refused[2], "err")
  equal(output.refused[3], "5")
  equal(output.wrong[2], "wrongtype")
  equal(output.wrong[3], false)
  contains(output.wrong[4], "WRONGTYPE")
  equal(output.eval[1] .. output.eval[2], "keyarg")
  equal(output.eval[3], 7)
  equal(output.library, "lib")
  equal(output.fcall, 42)
  equal(output.binary, 4)
  equal(ask(server.port, "-n", "2", "GET", "k"), "v")
  server.stop()
end)

test("a watched key that changes makes the transaction's function run again", function()
  local server = redis()
  local output, err = step("redis://127.0.0.1:" .. server.port, [[
    r:set("k", 1)
    local runs = 0
    local replies = assert(r:transaction { watch = "k", run = function(s)
      runs = runs + 1
      local n = s:get("k")
      if runs == 1 then r:set("k", 10) end -- somebody else, on another connection
      return { { "SET", "k", n + 1 } }
    end })
    local none, conflict = r:transaction { watch = { "k" }, attempts = 2, run = function(s)
      r:incr("k")
      return { { "SET", "k", "lost" } }
    end }
    local given_up = r:transaction { watch = "k", run = function() return nil end }
    local s <close> = assert(r:session())
    s:select(5)
    s:set("where", "five")
    return { runs, replies[1], none == nil, conflict.code, conflict.retryable, r:get("k"), given_up == nil, r:get("where") == nil }]])
  assert(output, err and err.message)
  equal(output[1], 2)
  equal(output[4], "conflict")
  equal(output[5], true)
  equal(output[6], "13")
  equal(output[7], true)
  equal(output[8], true)
  equal(ask(server.port, "-n", "5", "GET", "where"), "five")
  server.stop()
end)

test("the step kind takes a command, a pipeline or a function, on the project's Redis", function()
  local server = redis()
  local config = ('return { redis = { url = "redis://127.0.0.1:%d" } }'):format(server.port)
  local output, err, picture = script([[
    o.redis "put" { command = { "SET", "k", o.ref "run.id" } },
    o.redis "get" { after = "put", command = function(ctx) return { "GET", "k" } end },
    o.redis "many" { after = "get", pipeline = { { "SET", "a", function(ctx) return #ctx.results.get end }, { "INCR", "a" } } },
    o.redis "fn" { after = "many", fn = function(r, ctx) return { r:get("a"), o.redis.call("GET", "a") } end },
    o.step "end" { after = "fn", run = function(ctx) return { ctx.results.get == ctx.run.id, ctx.results.many, ctx.results.fn } end },]],
    config)
  assert(output, err and err.message)
  equal(output[1], true)
  equal(output[2][2], 27)
  equal(output[3][1] .. output[3][2], "2727")
  equal(picture.steps[1].kind, "redis")
  output, err = script('o.redis "bad" { pipeline = { { "SET", "k", 1 }, { "LPUSH", "k", 1 } } },', config)
  equal(output, nil)
  contains(err.message, "command 2: WRONGTYPE")
  output, err = script('o.redis "bad" { fn = function(r) return r:lpush("k", 1) end },', config)
  equal(output, nil)
  equal(err.code, "wrongtype")
  output, err = script('o.step "s" { run = function() return o.redis.call("PING") end },')
  equal(output, nil)
  contains(err.message, "orrery.lua")
  server.stop()
end)

test("a bad declaration and I/O at load are told", function()
  local function refused(body)
    local project = e2e.project { ["pipelines/p.lua"] = 'local o = require "orrery"\n' .. body }
    local out = e2e.orrery { "validate", project }
    e2e.remove(project)
    equal(out.code, 4)
    return out.err .. out.out
  end
  contains(refused 'o.pipeline "p" { o.redis "s" { } }', "needs command, pipeline or fn")
  contains(refused 'o.pipeline "p" { o.redis "s" { command = { "GET", "k" }, fn = function() end } }', "has both command and fn")
  contains(refused 'o.pipeline "p" { o.redis "s" { command = "GET k" } }', "a list such as")
  contains(refused 'o.pipeline "p" { o.redis "s" { url = "http://x", command = { "PING" } } }', "Redis URL")
  contains(refused 'o.redis.open("redis://127.0.0.1")', "inside a step")
end)

test("messages are heard by a for loop, a function, or one by one", function()
  local server = redis()
  local output, err = step("redis://127.0.0.1:" .. server.port, [[
    local got = {}
    do
      local sub <close> = r:subscribe { "a", "b" }
      r:publish("a", "1") r:publish("b", "2") r:publish("a", "stop")
      for channel, payload in sub do
        if payload == "stop" then break end
        got[#got + 1] = channel .. payload
      end
      local none, late = sub:next("30ms")
      got[3], got[4] = none == nil, late.code
    end
    local uv = require "luv"
    local timer = uv.new_timer()
    timer:start(5, 5, function() if not timer:is_closing() then r:publish("news.x", "hello") end end)
    r:psubscribe("news.*", function(message)
      got[5] = message.pattern .. " " .. message.channel .. " " .. message.payload
      return false
    end)
    timer:close()
    return got]])
  assert(output, err and err.message)
  equal(table.concat({ output[1], output[2], tostring(output[3]), output[4], output[5] }, " "), "a1 b2 true timeout news.* news.x hello")
  server.stop()
end)

test("an attempt that ends closes what it left open", function()
  local server = redis()
  local output, _, picture = script(([[
    o.step "leaves" { timeout = "300ms", run = function()
      local r = o.redis.open("redis://127.0.0.1:%d")
      local sub = r:subscribe("a")
      local s = r:session()
      s:client("SETNAME", "mine")
      s:blpop("nothing", 0)
    end },
    o.step "loses" { run = function()
      local r = o.redis.open("redis://127.0.0.1:%d")
      local sub = r:psubscribe("a")
      error("no luck")
    end },
    o.step "looks" { after = { "leaves", "loses" }, rule = "all_done", run = function(ctx)
      local r <close> = o.redis.open("redis://127.0.0.1:%d")
      for _ = 1, 500 do
        local list = r:client("LIST")
        if r:client("LIST", "TYPE", "PUBSUB") == "" and not list:find("name=mine") then return "all gone" end
        ctx.sleep("10ms")
      end
      return r:client("LIST")
    end },]]):format(server.port, server.port, server.port))
  equal(output, nil)
  equal(picture.steps[1].error.code, "timeout")
  equal(picture.steps[2].error.code, "error")
  equal(picture.steps[3].output, "all gone")
  server.stop()
end)

test("a cancelled run leaves its blocked read at once, and so does an engine that stops", function()
  local server = redis()
  local project = e2e.project { ["pipelines/p.lua"] = ([[
local o = require "orrery"
o.pipeline "p" { o.step "s" { run = function()
  local r <close> = o.redis.open("redis://127.0.0.1:%d")
  return r:blpop("none", 0)
end } }]]):format(server.port) }
  local function blocked(n)
    e2e.must(function() return ask(server.port, "INFO", "clients"):find("blocked_clients:" .. n) end, 20, n .. " blocked")
  end
  local engine = e2e.serve(project)
  local _, made = e2e.http(engine.port, "POST", "/api/pipelines/p/execute", { input = e2e.json.decode "{}" })
  blocked(1)
  e2e.http(engine.port, "POST", "/api/runs/" .. made.id .. "/cancel", e2e.json.decode "{}")
  equal(e2e.run_end(engine.port, made.id).status, "cancelled")
  blocked(0)
  e2e.http(engine.port, "POST", "/api/pipelines/p/execute", { input = e2e.json.decode "{}" })
  blocked(1)
  engine.kill("sigterm")
  engine.wait(20)
  equal(engine.code, 0, engine.err)
  blocked(0)
  server.stop()
  e2e.remove(project)
end)

test("a thousand blocked readers wait on one worker without a thread each", function()
  local server = redis()
  local output, err = step("redis://127.0.0.1:" .. server.port .. "?timeout=20s", [[
    local uv = require "luv"
    local woken, failed = 0, nil
    for i = 1, 1000 do
      local timer = uv.new_timer()
      timer:start(0, 0, function()
        timer:close()
        local reply, why = r:blpop("work", 0)
        if not reply then failed = why.message end
        woken = woken + 1
      end)
    end
    local function blocked() return tonumber(r:info("clients"):match("blocked_clients:(%d+)")) end
    while blocked() < 1000 do ctx.sleep("5ms") end
    local threads = 0
    for _ in ipairs(o.fs.list("/proc/self/task")) do threads = threads + 1 end
    local commands = {}
    for i = 1, 1000 do commands[i] = { "RPUSH", "work", i } end
    assert(r:pipeline(commands))
    while woken < 1000 do ctx.sleep("2ms") end
    return { woken, failed or "", threads, r:llen("work") }]], nil, { "--workers", "1" })
  assert(output, err and err.message)
  equal(output[1], 1000)
  equal(output[2], "")
  equal(output[3] < 20, true, "threads: " .. output[3])
  equal(output[4], 0)
  server.stop()
end)

test("a server that is killed in mid-command leaves a write unknown, and comes back", function()
  local server = redis()
  local project = e2e.project { ["pipelines/p.lua"] = ([[
local o = require "orrery"
local SIGN = o.env("SIGN")
o.pipeline "p" { o.step "s" { run = function(ctx)
  local r <close> = o.redis.open("redis://127.0.0.1:%d?connect_timeout=20s")
  local reply, err = r:blpop("none", 0)
  assert(o.fs.write(SIGN, "lost"))
  local back = r:set("k", "back")
  return { reply == nil, err.code, err.retryable, back }
end } }]]):format(server.port) }
  local sign = project .. "/sign"
  local run = e2e.start({ e2e.binary, "run", "p", "--project", project, "--json" }, { env = { SIGN = sign } })
  e2e.must(function() return ask(server.port, "INFO", "clients"):find("blocked_clients:1") end, 20, "the blocked reader")
  server.kill()
  e2e.must(function() return e2e.read(sign) == "lost" end, 20, "the loss to be noticed")
  server = redis(nil, server.port, server.folder)
  run.wait(60)
  local output = e2e.json.decode(run.out).output
  equal(output[1], true)
  equal(output[2], "unknown_outcome")
  equal(output[3], false)
  equal(output[4], "OK")
  server.stop()
  e2e.remove(project)
end)

test("who may not log in, and where nobody listens, are told apart", function()
  local server = redis { "--requirepass", "geheim" }
  local output, err = step("redis://:falsch@127.0.0.1:" .. server.port, 'return r:get("k")')
  equal(output, nil)
  equal(err.code, "auth")
  equal(err.message:find("falsch", 1, true), nil)
  output = step("redis://:geheim@127.0.0.1:" .. server.port, 'return r:set("k", 1)')
  equal(output, "OK")
  server.stop()
  output, err = step("redis://127.0.0.1:" .. e2e.free_port() .. "?connect_timeout=200ms", 'return r:get("k")')
  equal(output, nil)
  equal(err.code, "connect")
  output, err = script('o.step "s" { run = function() return o.redis.open("rediss://127.0.0.1") end },')
  equal(output, nil)
  contains(err.message, "tunnel")
end)

test("the demos run", function()
  local server = redis()
  local input = ('{"redis":"redis://127.0.0.1:%d"}'):format(server.port)
  for _, hit in ipairs { false, true } do
    local run = e2e.orrery { "run", "scripts/pipelines/redis_cache.lua", "--input", input }
    equal(run.code, 0, run.err)
    local output = e2e.json.decode(run.out)
    equal(output.sum, 1709600813)
    equal(output.from_cache, hit)
  end
  local run = e2e.orrery { "run", "scripts/pipelines/redis_stream.lua", "--input", input }
  equal(run.code, 0, run.err)
  local output = e2e.json.decode(run.out)
  equal(output.written, 200)
  equal(output.orders, 200)
  equal(output.pending, 0)
  local expected = 0
  for i = 1, 200 do expected = expected + (i % 5 + 1) * (i % 7 + 1) end
  equal(output.total, expected)
  server.stop()
end)

-- --- Sentinel -------------------------------------------------------------------------------------------------------------

test("a failover behind three Sentinels is followed", function()
  local master = redis { "--repl-diskless-sync-delay", "0" }
  local replica = redis { "--replicaof", "127.0.0.1", tostring(master.port) }
  local sentinels, hosts = {}, {}
  for i = 1, 3 do
    local folder = e2e.temp()
    e2e.write(folder .. "/sentinel.conf", ("sentinel monitor mymaster 127.0.0.1 %d 2\nsentinel down-after-milliseconds mymaster 500\n"
      .. "sentinel failover-timeout mymaster 3000\n"):format(master.port))
    sentinels[i] = redis({ "--sentinel", config = folder .. "/sentinel.conf" }, nil, folder)
    hosts[i] = "127.0.0.1:" .. sentinels[i].port
  end
  for i = 1, 3 do
    e2e.must(function()
      local text = ask(sentinels[i].port, "SENTINEL", "master", "mymaster")
      return text:find("num%-other%-sentinels\n2") and text:find("num%-slaves\n1")
    end, 30, "the Sentinels to know each other")
  end
  e2e.must(function() return ask(replica.port, "INFO", "replication"):find("master_link_status:up") end, 30, "the replica")
  local project = e2e.project { ["pipelines/p.lua"] = ([[
local o = require "orrery"
local SIGN = o.env("SIGN")
o.pipeline "p" { o.step "s" { timeout = "60s", run = function(ctx)
  local r <close> = o.redis.open("redis+sentinel://%s/mymaster?connect_timeout=40s")
  assert(r:set("k", "before"))
  assert(r:wait(1, 5000) == 1)
  assert(o.fs.write(SIGN, "ready"))
  while true do
    local ok, err = r:set("k", "after")
    if ok and r:info("server"):match("tcp_port:(%%d+)") == "%d" then return r:get("k") end
    if err and err.code ~= "unknown_outcome" and not err.retryable then return nil, err end
    ctx.sleep("20ms")
  end
end } }]]):format(table.concat(hosts, ","), replica.port) }
  local run = e2e.start({ e2e.binary, "run", "p", "--project", project }, { env = { SIGN = project .. "/sign" } })
  e2e.must(function() return e2e.read(project .. "/sign") == "ready" end, 30, "the first write: " .. run.err)
  master.kill()
  run.wait(90)
  equal(run.code, 0, run.err)
  equal((run.out:gsub("%s", "")), '"after"')
  equal(ask(replica.port, "GET", "k"), "after")
  for i = 1, 3 do sentinels[i].stop() end
  replica.stop()
  master.stop()
  e2e.remove(project)
end)

-- --- Cluster --------------------------------------------------------------------------------------------------------------

test("a Cluster of three masters: slots, pipelines, transactions, a slot that moves", function()
  local nodes, ids, hosts, bus = {}, {}, {}, {}
  for i = 1, 3 do
    bus[i] = tostring(e2e.free_port())
    nodes[i] = redis { "--cluster-enabled", "yes", "--cluster-port", bus[i], "--cluster-node-timeout", "2000" }
    ids[i] = ask(nodes[i].port, "CLUSTER", "MYID")
    hosts[i] = "127.0.0.1:" .. nodes[i].port
    equal(ask(nodes[i].port, "CLUSTER", "ADDSLOTSRANGE", tostring((i - 1) * 5461), tostring(i == 3 and 16383 or i * 5461 - 1)), "OK")
    ask(nodes[i].port, "CLUSTER", "SET-CONFIG-EPOCH", tostring(i))
  end
  for i = 2, 3 do ask(nodes[i].port, "CLUSTER", "MEET", "127.0.0.1", tostring(nodes[1].port), bus[1]) end
  for i = 1, 3 do
    e2e.must(function()
      local info = ask(nodes[i].port, "CLUSTER", "INFO")
      return info:find("cluster_state:ok") and info:find("cluster_slots_ok:16384") and info:find("cluster_known_nodes:3")
    end, 30, "the Cluster")
  end
  local output, err = step("redis+cluster://" .. table.concat(hosts, ","), ([[
    local commands = {}
    for i = 1, 300 do commands[i] = { "SET", "key" .. i, i } end
    assert(r:pipeline(commands))
    for i = 1, 300 do commands[i] = { "GET", "key" .. i } end
    local replies, wrong = assert(r:pipeline(commands)), 0
    for i = 1, 300 do if replies[i] ~= tostring(i) then wrong = wrong + 1 end end
    local none, cross = r:transaction { { "SET", "a", 1 }, { "SET", "b", 1 } }
    local all = r:transaction { { "SET", "{t}a", 1 }, { "INCR", "{t}a" } }
    local watched = r:transaction { watch = "{t}a", run = function(s) return { { "SET", "{t}a", s:get("{t}a") * 10 } } end }
    local slot = r:cluster("KEYSLOT", "{mv}")
    local from, to = slot // 5461 + 1, (slot // 5461 + 1) %% 3 + 1
    local ids, ports = { %q, %q, %q }, { %d, %d, %d }
    local function admin(i, ...)
      local node <close> = o.redis.open("redis://127.0.0.1:" .. ports[i])
      return assert(node:call(...))
    end
    r:set("{mv}old", 1)
    admin(to, "CLUSTER", "SETSLOT", slot, "IMPORTING", ids[from])
    admin(from, "CLUSTER", "SETSLOT", slot, "MIGRATING", ids[to])
    local asked = r:set("{mv}new", 2)
    admin(from, "MIGRATE", "127.0.0.1", ports[to], "{mv}old", 0, 2000)
    admin(to, "CLUSTER", "SETSLOT", slot, "NODE", ids[to])
    admin(from, "CLUSTER", "SETSLOT", slot, "NODE", ids[to])
    local moved = { r:get("{mv}old"), r:get("{mv}new") }
    return { wrong, none == nil, cross.code, all[2], r:get("{t}a"), asked, moved }]]):format(ids[1], ids[2], ids[3],
    nodes[1].port, nodes[2].port, nodes[3].port))
  assert(output, err and err.message)
  equal(output[1], 0)
  equal(output[3], "crossslot")
  equal(output[4], 2)
  equal(output[5], "20")
  equal(output[6], "OK")
  equal(table.concat(output[7]), "12")
  for i = 1, 3 do nodes[i].stop() end
end)

e2e.finish()
