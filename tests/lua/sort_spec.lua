-- SPDX-License-Identifier: MIT
package.path = "lua/?.lua;" .. package.path
local sort = require "orrery.sort"

describe("table.sort of scripts", function()
  it("sorts as the standard one does", function()
    math.randomseed(7)
    for len = 0, 70 do
      local ours, theirs = {}, {}
      for i = 1, len do
        ours[i] = math.random(1, 20)
        theirs[i] = ours[i]
      end
      sort(ours)
      table.sort(theirs)
      assert.same(theirs, ours)
    end
  end)

  it("keeps the order of equal elements", function()
    local list = {}
    for i = 1, 200 do list[i] = { key = i % 3, at = i } end
    sort(list, function(a, b) return a.key < b.key end)
    for i = 2, #list do
      local a, b = list[i - 1], list[i]
      assert.is_true(a.key < b.key or (a.key == b.key and a.at < b.at))
    end
  end)

  it("lets the comparator yield", function()
    local co = coroutine.wrap(function()
      local list = { 3, 1, 2 }
      sort(list, function(a, b) coroutine.yield() return a > b end)
      return list
    end)
    local result
    repeat result = co() until result
    assert.same({ 3, 2, 1 }, result)
  end)

  it("refuses what is no list or no function", function()
    assert.has_error(function() sort(1) end, "bad argument #1 to 'sort' (table expected, got number)")
    assert.has_error(function() sort({}, 1) end, "bad argument #2 to 'sort' (function expected, got number)")
  end)
end)
