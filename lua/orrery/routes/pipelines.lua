-- SPDX-License-Identifier: MIT
-- /api/pipelines: what is declared. The order of the routes is known to src/server/router.c.
local app = require "orrery.c.app"
local json = require "orrery.c.json"
local suggest = require "orrery.suggest"
local support = require "orrery.routes.support"

-- Everything declared, by name; a project has few enough pipelines for one page.
local function list(req)
  local query, wrong = support.query(req, { limit = support.LIMIT, cursor = { kind = "text", max = 64 } })
  if not query then return wrong end
  local text, err = app.query("pipelines")
  if not text then return support.failure(err) end
  if not query.limit and not query.cursor then return { body = '{"items":' .. text .. ',"next":null}' } end
  local items, page, next_cursor = json.decode(text), setmetatable({}, json.array_mt), nil
  for _, item in ipairs(items) do
    if not query.cursor or item.name > query.cursor then
      if #page == (query.limit or 500) then
        next_cursor = page[#page].name
        break
      end
      page[#page + 1] = item
    end
  end
  return { json = { items = page, next = next_cursor or json.null } }
end

local function show(req)
  local query, wrong = support.query(req, {})
  if not query then return wrong end
  local name = req.params.name
  local text = app.query("pipeline " .. name)
  if text then return { body = text } end
  local names = {}
  for _, item in ipairs(json.decode(app.query("pipelines") or "[]") or {}) do names[#names + 1] = item.name end
  local near = suggest.nearest(name, names)
  return support.problem(404, ('there is no pipeline "%s"'):format(name) ..
    (near and ('; did you mean "%s"?'):format(near) or ""))
end

return {
  { method = "GET", pattern = "/api/pipelines", run = list },
  { method = "GET", pattern = "/api/pipelines/{name}", run = show },
}
