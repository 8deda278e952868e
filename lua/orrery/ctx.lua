-- SPDX-License-Identifier: MIT
-- The fields of ctx that are not made in C (src/script/ctx.c): built when first touched. Also refs: what an o.ref, a
-- function or a plain value of a declaration means for a running step.
local c_log = require "orrery.c.log"
local json = require "orrery.c.json"
local ref = require "orrery.ref"
local task = require "orrery.c.task"

local M = {}
local fields = {}

-- --- copies that cannot be written to --------------------------------------------------------------------------------

local read_only

local function wrap(value, what, hint)
  if type(value) ~= "table" then return value end
  return read_only(value, what, hint)
end

-- A view of `value` with reading as usual and writing refused. The codec takes __value.
function read_only(value, what, hint)
  return setmetatable({}, {
    __value = value,
    __index = function(_, key) return wrap(value[key], what, hint) end,
    __newindex = function() error(what .. " is a copy: " .. hint, 2) end,
    __len = function() return #value end,
    __pairs = function()
      return function(_, key)
        local next_key, item = next(value, key)
        return next_key, wrap(item, what, hint)
      end, nil, nil
    end,
  })
end

--- The plain value behind a read-only view, or the value itself.
function M.plain(value)
  local mt = type(value) == "table" and getmetatable(value)
  return mt and mt.__value or value
end

-- --- results ----------------------------------------------------------------------------------------------------------

local function no_result(name, answer)
  local hint
  if answer == false then
    hint = ('it does not run before this one; add it: after = "%s"'):format(name)
  else
    local near = task.suggest(tostring(name), task.ancestors())
    hint = near and ('did you mean "%s"?'):format(near) or "there is no such step"
  end
  error(('ctx.results has no "%s": %s'):format(tostring(name), hint), 3)
end

function fields.results()
  local known = {} -- name -> { value }
  local function get(_, name)
    local entry = known[name]
    if entry then return entry[1] end
    local value, status = task.result(tostring(name))
    if status == nil then no_result(name, value) end
    known[name] = { value }
    return value
  end
  return setmetatable({}, {
    __index = get,
    __newindex = function() error("ctx.results cannot be written to: return the value from the step", 2) end,
    __pairs = function(self)
      local names, at = task.ancestors(), 0
      return function()
        while true do
          at = at + 1
          local name = names[at]
          if name == nil then return nil end
          local value = get(self, name)
          if value ~= nil then return name, value end
        end
      end, nil, nil
    end,
  })
end

-- --- run --------------------------------------------------------------------------------------------------------------

function fields.run()
  local run = {}
  run.id, run.pipeline, run.version = task.run_info()
  return setmetatable(run, {
    __index = function(self, key)
      if key ~= "trigger" and key ~= "parent" then return nil end
      local picture = require("orrery.runs").get(run.id) or {}
      rawset(self, "trigger", picture.trigger)
      rawset(self, "parent", picture.parent ~= json.null and picture.parent or nil)
      return rawget(self, key)
    end,
  })
end

-- --- log and progress ---------------------------------------------------------------------------------------------------

local function write(level, text, more)
  local encoded
  if more ~= nil then
    local err
    encoded, err = json.encode(more, "fields")
    if not encoded then error(err, 3) end
  end
  c_log.write(level, "log", type(text) == "string" and text or tostring(text), encoded)
end

local log = setmetatable({}, { __call = function(_, text, more) write("info", text, more) end })
for _, level in ipairs { "debug", "info", "warn", "error" } do
  log[level] = function(text, more) write(level, text, more) end
end
function fields.log() return log end

local function progress(fraction, text)
  if type(fraction) ~= "number" or fraction ~= fraction then error("ctx.progress takes a fraction from 0 to 1", 2) end
  fraction = math.max(0, math.min(1, fraction))
  c_log.write("info", "progress", text and tostring(text) or ("%d %%"):format(math.floor(fraction * 100)),
              json.encode { progress = fraction + 0.0 })
end
function fields.progress() return progress end

-- --- state --------------------------------------------------------------------------------------------------------------

local HINT = "assign the whole value, ctx.state.name = changed"

function fields.state(ctx)
  local current, writes, writing = task.state(), {}, false
  return setmetatable({}, {
    __index = function(_, key) return wrap(current[key], "a value of ctx.state", HINT) end,
    __newindex = function(_, key, value)
      if type(key) ~= "string" then error("ctx.state takes names as keys", 2) end
      local copy
      if value ~= nil then
        local text, err = json.encode(value, "state." .. key)
        if not text then error(err, 2) end
        copy = json.decode(text)
      end
      if not writing then
        task.writes(ctx, writes)
        writing = true
      end
      current[key] = copy
      if copy == nil then copy = json.null end
      writes[key] = copy
    end,
    __pairs = function()
      return function(_, key)
        local next_key, value = next(current, key)
        return next_key, wrap(value, "a value of ctx.state", HINT)
      end, nil, nil
    end,
  })
end

-- --- the rest -------------------------------------------------------------------------------------------------------------

local secrets = setmetatable({}, {
  __index = function(_, name)
    local variable = "ORRERY_SECRET_" .. tostring(name):upper():gsub("[^A-Z0-9]", "_")
    local value = os.getenv("ORRERY_SECRET_" .. tostring(name)) or os.getenv(variable)
    if value == nil then error(('secret "%s" is not set: give the engine %s'):format(tostring(name), variable), 2) end
    return value
  end,
  __newindex = function() error("ctx.secrets cannot be written to", 2) end,
  __pairs = function() error("ctx.secrets cannot be listed", 2) end,
})
function fields.secrets() return secrets end

function fields.cancelled() return task.cancelled end
function fields.sleep() return require("orrery.time").sleep end
function fields.node() return (require("luv").os_gethostname()) end

local KNOWN = { "input", "results", "item", "index", "run", "attempt", "idempotency_key", "log", "progress", "state",
                "secrets", "cancelled", "sleep", "node", "step", "error", "output" }

function fields.__missing(_, name)
  local near = task.suggest(name, KNOWN)
  error(('ctx has no field "%s"%s'):format(name, near and ('; did you mean "%s"?'):format(near) or ""), 3)
end

task.fields(fields)

-- --- refs -------------------------------------------------------------------------------------------------------------------

local function walk(value, rest, path)
  for part in rest:gmatch("[^.]+") do
    if type(value) ~= "table" then
      error(('o.ref "%s": there is nothing at "%s"'):format(path, part), 0)
    end
    local found = value[part]
    if found == nil and part:find("^%d+$") then found = value[math.tointeger(tonumber(part))] end
    value = found
  end
  return value
end

local function follow(ctx, path, pipeline)
  local head, rest = ref.split(path, function(name)
    return name == "input" or name == "run" or (pipeline and pipeline.by_name[name])
  end)
  if head == "input" then return walk(ctx.input, rest, path) end
  if head == "run" then return walk(ctx.run, rest, path) end
  if not head then error(('o.ref "%s" points at nothing known'):format(path), 0) end
  return walk(ctx.results[head], rest, path)
end

--- The value of an option for this step: a ref is followed, a function called with ctx, anything else is itself.
---@param ctx table
---@param value any
---@param pipeline table
function M.resolve(ctx, value, pipeline)
  if type(value) == "function" then return value(ctx) end
  if ref.is(value) then return follow(ctx, value.path, pipeline) end
  if type(value) ~= "table" then return value end
  local mt = getmetatable(value)
  if mt == nil or mt == json.array_mt then return setmetatable(M.resolve_fields(ctx, value, pipeline), mt) end
  return value
end

--- A table with every value resolved, at any depth.
function M.resolve_fields(ctx, value, pipeline)
  local out = {}
  for key, item in pairs(value) do out[key] = M.resolve(ctx, item, pipeline) end
  return out
end

return M
