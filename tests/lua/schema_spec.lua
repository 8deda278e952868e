-- SPDX-License-Identifier: MIT
-- Types of inputs: their JSON Schema, their defaults, their mistakes.
package.path = "lua/?.lua;lua/?/init.lua;" .. package.path
local o = require "orrery"
local schema = require "orrery.schema"

local function text(fields) return schema.text(schema.input(fields)) end
local function code_of(f, ...)
  local ok, err = pcall(f, ...)
  assert.is_false(ok)
  return err.orrery_problem.code
end

describe("a type", function()
  local cases = {
    { o.string { min_length = 1, max_length = 9, pattern = "^a", format = "email", description = "d", title = "t" },
      '{"description":"d","format":"email","maxLength":9,"minLength":1,"pattern":"^a","title":"t","type":"string"}' },
    { o.number { minimum = 0.5, maximum = 2 }, '{"maximum":2,"minimum":0.5,"type":"number"}' },
    { o.integer { multiple_of = 2, default = 4 }, '{"default":4,"multipleOf":2,"type":"integer"}' },
    { o.boolean { default = false }, '{"default":false,"type":"boolean"}' },
    { o.list { items = o.string {}, min_items = 1, max_items = 3, unique = true },
      '{"items":{"type":"string"},"maxItems":3,"minItems":1,"type":"array","uniqueItems":true}' },
    { o.list(o.integer), '{"items":{"type":"integer"},"type":"array"}' },
    { o.list { default = {} }, '{"default":[],"type":"array"}' },
    { o.enum { "a", "b", default = "b" }, '{"default":"b","enum":["a","b"]}' },
    { o.record { x = o.number, fields = { description = o.string { optional = true } }, description = "r" },
      '{"additionalProperties":false,"description":"r","properties":{"description":{"type":"string"},"x":{"type":"number"}},'
        .. '"required":["x"],"type":"object"}' },
  }
  for _, case in ipairs(cases) do
    it("exports " .. case[2], function() assert.equal(case[2], schema.text(case[1])) end)
  end
end)

describe("an input", function()
  it("requires what has no default and is not optional", function()
    assert.equal('{"additionalProperties":false,"properties":{"a":{"type":"string"},"b":{"default":1,"type":"integer"},'
                   .. '"c":{"type":"boolean"}},"required":["a"],"type":"object"}',
                 text { a = o.string, b = o.integer { default = 1 }, c = o.boolean { optional = true } })
  end)
  it("may be a record", function()
    assert.equal(text { a = o.string }, schema.text(schema.input(o.record { a = o.string })))
  end)
end)

describe("a mistake in a type", function()
  local cases = {
    { "E0301", o.string, { lenght = 1 } }, { "E0301", o.boolean, { o.string {} } }, { "E0301", o.record, { a = 5 } },
    { "E0302", o.string, "x" }, { "E0302", o.string, { pattern = 5 } },
    { "E0303", o.string, { format = "mail" } },
    { "E0306", o.string, { min_length = -1 } }, { "E0306", o.string, { min_length = 5, max_length = 1 } },
    { "E0306", o.number, { minimum = 2, maximum = 1 } }, { "E0306", o.list, { min_items = 2, max_items = 1 } },
    { "E0320", o.list, { items = 5 } }, { "E0320", o.enum, {} }, { "E0320", o.enum, { {} } }, { "E0320", o.enum, { "a", "a" } },
    { "E0320", o.record, { fields = { a = 1 } } }, { "E0320", schema.input, { a = 1 } }, { "E0320", schema.input, { o.string } },
    { "E0302", schema.input, 5 },
    { "E0321", o.string, { default = 5 } }, { "E0321", o.string, { default = "abc", max_length = 2 } },
    { "E0321", o.string, { default = "x", format = "date" } }, { "E0321", o.integer, { default = 1.5 } },
    { "E0321", o.integer, { default = 5, maximum = 4 } }, { "E0321", o.boolean, { default = "yes" } },
    { "E0321", o.enum, { "a", default = "b" } }, { "E0321", o.list, { items = o.string, default = { 1 } } },
    { "E0321", o.list, { default = { a = 1 } } }, { "E0321", o.record, { a = o.string, default = {} } },
    { "E0321", o.record, { a = o.string, default = { a = "x", b = 1 } } },
  }
  for i, case in ipairs(cases) do
    it(("is told as %s, case %d"):format(case[1], i), function() assert.equal(case[1], code_of(case[2], case[3])) end)
  end
end)
