-- SPDX-License-Identifier: MIT
-- `orrery dev` and `orrery serve`.
local app = require "orrery.c.app"
local cli = require "orrery.c.cli"
local ui = require "orrery.cli.ui"

local M = {}

function M.main(values, verb)
  local project = values.project or "."
  if not cli.kind(project) then
    return ui.fail(ui.EXIT.not_found, ("there is no folder %s"):format(project), { json = values.json })
  end
  local code, problems, rendered, message = app.serve {
    project = project, listen = values.listen, store = values.store, workers = values.workers,
    durability = values.durability, dev = verb.name == "dev",
  }
  if code == 0 then return 0 end
  if rendered and rendered ~= "" then
    ui.err(rendered)
    if values.json then ui.out('{"problems":' .. problems .. "}\n") end
    return code
  end
  local help
  if code == ui.EXIT.conflict and message:find("listen", 1, true) then help = "choose another address with --listen HOST:PORT" end
  return ui.fail(code, message and message ~= "" and message or "the engine could not start", { json = values.json, help = help })
end

return M
