-- SPDX-License-Identifier: MIT
-- Bodies of requests. A small one is text. A large one is a producer: a function that gives the next piece or nil, called
-- only when there is room for more, so that files of any size go out through a bounded buffer.
local c = require "orrery.c.http"
local fs = require "orrery.c.fs"
local json = require "orrery.c.json"
local options_of = require "orrery.http.options"
local task = require "orrery.c.task"

local M = {}

local PIECE = 256 * 1024

local function absolute(path)
  return path:sub(1, 1) == "/" and path or task.root() .. "/" .. path
end
M.absolute = absolute

-- A producer of exactly `size` bytes of a file.
local function file_pieces(path, size)
  local at = 0
  return function()
    if at >= size then return nil end
    local bytes, err = fs.run("read_at", path, nil, false, at, math.min(PIECE, size - at))
    if not bytes then error(err, 0) end
    if #bytes == 0 then error({ code = "io", message = path .. " became shorter while it was sent" }, 0) end
    at = at + #bytes
    return bytes
  end
end

local function size_of(path)
  local stat, err = fs.run("stat", path)
  if stat == nil then return nil, err end
  if stat == false then return nil, { code = "not_found", message = path .. ": no such file", retryable = false } end
  if stat.is_dir then return nil, { code = "is_a_folder", message = path .. " is a folder", retryable = false } end
  return stat.size
end

local function from_file(path)
  path = absolute(path)
  local size, err = size_of(path)
  if not size then return nil, err end
  return { pieces = file_pieces(path, size), bytes = size, type = "application/octet-stream" }
end

-- --- multipart/form-data -------------------------------------------------------------------------------------------------

local PART = { name = true, data = true, file = true, filename = true, type = true }

local function check_part(i, part)
  if type(part) ~= "table" then options_of.fail("multipart[%d] is a table { name, data | file, filename, type }", i) end
  for key, value in pairs(part) do
    if not PART[key] then options_of.fail('multipart[%d] has no field "%s"', i, tostring(key)) end
    if type(value) ~= "string" then options_of.fail("multipart[%d].%s is a string, given a %s", i, key, type(value)) end
  end
  if not part.name then options_of.fail("multipart[%d] needs a name", i) end
  if (part.data == nil) == (part.file == nil) then options_of.fail("multipart[%d] needs data or file, one of them", i) end
  if part.type and part.type:find("%c") then options_of.fail("multipart[%d].type has control characters", i) end
end

local QUOTED = { ["\r"] = "%0D", ["\n"] = "%0A", ['"'] = "%22" }
local function quoted(text) return '"' .. text:gsub('[\r\n"]', QUOTED) .. '"' end

local function part_head(boundary, part)
  local filename = part.filename or (part.file and part.file:match("[^/]*$"))
  local head = "--" .. boundary .. "\r\nContent-Disposition: form-data; name=" .. quoted(part.name)
  if filename then head = head .. "; filename=" .. quoted(filename) end
  local kind = part.type or (filename and "application/octet-stream")
  if kind then head = head .. "\r\nContent-Type: " .. kind end
  return head .. "\r\n\r\n"
end

-- Texts and files, one after the other.
local function chain(pieces)
  local at, current = 0, nil
  return function()
    while true do
      if current then
        local bytes = current()
        if bytes then return bytes end
        current = nil
      end
      at = at + 1
      local piece = pieces[at]
      if piece == nil then return nil end
      if type(piece) == "string" then return piece end
      current = piece
    end
  end
end

local function multipart(parts)
  local boundary = "orrery-" .. c.random_hex(16)
  local pieces, bytes, files = {}, 0, false
  local function text(piece)
    pieces[#pieces + 1] = piece
    bytes = bytes + #piece
  end
  for i, part in ipairs(parts) do
    check_part(i, part)
    text(part_head(boundary, part))
    if part.data then
      text(part.data)
    else
      local path = absolute(part.file)
      local size, err = size_of(path)
      if not size then return nil, err end
      pieces[#pieces + 1] = file_pieces(path, size)
      bytes, files = bytes + size, true
    end
    text "\r\n"
  end
  text("--" .. boundary .. "--\r\n")
  local kind = "multipart/form-data; boundary=" .. boundary
  if not files then return { text = table.concat(pieces), type = kind } end
  return { pieces = chain(pieces), bytes = bytes, type = kind }
end

--- The body that options ask for: { text = } or { pieces = producer, bytes = or nil }, and its type; {} for none.
---@param options table
---@return table? body
---@return table? err
function M.of(options)
  if options.json ~= nil then
    local text, err = json.encode(options.json, "json")
    if not text then options_of.fail("%s", err) end
    return { text = text, type = "application/json" }
  end
  if options.multipart then return multipart(options.multipart) end
  if options.from_file then return from_file(options.from_file) end
  if type(options.body) == "function" then return { pieces = options.body } end
  return { text = options.body }
end

local SEND = 64 * 1024

--- Sends a body of pieces, each when there is room. Stops early when the answer is there already.
function M.send(stream, pieces)
  for bytes in pieces do
    if type(bytes) ~= "string" then
      error(("o.http: the body's function gives strings and then nil, not a %s"):format(type(bytes)), 0)
    end
    for at = 1, #bytes, SEND do
      if not stream:send(bytes:sub(at, at + SEND - 1)) then return end
    end
  end
  stream:finish()
end

return M
