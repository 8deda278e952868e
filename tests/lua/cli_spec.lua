-- SPDX-License-Identifier: MIT
-- The command line without its C half: parsing, help, rendering, verbs against a pretended engine.
package.path = "lua/?.lua;lua/?/init.lua;" .. package.path
local dkjson = require "dkjson"

-- --- the pretended C half ----------------------------------------------------------------------------------------

local world = {}
local function reset()
  world.out, world.err, world.requests, world.answers, world.calls = "", "", {}, {}, {}
  world.now, world.kinds, world.app = 1795000000000, {}, {}
end

package.preload["orrery.c.json"] = function()
  return {
    null = dkjson.null, array_mt = { __jsontype = "array" },
    encode = function(value) return dkjson.encode(value) end,
    decode = function(text)
      local value, _, err = dkjson.decode(text, 1, dkjson.null)
      if err then return nil, err end
      return value
    end,
  }
end
package.preload["orrery.c.cli"] = function()
  return {
    tty = function() return false end,
    columns = function() return nil end,
    write = function(fd, text)
      local name = fd == 1 and "out" or "err"
      world[name] = world[name] .. text
      return true
    end,
    sleep = function(ms) world.now = world.now + ms end,
    now_ms = function() return world.now end,
    raw = function(text, path) return text:match('"' .. path .. '":("[^"]*")') or text:match('"' .. path .. '":(%b{})') or text:match('"' .. path .. '":([^,}]+)') end,
    kind = function(path) return world.kinds[path] end,
    real = function(path) return path end,
    http = function(method, url, headers, body)
      world.requests[#world.requests + 1] = { method = method, url = url, headers = headers, body = body }
      local answer = table.remove(world.answers, 1)
      if not answer then return nil, "connection refused", "connect" end
      return { status = answer[1], headers = "", body = answer[2] }
    end,
  }
end
package.preload["orrery.c.app"] = function()
  return setmetatable({}, { __index = function(_, name)
    return function(options)
      world.calls[#world.calls + 1] = { name = name, options = options }
      return table.unpack(world.app[name] or {}, 1, 8)
    end
  end })
end

local args = require "orrery.cli.args"
local cli = require "orrery.cli"
local completion = require "orrery.cli.completion"
local progress = require "orrery.cli.progress"
local render = require "orrery.cli.render"
local run = require "orrery.cli.run"
local verbs = require "orrery.cli.verbs"

local function plain(_, text) return text end
local ID = "01KAGE4Y6Y3M8J5XH2S9QZ7V0T"

describe("words become a verb and its values", function()
  it("takes options before, between and after arguments", function()
    local call = args.parse { "run", "--json", "a.lua", "-i", "-", "etl", "--set", "a=1", "--set", "b=2", "--workers", "3" }
    assert.equal("run", call.verb.name)
    assert.equal("a.lua", call.values.target)
    assert.equal("etl", call.values.name)
    assert.equal("-", call.values.input)
    assert.same({ "a=1", "b=2" }, call.values.set)
    assert.equal(3, call.values.workers)
    assert.is_true(call.values.json)
  end)

  it("finds verbs inside a group", function()
    local call = args.parse { "runs", "logs", ID, "--follow", "--level=warn" }
    assert.equal("runs logs", call.path)
    assert.is_true(call.values.follow)
    assert.equal("warn", call.values.level)
  end)

  it("suggests the verb, the sub-verb and the option that was meant", function()
    assert.equal('did you mean "validate"?', args.parse({ "vaildate" }).help)
    assert.equal('did you mean "cancel"?', args.parse({ "runs", "cancle", ID }).help)
    assert.equal('did you mean "--json"?', args.parse({ "run", "x", "--jsno" }).help)
    assert.equal('did you mean "failed"?', args.parse({ "runs", "list", "--status", "faild" }).help)
  end)

  it("names what is missing, too much or out of range", function()
    assert.matches("missing argument", args.parse({ "run" }).error)
    assert.matches("too many arguments", args.parse({ "doctor", "x" }).error)
    assert.matches("%-%-limit takes a whole number from 1 to 500", args.parse({ "runs", "list", "--limit", "0" }).error)
    assert.matches("needs a verb", args.parse({ "runs" }).error)
    assert.matches("verb is missing", args.parse({}).error)
  end)

  it("every verb has help with an example that parses", function()
    local function check(verb, path)
      for _, sub in ipairs(verb.verbs or {}) do check(sub, path .. " " .. sub.name) end
      local words = {}
      for word in path:gmatch("%S+") do words[#words + 1] = word end
      words[#words + 1] = "--help"
      local help = args.parse(words).text
      assert.matches("^usage: orrery " .. path, help)
      if verb.verbs then return end
      assert.is_true(#verb.examples > 0, path .. " has no example")
      for _, example in ipairs(verb.examples) do
        assert.truthy(help:find(example, 1, true), path .. ": the example is not shown")
        local parts = {}
        example = example:match("%$%((.-)%)") or example:gsub(" > .*$", "")
        for word in example:gsub("'[^']*'", "x"):gmatch("%S+") do parts[#parts + 1] = word end
        table.remove(parts, 1)
        assert.is_nil(args.parse(parts).error, example)
      end
    end
    for _, verb in ipairs(verbs.verbs) do check(verb, verb.name) end
    assert.equal(args.parse({ "run", "-h" }).text, args.parse({ "help", "run" }).text)
    assert.equal(args.parse({ "--help" }).text, args.parse({ "help" }).text)
  end)
end)

describe("wrong usage", function()
  before_each(reset)
  it("ends 2, says so on stderr and leaves stdout empty", function()
    assert.equal(2, cli.main { "rnu" })
    assert.equal("", world.out)
    assert.matches('^error: unknown verb "rnu"\nhelp: did you mean "run"%?\ntry: orrery %-%-help\n$', world.err)
  end)
  it("with --json is an object on stdout", function()
    assert.equal(2, cli.main { "run", "--json", "--nope" })
    assert.equal(2, dkjson.decode(world.out).error.exit_code)
  end)
end)

describe("the input of a run", function()
  before_each(reset)
  it("is text, a file, or built from --set", function()
    assert.equal('{"a":1}', run.input { input = '{"a":1}' })
    assert.is_nil(run.input {})
    local built = dkjson.decode((run.input { set = { "a=1", "b.c=x y", "b.d=true", 'e=[1,"2"]', "f=" } }))
    assert.same({ a = 1, b = { c = "x y", d = true }, e = { 1, "2" }, f = "" }, built)
    assert.same({ a = 2, z = 0 }, dkjson.decode((run.input { input = '{"a":1,"z":0}', set = { "a=2" } })))
    local path = os.tmpname()
    local file = assert(io.open(path, "w"))
    file:write('{"from":"file"}')
    file:close()
    assert.equal('{"from":"file"}', run.input { input = "@" .. path })
    os.remove(path)
  end)
  it("that is no JSON ends 4, a missing file 3, a bad --set 2", function()
    assert.equal(4, select(2, run.input { input = "{" }))
    assert.equal(3, select(2, run.input { input = "@/nowhere/at/all" }))
    assert.equal(2, select(2, run.input { set = { "novalue" } }))
    assert.equal(2, select(2, run.input { input = "3", set = { "a=1" } }))
  end)
  it("a path is told from a name", function()
    for _, path in ipairs { "a.lua", "./x", "dir/x", ".", "/abs" } do assert.is_true(run.is_path(path), path) end
    for _, name in ipairs { "etl", "a.b", "x-y", "lua" } do assert.is_false(run.is_path(name), name) end
  end)
end)

describe("run", function()
  before_each(reset)
  local function picture(fields)
    local base = { id = ID, pipeline = "etl", status = "succeeded", output = { k = 1 }, steps = { { name = "a", status = "succeeded" } },
                   created_at = "2026-11-20T21:00:00.000Z", started_at = "2026-11-20T21:00:00.000Z", finished_at = "2026-11-20T21:00:01.500Z" }
    for key, value in pairs(fields or {}) do base[key] = value end
    return dkjson.encode(base)
  end

  it("prints the output on stdout and a summary on stderr", function()
    world.app.run = { 0, picture() }
    assert.equal(0, cli.main { "run", "etl", "--project", "demo" })
    assert.equal('{"k":1}\n', world.out)
    assert.matches("run " .. ID .. " succeeded: 1 step in 1.5 s", world.err)
    assert.equal("etl", world.calls[1].options.name)
    assert.equal("demo", world.calls[1].options.project)
  end)
  it("with --json prints the whole run, quietly with -q", function()
    world.app.run = { 0, picture() }
    assert.equal(0, cli.main { "run", "etl", "--json", "-q" })
    assert.equal("succeeded", dkjson.decode(world.out).status)
    assert.equal("", world.err)
  end)
  it("of a failing step ends 5 with step, message and traceback on stderr", function()
    world.app.run = { 5, picture { status = "failed", error = { step = "a", message = "no luck", code = "failed", traceback = "x.lua:3: in step" } } }
    assert.equal(5, cli.main { "run", "etl" })
    assert.equal("", world.out)
    assert.matches('error%[failed%]: step "a": no luck\n  x.lua:3: in step', world.err)
  end)
  it("passes problems on and ends as the engine says", function()
    world.app.run = { 4, nil, '[{"code":"E0203"}]', "error[E0203]: wrong\n", "" }
    assert.equal(4, cli.main { "run", "etl", "--json" })
    assert.matches("E0203", world.err)
    assert.equal("E0203", dkjson.decode(world.out).problems[1].code)
    reset()
    world.app.run = { 6, nil, "[]", "", "the store is locked" }
    assert.equal(6, cli.main { "run", "etl" })
    assert.matches("%-%-server", world.err)
  end)
  it("of a path that is not there ends 3 without starting anything", function()
    assert.equal(3, cli.main { "run", "nowhere.lua" })
    assert.equal(0, #world.calls)
  end)
  it("on a server posts the input, waits and reports", function()
    world.answers = { { 202, '{"id":"' .. ID .. '"}' }, { 200, picture { status = "running" } }, { 200, picture() } }
    assert.equal(0, cli.main { "run", "etl", "--server", "localhost:9", "--set", "a=1" })
    assert.equal("http://localhost:9/api/pipelines/etl/execute", world.requests[1].url)
    assert.same({ input = { a = 1 } }, dkjson.decode(world.requests[1].body))
    assert.equal('{"k":1}\n', world.out)
  end)
end)

describe("runs", function()
  before_each(reset)
  local SUMMARY = '{"id":"' .. ID .. '","pipeline":"etl","status":"failed","created_at":"2026-11-20T21:00:00.000Z",' ..
    '"started_at":"2026-11-20T21:00:00.000Z","finished_at":"2026-11-20T21:02:05.000Z","error":"no\\nluck"}'

  it("list asks with what is given and shows a table", function()
    world.answers = { { 200, '{"items":[' .. SUMMARY .. '],"next":"abc"}' } }
    assert.equal(0, cli.main { "runs", "list", "--status", "failed", "--pipeline", "a b", "--limit", "7", "--server", "http://h:1/" })
    assert.equal("http://h:1/api/runs?status=failed&pipeline=a%20b&limit=7", world.requests[1].url)
    assert.matches("ID +PIPELINE +STATUS +CREATED +TOOK +ERROR\n", world.out)
    assert.matches(ID .. "  etl       failed  2026%-11%-20 21:00:00  2m 5s  no luck\n", world.out)
    assert.matches("%-%-cursor abc", world.err)
  end)
  it("list with --json passes the answer on", function()
    world.answers = { { 200, '{"items":[],"next":null}' } }
    assert.equal(0, cli.main { "runs", "list", "--json" })
    assert.equal('{"items":[],"next":null}\n', world.out)
  end)
  it("an engine out of reach ends 7, an unknown run 3, a conflict 6", function()
    assert.equal(7, cli.main { "runs", "show", ID })
    assert.matches("no engine at http://127.0.0.1:8080", world.err)
    world.answers = { { 404, '{"detail":"there is no run x"}' } }
    assert.equal(3, cli.main { "runs", "show", "x" })
    assert.matches("there is no run x", world.err)
    world.answers = { { 409, '{"detail":"the run has ended"}' } }
    assert.equal(6, cli.main { "runs", "cancel", ID })
  end)
  it("watch waits for the end and tells how it was by its exit code", function()
    world.answers = { { 200, '{"id":"x","status":"running","steps":[]}' }, { 200, '{"id":"x","status":"succeeded","steps":[]}' } }
    assert.equal(0, cli.main { "runs", "watch", "x" })
    assert.equal("succeeded\n", world.out)
    world.answers = { { 200, '{"id":"x","status":"failed","steps":[],"error":{"message":"m"}}' } }
    assert.equal(5, cli.main { "runs", "watch", "x" })
    world.answers = {}
    for i = 1, 50 do world.answers[i] = { 200, '{"id":"x","status":"running","steps":[]}' } end
    assert.equal(7, cli.main { "runs", "watch", "x", "--timeout", "2s" })
    assert.equal(2, cli.main { "runs", "watch", "x", "--timeout", "soon" })
  end)
  it("control sends the reason", function()
    world.answers = { { 200, '{"id":"x","status":"paused"}' } }
    assert.equal(0, cli.main { "runs", "pause", "x", "--reason", "look" })
    assert.equal("POST", world.requests[1].method)
    assert.same({ reason = "look" }, dkjson.decode(world.requests[1].body))
    assert.equal("x paused, now paused\n", world.out)
  end)
  it("logs follow from where they were until the run has ended", function()
    local line = '{"seq":%d,"at":"2026-11-20T21:00:00.123Z","level":"warn","step":"a","item":2,"text":"t%d","fields":{"k":1}}'
    world.answers = {
      { 200, '{"status":"running"}' }, { 200, '{"items":[' .. line:format(4, 1) .. '],"next":null}' },
      { 200, '{"status":"succeeded"}' }, { 200, '{"items":[' .. line:format(5, 2) .. '],"next":null}' },
    }
    assert.equal(0, cli.main { "runs", "logs", "x", "--follow", "--step", "a" })
    assert.matches("after=0&limit=500&step=a", world.requests[2].url)
    assert.matches("after=4&", world.requests[4].url)
    assert.equal('21:00:00.123 warn  a[2]: t1  {"k":1}\n21:00:00.123 warn  a[2]: t2  {"k":1}\n', world.out)
  end)
  it("show prints steps with items, attempts and durations", function()
    world.answers = { { 200, dkjson.encode { id = ID, pipeline = "etl", status = "succeeded", version = ("a"):rep(64), output = { 1 }, steps = {
      { name = "load", status = "succeeded", attempt = 2, started_at = "2026-11-20T21:00:00.000Z", finished_at = "2026-11-20T21:00:00.250Z" },
      { name = "each", item = 3, status = "failed", attempt = 1, error = { message = "bad\nthing" } },
    } } } }
    assert.equal(0, cli.main { "runs", "show", ID })
    assert.matches("load     succeeded  2        250 ms\n", world.out)
    assert.matches("each%[3%]  failed     1                bad thing\n", world.out)
    assert.matches("output    %[1%]", world.out)
  end)
end)

describe("other verbs", function()
  before_each(reset)
  it("validate sums up what is right, and shows what is wrong", function()
    world.kinds["."] = "folder"
    world.app.validate = { "[]", "", '{"scripts":2,"pipelines":[{"name":"a"},{"name":"b"}]}' }
    assert.equal(0, cli.main { "validate" })
    assert.equal("ok: 2 scripts, 2 pipelines (a, b)\n", world.out)
    reset()
    world.kinds["x.lua"] = "file"
    world.app.validate = { '[{"code":"E1"}]', "error[E1]: m\n", nil }
    assert.equal(4, cli.main { "validate", "x.lua" })
    assert.matches("error%[E1%]: m\n1 problem found", world.err)
    assert.equal(4, cli.main { "validate", "x.lua", "--json" })
    assert.is_false(dkjson.decode(world.out).ok)
    assert.equal(3, cli.main { "validate", "gone.lua" })
  end)
  it("serve and dev give their settings to the engine and its exit code back", function()
    world.kinds["demo"] = "folder"
    world.app.serve = { 2, "[]", "", "refusing to listen" }
    assert.equal(2, cli.main { "serve", "demo", "--listen", "0.0.0.0:1", "--workers", "2" })
    assert.matches("refusing to listen", world.err)
    assert.equal("0.0.0.0:1", world.calls[1].options.listen)
    assert.is_false(world.calls[1].options.dev)
    world.app.serve = { 0 }
    assert.equal(0, cli.main { "dev", "demo" })
    assert.is_true(world.calls[2].options.dev)
  end)
  it("doctor ends 1 when something is wrong", function()
    world.app.doctor = { '[{"name":"a","ok":true,"detail":"fine"},{"name":"bcd","ok":false,"detail":"full","help":"make room"}]' }
    assert.equal(1, cli.main { "doctor" })
    assert.equal("ok    a    fine\nFAIL  bcd  full\n      help: make room\n", world.out)
  end)
  it("version is data", function()
    world.app.version = { "1.2.3" }
    assert.equal(0, cli.main { "--version" })
    assert.equal("orrery 1.2.3\n", world.out)
  end)
end)

describe("completion", function()
  it("knows every verb and option, in every shell", function()
    for _, shell in ipairs { "bash", "zsh", "fish" } do
      local script = completion[shell]()
      for _, verb in ipairs(verbs.verbs) do assert.truthy(script:find(verb.name, 1, true), shell .. " " .. verb.name) end
      assert.truthy(script:find(shell == "fish" and "-l durability" or "--durability", 1, true), shell)
      assert.truthy(script:find("cancelled", 1, true), shell)
    end
  end)
  it("in bash completes as typed", function()
    local path = os.tmpname()
    local file = assert(io.open(path, "w"))
    file:write(completion.bash())
    file:write('ask() { COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMPREPLY=(); _orrery; echo "${COMPREPLY[*]}"; }\n')
    file:write('ask orrery va\nask orrery runs ca\nask orrery runs list --status fa\nask orrery run x --dura\nask orrery completion z\n')
    file:close()
    local pipe = assert(io.popen("bash --norc " .. path))
    local said = pipe:read("a")
    pipe:close()
    os.remove(path)
    assert.equal("validate\ncancel\nfailed\n--durability\nzsh\n", said)
  end)
end)

describe("rendering", function()
  it("durations read well", function()
    assert.equal("0 ms", render.duration(0))
    assert.equal("999 ms", render.duration(999))
    assert.equal("1.5 s", render.duration(1500))
    assert.equal("2m 5s", render.duration(125000))
    assert.equal("1h 1m", render.duration(3661000))
    assert.equal("3d 4h", render.duration(273600000))
  end)
  it("API times are instants", function()
    assert.equal(0, render.ms "1970-01-01T00:00:00.000Z")
    assert.equal(1795210440123, render.ms "2026-11-20T21:34:00.123Z")
    assert.is_nil(render.ms "yesterday")
  end)
  it("long and broken texts stay in their cell", function()
    assert.equal("ab…", render.cut("abcdef", 3))
    assert.equal("a b", render.cut("a\nb", 9))
    assert.equal("ä…", render.cut("äöü", 2))
  end)
  it("an error names step and item", function()
    assert.equal('error: step "m" item 3: x\n', render.error({ step = "m", item = 3, message = "x" }, plain))
  end)
end)

describe("progress", function()
  it("counts the run and each map", function()
    local state = progress.new()
    state:event { run = ID, run_status = "running", steps_done = 0, steps_total = 3 }
    state:event { step = "read", step_status = "running", steps_done = 0, steps_total = 3 }
    assert.matches("0/3 steps  read$", state:lines(80)[1])
    state:event { step = "read", step_status = "succeeded", steps_done = 1, steps_total = 3 }
    state:event { step = "each", step_status = "running", steps_done = 1, steps_total = 13 }
    state:event { step = "each", item = 1, step_status = "succeeded", steps_done = 2, steps_total = 13 }
    state:event { step = "each", item = 1, step_status = "succeeded", steps_done = 2, steps_total = 13 }
    local lines = state:lines(80)
    assert.matches("2/13 steps$", lines[1])
    assert.matches("1/10 each$", lines[2])
    state:event { step = "each", step_status = "succeeded", steps_done = 12, steps_total = 13 }
    assert.equal(1, #state:lines(80))
    for _, line in ipairs(state:lines(20)) do assert.is_true(#line < 20) end
  end)
  it("redraws over what it drew and clears what is left", function()
    assert.equal("\r\27[Ka\n", progress.redraw(0, { "a" }))
    assert.equal("\27[2A\r\27[Ka\n\r\27[K\n\27[1A", progress.redraw(2, { "a" }))
  end)
end)
