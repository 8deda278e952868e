-- SPDX-License-Identifier: MIT
-- The editor's definitions (lua/meta) against the real modules: everything is documented, and nothing else.
package.path = "lua/?.lua;lua/?/init.lua;tests/lua/?.lua;" .. package.path

-- The modules' C halves: only their presence matters here.
for _, name in ipairs { "fs", "process", "http", "redis", "time", "base64", "log", "runs", "app", "task", "json" } do
  package.loaded["orrery.c." .. name] = package.loaded["orrery.c." .. name] or { null = "null", array_mt = {} }
end

local function read(path)
  local file = assert(io.open(path, "rb"))
  local text = file:read("a")
  file:close()
  return text
end

local function keys_of(module)
  local names = {}
  for name in pairs(module) do names[#names + 1] = name end
  table.sort(names)
  return names
end

-- Functions "function NAME.x(" and fields of "---@class CLASS".
local function documented(text, name, class)
  local names = {}
  for found in text:gmatch("\nfunction " .. name .. "%.([%w_]+)%(") do names[#names + 1] = found end
  local block = text:match("%-%-%-@class " .. class:gsub("%.", "%%.") .. "\n(.-)\nlocal " .. name .. " = {}")
  for found in ("\n" .. (block or "")):gmatch("\n%-%-%-@field ([%w_]+)") do names[#names + 1] = found end
  table.sort(names)
  return names
end

describe("editor definitions", function()
  it("describe every field of the orrery module and no other", function()
    local o = require "orrery"
    local real = {}
    for name in pairs(o) do real[#real + 1] = name end
    real[#real + 1] = "config"
    table.sort(real)
    assert.same(real, documented(read "lua/meta/orrery.lua", "o", "orrery"))
  end)

  for _, name in ipairs { "fs", "process", "json", "base64", "time", "runs" } do
    it("describe every field of o." .. name, function()
      assert.same(keys_of(require("orrery." .. name)), documented(read "lua/meta/clients.lua", name, "orrery." .. name))
    end)
  end

  it("describe every function of the HTTP client", function()
    assert.same(keys_of(require "orrery.http_client"), documented(read "lua/meta/clients.lua", "http", "orrery.http"))
  end)

  it("describe every function of the Redis client", function()
    assert.same(keys_of(require "orrery.redis"), documented(read "lua/meta/redis.lua", "redis", "orrery.redis"))
  end)

  it("describe every option, from the table that checks them", function()
    assert.equal(require("meta_options").generate(), read "lua/meta/options.lua")
  end)

  it("describe every field of ctx", function()
    local source = read "lua/orrery/ctx.lua"
    local known = {}
    for name in source:match("local KNOWN = (%b{})"):gmatch('"([%w_]+)"') do known[#known + 1] = name end
    table.sort(known)
    local block = read("lua/meta/orrery.lua"):match("%-%-%-@class orrery.Context\n(.-)\n\n")
    local found = {}
    for name in ("\n" .. block):gmatch("\n%-%-%-@field ([%w_]+)") do found[#found + 1] = name end
    table.sort(found)
    assert.same(known, found)
  end)

  it("are valid Lua", function()
    for _, name in ipairs { "orrery", "clients", "redis", "options" } do
      assert(loadfile("lua/meta/" .. name .. ".lua", "t"))
    end
  end)
end)
