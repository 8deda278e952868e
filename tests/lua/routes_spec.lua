-- SPDX-License-Identifier: MIT
-- The built-in routes as functions of a request, with a pretended engine behind them.
package.path = "lua/?.lua;lua/?/init.lua;" .. package.path
local dkjson = require "dkjson"

local asked, answers
package.preload["orrery.c.json"] = function()
  return {
    null = dkjson.null, array_mt = { __jsontype = "array" }, encode = dkjson.encode,
    decode = function(text)
      local value, _, err = dkjson.decode(text, 1, dkjson.null)
      if err then return nil, err end
      return value
    end,
  }
end
package.preload["orrery.c.app"] = function()
  return { query = function(what) return answers[what], { code = "not_found", message = what } end }
end
package.preload["orrery.runs"] = function()
  return setmetatable({}, { __index = function(_, name)
    return function(...)
      asked[#asked + 1] = { name, ... }
      return table.unpack(answers[name] or { "{}" }, 1, 2)
    end
  end })
end
for _, name in ipairs { "orrery.routes.runs", "orrery.routes.pipelines", "orrery.routes.scripts", "orrery.routes.support" } do
  package.loaded[name] = nil -- other specs may have loaded them over other pretences
end
local runs, pipelines, scripts = require "orrery.routes.runs", require "orrery.routes.pipelines", require "orrery.routes.scripts"

local function call(list, method, pattern, req)
  for _, route in ipairs(list) do
    if route.method == method and route.pattern == pattern then
      req = req or {}
      req.query, req.params, req.body = req.query or {}, req.params or {}, req.body or ""
      return route.run(req)
    end
  end
  error("no route " .. pattern)
end

describe("/api/runs", function()
  before_each(function() asked, answers = {}, {} end)

  it("passes checked parameters on and the text back", function()
    answers.list_json = { '{"items":[],"next":null}' }
    local answer = call(runs, "GET", "/api/runs", { query = { status = "failed", limit = "20", pipeline = "etl", cursor = "x" } })
    assert.equal('{"items":[],"next":null}', answer.body)
    assert.same({ "list_json", { status = "failed", limit = 20, pipeline = "etl", cursor = "x" } }, asked[1])
  end)
  it("refuses unknown and odd parameters with a hint", function()
    local function detail(query)
      local answer = call(runs, "GET", "/api/runs", { query = query })
      assert.equal(400, answer.status)
      return answer.json.detail
    end
    assert.matches('unknown query parameter "limti"; did you mean "limit"%?', detail { limti = "1" })
    assert.matches("limit must be a whole number from 1 to 500", detail { limit = "501" })
    assert.matches("limit must be", detail { limit = "1e2" })
    assert.matches("status must be one of: queued", detail { status = "done" })
    assert.equal(0, #asked)
  end)
  it("an unknown run is 404, one that has ended cannot be cancelled: 409", function()
    answers.get_json = { nil, { code = "not_found", message = "there is no run x" } }
    local answer = call(runs, "GET", "/api/runs/{id}", { params = { id = "x" } })
    assert.equal(404, answer.status)
    assert.equal("application/problem+json", answer.headers["Content-Type"])
    answers.control = { nil, { code = "conflict", message = "the run has ended" } }
    answer = call(runs, "POST", "/api/runs/{id}/cancel", { params = { id = "x" } })
    assert.equal(409, answer.status)
    assert.equal("the run has ended", answer.json.detail)
    answers.control, answers.get_json = { nil, { code = "not_found" } }, { '{"status":"succeeded"}' } -- no longer live
    assert.equal(409, call(runs, "POST", "/api/runs/{id}/cancel", { params = { id = "x" } }).status)
    answers.get_json = { nil, { code = "not_found" } }
    assert.equal(404, call(runs, "POST", "/api/runs/{id}/cancel", { params = { id = "x" } }).status)
  end)
  it("control passes the reason on and shows the run afterwards", function()
    answers.control, answers.get_json = { true }, { '{"status":"paused"}' }
    local answer = call(runs, "POST", "/api/runs/{id}/pause", { params = { id = "x" }, body = '{"reason":"look"}' })
    assert.equal('{"status":"paused"}', answer.body)
    assert.same({ "control", "pause", "x", "look" }, asked[1])
  end)
  it("a body that does not fit changes nothing", function()
    for _, body in ipairs { "{", "[1]", "3", '{"reason":1}', '{"reson":"x"}', '{"reason":"' .. ("x"):rep(151) .. '"}' } do
      assert.equal(400, call(runs, "POST", "/api/runs/{id}/cancel", { params = { id = "x" }, body = body }).status, body)
    end
    assert.equal(0, #asked)
  end)
  it("logs and steps are paged", function()
    call(runs, "GET", "/api/runs/{id}/logs", { params = { id = "x" }, query = { after = "7", limit = "10", step = "a", level = "warn" } })
    assert.same({ "logs_json", "x", { after = 7, limit = 10, step = "a", level = "warn" } }, asked[1])
    call(runs, "GET", "/api/runs/{id}/steps", { params = { id = "x" }, query = { cursor = "1000" } })
    assert.same({ "steps_json", "x", { after = 1000 } }, asked[2])
  end)
end)

describe("/api/pipelines and /api/scripts", function()
  before_each(function() asked, answers = {}, {} end)

  it("lists all, or pages by name", function()
    answers.pipelines = '[{"name":"a"},{"name":"b"},{"name":"c"}]'
    assert.equal('{"items":' .. answers.pipelines .. ',"next":null}', call(pipelines, "GET", "/api/pipelines").body)
    local page = call(pipelines, "GET", "/api/pipelines", { query = { limit = "2" } }).json
    assert.equal(2, #page.items)
    assert.equal("b", page.next)
    page = call(pipelines, "GET", "/api/pipelines", { query = { limit = "2", cursor = "b" } }).json
    assert.equal("c", page.items[1].name)
    assert.equal(dkjson.null, page.next)
  end)
  it("an unknown pipeline is 404 with a suggestion", function()
    answers.pipelines = '[{"name":"report"}]'
    answers["pipeline report"] = '{"name":"report"}'
    assert.equal('{"name":"report"}', call(pipelines, "GET", "/api/pipelines/{name}", { params = { name = "report" } }).body)
    local answer = call(pipelines, "GET", "/api/pipelines/{name}", { params = { name = "reprot" } })
    assert.equal(404, answer.status)
    assert.matches('did you mean "report"%?', answer.json.detail)
  end)
  it("scripts are what the app says", function()
    answers.scripts = '{"healthy":true}'
    assert.equal('{"healthy":true}', call(scripts, "GET", "/api/scripts").body)
  end)
end)
