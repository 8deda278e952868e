-- SPDX-License-Identifier: MIT
-- A declared pipeline as plain data for the loader: its input's JSON Schema and what people are shown of it
-- (tags, options of steps). Functions appear as the line where they stand. Equal declarations give equal text.
local plain = require "orrery.plain"
local ref = require "orrery.ref"
local schema = require "orrery.schema"

local getinfo = debug.getinfo

local M = {}

-- Shown of each kind; values of env, headers and the like stay out: they may be private.
local SHOWN = { "command", "cwd", "parse", "ok_codes", "url", "method", "expect", "over", "parallel", "until_", "duration",
                "duration_ms", "pipeline", "description" }
local NAMES_ONLY = { "env", "headers", "query" }

local function show(value)
  if ref.is(value) then return { ref = value.path } end
  if type(value) == "function" then return { line = getinfo(value, "S").linedefined } end
  if type(value) ~= "table" then return value end
  local out = #value > 0 and plain.array {} or {}
  for key, item in pairs(value) do out[key] = show(item) end
  return out
end

local function names_of(value)
  if type(value) ~= "table" or ref.is(value) then return show(value) end
  local names = plain.array {}
  for name in pairs(value) do names[#names + 1] = name end
  table.sort(names)
  return names
end

local function step_meta(step)
  local o, out = step.options, {}
  for _, name in ipairs(SHOWN) do
    if o[name] ~= nil then out[name] = show(o[name]) end
  end
  for _, name in ipairs(NAMES_ONLY) do
    if o[name] ~= nil then out[name] = names_of(o[name]) end
  end
  if step.kind == "redis" and type(out.url) == "string" then out.url = out.url:gsub("//[^/]*@", "//") end -- no password
  if out.duration_ms then out.duration = nil end
  if type(o.over) == "table" then out.over = o.over.path end
  if step.when then out.when = show(step.when) end
  if step.cache then out.cache = { key = show(step.cache.key), ttl_ms = step.cache.ttl_ms } end
  if o.retry and o.retry.on then out.retry_on = show(o.retry.on) end
  return next(out) and out or nil
end

--- What is shown of a pipeline, as JSON text.
---@param pipeline table
---@return string
function M.meta(pipeline)
  local o, steps = pipeline.options, {}
  for _, step in ipairs(pipeline.steps) do steps[step.name] = step_meta(step) end
  local out = { description = o.description, tags = o.tags and plain.array(o.tags) or nil, steps = steps, line = pipeline.line }
  if o.output ~= nil then out.output = show(o.output) end
  if o.concurrency then
    local c = o.concurrency
    out.concurrency = { limit = c.limit, when_full = c.when_full, hold = c.hold, key = c.key ~= nil and show(c.key) or nil }
  end
  local text = plain.encode(out, "meta")
  return text or "{}"
end

--- The JSON Schema of a pipeline's input, or "" when it takes any.
---@param pipeline table
---@return string
function M.input(pipeline) return pipeline.input and schema.text(pipeline.input) or "" end

return M
