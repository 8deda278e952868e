-- SPDX-License-Identifier: MIT
-- Progress of a run as lines of text: one bar for the run, one for each map under way. Pure but for what the caller
-- does with the lines.
local M = {}
M.__index = M

local FINAL = { succeeded = true, failed = true, skipped = true, cancelled = true }

function M.new() return setmetatable({ done = 0, total = 0, maps = {}, order = {}, active = {}, failures = 0 }, M) end

local function map_of(self, step)
  local map = self.maps[step]
  if not map then
    map = { name = step, done = 0, seen = {}, total = 0 }
    self.maps[step] = map
    self.order[#self.order + 1] = map
  end
  return map
end

--- Takes one notice: { run, run_status, step, step_status, item, steps_done, steps_total }.
function M:event(notice)
  local grown = (notice.steps_total or 0) - self.total
  if notice.steps_total then self.total, self.done = notice.steps_total, notice.steps_done or self.done end
  self.run, self.run_status = notice.run or self.run, notice.run_status or self.run_status
  local step, status = notice.step, notice.step_status
  if not step then return end
  if notice.item and notice.item > 0 then
    local map = map_of(self, step)
    if FINAL[status] and not map.seen[notice.item] then
      map.seen[notice.item] = true
      map.done = map.done + 1
    end
    if notice.item > map.total then map.total = notice.item end
    if status == "failed" then self.failures = self.failures + 1 end
    return
  end
  if grown > 0 and self.started then map_of(self, step).total = grown end -- a map has got its items
  self.started = true
  if FINAL[status] then self.active[step] = nil else self.active[step] = status end
  if self.maps[step] and FINAL[status] then self.maps[step].ended = true end
end

local function bar(done, total, width)
  local filled = total > 0 and math.floor(width * math.min(done, total) / total) or 0
  return "[" .. ("#"):rep(filled) .. ("-"):rep(width - filled) .. "]"
end

local function running(self)
  local names = {}
  for name, status in pairs(self.active) do
    if status == "running" and not self.maps[name] then names[#names + 1] = name end
  end
  table.sort(names)
  if #names > 3 then names = { names[1], names[2], names[3], ("and %d more"):format(#names - 3) } end
  return table.concat(names, ", ")
end

--- The lines to show, at most `columns` wide.
---@param columns integer
---@return string[]
function M:lines(columns)
  local width = math.max(8, math.min(30, columns - 50))
  local lines = { ("%s %d/%d steps  %s"):format(bar(self.done, self.total, width), self.done, self.total, running(self)) }
  for _, map in ipairs(self.order) do
    if not map.ended and #lines < 8 then
      lines[#lines + 1] = ("%s %d/%d %s"):format(bar(map.done, map.total, width), map.done, map.total, map.name)
    end
  end
  for i, line in ipairs(lines) do lines[i] = line:sub(1, columns - 1):gsub("%s+$", "") end
  return lines
end

--- Escape sequences that replace the `before` lines drawn last by `lines`.
function M.redraw(before, lines)
  local out = {}
  if before > 0 then out[1] = ("\27[%dA"):format(before) end
  for _, line in ipairs(lines) do out[#out + 1] = "\r\27[K" .. line .. "\n" end
  if before > #lines then
    for _ = #lines + 1, before do out[#out + 1] = "\r\27[K\n" end
    out[#out + 1] = ("\27[%dA"):format(before - #lines)
  end
  return table.concat(out)
end

return M
