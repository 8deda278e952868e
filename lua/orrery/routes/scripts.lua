-- SPDX-License-Identifier: MIT
-- /api/scripts: the generation that serves, its files, and what was wrong with the last load.
local app = require "orrery.c.app"
local support = require "orrery.routes.support"

local function show(req)
  local query, wrong = support.query(req, {})
  if not query then return wrong end
  return support.text(app.query("scripts"))
end

return { { method = "GET", pattern = "/api/scripts", run = show } }
