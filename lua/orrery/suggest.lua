-- SPDX-License-Identifier: MIT
-- "Did you mean": the nearest of a list of names by edit distance. Pure; the same measure as orr_suggest.
local M = {}

-- Edit distance with transpositions of neighbours; gives up (returns limit + 1) beyond `limit`.
local function distance(a, b, limit)
  local la, lb = #a, #b
  if math.abs(la - lb) > limit then return limit + 1 end
  local before, last, row = {}, {}, {}
  for j = 0, lb do last[j] = j end
  for i = 1, la do
    row[0] = i
    local best, ca = i, a:byte(i)
    for j = 1, lb do
      local cost = ca == b:byte(j) and 0 or 1
      local d = math.min(last[j] + 1, row[j - 1] + 1, last[j - 1] + cost)
      if i > 1 and j > 1 and ca == b:byte(j - 1) and a:byte(i - 1) == b:byte(j) then
        d = math.min(d, before[j - 2] + 1)
      end
      row[j] = d
      if d < best then best = d end
    end
    if best > limit then return limit + 1 end
    before, last, row = last, row, before
  end
  return last[lb]
end

--- The nearest of `names` if it is near enough to suggest.
---@param word string
---@param names string[]
---@return string? name
function M.nearest(word, names)
  local limit = math.max(1, #word // 3)
  local best, best_distance = nil, limit + 1
  local lower = word:lower()
  for _, name in ipairs(names) do
    local d = distance(lower, name:lower(), limit)
    if d < best_distance or (d == best_distance and best and name < best) then
      best, best_distance = name, d
    end
  end
  if best_distance > limit then return nil end
  return best
end

--- The help line for a mistyped word: a suggestion, else the list when it is short.
---@param word string
---@param names string[]
---@param what string  plural noun for the list, "options"
---@return string? help
function M.help(word, names, what)
  local near = M.nearest(word, names)
  if near then return ('did you mean "%s"?'):format(near) end
  if #names == 0 or #names > 40 then return nil end
  local sorted = table.move(names, 1, #names, 1, {})
  table.sort(sorted)
  return ("%s: %s"):format(what, table.concat(sorted, ", "))
end

return M
