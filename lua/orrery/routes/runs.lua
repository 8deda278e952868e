-- SPDX-License-Identifier: MIT
-- /api/runs: lists, pictures, logs, journals, control. The order of the routes is known to src/server/router.c.
local runs = require "orrery.runs"
local support = require "orrery.routes.support"

local STATUSES = { "queued", "running", "waiting", "paused", "succeeded", "failed", "cancelled" }
local LEVELS = { "debug", "info", "warn", "error" }
local REASON_BYTES_MAX = 150
local COUNT = { kind = "integer", min = 0, max = math.maxinteger }

local function list(req)
  local query, wrong = support.query(req, {
    status = { kind = "one_of", values = STATUSES },
    pipeline = { kind = "text", max = 64 },
    limit = support.LIMIT,
    cursor = { kind = "text", max = 64 },
  })
  if not query then return wrong end
  return support.text(runs.list_json(query))
end

local function show(req)
  local query, wrong = support.query(req, {})
  if not query then return wrong end
  return support.text(runs.get_json(req.params.id))
end

local function steps(req)
  local query, wrong = support.query(req, { after = COUNT, cursor = COUNT, limit = { kind = "integer", min = 1, max = 1000 } })
  if not query then return wrong end
  return support.text(runs.steps_json(req.params.id, { after = query.cursor or query.after, limit = query.limit }))
end

local function logs(req)
  local query, wrong = support.query(req, {
    after = COUNT, cursor = COUNT,
    limit = { kind = "integer", min = 1, max = 1000 },
    step = { kind = "text", max = 64 },
    level = { kind = "one_of", values = LEVELS },
  })
  if not query then return wrong end
  query.after, query.cursor = query.cursor or query.after, nil
  return support.text(runs.logs_json(req.params.id, query))
end

local function journal(req)
  local query, wrong = support.query(req, {})
  if not query then return wrong end
  return support.text(runs.journal_json(req.params.id))
end

-- Answers with the run as it is afterwards.
local function control(action)
  return function(req)
    local body, wrong = support.body(req, { reason = "string" })
    if not body then return wrong end
    local reason = body.reason or ""
    if #reason > REASON_BYTES_MAX then
      return support.problem(400, ("the reason is longer than %d bytes"):format(REASON_BYTES_MAX))
    end
    local id = req.params.id
    local ok, err = runs.control(action, id, reason)
    if ok then return support.text(runs.get_json(id)) end
    -- The engine forgets a run once it has ended and is kept: then the store knows it.
    if type(err) == "table" and err.code == "not_found" and runs.get_json(id) then
      return support.problem(409, "the run has already ended")
    end
    return support.failure(err)
  end
end

return {
  { method = "GET", pattern = "/api/runs", run = list },
  { method = "GET", pattern = "/api/runs/{id}", run = show },
  { method = "GET", pattern = "/api/runs/{id}/steps", run = steps },
  { method = "GET", pattern = "/api/runs/{id}/logs", run = logs },
  { method = "GET", pattern = "/api/runs/{id}/journal", run = journal },
  { method = "POST", pattern = "/api/runs/{id}/cancel", run = control "cancel" },
  { method = "POST", pattern = "/api/runs/{id}/pause", run = control "pause" },
  { method = "POST", pattern = "/api/runs/{id}/resume", run = control "resume" },
}
