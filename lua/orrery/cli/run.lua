-- SPDX-License-Identifier: MIT
-- `orrery run`: one run to its end, in this process or (with --server) on a running engine.
local app = require "orrery.c.app"
local cli = require "orrery.c.cli"
local client = require "orrery.cli.client"
local json = require "orrery.c.json"
local progress = require "orrery.cli.progress"
local render = require "orrery.cli.render"
local ui = require "orrery.cli.ui"

local M = {}
local EXIT = ui.EXIT
local DRAW_MS = 60

-- --- target and input ----------------------------------------------------------------------------------------

--- Tells a path from a name: a path has a slash, ends in .lua, or is "." or "..".
function M.is_path(target) return target:find("/", 1, true) ~= nil or target:find("%.lua$") ~= nil or target:find("^%.%.?$") ~= nil end

local function read_input(text)
  if text == "-" then return io.read("a") end
  local path = text:match("^@(.+)$")
  if not path then return text end
  local file, err = io.open(path, "rb")
  if not file then return nil, EXIT.not_found, ("cannot read the input: %s"):format(err) end
  local content = file:read("a")
  file:close()
  return content
end

--- Puts VALUE at the dotted KEY of a table; a value that is not JSON is text.
function M.set(input, assignment)
  local key, text = assignment:match("^([^=]+)=(.*)$")
  if not key then return nil, ("--set takes KEY=VALUE, not %q"):format(assignment) end
  local value = json.decode(text)
  if value == nil then value = text end
  local at, names = input, {}
  for name in key:gmatch("[^.]+") do names[#names + 1] = name end
  for i = 1, #names - 1 do
    if at[names[i]] == nil then at[names[i]] = {} end
    at = at[names[i]]
    if type(at) ~= "table" then return nil, ("--set %s: %s is not an object"):format(key, names[i]) end
  end
  at[names[#names]] = value
  return true
end

--- The run's input as JSON text, or nil when none is given.
---@return string? text
---@return integer? code   exit code of a failure
---@return string? message
function M.input(values)
  local text, code, message
  if values.input then
    text, code, message = read_input(values.input)
    if not text then return nil, code, message end
    local value, err = json.decode(text)
    if value == nil then return nil, EXIT.invalid, ("the input is not JSON: %s"):format(tostring(err)) end
  end
  local sets = values.set or {}
  if #sets == 0 then return text end
  local input = text and json.decode(text) or {}
  if type(input) ~= "table" then return nil, EXIT.usage, "--set needs an input that is an object" end
  for _, assignment in ipairs(sets) do
    local ok, wrong = M.set(input, assignment)
    if not ok then return nil, EXIT.usage, wrong end
  end
  return json.encode(input)
end

-- --- telling how it went -----------------------------------------------------------------------------------------

local function paint(colour, text) return ui.paint(2, colour, text) end

local function summary(run)
  local done, all = 0, #(run.steps or {})
  for _, step in ipairs(run.steps or {}) do
    if step.status == "succeeded" then done = done + 1 end
  end
  local took = render.duration(render.took(run.started_at or run.created_at, run.finished_at))
  local steps = done == all and tostring(all) or ("%d of %d"):format(done, all)
  if run.steps_next then steps = "more than " .. all end -- a picture holds so many and no more
  return ("run %s %s: %s %s%s\n"):format(run.id, paint(render.STATUS_COLOURS[run.status] or "bold", run.status), steps,
                                          all == 1 and "step" or "steps", took ~= "" and " in " .. took or "")
end

--- Prints the run and gives the exit code.
function M.report(run, text, values, code)
  if values.json then ui.out(text:gsub("\n*$", "") .. "\n") end
  if run.status == "succeeded" and not values.json then
    ui.out((cli.raw(text, "output") or "null") .. "\n") -- as recorded: decoding would lose what null is
  end
  if run.status ~= "succeeded" and type(run.error) == "table" then ui.err(render.error(run.error, paint)) end
  if not values.quiet then ui.err(summary(run)) end
  if code then return code end
  return run.status == "succeeded" and EXIT.ok or EXIT.run_failed
end

-- Draws notices on a terminal; nothing elsewhere.
local function drawer(values)
  if values.quiet or not ui.rich(2) then return nil, function() end end
  local state, drawn, last_ms = progress.new(), 0, 0
  local function draw()
    local lines = state:lines(ui.columns())
    ui.err(progress.redraw(drawn, lines))
    drawn = math.max(#lines, 0)
  end
  local function notice(event)
    state:event(event)
    local now_ms = cli.now_ms()
    if now_ms - last_ms < DRAW_MS then return end
    last_ms = now_ms
    draw()
  end
  local function clear()
    if drawn > 0 then ui.err(progress.redraw(drawn, {})) end
    drawn = 0
  end
  return notice, clear
end

-- --- here, or on an engine -----------------------------------------------------------------------------------------

local function run_on_server(values, name, input)
  local body = input and { input = json.decode(input) } or nil
  local created, failed = client.ask(values, "POST", ("/api/pipelines/%s/execute"):format(client.escape(name)), body or {})
  if not created then return client.fail(failed, values) end
  if not values.quiet then ui.err(("run %s started\n"):format(created.id)) end
  local run, lost, text = client.wait(values, created.id)
  if not run then return client.fail(lost, values) end
  return M.report(run, text, values)
end

local function hint_for(code, message)
  if code == EXIT.conflict and not message:find("--server", 1, true) then
    return "another engine serves this project: send the run to it with --server URL"
  end
  if code == EXIT.usage and message:find("name one", 1, true) then return "orrery run PATH NAME" end
end

local function failed_before_run(code, problems, rendered, message, values)
  if rendered ~= "" then
    ui.err(rendered)
    if values.json then ui.out('{"problems":' .. problems .. "}\n") end
    return code
  end
  message = message ~= "" and message or "the run could not be started"
  return ui.fail(code, message, { json = values.json, help = hint_for(code, message) })
end

function M.main(values)
  local input, code, wrong = M.input(values)
  if code then return ui.fail(code, wrong, { json = values.json }) end
  local target, name = values.target, values.name
  if values.server then
    if M.is_path(target) then
      return ui.fail(EXIT.usage, "--server takes the name of a pipeline that the engine serves, not a path", { json = values.json })
    end
    return run_on_server(values, target, input)
  end
  local call = { input = input, store = values.store, workers = values.workers, durability = values.durability,
                 json = values.json, quiet = values.quiet, project = values.project or "." }
  if M.is_path(target) then
    if not cli.kind(target) then return ui.fail(EXIT.not_found, ("there is no file %s"):format(target), { json = values.json }) end
    call.path, call.name = target, name
  elseif name then
    return ui.fail(EXIT.usage, ("%q is not a path: write orrery run NAME, or orrery run PATH NAME"):format(target), { json = values.json })
  else
    call.name = target
  end
  local clear
  call.progress, clear = drawer(values)
  local exit_code, text, problems, rendered, message = app.run(call)
  clear()
  if not text then return failed_before_run(exit_code, problems, rendered, message, values) end
  return M.report(json.decode(text), text, values, exit_code)
end

return M
