-- The command line and the HTTP door of the real binary: exit codes, stdout against stderr, refusals.
package.path = "tests/support/?.lua;" .. package.path
local e2e = require "e2e"
local test, equal, contains, http = e2e.test, e2e.equal, e2e.contains, e2e.http

local SCRIPT = [[
local o = require "orrery"
o.pipeline "greet" {
  description = "Says hello.", tags = { "demo" },
  input = { name = o.string { default = "world" }, times = o.integer { minimum = 1, default = 1 } },
  o.step "hello" { run = function(ctx) print("saying", ctx.input.name) return ("hello " .. ctx.input.name .. " "):rep(ctx.input.times):sub(1, -2) end },
}
o.pipeline "fail" { o.step "broken" { run = function() error("no luck") end } }
o.pipeline "sleepy" { o.step "nap" { run = function(ctx) ctx.sleep("300s") end } }
]]
local ROUTES = [[
local o = require "orrery"
o.get("/api/custom/{name}", function(req) return { json = { name = req.params.name, q = req.query.q, method = req.method } } end)
o.post("/api/custom/{name}", function(req) return { status = 201, json = { got = req:json() }, headers = { ["X-Mine"] = "1" } } end)
o.get("/api/broken", function() error("boom") end)
]]
local function project() return e2e.project { ["pipelines/p.lua"] = SCRIPT, ["routes/r.lua"] = ROUTES } end

test("wrong usage ends 2 with a suggestion, help and version end 0 on stdout", function()
  local wrong = e2e.orrery { "vaildate" }
  equal(wrong.code, 2)
  equal(wrong.out, "")
  contains(wrong.err, 'did you mean "validate"?')
  equal(e2e.orrery({ "run", "--wrokers", "2", "x" }).code, 2)
  for _, words in ipairs { { "--help" }, { "help" }, { "run", "--help" }, { "runs", "--help" }, { "runs", "logs", "-h" } } do
    local help = e2e.orrery(words)
    equal(help.code, 0, table.concat(words, " "))
    contains(help.out, "examples:")
    equal(help.err, "")
  end
  contains(e2e.orrery({ "--version" }).out, "orrery ")
end)

test("validate and run tell apart what is missing, wrong and ambiguous", function()
  local folder = project()
  local good = e2e.orrery { "validate", folder }
  equal(good.code, 0, good.err)
  contains(good.out, "3 pipelines (fail, greet, sleepy)")
  equal(e2e.orrery({ "validate", folder .. "/gone" }).code, 3)
  e2e.write(folder .. "/bad.lua", 'local o = require "orrery"\no.pipeline "x" { o.step "a" { after = "b", run = print } }\n')
  local bad = e2e.orrery { "validate", folder .. "/bad.lua" }
  equal(bad.code, 4)
  contains(bad.err, "bad.lua:2:")
  local as_json = e2e.orrery { "validate", folder .. "/bad.lua", "--json" }
  equal(e2e.json.decode(as_json.out).problems[1].line, 2)
  local several = e2e.orrery { "run", folder .. "/pipelines/p.lua" }
  equal(several.code, 2)
  contains(several.err, "greet")
  equal(e2e.orrery({ "run", folder .. "/pipelines/p.lua", "greet" }).out, '"hello world"\n')
  local unknown = e2e.orrery({ "run", "gret" }, { cwd = folder })
  equal(unknown.code, 3)
  contains(unknown.err, 'did you mean "greet"?')
  e2e.remove(folder)
end)

test("run takes its input as JSON, from a file, from stdin and by --set", function()
  local folder = project()
  e2e.write(folder .. "/in.json", '{"name":"file"}')
  local function out(args, stdin)
    local run = e2e.orrery({ "run", "greet", "-q", table.unpack(args) }, { cwd = folder, stdin = stdin })
    equal(run.code, 0, run.err)
    equal(run.err, "")
    return (run.out:gsub("\n$", ""))
  end
  equal(out { "--input", '{"name":"json"}' }, '"hello json"')
  equal(out { "--input", "@in.json" }, '"hello file"')
  equal(out({ "--input", "-" }, '{"name":"stdin"}'), '"hello stdin"')
  equal(out { "--set", "name=set", "--set", "times=2" }, '"hello set hello set"')
  equal(e2e.orrery({ "run", "greet", "--input", "{" }, { cwd = folder }).code, 4)
  equal(e2e.orrery({ "run", "greet", "--set", "times=0" }, { cwd = folder }).code, 4)
  e2e.remove(folder)
end)

test("an interrupted run is cancelled and ends 130", function()
  local folder = project()
  local run = e2e.start({ e2e.binary, "run", "sleepy", "--json" }, { cwd = folder })
  e2e.must(function() return e2e.read(folder .. "/.orrery/orrery.db-wal") end, 10, "the start")
  e2e.eventually(function() return false end, 0.5)
  run.kill("sigint")
  equal(run.wait(20).code, 130)
  equal(e2e.json.decode(run.out).status, "cancelled")
  e2e.remove(folder)
end)

test("runs lists, shows, watches, controls and logs over HTTP, found by the project's own file", function()
  local folder = project()
  local server = e2e.serve(folder)
  local function runs(...) return e2e.orrery({ "runs", ... }, { cwd = folder }) end
  local created = e2e.orrery({ "run", "greet", "--server", server.url, "--set", "name=there" })
  equal(created.out, '"hello there"\n', created.err)
  local listed = runs("list", "--json")
  local page = e2e.json.decode(listed.out)
  equal(page.items[1].pipeline, "greet")
  local id = page.items[1].id
  contains(runs("list", "--status", "succeeded").out, id)
  contains(runs("show", id).out, "hello")
  equal(runs("watch", id).code, 0)
  e2e.must(function() return runs("logs", id).out:find("saying\tthere", 1, true) end, 10, "the logs")
  equal(runs("show", "01ARZ3NDEKTSV4RRFFQ69G5FAV").code, 3)
  equal(runs("cancel", id).code, 6)
  equal(e2e.orrery({ "run", "fail", "--server", server.url }).code, 5)
  local _, nap = http(server.port, "POST", "/api/pipelines/sleepy/execute", {})
  equal(runs("watch", nap.id, "--timeout", "300ms").code, 7)
  contains(runs("pause", nap.id, "--reason", "look").out, "paused")
  contains(runs("resume", nap.id).out, "resumed")
  equal(runs("cancel", nap.id).code, 0)
  equal(runs("watch", nap.id).code, 5)
  server.kill()
  equal(server.wait().code, 0)
  equal(runs("list").code, 7)
  e2e.remove(folder)
end)

test("HTTP refuses what it does not know, with problem+json, and changes nothing", function()
  local folder = project()
  local server = e2e.serve(folder)
  local function refused(want, method, path, body, headers)
    local status, problem, answered = http(server.port, method, path, body, headers)
    equal(status, want, method .. " " .. path)
    equal(answered["content-type"], "application/problem+json", path)
    equal(problem.status, want)
    equal(answered["x-content-type-options"], "nosniff")
    return problem, answered
  end
  contains(refused(404, "GET", "/api/pipelinse").detail, "/api/pipelines")
  contains(refused(404, "POST", "/api/pipelines/gret/execute", {}).detail, 'did you mean "greet"?')
  local _, allowed = refused(405, "DELETE", "/api/runs")
  equal(allowed.allow, "GET, HEAD")
  refused(400, "POST", "/api/pipelines/greet/execute", "{")
  refused(400, "POST", "/api/pipelines/greet/execute", { imput = {} })
  refused(400, "GET", "/api/runs?limit=0")
  refused(400, "GET", "/api/runs?lmit=1")
  refused(400, "GET", "/api/runs?cursor=nonsense")
  refused(415, "POST", "/api/pipelines/greet/execute", "{}", { ["Content-Type"] = "text/plain" })
  refused(403, "POST", "/api/pipelines/greet/execute", "{}", { Origin = "http://evil.example" })
  refused(403, "POST", "/api/pipelines/greet/execute", "{}", { ["Sec-Fetch-Site"] = "cross-site" })
  local problem = refused(422, "POST", "/api/pipelines/greet/execute", { input = { times = 0 } })
  equal(problem.errors[1].path, "/times")
  equal(#select(2, http(server.port, "GET", "/api/runs")).items, 0, "runs after all those refusals")
  e2e.remove(folder)
end)

test("many inputs make many runs with one answer; lists are paged by cursor", function()
  local folder = project()
  local server = e2e.serve(folder)
  local status, created, answered = http(server.port, "POST", "/api/pipelines/greet/execute",
    { inputs = { { name = "a" }, { name = "b" }, { name = "c" } } })
  equal(status, 202)
  equal(#created.items, 3)
  equal(answered.location, nil)
  for _, run in ipairs(created.items) do e2e.run_end(server.port, run.id) end
  local _, first = http(server.port, "GET", "/api/runs?limit=2")
  equal(#first.items, 2)
  local _, second = http(server.port, "GET", "/api/runs?limit=2&cursor=" .. first.next)
  equal(#second.items, 1)
  equal(second.items[1].id, created.items[1].id)
  local head, empty = http(server.port, "HEAD", "/api/runs")
  equal(head, 200)
  equal(empty, "")
  e2e.remove(folder)
end)

test("routes of the project come after built-in ones and are reloaded", function()
  local folder = project()
  local server = e2e.serve(folder)
  local status, body = http(server.port, "GET", "/api/custom/a%20b?q=1%2B2")
  equal(status, 200)
  equal(body.name, "a b")
  equal(body.q, "1+2")
  local created, echoed, answered = http(server.port, "POST", "/api/custom/x", { k = "v" })
  equal(created, 201)
  equal(echoed.got.k, "v")
  equal(answered["x-mine"], "1")
  equal(http(server.port, "GET", "/api/broken"), 500)
  equal(http(server.port, "DELETE", "/api/custom/x"), 405)
  e2e.write(folder .. "/routes/r.lua", 'local o = require "orrery"\no.get("/api/new", function() return { text = "new" } end)\n')
  e2e.must(function() return http(server.port, "GET", "/api/new") == 200 end, 10, "the new route")
  equal(http(server.port, "GET", "/api/custom/x"), 404)
  e2e.remove(folder)
end)

test("only loopback is listened on, and only a free port", function()
  local folder = project()
  local open = e2e.orrery { "serve", folder, "--listen", "0.0.0.0:0" }
  equal(open.code, 2)
  contains(open.err, "loopback")
  local server = e2e.serve(folder)
  local other = project()
  local taken = e2e.orrery { "serve", other, "--listen", "127.0.0.1:" .. server.port }
  equal(taken.code, 6)
  contains(taken.err, "--listen")
  e2e.remove(folder)
  e2e.remove(other)
end)

e2e.finish()
