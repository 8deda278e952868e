-- SPDX-License-Identifier: MIT
-- table.sort of scripts: a bottom-up merge sort. Written in Lua so that a comparator can be interrupted and may wait;
-- stable, so that the same input always gives the same order (the C one picks its pivot from the clock).
local RUN = 8 -- sorted by insertion first

local function less_than(a, b) return a < b end

local function insertion(list, from, to, less)
  for i = from + 1, to do
    local value, at = list[i], i - 1
    while at >= from and less(value, list[at]) do
      list[at + 1] = list[at]
      at = at - 1
    end
    list[at + 1] = value
  end
end

-- Merges source[from..middle] and source[middle+1..to] into target. On a tie the left one comes first.
local function merge(source, target, from, middle, to, less)
  local left, right = from, middle + 1
  for at = from, to do
    if left <= middle and (right > to or not less(source[right], source[left])) then
      target[at] = source[left]
      left = left + 1
    else
      target[at] = source[right]
      right = right + 1
    end
  end
end

--- Sorts `list` in place.
---@param list any[]
---@param less? fun(a: any, b: any): boolean  true if a comes before b; default <
return function(list, less)
  if type(list) ~= "table" then
    error(("bad argument #1 to 'sort' (table expected, got %s)"):format(type(list)), 2)
  end
  if less ~= nil and type(less) ~= "function" then
    error(("bad argument #2 to 'sort' (function expected, got %s)"):format(type(less)), 2)
  end
  less = less or less_than
  local len = #list
  for from = 1, len, RUN do
    local to = from + RUN - 1
    insertion(list, from, to < len and to or len, less)
  end
  local source, target, width = list, {}, RUN
  while width < len do
    for from = 1, len, width * 2 do
      local middle, to = from + width - 1, from + width * 2 - 1
      if middle > len then middle = len end
      if to > len then to = len end
      merge(source, target, from, middle, to, less)
    end
    source, target, width = target, source, width * 2
  end
  if source ~= list then
    for i = 1, len do list[i] = source[i] end
  end
end
