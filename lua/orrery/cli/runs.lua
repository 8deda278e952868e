-- SPDX-License-Identifier: MIT
-- `orrery runs …`: over HTTP, on a running engine.
local cli = require "orrery.c.cli"
local client = require "orrery.cli.client"
local duration = require "orrery.duration"
local json = require "orrery.c.json"
local progress = require "orrery.cli.progress"
local render = require "orrery.cli.render"
local ui = require "orrery.cli.ui"

local M = {}
local EXIT = ui.EXIT

local function paint_out(colour, text) return ui.paint(1, colour, text) end
local function paint_err(colour, text) return ui.paint(2, colour, text) end
local function path_of(id, rest) return "/api/runs/" .. client.escape(id) .. (rest or "") end
local function raw(text) ui.out(text:gsub("\n*$", "") .. "\n") end

local verbs = {}

function verbs.list(values)
  local query = client.query { { "status", values.status }, { "pipeline", values.pipeline }, { "limit", values.limit },
                               { "cursor", values.cursor } }
  local page, failed, text = client.ask(values, "GET", "/api/runs" .. query)
  if not page then return client.fail(failed, values) end
  if values.json then raw(text) return EXIT.ok end
  if #page.items == 0 then ui.err("no runs\n") return EXIT.ok end
  ui.out(render.runs(page.items, cli.now_ms(), paint_out))
  if type(page.next) == "string" then ui.err(("more: --cursor %s\n"):format(page.next)) end
  return EXIT.ok
end

function verbs.show(values)
  local run, failed, text = client.ask(values, "GET", path_of(values.id))
  if not run then return client.fail(failed, values) end
  if values.json then raw(text) else ui.out(render.run(run, cli.now_ms(), paint_out, json.encode)) end
  return EXIT.ok
end

local function step_counts(run)
  local done, total = 0, 0
  for _, step in ipairs(run.steps or {}) do
    total = total + 1
    if client.final(step.status) or step.status == "skipped" then done = done + 1 end
  end
  return done, total
end

-- A bar on a terminal, a line for every change of status elsewhere.
local function watcher(values)
  local drawn, last = 0, nil
  return function(run)
    local done, total = step_counts(run)
    if values.json then return end
    if not ui.rich(2) then
      if run.status ~= last then ui.err(("%s %s (%d of %d steps)\n"):format(run.id, run.status, done, total)) end
      last = run.status
      return
    end
    local state = progress.new()
    state:event { run = run.id, run_status = run.status, steps_done = done, steps_total = total }
    local lines = state:lines(ui.columns())
    lines[1] = lines[1] .. "  " .. run.status
    ui.err(progress.redraw(drawn, lines))
    drawn = #lines
  end
end

function verbs.watch(values)
  local deadline_ms
  if values.timeout then
    local ms = duration.parse(values.timeout)
    if not ms then return ui.fail(EXIT.usage, ("--timeout takes a duration such as 30s or 5m, not %q"):format(values.timeout)) end
    deadline_ms = cli.now_ms() + ms
  end
  local run, failed, text = client.wait(values, values.id, deadline_ms, watcher(values))
  if not run then return client.fail(failed, values) end
  if values.json then raw(text) end
  if run.status ~= "succeeded" and type(run.error) == "table" then ui.err(render.error(run.error, paint_err)) end
  if not values.json then ui.out(run.status .. "\n") end
  return run.status == "succeeded" and EXIT.ok or EXIT.run_failed
end

local DONE = { cancel = "cancel asked for", pause = "paused", resume = "resumed" }
local function control(action)
  return function(values)
    local run, failed, text = client.ask(values, "POST", path_of(values.id, "/" .. action), { reason = values.reason })
    if not run then return client.fail(failed, values) end
    if values.json then raw(text) else ui.out(("%s %s, now %s\n"):format(values.id, DONE[action], run.status)) end
    return EXIT.ok
  end
end
verbs.cancel, verbs.pause, verbs.resume = control "cancel", control "pause", control "resume"

local function print_logs(values, items)
  local out = {}
  for _, record in ipairs(items) do
    out[#out + 1] = values.json and json.encode(record) .. "\n" or render.log(record, paint_out, json.encode)
  end
  if #out > 0 then ui.out(table.concat(out)) end
end

-- Prints everything that is there. Gives the cursor to go on from.
local function drain_logs(values, cursor)
  while true do
    local query = client.query { { "after", cursor }, { "limit", 500 }, { "step", values.step }, { "level", values.level } }
    local page, failed = client.ask(values, "GET", path_of(values.id, "/logs" .. query))
    if not page then return nil, failed end
    print_logs(values, page.items)
    local last = page.items[#page.items]
    cursor = math.tointeger(page.next) or math.tointeger(tonumber(page.next)) or last and math.tointeger(last.seq) or cursor
    if #page.items < 500 then return cursor end
  end
end

function verbs.logs(values)
  local cursor = 0
  while true do
    local final = true
    if values.follow then -- asked before the logs, so that nothing written before the end is missed
      local run, failed = client.ask(values, "GET", path_of(values.id))
      if not run then return client.fail(failed, values) end
      final = client.final(run.status)
      if final then cli.sleep(100) end -- logs are written at most 50 ms late
    end
    local next_cursor, failed = drain_logs(values, cursor)
    if not next_cursor then return client.fail(failed, values) end
    cursor = next_cursor
    if final then return EXIT.ok end
    cli.sleep(200)
  end
end

function M.main(values, verb) return verbs[verb.name](values) end

return M
