-- SPDX-License-Identifier: MIT
-- Talks to a running engine over HTTP, and turns its refusals into exit codes.
local cli = require "orrery.c.cli"
local json = require "orrery.c.json"
local ui = require "orrery.cli.ui"

local M = {}

local DEFAULT = "http://127.0.0.1:8080"
local EXIT_OF = { [400] = 2, [404] = 3, [409] = 6, [422] = 4, [429] = 6, [503] = 7, [504] = 7 }

-- `dev` and `serve` leave their URL in the project's data folder.
local function left_by_engine(project)
  local file = io.open((project or ".") .. "/.orrery/server", "r")
  if not file then return nil end
  local url = file:read("l")
  file:close()
  return url and url:match("^https?://%S+$")
end

--- The engine's URL: --server, $ORRERY_SERVER, the project's own, the default.
function M.server(values)
  local url = values.server or os.getenv("ORRERY_SERVER")
  if not url or url == "" then url = left_by_engine(values.project) or DEFAULT end
  if not url:find("^https?://") then url = "http://" .. url end
  return (url:gsub("/+$", ""))
end

--- Percent-encodes a path segment or a query value.
function M.escape(text)
  return (text:gsub("[^%w%-._~]", function(c) return ("%%%02X"):format(c:byte()) end))
end

--- "?a=1&b=2" of the values that are set, in the order given.
function M.query(pairs_list)
  local out = {}
  for _, pair in ipairs(pairs_list) do
    if pair[2] ~= nil then out[#out + 1] = pair[1] .. "=" .. M.escape(tostring(pair[2])) end
  end
  return #out > 0 and "?" .. table.concat(out, "&") or ""
end

local function problem_of(answer)
  local body = json.decode(answer.body)
  if type(body) ~= "table" or type(body.detail) ~= "string" then return ("the engine answered %d"):format(answer.status) end
  return body.detail
end

--- One request. On failure `failed` is { code, message, help }; see M.fail.
---@return table? value   the decoded body
---@return table? failed
---@return string? text   the body as it came
function M.ask(values, method, path, body)
  local server = M.server(values)
  local headers = { "Accept: application/json" }
  local text = body and json.encode(body)
  if text then headers[#headers + 1] = "Content-Type: application/json" end
  local answer, message, code = cli.http(method, server .. path, headers, text, 35000)
  if not answer then
    return nil, {
      code = ui.EXIT.unreachable, message = ("no engine at %s: %s"):format(server, message), kind = code,
      help = 'start one with "orrery dev" or "orrery serve", or name another with --server URL',
    }
  end
  if answer.status >= 400 then
    return nil, { code = EXIT_OF[answer.status] or ui.EXIT.failure, message = problem_of(answer), status = answer.status }
  end
  local value = json.decode(answer.body)
  if value == nil then
    return nil, { code = ui.EXIT.failure, message = ("%s does not answer like an engine"):format(server),
                  help = "name the engine with --server URL" }
  end
  return value, nil, answer.body
end

function M.fail(failed, values) return ui.fail(failed.code, failed.message, { help = failed.help, json = values.json }) end

local FINAL = { succeeded = true, failed = true, cancelled = true }
function M.final(status) return FINAL[status] == true end

--- Asks for the run again and again until it has ended.
---@param deadline_ms integer?          wall time to give up at
---@param each fun(run: table)?         called with every picture
---@return table? run
---@return table? failed
---@return string? text
function M.wait(values, id, deadline_ms, each)
  local pause_ms, lost = 20, 0
  while true do
    local run, failed, text = M.ask(values, "GET", "/api/runs/" .. M.escape(id))
    if not run then
      -- An engine that restarts comes back with the run; one that never answered is a mistake.
      lost = lost + 1
      if failed.code ~= ui.EXIT.unreachable or pause_ms == 20 or lost > 20 then return nil, failed end
    else
      lost = 0
      if each then each(run) end
      if M.final(run.status) then return run, nil, text end
    end
    if deadline_ms and cli.now_ms() >= deadline_ms then
      return nil, { code = ui.EXIT.unreachable, message = ("run %s has not ended in time"):format(id) }
    end
    cli.sleep(pause_ms)
    pause_ms = math.min(500, pause_ms * 2)
  end
end

return M
