-- SPDX-License-Identifier: MIT
-- `orrery doctor`: what is checked is in src/app/doctor.c.
local app = require "orrery.c.app"
local json = require "orrery.c.json"
local ui = require "orrery.cli.ui"

local M = {}

--- The checks as lines.
function M.render(checks, paint)
  local out, width = {}, 0
  for _, check in ipairs(checks) do width = math.max(width, #check.name) end
  for _, check in ipairs(checks) do
    local mark = check.ok and paint("green", "ok  ") or paint("red", "FAIL")
    out[#out + 1] = ("%s  %-" .. width .. "s  %s"):format(mark, check.name, check.detail or "")
    if not check.ok and type(check.help) == "string" then out[#out + 1] = ("      help: %s"):format(check.help) end
  end
  return table.concat(out, "\n") .. "\n"
end

function M.main(values)
  local text = app.doctor { project = values.project or "." }
  local checks, good = json.decode(text), true
  for _, check in ipairs(checks) do good = good and check.ok end
  if values.json then ui.out(('{"ok":%s,"checks":%s}\n'):format(tostring(good), text))
  else ui.out(M.render(checks, function(colour, part) return ui.paint(1, colour, part) end)) end
  return good and ui.EXIT.ok or ui.EXIT.failure
end

return M
