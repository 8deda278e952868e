-- SPDX-License-Identifier: MIT
-- What the scripts of one Lua state have declared, and the settings they may read. One per state; the loader
-- (or a worker) sets `current_script` before it runs a script.
local plain = require "orrery.plain"
local problem = require "orrery.problem"

local M = {
  pipelines = {}, -- name -> pipeline
  list = {},      -- pipelines in order of declaration
  routes = {},    -- { method, pattern, run, script, line } in order
  kept_routes = {}, -- of scripts that need no loading: { method, shape }
  loose = {},     -- steps that no pipeline has taken yet: step -> true
  problems = nil, -- a list while the loader collects mistakes, else they are raised
  current_script = nil,
  settings = nil,  -- { config = value, env = { NAME = text or false } } of the generation, in a worker
  read_env = nil,  -- function(name) -> text or nil, in the loader
  seen_env = {},   -- what o.env gave in the loader
}

--- Forgets everything (tests).
function M.reset()
  M.pipelines, M.list, M.routes, M.kept_routes, M.loose, M.seen_env = {}, {}, {}, {}, {}, {}
  M.problems, M.current_script, M.settings, M.loaded_config, M.read_env = nil, nil, nil, nil, nil
end

--- A mistake that need not stop the script: collected by the loader, raised elsewhere.
---@param fields table
function M.report(fields)
  local made = problem.new(fields)
  if not M.problems then error(made, 0) end
  M.problems[#M.problems + 1] = made.orrery_problem
end

--- Tells of what is known without loading its script again (loader).
---@param name string
function M.keep_pipeline(name) M.pipelines[name] = { name = name, line = 0, steps = {} } end
function M.keep_route(method, pattern)
  M.kept_routes[#M.kept_routes + 1] = { method = method, shape = pattern:gsub("{[^}]*}", "{}"), line = 0 }
end

local function where(declared) return ("%s:%d"):format(declared.file or declared.script or "?", declared.line) end

--- Adds a pipeline; a name declared twice is an error that names both places.
function M.add_pipeline(pipeline)
  local other = M.pipelines[pipeline.name]
  if other then
    problem.raise {
      code = "E0130", script = pipeline.file, line = pipeline.line, word = pipeline.name,
      message = ('pipeline "%s" is declared twice: at %s and at %s')
        :format(pipeline.name, where(other), where(pipeline)),
      help = "give one of them another name",
    }
  end
  M.pipelines[pipeline.name] = pipeline
  M.list[#M.list + 1] = pipeline
  for _, step in ipairs(pipeline.steps) do M.loose[step] = nil end
end

local function refuse_route(other, route)
  problem.raise {
    code = "E0131", script = route.file, line = route.line, word = route.pattern,
    message = ('route %s %s is declared twice: at %s and at %s')
      :format(route.method, route.pattern, where(other), where(route)),
  }
end

--- Adds a route; the same method and pattern twice is an error.
function M.add_route(route)
  local shape = route.pattern:gsub("{[^}]*}", "{}")
  for _, list in ipairs { M.routes, M.kept_routes } do
    for _, other in ipairs(list) do
      if other.method == route.method and other.shape == shape then refuse_route(other, route) end
    end
  end
  route.shape = shape
  M.routes[#M.routes + 1] = route
end
--- o.env: a variable of the environment as it was when the generation was built.
function M.env(name, default)
  if type(name) ~= "string" or name == "" then
    problem.raise { code = "E0302", message = "o.env takes the name of a variable, " .. problem.given(name) }
  end
  local value
  if M.settings then
    value = M.settings.env and M.settings.env[name]
    if value == nil then
      error(('o.env("%s") was not read while the script loaded: read it at the top of the script'):format(name), 2)
    end
  elseif M.read_env then
    value = M.read_env(name) or false
    M.seen_env[name] = value
  end
  if value == nil or value == false then return default end
  return value
end

--- o.config: what orrery.lua returned when the generation was built.
function M.config() return M.settings and M.settings.config or M.loaded_config or {} end

--- Keeps what orrery.lua returned (loader).
function M.set_config(value)
  if value == nil then return end
  local text, err
  if type(value) == "table" then text, err = plain.encode(value, "config") end
  if not text then
    problem.raise { code = "E0140", message = err and ("orrery.lua returns what JSON cannot hold: " .. err)
                      or "orrery.lua returns a table of settings, " .. problem.given(value),
                    script = M.current_script, line = 1, help = "return { … }" }
  end
  M.loaded_config = value
end

--- The JSON that is kept with the generation, or nil when nothing was set or read (loader).
function M.settings_text()
  if M.loaded_config == nil and next(M.seen_env) == nil then return nil end
  return (plain.encode({ config = M.loaded_config, env = M.seen_env }, "settings"))
end

return M
