-- SPDX-License-Identifier: MIT
-- What runs in a worker: binds a definition to its script, and carries out what the engine asks of a step. A plain Lua
-- step without `when` and `cache` is called by the worker itself and never comes through here. Errors pass through
-- untouched, so that a traceback shows the user's frames.
local ctx_module = require "orrery.ctx"
local describe = require "orrery.describe"
local json = require "orrery.c.json"
local kinds = setmetatable({
  lua = require "orrery.kinds.lua", map = require "orrery.kinds.map", shell = require "orrery.kinds.shell",
  http = require "orrery.kinds.http", sleep = require "orrery.kinds.sleep", pipeline = require "orrery.kinds.pipeline",
}, {
  __index = function(self, kind) -- the rarer ones at first touch
    local module = require("orrery.kinds." .. kind)
    rawset(self, kind, module)
    return module
  end,
})
local registry = require "orrery.registry"
local task = require "orrery.c.task"
local web = require "orrery.web"

local M = {}
local loaded = {} -- script -> true

local function load_script(script)
  if loaded[script] then return end
  if not registry.settings then registry.settings = task.settings() or {} end
  registry.current_script = script
  local ok, err = pcall(task.script, script)
  registry.current_script = nil
  if not ok then error(err, 0) end
  loaded[script] = true
end

local function direct(step)
  local plain = (step.kind == "lua" or step.kind == "map") and not step.when and not step.cache
  return plain and step.run or false
end

--- Loads the script of a pipeline, if need be, and finds its steps.
---@param script string  project path
---@param name string  of the pipeline
---@param names string[]  of its steps, in the order of the definition
---@return table pipeline
---@return table steps
---@param meta string  what was validated, as orrery.describe tells it
---@return table runs  functions that need nothing of this module, or false
function M.bind(script, name, names, meta)
  load_script(script)
  local pipeline = registry.pipelines[name]
  if not pipeline then error(('script %s no longer declares pipeline "%s"'):format(script, name), 0) end
  if meta ~= "" and describe.meta(pipeline) ~= meta then
    error(('script %s declares pipeline "%s" differently here than when it was checked: a declaration must not depend on '
      .. 'anything that changes (tables walked by pairs, addresses, counters kept between loads)'):format(script, name), 0)
  end
  local steps, runs = {}, {}
  for i, step_name in ipairs(names) do
    local step = pipeline.by_name[step_name]
    if not step then error(('script %s no longer declares step "%s"'):format(script, step_name), 0) end
    steps[i], runs[i] = step, direct(step)
  end
  return pipeline, steps, runs
end

local function body(ctx, pipeline, step)
  local cache = step.cache or step.options.cache
  if cache and step.kind ~= "sleep" and step.kind ~= "pipeline" then
    local key = ctx_module.resolve(ctx, cache.key, pipeline)
    local text, err = json.encode(key, "cache.key")
    if not text then error(err, 0) end
    if task.cache(text, cache.ttl_ms) then return "cached" end
  end
  return kinds[step.kind].run(ctx, pipeline, step)
end

local function when_holds(ctx, step)
  if not step.when or task.when_decided() then return true end
  if not step.when(ctx) then return false end
  task.when_true()
  return true
end

local ops = {}

function ops.step(ctx, pipeline, step)
  if not when_holds(ctx, step) then return "skipped" end
  return body(ctx, pipeline, step)
end

function ops.expand(ctx, pipeline, step)
  if not when_holds(ctx, step) then return "skipped" end
  return "expanded", ctx_module.plain(ctx_module.resolve(ctx, step.over, pipeline))
end

function ops.output(ctx, pipeline) return "ok", ctx_module.resolve(ctx, pipeline.options.output, pipeline) end

function ops.key(ctx, pipeline)
  return "ok", ctx_module.resolve(ctx, pipeline.options.concurrency.key, pipeline)
end

function ops.undo(ctx, _, step) return "ok", step.undo(ctx, ctx.output) end

for _, hook in ipairs { "on_success", "on_failure", "on_retry" } do
  ops[hook] = function(ctx, _, step)
    step[hook](ctx)
    return "ok"
  end
end

--- Carries out one task. Returns what happened ("ok", "skipped", "cached", "expanded", "child", "sleep") and its values.
function M.step(ctx, pipeline, step, op) return ops[op](ctx, pipeline, step) end

--- Whether retry.on wants another attempt after this error; nil: it has no opinion.
---@param step table?
---@param err table  { code, message }
---@return boolean?
function M.retryable(step, err)
  local on = step and step.options.retry and step.options.retry.on
  if not on then return nil end
  if type(on) == "function" then return not not on(err) end
  for _, code in ipairs(on) do
    if code == err.code then return true end
  end
  return false
end

--- The function of a route: of a built-in module, or of a project script.
---@param script string  "orrery/routes/runs.lua" or a project path
---@param index integer  from 1, within its script
---@return function
function M.route(script, index)
  local builtin = script:match("^(orrery/routes/.*)%.lua$")
  if builtin then
    local routes = require((builtin:gsub("/", ".")))
    return routes[index].run
  end
  load_script(script)
  local count = 0
  for _, route in ipairs(registry.routes) do
    if route.script == script then
      count = count + 1
      if count == index then return route.run end
    end
  end
  error(("script %s no longer declares its route %d"):format(script, index), 0)
end

M.serve = web.serve

return M
