-- ./dev bench: the canonical workloads on the real binary and store, each beside its physical limit in the same run.
--   lua5.4 tests/bench/bench.lua [W1 W2 W3 W4 W7 W9 W10 wheel redis sustained http] [--json] [--peers] [--runs N]
-- Every figure is measured at least 5 times, engine and limit in turn: minimum, median, maximum, and the ratio of medians
-- (higher is better; limit/value for times). A missed floor is reported and ends 0: a benchmark is not a test.
package.path = "tests/support/?.lua;" .. package.path
local words, options = {}, { runs = 5 }
do
  local i = 1
  while i <= #arg do
    local word = arg[i]
    if word == "--json" then options.json = true
    elseif word == "--peers" then options.peers = true
    elseif word == "--runs" then i = i + 1; options.runs = math.max(1, tonumber(arg[i]) or 5)
    elseif word:sub(1, 2) == "--" then io.stderr:write("bench: unknown option " .. word .. "\n") os.exit(2)
    else words[word] = true end
    i = i + 1
  end
end
local e2e = require "e2e"
local uv = require "luv"
local json = e2e.json

local SCRIPTS = {
  noop = [[o.pipeline "noop" { o.step "s" { run = function(ctx) return ctx.attempt end } }]],
  fan = [[
local items = {}
for i = 1, 10000 do items[i] = i end
o.pipeline "fan" {
  o.step "first" { run = function() return 1 end },
  o.map "each" { after = "first", over = function() return items end, run = function(ctx, item) return item end },
  o.step "join" { after = "each", run = function(ctx) return #ctx.results.each end },
}]],
  chain = [[
local P = {}
for i = 1, 1000 do P[i] = o.step("s" .. i) { after = i > 1 and "s" .. (i - 1) or nil, run = function(ctx) return ctx.attempt end } end
o.pipeline "chain" (P)]],
  light = [[
local function fibo(n) if n <= 1 then return n end return fibo(n - 1) + fibo(n - 2) end
local P = {}
for i = 1, 40 do P[i] = o.step("s" .. i) { after = i > 1 and "s" .. (i - 1) or nil, run = function() return fibo(10) end } end
o.pipeline "light" (P)]],
  processes = [[
local P = { o.step "first" { run = function() return 1 end } }
local names = {}
for i = 1, 2000 do
  names[i] = "p" .. i
  P[i + 1] = o.shell("p" .. i) { after = "first", command = { "/bin/true" } }
end
P[#P + 1] = o.step "join" { after = names, run = function() return 1 end }
o.pipeline "processes" (P)]],
  sleeper = [[
local P = {}
for i = 1, 4 do P[i] = o.step("s" .. i) { after = i > 1 and "s" .. (i - 1) or nil, run = function(ctx) return ctx.attempt end } end
P[5] = o.sleep "nap" { after = "s4", until_ = function() return o.fs.read("due") end }
for i = 6, 9 do P[i] = o.step("s" .. i) { after = i == 6 and "nap" or "s" .. (i - 1), run = function(ctx) return ctx.attempt end } end
o.pipeline "sleeper" (P)]],
}

local build = e2e.root .. "/build/"
local function project(name)
  return e2e.project { ["pipelines/" .. name .. ".lua"] = 'local o = require "orrery"\n' .. SCRIPTS[name] .. "\n" }
end
local function capture(...)
  local process = e2e.start({ ... }).wait(400)
  if process.code ~= 0 then error(table.concat({ ... }, " ") .. ": exit " .. tostring(process.code) .. " " .. process.err, 0) end
  return process.out
end
local function client(...) return capture(build .. "bench_client", ...) end
local function limit_loop(class, workload)
  local folder = e2e.temp()
  local seconds = tonumber(capture(build .. "limit_loop", folder, class == "F" and "full" or "normal", workload))
  e2e.remove(folder)
  return seconds
end
--- Runs body(server, folder) on a fresh engine of one pipeline.
local function engine(name, class, body)
  local folder = project(name)
  local server = e2e.serve(folder, { "--durability", class == "F" and "full" or "normal" })
  local result = body(server, folder)
  server.kill()
  server.wait(60)
  e2e.remove(folder)
  return result
end
local function median_of_lines(text)
  local list = {}
  for line in text:gmatch("[^\n]+") do list[#list + 1] = tonumber(line) end
  table.sort(list)
  return list[(#list + 1) // 2]
end

-- --- reporting ----------------------------------------------------------------------------------------

local function spread(list)
  table.sort(list)
  return { min = list[1], median = list[(#list + 1) // 2], max = list[#list] }
end
local function show(n) return n >= 100 and ("%.0f"):format(n) or ("%.3g"):format(n) end

--- row{ workload, class, unit, values, limits, higher, floor, goal }
local function report(row)
  local value, limit = spread(row.values), row.limits and spread(row.limits)
  local ratio = limit and (row.higher and value.median / limit.median or limit.median / value.median) or json.null
  if options.json then
    print(json.encode { workload = row.workload, class = row.class, value = value.median, min = value.min, max = value.max,
      unit = row.unit, limit = limit and limit.median or json.null, ratio = ratio })
  else
    local verdict = ""
    if row.floor then
      local function reached(mark) return row.higher and value.median >= mark or not row.higher and value.median <= mark end
      if row.floor_ratio then reached = function(mark) return ratio >= mark end end
      verdict = reached(row.goal) and "goal reached" or reached(row.floor) and "above the floor" or "BELOW THE FLOOR"
      verdict = ("%s (floor %s, goal %s%s)"):format(verdict, row.floor, row.goal, row.floor_ratio and " of the limit" or "")
    end
    print(("%-10s %-2s %9s (%s - %s) %-8s limit %9s  ratio %s  %s"):format(row.workload, row.class, show(value.median),
      show(value.min), show(value.max), row.unit, limit and show(limit.median) or "-",
      ratio ~= json.null and ("%.3f"):format(ratio) or "-", verdict))
  end
  io.stdout:flush()
end
--- Measures engine and limit in turn.
local function measure(row, one, one_limit)
  row.values, row.limits = {}, one_limit and {} or nil
  for i = 1, row.runs or options.runs do
    row.values[i] = one()
    if one_limit then row.limits[i] = one_limit() end
  end
  report(row)
end

-- --- workloads ------------------------------------------------------------------------------------------

local workloads = {}

function workloads.W1()
  for _, class in ipairs { "F", "P" } do
    measure({ workload = "W1", class = class, unit = "runs/s", higher = true, floor = 0.25, goal = 0.57, floor_ratio = true },
      function() return engine("noop", class, function(server) return 10000 / tonumber(client("batch", server.port, "noop", 10000, 1000)) end) end,
      function() return 10000 / limit_loop(class, "W1") end)
  end
end
function workloads.http()
  measure({ workload = "W1-http", class = "F", unit = "runs/s", higher = true, floor = 5000, goal = 25000 }, function()
    return engine("noop", "F", function(server) return 50000 / tonumber(client("each", server.port, "noop", 50000, 64)) end)
  end)
end
function workloads.sustained()
  measure({ workload = "W1-60s", class = "F", unit = "runs/s", higher = true, floor = 0.25, goal = 0.57, floor_ratio = true, runs = 1 },
    function()
      return engine("noop", "F", function(server)
        local runs, seconds = client("sustain", server.port, "noop", 1000, 60):match("(%S+) (%S+)")
        return tonumber(runs) / tonumber(seconds)
      end)
    end, function() return 10000 / limit_loop("F", "W1") end)
end
function workloads.W2()
  for _, class in ipairs { "F", "P" } do
    measure({ workload = "W2", class = class, unit = "tasks/s", higher = true, floor = 0.06, goal = 0.27, floor_ratio = true },
      function() return engine("fan", class, function(server) return 10002 / median_of_lines(client("single", server.port, "fan", 3)) end) end,
      function() return 10002 / limit_loop(class, "W2") end)
  end
end
function workloads.W3()
  for class, marks in pairs { F = { 0.5, 0.8 }, P = { 0.12, 0.58 } } do
    measure({ workload = "W3", class = class, unit = "steps/s", higher = true, floor = marks[1], goal = marks[2], floor_ratio = true },
      function() return engine("chain", class, function(server) return 1000 / median_of_lines(client("single", server.port, "chain", 5)) end) end,
      function() return 1000 / limit_loop(class, "W3") end)
  end
end
function workloads.W4()
  for class, marks in pairs { F = { 15, 8 }, P = { 4, 1 } } do
    measure({ workload = "W4", class = class, unit = "ms", floor = marks[1], goal = marks[2] },
      function() return engine("light", class, function(server) return 1000 * median_of_lines(client("single", server.port, "light", 21)) end) end,
      function() return 1000 * limit_loop(class, "W4") end)
  end
end
function workloads.W7()
  measure({ workload = "W7", class = "F", unit = "proc/s", higher = true, floor = 0.55, goal = 0.87, floor_ratio = true },
    function() return engine("processes", "F", function(server) return 2000 / tonumber(client("single", server.port, "processes", 1)) end) end,
    function() return 2000 / tonumber(capture(build .. "limit_spawn", "2000")) end)
end
function workloads.W9() -- kill -9 with 10,000 runs asleep, all due when the engine starts again
  local armed = {}
  measure({ workload = "W9", class = "F", unit = "ms", floor = 2000, goal = 400 }, function()
    local folder = project("sleeper")
    e2e.write(folder .. "/due", os.date("!%Y-%m-%dT%H:%M:%S.000Z", os.time() + 12))
    local server = e2e.serve(folder)
    local due = os.time() + 12
    client("submit", server.port, "sleeper", 10000, 1000)
    e2e.must(function()
      local _, body = e2e.http(server.port, "GET", "/readyz")
      return body.in_flight == 0 and body.live_runs == 10000
    end, 60, "10,000 sleepers")
    server.kill("sigkill")
    server.wait()
    e2e.must(function() return os.time() > due end, 30, "the due instant")
    local start = uv.hrtime()
    local argv = { e2e.binary, "serve", folder, "--listen", "127.0.0.1:" .. server.port }
    server.code = nil
    local again = e2e.start(argv)
    e2e.must(function() return e2e.http(server.port, "GET", "/readyz") == 200 end, 20, "the restart")
    armed[#armed + 1] = (uv.hrtime() - start) / 1e6
    client("idle", server.port)
    local took = (uv.hrtime() - start) / 1e6
    again.kill()
    again.wait(60)
    e2e.remove(folder)
    return took
  end)
  report { workload = "W9-armed", class = "F", unit = "ms", values = armed, floor = 2000, goal = 150 }
end
function workloads.W10()
  local start_ms, pss = {}, {}
  for i = 1, options.runs do
    local folder, port = project("noop"), e2e.free_port()
    local first = e2e.serve(folder) -- makes the store and its folder
    first.kill()
    first.wait()
    local seconds, pid = client("start", port, e2e.binary, "serve", folder, "--listen", "127.0.0.1:" .. port):match("(%S+) (%d+)")
    start_ms[i], pid = 1000 * tonumber(seconds), tonumber(pid)
    local settle = uv.hrtime() + 2e9
    while uv.hrtime() < settle do uv.run("nowait") end
    local total = 0
    for _, process in ipairs { pid, tonumber((capture("pgrep", "-P", tostring(pid)))) } do
      total = total + tonumber(e2e.read("/proc/" .. process .. "/smaps_rollup"):match("\nPss:%s+(%d+)"))
    end
    pss[i] = total / 1024
    uv.kill(pid, "sigterm")
    e2e.must(function() return not e2e.read("/proc/" .. pid .. "/stat") end, 20, "the end of the engine")
    e2e.remove(folder)
  end
  report { workload = "W10-start", class = "F", unit = "ms", values = start_ms, floor = 50, goal = 10 }
  report { workload = "W10-pss", class = "F", unit = "MiB", values = pss, floor = 20, goal = 6 }
end
function workloads.wheel()
  local count = os.getenv("ORRERY_BENCH_TIMERS") or "10000000"
  local ours, theirs = { {}, {}, {} }, { {}, {}, {} }
  for _ = 1, math.min(options.runs, 5) do
    local out = capture(build .. "limit_timers", count)
    local a, b, c = out:match("wheel (%S+) (%S+) (%S+)")
    local d, e, f = out:match("heap (%S+) (%S+) (%S+)")
    for i, n in ipairs { a, b, c } do table.insert(ours[i], tonumber(n)) end
    for i, n in ipairs { d, e, f } do table.insert(theirs[i], tonumber(n)) end
  end
  for i, row in ipairs { { "add", 300, 10 }, { "cancel", 300, 20 }, { "fire", 300, 150 } } do
    report { workload = "wheel-" .. row[1], class = "M", unit = "ns", values = ours[i], limits = theirs[i], floor = row[2], goal = row[3] }
  end
end
--- A redis-server beside it, without persistence; body(port).
local function with_redis(body)
  local port, folder = e2e.free_port(), e2e.temp()
  local redis = e2e.start { "redis-server", "--port", tostring(port), "--bind", "127.0.0.1", "--dir", folder, "--save", "" }
  e2e.must(function() return e2e.start({ "redis-cli", "-p", tostring(port), "PING" }).wait().out:find("PONG") end, 20, "redis-server")
  local ok, err = pcall(body, port)
  redis.kill("sigkill")
  redis.wait()
  e2e.remove(folder)
  if not ok then error(err, 0) end
end
--- Runs a script's one step and returns its output.
local function step_output(name, body, port)
  local folder = e2e.project { ["pipelines/" .. name .. ".lua"] = ([[
local o = require "orrery"
o.pipeline "%s" { o.step "s" { run = function(ctx)
local r <close> = assert(o.redis.open("redis://127.0.0.1:%d"))
%s
end } }]]):format(name, port, body) }
  local out = json.decode(capture(e2e.binary, "run", name, "--project", folder, "--workers", "1"))
  e2e.remove(folder)
  return out
end
function workloads.redis() -- SET, 1,000 in a pipeline, from one step; and 1,000 readers that wait on one worker
  with_redis(function(port)
    measure({ workload = "redis-pipe", class = "M", unit = "cmd/s", higher = true, floor = 50000, goal = 50000 }, function()
      return step_output("pipe", [[
local start = o.time.mono()
for round = 1, 500 do
  local commands = {}
  for i = 1, 1000 do commands[i] = { "SET", "key:" .. i, "xxx" } end
  assert(r:pipeline(commands)[1000] == "OK")
end
return 500000 / ((o.time.mono() - start) / 1000)]], port)
    end, function()
      local out = capture("redis-benchmark", "-p", tostring(port), "-t", "set", "-P", "1000", "-n", "2000000", "-d", "3", "--csv")
      return tonumber(out:match('"SET","([%d.]+)"'))
    end)
    measure({ workload = "redis-wait", class = "M", unit = "ms" }, function() -- from the first push to the last of 1,000 readers
      return step_output("waiters", [[
local uv, woken = require "luv", 0
for i = 1, 1000 do
  local timer = uv.new_timer()
  timer:start(0, 0, function()
    timer:close()
    assert(r:blpop("work", 0))
    woken = woken + 1
  end)
end
while tonumber(r:info("clients"):match("blocked_clients:(%d+)")) < 1000 do ctx.sleep("1ms") end
local commands = {}
for i = 1, 1000 do commands[i] = { "RPUSH", "work", i } end
local start = o.time.mono()
r:pipeline(commands)
while woken < 1000 do ctx.sleep("1ms") end
return o.time.mono() - start]], port)
    end)
  end)
end

local function peers()
  local redis_port = e2e.free_port()
  local folder = e2e.temp()
  local redis = e2e.start { "redis-server", "--port", tostring(redis_port), "--bind", "127.0.0.1", "--dir", folder, "--appendonly", "yes",
    "--appendfsync", "always", "--save", "" }
  capture("npm", "install", "--silent", "--no-audit", "--no-fund", "--prefix", folder, "bullmq@6", "ioredis@5")
  local values = {}
  for line in capture("env", "NODE_PATH=" .. folder .. "/node_modules", "node", "tests/bench/bullmq.cjs", tostring(redis_port), tostring(options.runs)):gmatch("[^\n]+") do
    local row = json.decode(line)
    values[row.workload] = values[row.workload] or { unit = row.unit }
    table.insert(values[row.workload], row.value)
  end
  if next(values) == nil then io.stderr:write("bench: BullMQ gave no figures\n") end
  for workload, list in pairs(values) do
    report { workload = workload .. "-bullmq", class = "F", unit = list.unit, values = { table.unpack(list) }, higher = list.unit ~= "ms" }
  end
  redis.kill()
  redis.wait()
  e2e.remove(folder)
end

local order = { "W1", "http", "W2", "W3", "W4", "W7", "W9", "W10", "wheel", "redis", "sustained" }
for word in pairs(words) do
  if not workloads[word] then
    io.stderr:write("bench: no workload " .. word .. "; there are: " .. table.concat(order, " ") .. "\n")
    os.exit(2)
  end
end
for _, name in ipairs(order) do
  if next(words) == nil or words[name] then
    local ok, err = pcall(workloads[name])
    if not ok then io.stderr:write(("bench: %s could not be measured: %s\n"):format(name, tostring(err))) end
  end
end
if options.peers then peers() end
os.exit(0) -- without closing the state: processes that were measured may still hold handles
