-- SPDX-License-Identifier: MIT
-- Types of inputs: o.string, o.number, o.integer, o.boolean, o.list, o.record, o.enum. A type is a table with a
-- metatable; it exports as JSON Schema, against which runs' inputs are checked (io/schema.h). Pure.
local duration = require "orrery.duration"
local options = require "orrery.options"
local plain = require "orrery.plain"
local problem = require "orrery.problem"
local suggest = require "orrery.suggest"

local M = {}

M.mt = { orrery_name = "a type" }
M.constructors = {} -- function -> type name: `name = o.string` stands for o.string {}

local function fail(what, message, word, help, code)
  problem.raise { code = code or "E0320", message = what .. ": " .. message, word = word, help = help }
end

--- True if `value` is a type.
function M.is(value) return getmetatable(value) == M.mt end

-- A type or a constructor that stands for one.
local function as_type(value)
  if M.is(value) then return value end
  local name = M.constructors[value]
  return name and M.make(name, {}) or nil
end

local TYPE_HELP = "types are o.string, o.number, o.integer, o.boolean, o.list, o.record and o.enum"

-- --- does a value fit (defaults) -------------------------------------------------------------------------------

local check

local function in_range(value, low, high, what)
  if low and value < low then return ("%s must be at least %s"):format(what, low) end
  if high and value > high then return ("%s must be at most %s"):format(what, high) end
end

local FORMATS = {
  date = function(v) return v:find("^%d%d%d%d%-%d%d%-%d%d$") end,
  ["date-time"] = function(v) return v:find("^%d%d%d%d%-%d%d%-%d%d[Tt]%d%d:%d%d:%d%d") end,
  email = function(v) return v:find("^[^@%s]+@[^@%s]+$") end,
  uri = function(v) return v:find("^%a[%w+.-]*:") end,
  uuid = function(v) return v:find("^%x+%-%x+%-%x+%-%x+%-%x+$") and #v == 36 end,
  ipv4 = function(v) return v:find("^%d+%.%d+%.%d+%.%d+$") end,
  duration = function(v) return duration.parse(v) ~= nil end,
}

local CHECKS = {
  string = function(t, v)
    if type(v) ~= "string" then return "must be a string" end
    if t.format and not FORMATS[t.format](v) then return "must be a " .. t.format end
    return in_range(utf8.len(v) or #v, t.min_length, t.max_length, "its length")
  end,
  number = function(t, v)
    if type(v) ~= "number" then return "must be a number" end
    return in_range(v, t.minimum, t.maximum, "it")
  end,
  integer = function(t, v)
    if math.type(v) ~= "integer" then return "must be an integer" end
    return in_range(v, t.minimum, t.maximum, "it")
  end,
  boolean = function(_, v)
    if type(v) ~= "boolean" then return "must be true or false" end
  end,
  enum = function(t, v)
    for _, allowed in ipairs(t.values) do
      if v == allowed then return nil end
    end
    return "must be one of its values"
  end,
  list = function(t, v)
    if type(v) ~= "table" or (next(v) ~= nil and #v == 0) then return "must be a list" end
    for i, item in ipairs(v) do
      local err = t.items and check(t.items, item)
      if err then return ("item %d %s"):format(i, err) end
    end
    return in_range(#v, t.min_items, t.max_items, "its length")
  end,
  record = function(t, v)
    if type(v) ~= "table" or #v > 0 then return "must be a record" end
    for name in pairs(v) do
      if not t.fields[name] then return ('has no field "%s"'):format(tostring(name)) end
    end
    for _, name in ipairs(t.names) do
      local field = t.fields[name]
      local err = v[name] ~= nil and check(field, v[name])
      if err then return ('field "%s" %s'):format(name, err) end
      if v[name] == nil and field.default == nil and not field.optional then return ('needs the field "%s"'):format(name) end
    end
  end,
}

function check(t, value) return CHECKS[t.kind](t, value) end

--- Checks a value against a type (all but `pattern`).
---@return string? err  "must be …", or nil if it fits
M.check = function(t, value) return check(t, value) end

-- --- making types ------------------------------------------------------------------------------------------------

local function take_fields(what, given, t)
  local fields, names = {}, {}
  for key, value in pairs(given) do
    local field = type(key) == "string" and as_type(value)
    if field then fields[key] = field end
  end
  if type(given.fields) == "table" and not M.is(given.fields) then
    for key, value in pairs(given.fields) do
      fields[key] = as_type(value)
      if not fields[key] then
        fail(what, ('field "%s" takes a type, %s'):format(tostring(key), problem.given(value)), tostring(key), TYPE_HELP)
      end
    end
  end
  for name in pairs(fields) do names[#names + 1] = name end
  table.sort(names)
  t.fields, t.names = fields, names
end

local function take_items(what, given, t)
  local items = given.items
  if items == nil then items = given[1] end
  if items == nil then return end
  t.items = as_type(items)
  if not t.items then fail(what, "items takes a type, " .. problem.given(items), "items", TYPE_HELP) end
end

local function take_values(what, given, t)
  local values, seen = plain.array {}, {}
  local from = type(given.values) == "table" and given.values or given
  for i, value in ipairs(from) do
    if type(value) ~= "string" and type(value) ~= "number" and type(value) ~= "boolean" then
      fail(what, ("value %d must be a string, number or boolean, %s"):format(i, problem.given(value)))
    end
    if seen[value] then fail(what, ("the value %s stands there twice"):format(tostring(value)), tostring(value)) end
    seen[value] = true
    values[i] = value
  end
  if #values == 0 then fail(what, "has no values", "enum", 'write o.enum { "small", "large" }') end
  t.values = values
end

local function specs_of(kind) return options.types[kind] end

local function known_key(kind, key, value)
  if type(key) == "number" then return kind == "enum" or (kind == "list" and key == 1) end
  for _, spec in ipairs(specs_of(kind)) do
    if spec.name == key then return true end
  end
  return kind == "record" and as_type(value) ~= nil
end

local function refuse_unknown(what, kind, given)
  local names, unknown = {}, nil
  for _, spec in ipairs(specs_of(kind)) do names[#names + 1] = spec.name end
  for key, value in pairs(given) do
    if not known_key(kind, key, value) and (not unknown or tostring(key) < unknown) then unknown = tostring(key) end
  end
  if not unknown then return end
  if kind == "record" and given[unknown] ~= nil and type(given[unknown]) ~= "function" then
    fail(what, ('field "%s" takes a type, %s'):format(unknown, problem.given(given[unknown])), unknown,
         suggest.help(unknown, names, "its options") or TYPE_HELP, "E0301")
  end
  fail(what, ('has no option "%s"'):format(unknown), unknown, suggest.help(unknown, names, "its options"), "E0301")
end

local function ordered(what, t, low, high)
  if t[low] and t[high] and t[low] > t[high] then
    fail(what, ("%s (%s) is more than %s (%s)"):format(low, t[low], high, t[high]), low, nil, "E0306")
  end
end

--- Makes a type.
---@param kind string
---@param given table  its options
---@return orrery.Type
function M.make(kind, given)
  local what = "o." .. kind
  if given == nil then given = {} end
  if M.is(given) or M.constructors[given] then given = { given } end
  if type(given) ~= "table" then
    fail(what, "takes a table of options, " .. problem.given(given), nil, ("write %s {}"):format(what), "E0302")
  end
  refuse_unknown(what, kind, given)
  local t = setmetatable({ kind = kind }, M.mt)
  for _, spec in ipairs(specs_of(kind)) do
    local value = given[spec.name]
    if value ~= nil and not M.is(value) and spec.type ~= "type" then
      t[spec.name] = options.check(what, spec, value, value)
    end
  end
  if kind == "record" then take_fields(what, given, t) end
  if kind == "list" then take_items(what, given, t) end
  if kind == "enum" then take_values(what, given, t) end
  ordered(what, t, "minimum", "maximum")
  ordered(what, t, "min_length", "max_length")
  ordered(what, t, "min_items", "max_items")
  if t.default ~= nil then
    local err = check(t, t.default)
    if err then fail(what, ("default %s, %s"):format(err, problem.given(t.default)), "default", nil, "E0321") end
  end
  return t
end

for _, kind in ipairs { "string", "number", "integer", "boolean", "list", "record", "enum" } do
  M[kind] = function(given) return M.make(kind, given) end
  M.constructors[M[kind]] = kind
end

--- The record of a pipeline's `input`: a table of name -> type, or a record.
---@param given table
---@return orrery.Type
function M.input(given)
  if M.is(given) and given.kind == "record" then return given end
  if type(given) ~= "table" or M.is(given) then
    fail("input", "takes a table of name = type, " .. problem.given(given), "input", "input = { file = o.string {} }", "E0302")
  end
  local fields, names = {}, {}
  for name, value in pairs(given) do
    if type(name) ~= "string" then
      fail("input", "every input has a name, found a value without one", "input", "input = { file = o.string {} }")
    end
    fields[name] = as_type(value)
    if not fields[name] then
      fail("input", ('"%s" takes a type, %s'):format(name, problem.given(value)), name, TYPE_HELP)
    end
    names[#names + 1] = name
  end
  table.sort(names)
  return setmetatable({ kind = "record", fields = fields, names = names }, M.mt)
end

-- --- JSON Schema ---------------------------------------------------------------------------------------------------

-- A default as plain data: an empty table becomes [] or {} by its type.
local function default_of(t, value)
  if t.kind == "list" and type(value) == "table" then
    local list = plain.array {}
    for i, item in ipairs(value) do list[i] = t.items and default_of(t.items, item) or item end
    return list
  end
  if t.kind == "record" and type(value) == "table" then
    local record = {}
    for name, item in pairs(value) do record[name] = default_of(t.fields[name], item) end
    return record
  end
  return value
end

local KEYWORDS = { -- option -> keyword
  title = "title", description = "description", minimum = "minimum", maximum = "maximum",
  min_length = "minLength", max_length = "maxLength", pattern = "pattern", format = "format",
  min_items = "minItems", max_items = "maxItems", multiple_of = "multipleOf", unique = "uniqueItems",
}

--- The JSON Schema of a type, as a table for orrery.plain.
---@param t orrery.Type
---@return table
function M.export(t)
  local out = {}
  for option, keyword in pairs(KEYWORDS) do out[keyword] = t[option] end
  if t.default ~= nil then out.default = default_of(t, t.default) end
  if t.kind == "enum" then
    out.enum = t.values
  elseif t.kind == "list" then
    out.type = "array"
    out.items = t.items and M.export(t.items) or nil
  elseif t.kind == "record" then
    out.type, out.properties, out.additionalProperties = "object", {}, false
    local required = plain.array {}
    for _, name in ipairs(t.names) do
      local field = t.fields[name]
      out.properties[name] = M.export(field)
      if field.default == nil and not field.optional then required[#required + 1] = name end
    end
    if #required > 0 then out.required = required end
  else
    out.type = t.kind
  end
  return out
end

--- The JSON Schema of a type, as text.
function M.text(t) return assert(plain.encode(M.export(t), "schema")) end

return M
