-- SPDX-License-Identifier: MIT
-- o.runs: runs of this engine, for scripts and routes. Functions that end in _json give JSON texts as the API shows them.
-- Failures are nil, { code, message }: "not_found", "conflict", "invalid" ...
local c = require "orrery.c.runs"
local json = require "orrery.c.json"

local M = {}

local ACTIONS = { cancel = true, pause = true, resume = true }

local function decoded(text, err)
  if not text then return nil, err end
  return json.decode(text)
end

local function check_id(id, what)
  if type(id) ~= "string" then error(("o.runs.%s takes the id of a run"):format(what), 3) end
end

--- A run as JSON.
---@param id string
---@param options? { steps_max?: integer }
---@return string? text
---@return table? err
function M.get_json(id, options)
  check_id(id, "get_json")
  return c.get(id, options)
end

--- A run as a table: id, pipeline, status, input, output, error, steps …
---@param id string
---@return table? run
---@return table? err
function M.get(id)
  check_id(id, "get")
  return decoded(c.get(id))
end

--- Steps and items of a run, paged.
---@param options? { after?: integer, limit?: integer }
function M.steps_json(id, options)
  check_id(id, "steps_json")
  return c.steps(id, options or {})
end

--- The journal of a run.
function M.journal_json(id)
  check_id(id, "journal_json")
  return c.journal(id)
end

--- The logs of a run, oldest first.
---@param options? { after?: integer, limit?: integer, step?: string, level?: string }
function M.logs_json(id, options)
  check_id(id, "logs_json")
  return c.logs(id, options or {})
end

--- Runs, newest first.
---@param query? { status?: string, pipeline?: string, limit?: integer, cursor?: string }
function M.list_json(query) return c.list(query or {}) end

--- Runs, newest first, as { items, next }.
function M.list(query) return decoded(c.list(query or {})) end

--- The newest succeeded run of a pipeline (or of another status); nil if there is none.
---@param pipeline string
---@param status? string  default "succeeded"
---@return table? run
---@return table? err
function M.latest(pipeline, status)
  if type(pipeline) ~= "string" then error("o.runs.latest takes the name of a pipeline", 2) end
  local page, err = decoded(c.list { pipeline = pipeline, status = status or "succeeded", limit = 1 })
  if not page then return nil, err end
  if not page.items[1] then
    return nil, { code = "not_found", message = ('pipeline "%s" has no such run'):format(pipeline) }
  end
  return M.get(page.items[1].id)
end

--- Cancels, pauses or resumes a run.
---@param action "cancel"|"pause"|"resume"
---@param id string
---@param reason? string
---@return boolean? ok
---@return table? err
function M.control(action, id, reason)
  if ACTIONS[id] and not ACTIONS[action] then action, id = id, action end
  if not ACTIONS[action] then error("o.runs.control takes cancel, pause or resume, and the id of a run", 2) end
  check_id(id, "control")
  return c.control(action, id, reason)
end

--- Starts runs of a pipeline: one for each input. Does not wait for them.
---@param name string
---@param inputs? any[]  default: one run without input
---@param key? string  idempotency key, with one input
---@return string[]? ids
---@return boolean|table existing  whether the key was known; or the error
function M.execute(name, inputs, key)
  if type(name) ~= "string" then error("o.runs.execute takes the name of a pipeline", 2) end
  local texts = {}
  for i, input in ipairs(inputs or { {} }) do
    local text, err = json.encode(input, ("input[%d]"):format(i))
    if not text then error("o.runs.execute: " .. err, 2) end
    texts[i] = text
  end
  return c.execute(name, texts, key)
end

return M
