-- SPDX-License-Identifier: MIT
-- o.process: child processes as straight code. They end with the attempt that started them.
local c = require "orrery.c.process"
local task = require "orrery.c.task"

local M = {}

local KEPT = { "PATH", "HOME", "USER", "LOGNAME", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "TMPDIR", "SHELL", "TERM" }

local inherited -- { { name, "NAME=value" }, … } of KEPT; the engine's own environment does not change

local function inherited_list()
  inherited = {}
  for _, name in ipairs(KEPT) do
    local value = os.getenv(name)
    if value then inherited[#inherited + 1] = { name, name .. "=" .. value } end
  end
  return inherited
end

--- The environment of children: a clean allow-list of the engine's own, and `more` over it (false takes one away). The
--- order means nothing.
---@param more? table<string, any>
---@return string[]
function M.environment(more)
  local list = {}
  more = more or {}
  for _, entry in ipairs(inherited or inherited_list()) do
    if more[entry[1]] == nil then list[#list + 1] = entry[2] end
  end
  for name, value in pairs(more) do
    if type(name) ~= "string" or name == "" or name:find("[=%z]") then error("env: a name of a variable expected", 3) end
    if value ~= false then list[#list + 1] = name .. "=" .. tostring(value) end
  end
  return list
end

local OPTIONS = { env = "table", cwd = "string", stdin = "string", max_bytes = "number", log_stdout = "boolean" }

local function check(argv, options)
  if type(argv) == "string" then argv = { "/bin/sh", "-c", argv } end
  if type(argv) ~= "table" or #argv == 0 then
    error("o.process.run takes a list of arguments, or a text for the shell", 3)
  end
  for name, value in pairs(options) do
    if not OPTIONS[name] then error(('o.process.run has no option "%s"'):format(tostring(name)), 3) end
    if type(value) ~= OPTIONS[name] then
      error(("o.process.run: %s is a %s, given a %s"):format(name, OPTIONS[name], type(value)), 3)
    end
  end
  local list = {}
  for i, item in ipairs(argv) do
    if type(item) ~= "string" and type(item) ~= "number" then
      error(("o.process.run: argument %d is a %s"):format(i, type(item)), 3)
    end
    list[i] = tostring(item)
  end
  return list
end

--- Runs a program to its end. Any exit code is an answer: { code, signal, stdout, stderr, truncated }.
---@param argv string[]|string  a list of arguments; a text goes to /bin/sh -c
---@param options? { env?: table, cwd?: string, stdin?: string, max_bytes?: integer, log_stdout?: boolean }
---@return table? result
---@return table? err  when it could not be started
function M.run(argv, options)
  options = options or {}
  local list = check(argv, options)
  local cwd = options.cwd or task.root()
  if cwd:sub(1, 1) ~= "/" then cwd = task.root() .. "/" .. cwd end
  local result, err = c.run(list, M.environment(options.env), cwd, options.stdin, options.log_stdout or false,
                            options.max_bytes and math.floor(options.max_bytes))
  if not result then
    err.message = list[1] .. " " .. err.message
    return nil, err
  end
  result.ok = result.code == 0
  return result
end

return M
