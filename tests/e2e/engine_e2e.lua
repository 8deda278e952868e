-- The real binary as a person uses it: run, break, mend, kill, recover. See tests/support/e2e.lua.
package.path = "tests/support/?.lua;" .. package.path
local e2e = require "e2e"
local test, equal, contains, http = e2e.test, e2e.equal, e2e.contains, e2e.http

local HELLO = [[
local o = require "orrery"
o.pipeline "hello" {
  input = { name = o.string { default = "world" } },
  o.step "greet" { run = function(ctx) return "hello " .. ctx.input.name end },
  o.shell "shout" { after = "greet", command = { "sh", "-c", "printf %s \"$1\" | tr a-z A-Z", "-", o.ref "greet" } },
}
]]

test("run prints the output as JSON on stdout and ends 0", function()
  local project = e2e.project { ["hello.lua"] = HELLO }
  local run = e2e.orrery({ "run", project .. "/hello.lua" })
  equal(run.code, 0, "exit code (" .. run.err .. ")")
  equal(run.out:gsub("%s+$", ""), '"HELLO WORLD"')
  local named = e2e.orrery({ "run", "hello.lua", "--input", '{"name":"you"}', "--json" }, { cwd = project })
  equal(named.code, 0, named.err)
  local picture = e2e.json.decode(named.out)
  equal(picture.status, "succeeded")
  equal(picture.output, "HELLO YOU")
  equal(#picture.steps, 2)
  e2e.remove(project)
end)

test("a failing step ends 5, names step and message, and skips what depends on it", function()
  local project = e2e.project { ["bad.lua"] = [[
local o = require "orrery"
o.pipeline "bad" {
  o.step "first" { run = function() error("no luck") end },
  o.step "second" { after = "first", run = function() return 1 end },
  o.step "other" { run = function() return 2 end },
}
]] }
  local run = e2e.orrery({ "run", project .. "/bad.lua", "--json" })
  equal(run.code, 5, run.err)
  local picture = e2e.json.decode(run.out)
  equal(picture.status, "failed")
  equal(picture.error.step, "first")
  contains(picture.error.message, "no luck")
  local by_name = {}
  for _, step in ipairs(picture.steps) do by_name[step.name] = step.status end
  equal(by_name.second, "skipped")
  equal(by_name.other, "succeeded")
  e2e.remove(project)
end)

test("run prints the output as it was recorded, nulls included", function()
  local project = e2e.project { ["pipelines/null.lua"] = [[
local o = require "orrery"
o.pipeline "null" { o.step "s" { run = function() return { until_ = o.json.null, list = o.json.array {}, n = 9007199254740993 } end } }
]] }
  local run = e2e.orrery({ "run", project .. "/pipelines/null.lua" })
  equal(run.code, 0, run.err)
  contains(run.out, '"until_":null')
  contains(run.out, '"list":[]')
  contains(run.out, "9007199254740993")
  equal(e2e.read(project .. "/.orrery/orrery.db") ~= nil, true, "the project's own store")
  e2e.remove(project)
end)

test("an input that does not fit ends 4 and names the path", function()
  local project = e2e.project { ["n.lua"] = [[
local o = require "orrery"
o.pipeline "n" { input = { count = o.integer { minimum = 1 } }, o.step "s" { run = function(ctx) return ctx.input.count end } }
]] }
  local run = e2e.orrery({ "run", project .. "/n.lua", "--input", '{"count":0}' })
  equal(run.code, 4, run.err)
  contains(run.err, "/count")
  e2e.remove(project)
end)

test("a run that is killed goes on where it was when the engine starts again", function()
  local project = e2e.project { ["pipelines/slow.lua"] = [[
local o = require "orrery"
o.pipeline "slow" {
  o.step "one" { run = function(ctx) o.fs.append("trace.txt", "one\n") return 1 end },
  o.step "two" { after = "one", run = function(ctx) o.fs.append("trace.txt", "two\n") while not o.fs.exists("go") do ctx.sleep("20ms") end return 2 end },
  o.step "three" { after = "two", run = function(ctx) o.fs.append("trace.txt", "three\n") return ctx.results.one + ctx.results.two end },
}
]] }
  local server = e2e.serve(project)
  local status, run = http(server.port, "POST", "/api/pipelines/slow/execute", {})
  equal(status, 202)
  e2e.must(function() return (e2e.read(project .. "/trace.txt") or ""):find("two") end, 10, "step two")
  server.kill("sigkill")
  server.wait()
  e2e.write(project .. "/go", "")
  server = e2e.serve(project)
  local ended = e2e.run_end(server.port, run.id)
  equal(ended.status, "succeeded")
  equal(ended.output, 3)
  local trace = e2e.read(project .. "/trace.txt")
  equal(select(2, trace:gsub("one", "")), 1, "runs of step one")
  equal(select(2, trace:gsub("two", "")), 2, "runs of step two")
  server.kill()
  equal(server.wait().code, 0)
  e2e.remove(project)
end)

test("a saved script serves new runs, while a run keeps the code it began with, over edits and restarts", function()
  local function script(n)
    return ([[
local o = require "orrery"
o.pipeline "v" {
  o.step "wait" { run = function(ctx) o.fs.write("started-%d", "") while not o.fs.exists("go") do ctx.sleep("20ms") end return %d end },
  o.step "last" { after = "wait", run = function(ctx) return { wait = ctx.results.wait, last = %d } end },
}
]]):format(n, n, n)
  end
  local project = e2e.project { ["pipelines/v.lua"] = script(1) }
  local server = e2e.serve(project)
  local _, first = http(server.port, "POST", "/api/pipelines/v/execute", {})
  e2e.must(function() return e2e.read(project .. "/started-1") end, 10, "the first run")
  e2e.write(project .. "/pipelines/v.lua", script(2))
  local second
  e2e.must(function()
    local _, scripts = http(server.port, "GET", "/api/pipelines/v")
    return scripts and scripts.version ~= first.version
  end, 10, "the reload")
  _, second = http(server.port, "POST", "/api/pipelines/v/execute", {})
  e2e.must(function() return e2e.read(project .. "/started-2") end, 10, "the second run")
  server.kill("sigkill")
  server.wait()
  e2e.write(project .. "/pipelines/v.lua", script(3))
  e2e.write(project .. "/go", "")
  server = e2e.serve(project)
  local one, two = e2e.run_end(server.port, first.id), e2e.run_end(server.port, second.id)
  equal(one.output.last, 1, "code of the first run")
  equal(two.output.last, 2, "code of the second run")
  local _, third = http(server.port, "POST", "/api/pipelines/v/execute", {})
  equal(e2e.run_end(server.port, third.id).output.last, 3, "code of a new run")
  e2e.remove(project)
end)

test("a broken script leaves the last good generation serving and shows where it is broken", function()
  local project = e2e.project { ["pipelines/hello.lua"] = HELLO }
  local server = e2e.serve(project)
  e2e.write(project .. "/pipelines/hello.lua", "local o = require 'orrery'\no.pipeline 'hello' {\n  o.step 'a' { run = 1 +\n}\n")
  local scripts
  e2e.must(function()
    local _, body = http(server.port, "GET", "/api/scripts")
    scripts = body
    return body and body.healthy == false
  end, 10, "the problem")
  equal(scripts.problems[1].file, "pipelines/hello.lua")
  equal(scripts.problems[1].line >= 3, true)
  e2e.must(function() return server.err:find("pipelines/hello.lua:", 1, true) end, 5, "the message on the terminal")
  local status, run = http(server.port, "POST", "/api/pipelines/hello/execute", { input = { name = "still" } })
  equal(status, 202)
  equal(e2e.run_end(server.port, run.id).output, "HELLO STILL")
  server.kill("sigkill")
  server.wait()
  server = e2e.serve(project) -- a start with a broken project serves the last good generation
  status, run = http(server.port, "POST", "/api/pipelines/hello/execute", {})
  equal(status, 202)
  equal(e2e.run_end(server.port, run.id).output, "HELLO WORLD")
  e2e.write(project .. "/pipelines/hello.lua", HELLO:gsub("hello \"", "good \""))
  e2e.must(function()
    local _, body = http(server.port, "GET", "/api/scripts")
    return body and body.healthy == true
  end, 10, "the mended script")
  e2e.remove(project)
end)

test("cancel ends a run, its child process, and starts no new attempt", function()
  local project = e2e.project { ["pipelines/c.lua"] = [[
local o = require "orrery"
o.pipeline "c" {
  o.shell "long" { command = "echo $$ > pid; exec sleep 600" },
  o.step "never" { after = "long", rule = "all_done", run = function() o.fs.write("never", "") end },
}
]] }
  local server = e2e.serve(project)
  local _, run = http(server.port, "POST", "/api/pipelines/c/execute", {})
  local pid = e2e.must(function() return tonumber((e2e.read(project .. "/pid"))) end, 10, "the child")
  local status = http(server.port, "POST", "/api/runs/" .. run.id .. "/cancel", { reason = "enough" })
  equal(status, 200)
  equal(e2e.run_end(server.port, run.id).status, "cancelled")
  e2e.must(function() return not e2e.read("/proc/" .. pid .. "/stat") end, 10, "the child's end")
  equal(e2e.read(project .. "/never"), nil)
  equal(http(server.port, "POST", "/api/runs/" .. run.id .. "/cancel", {}), 409)
  e2e.remove(project)
end)

test("pause holds the next steps back, resume lets them go, over a restart", function()
  local project = e2e.project { ["pipelines/p.lua"] = [[
local o = require "orrery"
o.pipeline "p" {
  o.step "a" { run = function(ctx) o.fs.write("a", "") while not o.fs.exists("go") do ctx.sleep("20ms") end return 1 end },
  o.step "b" { after = "a", run = function() return 2 end },
}
]] }
  local server = e2e.serve(project)
  local _, run = http(server.port, "POST", "/api/pipelines/p/execute", {})
  e2e.must(function() return e2e.read(project .. "/a") end, 10, "step a")
  equal(http(server.port, "POST", "/api/runs/" .. run.id .. "/pause", { reason = "look" }), 200)
  e2e.write(project .. "/go", "")
  local function step(name)
    local _, body = http(server.port, "GET", "/api/runs/" .. run.id)
    for _, s in ipairs(body.steps) do if s.name == name then return s.status, body.status end end
  end
  e2e.must(function() return step("a") == "succeeded" end, 10, "the end of a")
  local b, of_run = step("b")
  equal(of_run, "paused")
  equal(b == "pending" or b == "queued", true, "b must not start")
  server.kill("sigkill")
  server.wait()
  server = e2e.serve(project)
  local _, body = http(server.port, "GET", "/api/runs/" .. run.id)
  equal(body.status, "paused")
  equal(http(server.port, "POST", "/api/runs/" .. run.id .. "/resume", {}), 200)
  equal(e2e.run_end(server.port, run.id).status, "succeeded")
  e2e.remove(project)
end)

test("the same Idempotency-Key gives the same run, also after kill -9; another body conflicts", function()
  local project = e2e.project { ["pipelines/hello.lua"] = HELLO }
  local server = e2e.serve(project)
  local key = { ["Idempotency-Key"] = "k1" }
  local _, first = http(server.port, "POST", "/api/pipelines/hello/execute", { input = { name = "a" } }, key)
  local _, again = http(server.port, "POST", "/api/pipelines/hello/execute", { input = { name = "a" } }, key)
  equal(again.id, first.id)
  e2e.run_end(server.port, first.id)
  server.kill("sigkill")
  server.wait()
  server = e2e.serve(project)
  _, again = http(server.port, "POST", "/api/pipelines/hello/execute", { input = { name = "a" } }, key)
  equal(again.id, first.id)
  equal(http(server.port, "POST", "/api/pipelines/hello/execute", { input = { name = "b" } }, key), 409)
  e2e.remove(project)
end)

test("logs of steps, print and shell are kept with the run", function()
  local project = e2e.project { ["pipelines/l.lua"] = [[
local o = require "orrery"
o.pipeline "l" {
  o.step "say" { run = function(ctx) ctx.log("counted", { n = 3 }) print("printed", 1) return 1 end },
  o.shell "sh" { after = "say", command = "echo to-stderr >&2; echo out" },
}
]] }
  local server = e2e.serve(project)
  local _, run = http(server.port, "POST", "/api/pipelines/l/execute", {})
  e2e.run_end(server.port, run.id)
  local texts
  e2e.must(function()
    local _, body = http(server.port, "GET", "/api/runs/" .. run.id .. "/logs")
    texts = {}
    for _, line in ipairs(body.items) do texts[#texts + 1] = line.step .. ":" .. line.text end
    texts = table.concat(texts, "\n")
    return texts:find("to-stderr", 1, true)
  end, 5, "the logs")
  contains(texts, "say:counted")
  contains(texts, "say:printed\t1")
  contains(texts, "sh:to-stderr")
  e2e.remove(project)
end)

test("a second engine on one project is kept out with exit code 6", function()
  local project = e2e.project { ["pipelines/hello.lua"] = HELLO }
  local server = e2e.serve(project)
  local run = e2e.orrery({ "run", "hello", "--project", project })
  equal(run.code, 6, run.err)
  contains(run.err, "--server")
  server.kill()
  equal(server.wait().code, 0)
  e2e.remove(project)
end)

test("SIGTERM lets running steps end and is quick", function()
  local project = e2e.project { ["pipelines/t.lua"] = [[
local o = require "orrery"
o.pipeline "t" { o.step "s" { run = function(ctx) o.fs.write("s", "") ctx.sleep("700ms") o.fs.write("done", "") return 1 end } }
]] }
  local server = e2e.serve(project)
  http(server.port, "POST", "/api/pipelines/t/execute", {})
  e2e.must(function() return e2e.read(project .. "/s") end, 10, "the step")
  server.kill()
  equal(server.wait(20).code, 0)
  equal(e2e.read(project .. "/done") ~= nil, true, "the step ended")
  e2e.remove(project)
end)

test("a declaration that differs from load to load fails its run and says why", function()
  local project = e2e.project { ["nd.lua"] = 'local o = require "orrery"\n'
    .. 'o.pipeline "nd" { description = tostring({}), o.step "a" { run = function() return 1 end } }\n' }
  local run = e2e.orrery({ "run", project .. "/nd.lua" })
  equal(run.code, 5, run.err)
  contains(run.err, "declares pipeline \"nd\" differently")
  e2e.remove(project)
end)

test("a recursion without end fails with stack overflow, nil and a text fails with the text, a skip has its reason", function()
  local project = e2e.project { ["r.lua"] = [[
local o = require "orrery"
o.pipeline "r" {
  o.step "deep" { run = function() local function f() return f() + 1 end return f() end },
  o.step "idiom" { run = function() return nil, "no such thing" end },
  o.step "after" { after = "idiom", run = function() return 1 end },
  o.step "off" { when = function() return false end, run = function() return 1 end },
}
]] }
  local run = e2e.orrery({ "run", project .. "/r.lua", "--json" })
  equal(run.code, 5, run.err)
  local steps = {}
  for _, step in ipairs(e2e.json.decode(run.out).steps) do steps[step.name] = step end
  contains(steps.deep.error.message, "stack overflow")
  equal(steps.idiom.error.message, "no such thing")
  equal(steps.after.reason, 'rule all_success: step "idiom" is failed')
  equal(steps.off.reason, "`when` was false")
  e2e.remove(project)
end)

test("a cached step gives the recorded output of the first run, until its time is over or its key differs", function()
  local project = e2e.project { ["c.lua"] = [[
local o = require "orrery"
o.pipeline "c" {
  input = { n = o.integer { default = 1 } },
  o.step "c" { cache = { key = { "k", o.ref "input.n" }, ttl = "1h" }, run = function(ctx)
    o.fs.append("ran", "x")
    return { n = ctx.input.n, at = ctx.run.id }
  end },
}
]] }
  local function run(input)
    local ended = e2e.orrery({ "run", project .. "/c.lua", "--input", input, "--json" })
    equal(ended.code, 0, ended.err)
    return e2e.json.decode(ended.out)
  end
  local first, second, other = run '{"n":1}', run '{"n":1}', run '{"n":2}'
  equal(second.output.at, first.id, "the output of the first run")
  equal(second.steps[1].cached, true)
  equal(other.output.at, other.id, "another key runs")
  equal(e2e.read(project .. "/ran"), "xx")
  e2e.remove(project)
end)

test("a step that nothing can interrupt does not hold a stop for longer than 15 s", function()
  local project = e2e.project { ["pipelines/p.lua"] = [[
local o = require "orrery"
o.pipeline "p" { o.step "s" { run = function() o.fs.write("on", "") return (("a"):rep(40)):find((".-"):rep(40) .. "b") end } }
]] }
  local server = e2e.serve(project)
  http(server.port, "POST", "/api/pipelines/p/execute", {})
  e2e.must(function() return e2e.read(project .. "/on") end, 10, "the step")
  server.kill()
  equal(server.wait(15).code, 0, "exit code")
  e2e.remove(project)
end)

test("the package report counts what dpkg-query counts", function()
  local project = e2e.temp()
  os.execute("cp -r scripts/. " .. project)
  local run = e2e.orrery({ "run", "package_report", "--project", project })
  equal(run.code, 0, run.err)
  local summary = e2e.json.decode(run.out)
  local function count(command) local p = io.popen(command); local n = tonumber(p:read("a")); p:close(); return n end
  equal(summary.packages_known, count("dpkg-query -f '${binary:Package}\\n' -W | wc -l"))
  equal(summary.packages_installed, count("dpkg-query -f '${db:Status-Status} ${db:Status-Eflag}\\n' -W | grep -c '^installed ok$'"))
  equal((e2e.read(project .. "/report.html") or ""):find("<html", 1, true) ~= nil, true, "report.html")
  for _, name in ipairs { "fetch_pages", "chain_200" } do
    local demo = e2e.orrery({ "run", name, "--project", project })
    equal(demo.code, 0, name .. ": " .. demo.err)
  end
  e2e.remove(project)
end)

e2e.finish()
