-- SPDX-License-Identifier: MIT
-- Declarations: what they become, and what each mistake is told.
package.path = "lua/?.lua;lua/?/init.lua;" .. package.path
local declare = require "orrery.declare"
local describe_pipeline = require "orrery.describe"
local duration = require "orrery.duration"
local o = require "orrery"
local options = require "orrery.options"
local plain = require "orrery.plain"
local registry = require "orrery.registry"
local suggest = require "orrery.suggest"

local function noop() end

local function problem_of(f, ...)
  local ok, err = pcall(f, ...)
  assert.is_false(ok)
  assert.is_table(err)
  return err.orrery_problem
end

before_each(function() registry.reset() end)

describe("durations", function()
  it("are texts with falling units, or seconds", function()
    local cases = { ["1500ms"] = 1500, ["30s"] = 30000, ["1h30m"] = 5400000, ["7d"] = 604800000, ["1w"] = 604800000,
                    ["2.5"] = 2500, ["0"] = 0 }
    for text, ms in pairs(cases) do assert.equal(ms, duration.parse(text)) end
    assert.equal(1500, duration.parse(1.5))
    assert.equal(3000, duration.parse(3))
  end)
  it("are nothing else", function()
    for _, bad in ipairs { "", "s", "5 s", "30m1h", "1h1h", "-1s", "1.5h", "5x", "1e3", " 5s" } do
      assert.is_nil((duration.parse(bad)))
    end
    assert.is_nil((duration.parse(-1)))
    assert.is_nil((duration.parse(0 / 0)))
    assert.is_nil((duration.parse(math.huge)))
    assert.is_nil((duration.parse "999999999999d"))
    assert.is_nil((duration.parse {}))
  end)
end)

describe("suggestions", function()
  it("name the nearest word that is near enough", function()
    assert.equal("fetch", suggest.nearest("fetchh", { "load", "fetch" }))
    assert.equal("after", suggest.nearest("atfer", { "run", "after" }))
    assert.is_nil(suggest.nearest("nowhere", { "load", "fetch" }))
    assert.is_nil(suggest.nearest("x", {}))
  end)
end)

describe("a pipeline", function()
  it("holds its steps in order, with normalised options", function()
    local p = o.pipeline "etl" {
      timeout = "1m", tags = "one", concurrency = 2,
      o.step "fetch" { run = noop, retry = 5, timeout = 2 },
      o.map "each" { after = "fetch", over = "fetch.items", parallel = 3.0, run = noop },
      o.sleep "nap" { after = { "fetch", "each" }, duration = "2s" },
    }
    assert.equal(p, registry.pipelines.etl)
    assert.equal(60000, p.options.timeout_ms)
    assert.same({ "one" }, p.options.tags)
    assert.same({ limit = 2, when_full = "queue", hold = "run" }, p.options.concurrency)
    assert.same({ attempts = 5, delay_ms = 0, backoff_permille = 1000, max_delay_ms = 3600000, jitter = false },
                p.steps[1].options.retry)
    assert.equal(2000, p.steps[1].options.timeout_ms)
    assert.equal("fetch.items", p.steps[2].over.path)
    assert.equal("integer", math.type(p.steps[2].options.parallel))
    assert.same({ "fetch", "each" }, p.steps[3].after)
    assert.equal(2000, p.steps[3].options.duration_ms)
    assert.is_truthy(p.steps[3].line > 0)
  end)

  it("takes lists of steps in their place and skips false", function()
    local more = { o.step "b" { run = noop }, { o.step "c" { run = noop } } }
    local p = o.pipeline("x", { o.step("a", { run = noop }), more, false, o.step "d" { run = noop } })
    local names = {}
    for i, step in ipairs(p.steps) do names[i] = step.name end
    assert.same({ "a", "b", "c", "d" }, names)
  end)

  it("is described by equal text when it is equal", function()
    local function make()
      registry.reset()
      return describe_pipeline.meta(o.pipeline "x" {
        tags = { "a" }, output = o.ref "s",
        o.shell "s" { command = { "echo", o.ref "run.id" }, env = { B = "secret", A = "1" } },
      })
    end
    assert.equal(make(), make())
    assert.is_nil(make():find("secret", 1, true))
  end)

  it("may not have the name of another", function()
    o.pipeline "x" { o.step "a" { run = noop } }
    assert.equal("E0130", problem_of(function() o.pipeline "x" { o.step "a" { run = noop } } end).code)
  end)
end)

describe("every mistake has its code", function()
  local ref = o.ref
  local cases = {
    { "E0301", function() o.step "a" { run = noop, tiemout = 1 } end, "timeout" },
    { "E0301", function() o.step "a" { noop } end },
    { "E0302", function() o.step "a" { run = 1 } end },
    { "E0302", function() o.step "a" "text" end },
    { "E0302", function() o.step(nil) end },
    { "E0302", function() o.shell "a" { command = {} } end },
    { "E0302", function() o.shell "a" { command = { {} } } end },
    { "E0302", function() o.shell "a" { command = ref "input.x" } end },
    { "E0302", function() o.shell "a" { command = "x", env = { 1 } } end },
    { "E0302", function() o.shell "a" { command = "x", ok_codes = { "1" } } end },
    { "E0302", function() o.step "a" { run = noop, after = { 1 } } end },
    { "E0302", function() o.step "a" { run = noop, once = 1 } end },
    { "E0302", function() o.http "a" { url = "http://x", json = coroutine.create(noop) } end },
    { "E0302", function() o.map "a" { over = 5, run = noop } end },
    { "E0302", function() o.run "a" { pipeline = "bad name" } end },
    { "E0303", function() o.step "a" { run = noop, rule = "all" } end },
    { "E0303", function() o.shell "a" { command = "x", parse = "jsno" } end, "json" },
    { "E0303", function() o.http "a" { url = "ftp://x" } end },
    { "E0303", function() o.sleep "a" { until_ = "tomorrow" } end },
    { "E0304", function() o.step "a" {} end },
    { "E0304", function() o.sleep "a" {} end },
    { "E0305", function() o.step "a" { run = noop, timeout = "soon" } end },
    { "E0306", function() o.step "a" { run = noop, priority = 10 } end },
    { "E0306", function() o.step "a" { run = noop, retry = 1001 } end },
    { "E0307", function() o.step "a" { run = noop, once = true, retry = 2 } end },
    { "E0190", function() o.step "a" { run = noop, queue = "gpu" } end },
    { "E0190", function() o.pipeline "a" { schedule = "@daily" } end },
    { "E0190", function() return o.workflow end },
    { "E0111", function() return o.stepp end, "step" },
    { "E0111", function() o.step = 1 end },
    { "E0122", function() o.pipeline "a" { o.step "x" } end },
    { "E0122", function() o.pipeline "a" { x = o.step "x" { run = noop } } end },
    { "E0201", function() o.step "a b" {} end },
    { "E0201", function() o.step(("x"):rep(65)) end },
    { "E0206", function() o.step "run" {} end },
    { "E0212", function() o.ref "a..b" end },
    { "E0212", function() o.ref(1) end },
    { "E0330", function() o.get("x", noop) end },
    { "E0330", function() o.get("/x/{a}/{a}", noop) end },
    { "E0330", function() o.get("/x/../y", noop) end },
    { "E0330", function() o.put("/x", {}) end },
  }
  for i, case in ipairs(cases) do
    it(("%s, case %d"):format(case[1], i), function()
      local problem = problem_of(case[2])
      assert.equal(case[1], problem.code)
      if case[3] then assert.equal(('did you mean "%s"?'):format(case[3]), problem.help) end
    end)
  end

  for _, name in ipairs { "approval", "signal", "task", "workflow", "trigger", "chain" } do
    it("o." .. name .. " is refused until it is built", function()
      local problem = problem_of(function() o[name]("x") end)
      assert.equal("o." .. name .. " is not available yet", problem.message)
    end)
  end
end)

describe("refs", function()
  local function pipeline(path)
    return pcall(o.pipeline, "p", {
      input = { file = o.string {} },
      o.step("a.b", { run = noop }), o.step("c", { after = "a.b", run = noop }), o.step("z", { run = noop }),
      o.shell("use", { after = "c", command = { "x", o.ref(path) } }),
    })
  end
  for _, path in ipairs { "input", "input.file", "input.file.deep", "run.id", "a.b", "a.b.c.d", "c.1" } do
    it("may be " .. path, function() assert.is_true((pipeline(path))) end)
  end
  for path, code in pairs { ["z"] = "E0210", ["use"] = "E0210", ["a"] = "E0211", ["run.x"] = "E0211", ["input.fiel"] = "E0213" } do
    it("may not be " .. path, function()
      local ok, err = pipeline(path)
      assert.is_false(ok)
      assert.equal(code, err.orrery_problem.code)
    end)
  end
  it("of the output may point at any step", function()
    assert.is_true((pcall(o.pipeline, "p", { output = o.ref "a", o.step("a", { run = noop }) })))
  end)
end)

describe("after all scripts have loaded", function()
  it("steps without a pipeline and unknown children are told", function()
    registry.problems = {}
    o.step "lost" { run = noop }
    o.pipeline "p" { o.run "child" { pipeline = "q" } }
    declare.finish {}
    local codes = {}
    for i, problem in ipairs(registry.problems) do codes[i] = problem.code end
    assert.same({ "E0121", "E0220" }, codes)
  end)
  it("nothing is missed where a script did not load", function()
    registry.problems = {}
    o.pipeline "p" { o.run "child" { pipeline = "q" } }
    declare.finish { ["pipelines/q.lua"] = true }
    assert.same({}, registry.problems)
  end)
end)

describe("settings", function()
  it("come from the generation in a worker", function()
    registry.settings = { config = { a = 1 }, env = { HOME = "/x", NONE = false } }
    assert.equal(1, o.config.a)
    assert.equal("/x", o.env "HOME")
    assert.equal("default", o.env("NONE", "default"))
    assert.has_error(function() o.env "NEVER" end)
  end)
end)

describe("the tables of options", function()
  it("have a check for every type and a text for every option", function()
    local function look(specs)
      for _, spec in ipairs(specs) do
        assert.is_function(options.checks[spec.type], spec.type)
        assert.is_string(spec.doc)
      end
    end
    look(options.step)
    look(options.pipeline)
    look(options.retry)
    look(options.cache)
    look(options.concurrency)
    for _, specs in pairs(options.kinds) do look(specs) end
    for _, specs in pairs(options.types) do look(specs) end
  end)
end)

describe("plain JSON", function()
  it("sorts keys and keeps integers and arrays", function()
    assert.equal('{"a":[],"b":{},"c":[1,2.0,"x\\n"]}', plain.encode { c = { 1, 2.0, "x\n" }, b = {}, a = plain.array {} })
  end)
  it("names what it cannot hold", function()
    local _, err = plain.encode({ a = { noop } }, "config")
    assert.equal("config.a.1: a function", err)
    assert.is_nil((plain.encode { 1, x = 2 }))
    assert.is_nil((plain.encode { [3] = 1 }))
    local cycle = {}
    cycle.me = cycle
    assert.is_nil((plain.encode(cycle)))
    assert.is_nil((plain.encode("\xff")))
    assert.is_nil((plain.encode(0 / 0)))
  end)
end)
