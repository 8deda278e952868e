-- A route of the project: what the newest package_report said.
local o = require "orrery"

o.get("/api/custom/sections", function()
  local run = o.runs.latest("package_report")
  if not run then return { status = 404, json = { error = "package_report has not run yet" } } end
  return { json = run.output or o.json.null }
end)
