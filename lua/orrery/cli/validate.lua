-- SPDX-License-Identifier: MIT
-- `orrery validate`: mistakes with their place, or a line that says how much is right.
local app = require "orrery.c.app"
local cli = require "orrery.c.cli"
local json = require "orrery.c.json"
local ui = require "orrery.cli.ui"

local M = {}

local function plural(n, word) return ("%d %s%s"):format(n, word, n == 1 and "" or "s") end

function M.main(values)
  local path = values.path or "."
  if not cli.kind(path) then
    return ui.fail(ui.EXIT.not_found, ("there is no file or folder %s"):format(path), { json = values.json })
  end
  local problems, rendered, summary = app.validate { path = path }
  local good = summary ~= nil and rendered == ""
  if values.json then
    ui.out(('{"ok":%s,"problems":%s,"summary":%s}\n'):format(good and "true" or "false", problems, summary or "null"))
    return good and ui.EXIT.ok or ui.EXIT.invalid
  end
  if not good then
    ui.err(rendered)
    local count = #(json.decode(problems) or {})
    ui.err(("%s found\n"):format(plural(count, "problem")))
    return ui.EXIT.invalid
  end
  local found, names = json.decode(summary), {}
  for _, pipeline in ipairs(found.pipelines) do names[#names + 1] = pipeline.name end
  ui.out(("ok: %s, %s%s\n"):format(plural(found.scripts, "script"), plural(#names, "pipeline"),
                                   #names > 0 and " (" .. table.concat(names, ", ") .. ")" or ""))
  return ui.EXIT.ok
end

return M
