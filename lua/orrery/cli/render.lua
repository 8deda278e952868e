-- SPDX-License-Identifier: MIT
-- Tables, durations and pictures of runs as text. Pure: what may be coloured goes through `paint`.
local M = {}

local UNITS = { { 86400000, "d" }, { 3600000, "h" }, { 60000, "m" } }

--- "840 ms", "1.5 s", "2m 5s", "3d 4h".
---@param ms number?
function M.duration(ms)
  if not ms then return "" end
  if ms < 1000 then return ("%d ms"):format(ms) end
  if ms < 60000 then return ("%.1f s"):format(ms / 1000) end
  for i, unit in ipairs(UNITS) do
    if ms >= unit[1] then
      local rest = ms % unit[1]
      local next_unit = UNITS[i + 1] or { 1000, "s" }
      return ("%d%s %d%s"):format(ms // unit[1], unit[2], rest // next_unit[1], next_unit[2])
    end
  end
end

-- Days since 1970-01-01 of a date (Howard Hinnant's algorithm).
local function days(year, month, day)
  if month <= 2 then year = year - 1 end
  local era = year // 400
  local of_era = year - era * 400
  local of_year = (153 * ((month + 9) % 12) + 2) // 5 + day - 1
  return era * 146097 + of_era * 365 + of_era // 4 - of_era // 100 + of_year - 719468
end

--- Milliseconds since 1970 of an API time ("2026-11-20T21:34:00.123Z"), or nil.
---@param text string?
function M.ms(text)
  if type(text) ~= "string" then return nil end
  local year, month, day, hour, minute, second, ms = text:match("^(%d+)-(%d+)-(%d+)T(%d+):(%d+):(%d+)%.(%d%d%d)Z$")
  if not year then return nil end
  local date = days(math.tointeger(year), math.tointeger(month), math.tointeger(day))
  return ((date * 24 + hour) * 60 + minute) * 60000 + second * 1000 + ms // 1
end

--- How long something took, or has taken until `now_ms`.
function M.took(from, to, now_ms)
  local a, b = M.ms(from), M.ms(to) or now_ms
  if not a or not b then return nil end
  return math.max(0, b - a)
end

--- A time for people: "2026-11-20 21:34:00".
function M.time(text)
  if type(text) ~= "string" then return "" end
  return (text:gsub("T", " "):gsub("%.%d+Z$", ""))
end

local function length(text) return utf8.len(text) or #text end

--- Cuts to `max` characters; line ends become spaces, so that a cell stays in its line.
function M.cut(text, max)
  text = text:gsub("[%c]+", " ")
  if length(text) <= max then return text end
  local stop = utf8.offset(text, max)
  return stop and text:sub(1, stop - 1) .. "…" or text:sub(1, max)
end

--- Rows under headings; `paint(column, value, padded)` may colour a cell.
---@param headings string[]
---@param rows string[][]
function M.table(headings, rows, paint)
  local widths, out = {}, {}
  for c, heading in ipairs(headings) do
    widths[c] = length(heading)
    for _, row in ipairs(rows) do widths[c] = math.max(widths[c], length(row[c])) end
  end
  local function line(row, heading)
    local cells = {}
    for c = 1, #headings do
      local cell = row[c] .. (c < #headings and (" "):rep(widths[c] - length(row[c])) or "")
      cells[c] = paint and not heading and paint(c, row[c], cell) or cell
    end
    out[#out + 1] = (table.concat(cells, "  "):gsub("%s+$", ""))
  end
  line(headings, true)
  for _, row in ipairs(rows) do line(row, false) end
  return table.concat(out, "\n") .. "\n"
end

M.STATUS_COLOURS = {
  succeeded = "green", failed = "red", cancelled = "yellow", running = "blue", waiting = "blue", paused = "yellow",
  retrying = "yellow", skipped = "grey", pending = "grey", queued = "grey",
}

local function status_paint(column, ui_paint)
  return function(c, value, padded)
    local colour = c == column and M.STATUS_COLOURS[value]
    return colour and ui_paint(colour, padded) or padded
  end
end

--- A list of runs.
function M.runs(items, now_ms, paint)
  local rows = {}
  for _, run in ipairs(items) do
    local err = type(run.error) == "table" and run.error.message or run.error
    rows[#rows + 1] = {
      run.id, run.pipeline, run.status, M.time(run.created_at),
      M.duration(M.took(run.started_at, run.finished_at, now_ms)), type(err) == "string" and M.cut(err, 60) or "",
    }
  end
  return M.table({ "ID", "PIPELINE", "STATUS", "CREATED", "TOOK", "ERROR" }, rows, status_paint(3, paint))
end

local function text_of(value) return type(value) == "string" and value or nil end

local function run_head(run, now_ms, paint)
  local out = {}
  local function line(key, value)
    if value and value ~= "" then out[#out + 1] = ("%-9s %s"):format(key, value) end
  end
  line("run", run.id)
  line("pipeline", run.pipeline .. (text_of(run.version) and ("  (version %s)"):format(run.version:sub(1, 12)) or ""))
  line("status", paint(M.STATUS_COLOURS[run.status] or "bold", run.status))
  line("trigger", text_of(run.trigger))
  line("parent", text_of(run.parent))
  line("created", M.time(run.created_at))
  line("took", M.duration(M.took(run.started_at, run.finished_at, now_ms)))
  return table.concat(out, "\n") .. "\n"
end

--- The error of a run or step as lines: what, where, traceback.
function M.error(err, paint)
  if type(err) ~= "table" then return type(err) == "string" and err .. "\n" or "" end
  local where = text_of(err.step) and ('step "%s"'):format(err.step) .. (err.item and err.item ~= 0 and math.type(err.item) and
    (" item %d"):format(err.item) or "") .. ": " or ""
  local out = paint("red", "error") .. (text_of(err.code) and ("[%s]"):format(err.code) or "") .. ": " .. where ..
    (text_of(err.message) or "failed") .. "\n"
  if text_of(err.traceback) then out = out .. "  " .. err.traceback:gsub("\n", "\n  ") .. "\n" end
  return out
end

--- A run with its steps.
---@param encode fun(value: any): string
function M.run(run, now_ms, paint, encode)
  local rows = {}
  for _, step in ipairs(run.steps or {}) do
    local item = math.type(step.item) == "integer" and step.item > 0 and ("[%d]"):format(step.item) or ""
    local err = type(step.error) == "table" and text_of(step.error.message) or ""
    rows[#rows + 1] = {
      step.name .. item, step.status, math.type(step.attempt) and tostring(step.attempt) or "",
      M.duration(M.took(step.started_at, step.finished_at, now_ms)), M.cut(err, 70),
    }
  end
  local out = run_head(run, now_ms, paint)
  if #rows > 0 then
    out = out .. "\n" .. M.table({ "STEP", "STATUS", "ATTEMPT", "TOOK", "ERROR" }, rows, status_paint(2, paint))
  end
  if type(run.error) == "table" then out = out .. "\n" .. M.error(run.error, paint) end
  if run.status == "succeeded" then out = out .. "\noutput    " .. M.cut(encode(run.output), 400) .. "\n" end
  return out
end

--- One line of a log.
function M.log(record, paint, encode)
  local clock = text_of(record.at) and record.at:match("T(.-)Z") or ""
  local item = math.type(record.item) == "integer" and record.item > 0 and ("[%d]"):format(record.item) or ""
  local step = text_of(record.step) or ""
  local fields = type(record.fields) == "table" and next(record.fields) and "  " .. encode(record.fields) or ""
  local level = record.level or "info"
  local colour = ({ warn = "yellow", error = "red", debug = "grey" })[level]
  return ("%s %s %s%s: %s%s\n"):format(clock, colour and paint(colour, ("%-5s"):format(level)) or ("%-5s"):format(level),
                                      step, item, record.text or "", fields)
end

return M
