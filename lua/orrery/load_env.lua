-- SPDX-License-Identifier: MIT
-- The globals of scripts while they load in the loader's validating state: deterministic, without I/O, clock or
-- random. What is missing raises a problem that says where it belongs. The loader hands in its C functions.
local problem = require "orrery.problem"

local M = {}

local function refuse(name, code, message, help)
  return function()
    problem.raise { code = code, message = message, help = help, word = name:match("[%w_]+$") }
  end
end

local IO_HELP = "declarations are data: do it inside a step's run function"

local function no_io(name, instead)
  return refuse(name, "E0112", ("%s does I/O: call it inside a step, not while the script loads"):format(name),
                instead and ("inside a step: %s"):format(instead) or IO_HELP)
end

local function not_at_load(name, what, help)
  return refuse(name, "E0113", ("%s is not available while a script loads: %s"):format(name, what), help)
end

local CLOCK = "loading has no clock, so that equal scripts give equal declarations"

local function os_table()
  local clock = CLOCK
  local t = {
    time = not_at_load("os.time", clock, "inside a step: o.time.now()"),
    clock = not_at_load("os.clock", clock, "inside a step: o.time.now()"),
    date = not_at_load("os.date", clock, "inside a step: o.time.iso()"),
    getenv = not_at_load("os.getenv", "the environment is read when a generation is built", 'o.env("NAME")'),
    execute = no_io("os.execute", "o.shell or o.process.run"),
    tmpname = no_io("os.tmpname", "o.fs.temp_dir"),
    exit = not_at_load("os.exit", "a script cannot end the engine", "error(…) refuses to load"),
    setlocale = not_at_load("os.setlocale", "it belongs to the whole process"),
    difftime = function(a, b) return a - b end,
  }
  t.remove, t.rename = no_io("os.remove", "o.fs.remove"), no_io("os.rename", "o.fs.rename")
  return t
end

local function io_table()
  local t = {}
  for _, name in ipairs { "open", "lines", "read", "write", "popen", "close", "input", "output", "tmpfile" } do
    t[name] = no_io("io." .. name, name == "popen" and "o.process.run" or "o.fs.read and o.fs.write")
  end
  t.type = function() return nil end
  return t
end

local function copy(from, without)
  local out = {}
  for key, value in pairs(from) do out[key] = value end
  for _, key in ipairs(without) do out[key] = nil end
  return out
end

local PLAIN = { "assert", "error", "getmetatable", "ipairs", "next", "pairs", "pcall", "rawequal", "rawget", "rawlen",
                "rawset", "select", "setmetatable", "tonumber", "tostring", "type", "xpcall", "_VERSION" }

--- The shared globals of all scripts.
---@param host table  { require, print, load, traceback }: functions of the loader
---@return table
function M.make(host)
  local env = {}
  for _, name in ipairs(PLAIN) do env[name] = _G[name] end
  env.string = copy(string, { "dump" })
  -- text:dump() reaches the original table
  string.dump = nil -- luacheck: ignore 122
  env.table, env.utf8, env.coroutine = copy(table, {}), copy(utf8, {}), copy(coroutine, {})
  env.math = copy(math, {})
  local random = "loading has no random numbers, so that equal scripts give equal declarations"
  env.math.random = not_at_load("math.random", random, "inside a step it works")
  env.math.randomseed = not_at_load("math.randomseed", random)
  env.os, env.io = os_table(), io_table()
  env.debug = { traceback = host.traceback }
  env.require, env.print, env.load = host.require, host.print, host.load
  env.dofile, env.loadfile = no_io("dofile", "require of a module in lib/"), no_io("loadfile", "require of a module in lib/")
  env.collectgarbage = function(what) return what == "count" and 0.0 or 0 end
  env.warn = host.print
  return env
end

--- The globals of one script: its own, over the shared ones.
---@param shared table
---@return table
function M.script(shared)
  local env = setmetatable({}, { __index = shared })
  rawset(env, "_G", env)
  return env
end

--- orrery.c.time without its clocks.
---@param real table
---@return table
function M.time(real)
  return {
    iso = real.iso, parse = real.parse, duration = real.duration, sleep = no_io("o.time.sleep"),
    now_ms = not_at_load("o.time.now", CLOCK), mono_ms = not_at_load("o.time.mono", CLOCK),
  }
end

--- A module of the host whose functions may not be called at load: reading its fields is fine.
---@param name string    as people call it, "o.fs"
---@param constants? table  fields that are shown as they are
---@return table
function M.refusing(name, constants)
  return setmetatable(constants or {}, {
    __index = function(self, key)
      local f = no_io(("%s.%s"):format(name, tostring(key)))
      rawset(self, key, f)
      return f
    end,
  })
end

return M
