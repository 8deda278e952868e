-- SPDX-License-Identifier: MIT
-- Writes lua/meta/options.lua, the editor's classes of all option tables, from lua/orrery/options.lua:
--   lua5.4 tests/lua/meta_options.lua > lua/meta/options.lua
package.path = "lua/?.lua;lua/?/init.lua;" .. package.path
local options = require "orrery.options"

local M = {}

local FUNCTIONS = {
  when = "fun(ctx: orrery.Context): boolean", undo = "fun(ctx: orrery.Context, output: any)",
  fn = "fun(r: orrery.redis.Client, ctx: orrery.Context): any",
  on_success = "fun(ctx: orrery.Context)", on_failure = "fun(ctx: orrery.Context)", on_retry = "fun(ctx: orrery.Context)",
}
local DYNAMIC = "orrery.Ref|fun(ctx: orrery.Context): any"
local TYPES = {
  any = "any", string = "string", boolean = "boolean", integer = "integer", number = "number", duration = "orrery.Duration",
  duration_or = "orrery.Duration|" .. DYNAMIC, names = "string|string[]", name = "string", tags = "string|string[]",
  queue = '"default"', codes = "integer|integer[]", expect = "integer|integer[]|fun(response: orrery.Response): boolean",
  text = "string|" .. DYNAMIC, over = "string|" .. DYNAMIC, output = DYNAMIC,
  command = "string|any[]|fun(ctx: orrery.Context): any[]", fields = "table<string, any>|" .. DYNAMIC, value = "any",
  redis_command = "any[]|fun(ctx: orrery.Context): any[]", redis_pipeline = "any[][]|fun(ctx: orrery.Context): any[][]",
  key = "string|number|any[]|" .. DYNAMIC, retry = "integer|orrery.RetryOptions",
  retry_on = "string|string[]|fun(err: orrery.Error): boolean", cache = "orrery.CacheOptions",
  concurrency = "integer|orrery.ConcurrencyOptions", schema = "table<string, orrery.Type>|orrery.Type", type = "any",
}

local function type_of(spec, class)
  if spec.type == "enum" then return '"' .. table.concat(spec.values, '"|"') .. '"' end
  if spec.type == "function" then
    if spec.name == "run" and class == "MapOptions" then return "fun(ctx: orrery.Context, item: any): any" end
    return FUNCTIONS[spec.name] or "fun(ctx: orrery.Context): any"
  end
  return assert(TYPES[spec.type], spec.type)
end

local function class(out, name, parent, specs)
  out[#out + 1] = ("---@class orrery.%s%s"):format(name, parent and (": orrery." .. parent) or "")
  for _, spec in ipairs(specs) do
    if not spec.later then
      local default = spec.default and (" (default: %s)"):format(spec.default) or ""
      out[#out + 1] = ("---@field %s%s %s # %s%s")
        :format(spec.name, spec.required and "" or "?", type_of(spec, name), spec.doc, default)
    end
  end
  out[#out + 1] = ""
end

local KINDS = { { "lua", "LuaOptions" }, { "shell", "ShellOptions" }, { "http", "HttpOptions" }, { "redis", "RedisOptions" }, { "map", "MapOptions" },
                { "sleep", "SleepOptions" }, { "pipeline", "RunOptions" } }
local TYPE_ORDER = { "string", "number", "integer", "boolean", "list", "record", "enum" }

--- The text of lua/meta/options.lua.
function M.generate()
  local out = { "---@meta", "-- SPDX-License-Identifier: MIT",
                "-- Options of declarations, for editors. Written by tests/lua/meta_options.lua from lua/orrery/options.lua.", "" }
  class(out, "StepOptions", nil, options.step)
  for _, kind in ipairs(KINDS) do class(out, kind[2], "StepOptions", options.kinds[kind[1]]) end
  class(out, "PipelineOptions", nil, options.pipeline)
  class(out, "RetryOptions", nil, options.retry)
  class(out, "CacheOptions", nil, options.cache)
  class(out, "ConcurrencyOptions", nil, options.concurrency)
  for _, kind in ipairs(TYPE_ORDER) do
    class(out, kind:sub(1, 1):upper() .. kind:sub(2) .. "Type", nil, options.types[kind])
  end
  return table.concat(out, "\n")
end

if arg and arg[0] and arg[0]:find("meta_options%.lua$") then io.write(M.generate()) end
return M
