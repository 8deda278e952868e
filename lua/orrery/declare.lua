-- SPDX-License-Identifier: MIT
-- Pipelines and steps. A declaration is data: it is checked at once, at the place of the call, and registered;
-- nothing runs. Pure: no I/O, no clock.
local options = require "orrery.options"
local problem = require "orrery.problem"
local ref = require "orrery.ref"
local registry = require "orrery.registry"
local schema = require "orrery.schema"

local M = {}

local step_mt = { orrery_name = "a step" }
local pending = setmetatable({}, { __mode = "k" }) -- curried function -> what waits for its options

local RESERVED = { input = true, run = true }

local function check_name(call, name)
  local what = call == "o.pipeline" and "pipeline" or "step"
  if type(name) ~= "string" then
    problem.raise { code = "E0302", message = ("%s takes a name, %s"):format(call, problem.given(name)),
                    help = ('write %s "name" { … }'):format(call) }
  end
  if not options.valid_name(name) then
    problem.raise { code = "E0201", message = ("%s name %q is not allowed"):format(what, name), word = name,
                    help = 'letters, digits, "_", "-" and ".", at most 64' }
  end
  if what == "step" and RESERVED[name] then
    problem.raise { code = "E0206", message = ('a step cannot be named "%s"'):format(name), word = name,
                    help = 'o.ref "input.…" and o.ref "run.…" point at the run itself' }
  end
end

-- Both forms: call "name" { … } and call("name", { … }).
local function curry(call, build)
  return function(name, given)
    check_name(call, name)
    local script, line = problem.place()
    if given ~= nil then return build(name, given, script, line) end
    local function waiting(later) return build(name, later, script, line) end
    pending[waiting] = { call = call, name = name }
    return waiting
  end
end

local function want_table(call, name, given)
  if type(given) == "table" and getmetatable(given) == nil then return end
  problem.raise { code = "E0302", message = ('%s "%s" takes a table of options, %s'):format(call, name, problem.given(given)),
                  help = ('write %s "%s" { … }'):format(call, name) }
end

-- --- steps -----------------------------------------------------------------------------------------------------------

local DURATIONS = { "timeout", "duration" } -- constant ones are milliseconds, also under a name with the unit

local function by_kind(what, kind, given)
  if kind == "sleep" and (given.duration == nil) == (given.until_ == nil) then
    problem.raise { code = given.duration == nil and "E0304" or "E0307", word = given.duration and "until_" or what:match('"(.-)"'),
                    message = what .. (given.duration == nil and " needs duration or until_" or " has both duration and until_: keep one") }
  end
  if kind == "http" and given.body ~= nil and given.json ~= nil then
    problem.raise { code = "E0307", message = what .. " has both body and json: keep one", word = "json" }
  end
  if kind == "redis" then
    local given_ways = {}
    for _, name in ipairs { "command", "pipeline", "fn" } do
      if given[name] ~= nil then given_ways[#given_ways + 1] = name end
    end
    if #given_ways ~= 1 then
      problem.raise { code = #given_ways == 0 and "E0304" or "E0307", word = given_ways[2] or what:match('"(.-)"'),
                      message = what .. (#given_ways == 0 and " needs command, pipeline or fn"
                        or (" has both %s and %s: keep one"):format(given_ways[1], given_ways[2])) }
    end
    if type(given.url) == "string" and not given.url:find("^redis[%l+]*://.") then
      problem.raise { code = "E0303", message = what .. ": url takes a Redis URL",
                      help = 'it begins with "redis://", "redis+sentinel://" or "redis+cluster://"', word = "url" }
    end
  end
  if kind == "http" and type(given.url) == "string" and not given.url:find("^https?://.") then
    problem.raise { code = "E0303", message = ("%s: url takes an absolute URL, %s"):format(what, problem.given(given.url)),
                    help = 'it begins with "http://" or "https://"', word = given.url }
  end
  if type(given.until_) == "string" and not given.until_:find("^%d%d%d%d%-%d%d%-%d%d[T ]%d%d:%d%d") then
    problem.raise { code = "E0303", message = ("%s: until_ takes an ISO 8601 time, %s"):format(what, problem.given(given.until_)),
                    help = 'such as "2026-12-24T18:00:00Z"', word = given.until_ }
  end
end

local function check_once(what, taken)
  if taken.once and taken.retry and taken.retry.attempts > 1 then
    problem.raise { code = "E0307", message = what .. " runs once: it cannot have retry", word = "retry",
                    help = "at most once and several attempts exclude each other" }
  end
end

local function with_units(kind, taken)
  for _, name in ipairs(DURATIONS) do
    if type(taken[name]) == "number" then
      taken[name .. "_ms"] = taken[name]
    end
  end
  if kind == "http" and not taken.method then
    taken.method = (taken.body ~= nil or taken.json ~= nil) and "POST" or "GET"
  end
  return taken
end

local HINT = { lua = "write run = function(ctx) … end", shell = 'write command = "…"', map = "write run = function(ctx, item) … end" }

local function builder(call, kind)
  local own = options.kinds[kind]
  return function(name, given, script, line)
    want_table(call, name, given)
    local what = ('step "%s"'):format(name)
    local taken = options.take(what, given, own, options.step, HINT[kind])
    by_kind(what, kind, given)
    check_once(what, taken)
    with_units(kind, taken)
    local step = setmetatable({
      name = name, kind = kind, script = script, line = line, after = taken.after or {}, options = taken,
      run = taken.run, when = taken.when, undo = taken.undo, over = taken.over, cache = taken.cache,
      on_success = taken.on_success, on_failure = taken.on_failure, on_retry = taken.on_retry,
    }, step_mt)
    registry.loose[step] = true
    return step
  end
end

M.step = curry("o.step", builder("o.step", "lua"))
M.shell = curry("o.shell", builder("o.shell", "shell"))
M.http = curry("o.http", builder("o.http", "http"))
M.redis = curry("o.redis", builder("o.redis", "redis"))
M.map = curry("o.map", builder("o.map", "map"))
M.sleep = curry("o.sleep", builder("o.sleep", "sleep"))
M.run = curry("o.run", builder("o.run", "pipeline"))

-- --- pipelines -------------------------------------------------------------------------------------------------------

local function not_a_step(what, value)
  local waiting = pending[value]
  if waiting then
    problem.raise { code = "E0122", message = ('%s: %s "%s" has no options'):format(what, waiting.call, waiting.name),
                    help = ('write %s "%s" { … }'):format(waiting.call, waiting.name), word = waiting.name }
  end
  problem.raise { code = "E0122", message = ("%s: a step was expected, %s"):format(what, problem.given(value)),
                  help = 'steps are made by o.step, o.shell, o.http, o.redis, o.map, o.sleep and o.run' }
end

-- Steps in order; a list of steps among them is taken in its place, so that loops can make steps.
local function collect(what, list, steps, depth)
  local last = 0
  for key in pairs(list) do
    if math.type(key) == "integer" and key > last then last = key end
  end
  for i = 1, last do
    local value = list[i]
    if getmetatable(value) == step_mt then
      steps[#steps + 1] = value
    elseif type(value) == "table" and getmetatable(value) == nil and depth < 4 then
      collect(what, value, steps, depth + 1)
    elseif value ~= nil and value ~= false then
      not_a_step(what, value)
    end
  end
end

local function named(given)
  local out = {}
  for key, value in pairs(given) do
    if math.type(key) ~= "integer" then out[key] = value end
  end
  return out
end

-- A step of the user's under a name instead of in the list: `load = o.step "load" {…}`.
local function refuse_named_steps(what, given)
  for key, value in pairs(given) do
    if type(key) == "string" and getmetatable(value) == step_mt then
      problem.raise { code = "E0122", message = ('%s: step "%s" stands behind "%s ="'):format(what, value.name, key), word = key,
                      help = "steps are listed without a name of their own" }
    end
  end
end

local function check_refs(pipeline)
  local function visit(value, step, depth)
    if ref.is(value) then
      local fields = ref.check(value, pipeline, step)
      if fields then
        fields.script, fields.line = value.script, value.line
        registry.report(fields)
        pipeline.broken = true
      end
    elseif type(value) == "table" and depth < 100 then
      for _, item in pairs(value) do visit(item, step, depth + 1) end
    end
  end
  for _, step in ipairs(pipeline.steps) do visit(step.options, step, 0) end
  visit(pipeline.options.output, nil, 0)
  local concurrency = pipeline.options.concurrency
  if concurrency then visit(concurrency.key, nil, 0) end
end

local function build_pipeline(name, given, script, line)
  want_table("o.pipeline", name, given)
  local what = ('pipeline "%s"'):format(name)
  refuse_named_steps(what, given)
  local taken = options.take(what, named(given), options.pipeline)
  taken.timeout_ms = taken.timeout
  local steps, by_name = {}, {}
  collect(what, given, steps, 0)
  for _, step in ipairs(steps) do by_name[step.name] = by_name[step.name] or step end
  local pipeline = {
    name = name, kind = "pipeline", script = registry.current_script or script, file = script, line = line,
    options = taken, input = taken.input, steps = steps, by_name = by_name,
  }
  registry.add_pipeline(pipeline)
  if not registry.settings then check_refs(pipeline) end -- workers get scripts that were validated
  return pipeline
end

--- The type of a pipeline's input, as options.lua's type "schema" (here: schema.lua needs options.lua).
options.checks.schema = function(value) return schema.input(value) end

M.pipeline = curry("o.pipeline", build_pipeline)

-- --- what is asked after all scripts have loaded (loader only) ----------------------------------------------------------

-- Steps that were made and never put into a pipeline.
local function report_loose()
  local lost = {}
  for step in pairs(registry.loose) do lost[#lost + 1] = step end
  table.sort(lost, function(a, b)
    if a.script ~= b.script then return (a.script or "") < (b.script or "") end
    if a.line ~= b.line then return a.line < b.line end
    return a.name < b.name
  end)
  for _, step in ipairs(lost) do
    registry.report { code = "E0121", message = ('step "%s" belongs to no pipeline'):format(step.name), word = step.name,
                      script = step.script, line = step.line, help = 'put it into the table of an o.pipeline "…" { … }' }
  end
end

local function report_children(suggest)
  local names = {}
  for _, pipeline in ipairs(registry.list) do names[#names + 1] = pipeline.name end
  for _, pipeline in ipairs(registry.list) do
    for _, step in ipairs(pipeline.steps) do
      local child = step.kind == "pipeline" and step.options.pipeline
      if child and not registry.pipelines[child] then
        registry.report { code = "E0220", message = ('step "%s" runs unknown pipeline "%s"'):format(step.name, child),
                          word = child, script = step.script, line = step.line, help = suggest.help(child, names, "pipelines") }
      end
    end
  end
end

--- Checks across scripts: steps without a pipeline, child runs of unknown pipelines.
---@param failed table  scripts that did not load: name of script -> true; their steps and pipelines are not missed
function M.finish(failed)
  if next(failed) ~= nil then return end
  report_loose()
  report_children(require "orrery.suggest")
end

return M
