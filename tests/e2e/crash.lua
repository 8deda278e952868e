-- Crash test: kill -9 at random moments under load, again and again, on one store. Then everything that was
-- acknowledged must be there and final, no recorded step may have run again, and the file must be sound.
--   lua5.4 tests/e2e/crash.lua [--kills N] [--seed N]
package.path = "tests/support/?.lua;" .. package.path
local e2e = require "e2e"
local uv = require "luv"

local kills, seed = 20, os.time()
for i = 1, #arg, 2 do
  if arg[i] == "--kills" then kills = tonumber(arg[i + 1]) end
  if arg[i] == "--seed" then seed = tonumber(arg[i + 1]) end
end
math.randomseed(seed)

-- Every body leaves a line in the ledger before it ends. `last` runs only after `first` and every item are recorded, so
-- a line of those after a line of `last` of the same run means that a recorded step ran again.
local SCRIPT = [[
local o = require "orrery"
local function trace(ctx, what) o.fs.append("ledger.txt", ctx.run.id .. " " .. what .. "\n") end
o.pipeline "load" {
  o.step "first" { run = function(ctx) trace(ctx, "first") return { 1, 2, 3 } end },
  o.map "items" { after = "first", over = "first", run = function(ctx, item) trace(ctx, "item" .. item) return item * 2 end },
  o.sleep "nap" { after = "items", duration = "30ms" },
  o.step "charge" { after = "nap", once = true, run = function(ctx) trace(ctx, "charge") return true end },
  o.step "last" { after = "charge", rule = "all_done", run = function(ctx) trace(ctx, "last") return #ctx.results.items end },
}
]]

e2e.test(("%d times kill -9 under load lose nothing (seed %d)"):format(kills, seed), function()
  local project = e2e.project { ["pipelines/load.lua"] = SCRIPT }
  local acknowledged, posted = {}, 0
  for round = 1, kills do
    local server = e2e.serve(project)
    local stop_at = uv.hrtime() + math.random(20, 300) * 1e6
    local inputs = {}
    for i = 1, math.random(1, 40) do inputs[i] = {} end
    local body = '{"inputs":[' .. ("{}"):rep(#inputs, ",") .. "]}"
    while uv.hrtime() < stop_at do
      local status, answer = e2e.http(server.port, "POST", "/api/pipelines/load/execute", body)
      if status == 202 then
        for _, run in ipairs(answer.items) do acknowledged[#acknowledged + 1] = run.id end
        posted = posted + 1
      end
      if #acknowledged > round * 60 then break end -- the load is spread over all rounds, not spent in the first ones
    end
    while uv.hrtime() < stop_at do uv.run("nowait") end
    server.kill("sigkill")
    server.wait()
    if round % 50 == 0 then print(("# %d kills, %d runs acknowledged"):format(round, #acknowledged)) io.stdout:flush() end
  end
  local server = e2e.serve(project)
  local statuses = {}
  for _, id in ipairs(acknowledged) do
    local run = e2e.run_end(server.port, id, 120)
    statuses[run.status] = (statuses[run.status] or 0) + 1
    if run.status ~= "succeeded" then -- only a `once` step may be lost to a crash
      e2e.equal(run.error and run.error.code, "interrupted", "error of " .. id)
    end
  end
  server.kill()
  e2e.equal(server.wait().code, 0, "exit code of the last engine")
  local seen = {}
  for line in e2e.read(project .. "/ledger.txt"):gmatch("[^\n]+") do
    local id, what = line:match("^(%S+) (%S+)$")
    if id then
      seen[id] = seen[id] or {}
      if what ~= "last" and seen[id].last then error("a recorded step ran again: " .. line) end
      if what == "charge" and seen[id].charge then error("a once step ran twice: " .. line) end
      seen[id][what] = true
    end
  end
  local check = io.popen("sqlite3 " .. project .. "/.orrery/orrery.db 'PRAGMA quick_check'")
  e2e.equal(check:read("l"), "ok", "quick_check")
  check:close()
  if #acknowledged == 0 then error("no run was acknowledged: the test proved nothing") end
  print(("# %d kills, %d requests, %d runs acknowledged: %d succeeded, %d interrupted once steps"):format(kills, posted,
    #acknowledged, statuses.succeeded or 0, statuses.failed or 0))
  e2e.remove(project)
end)

e2e.finish()
