-- SPDX-License-Identifier: MIT
-- o.fs: files as straight code; the step is suspended meanwhile. Relative paths start at the project's folder. What the world
-- refuses is returned: nil, { code, message }.
local c = require "orrery.c.fs"
local task = require "orrery.c.task"

local M = {}

local function absolute(path, what)
  if type(path) ~= "string" or path == "" or path:find("\0", 1, true) then
    error(("o.fs.%s takes a path"):format(what), 3)
  end
  if path:sub(1, 1) == "/" then return path end
  return task.root() .. "/" .. path
end

local function bytes(value, what)
  if type(value) ~= "string" and type(value) ~= "number" then
    error(("o.fs.%s takes the text as a string, given a %s"):format(what, type(value)), 3)
  end
  return tostring(value)
end

--- The whole file.
---@param path string
---@return string? bytes
---@return table? err
function M.read(path) return c.run("read", absolute(path, "read")) end

--- Replaces the file at once: others see the old or the new one. `sync`: also safe against power loss.
---@param path string
---@param text string
---@param options? { sync?: boolean }
---@return boolean? ok
---@return table? err
function M.write(path, text, options)
  return c.run("write", absolute(path, "write"), bytes(text, "write"), options ~= nil and options.sync == true)
end

--- Appends to the file, making it if need be.
function M.append(path, text) return c.run("append", absolute(path, "append"), bytes(text, "append")) end

--- What is there: { is_dir, size, modified_ms }; false if nothing is.
function M.stat(path) return c.run("stat", absolute(path, "stat")) end

--- Whether something is there.
---@return boolean? exists
---@return table? err
function M.exists(path)
  local stat, err = c.run("stat", absolute(path, "exists"))
  if stat == nil then return nil, err end
  return stat ~= false
end

--- The entries of a folder, by name: { name, is_dir, size, modified_ms }.
function M.list(path) return c.run("list", absolute(path or ".", "list")) end

--- Makes a folder and those above it.
function M.mkdir(path) return c.run("mkdir", absolute(path, "mkdir")) end

--- Removes a file or an empty folder; with { recursive = true } whatever is there.
---@param options? { recursive?: boolean }
function M.remove(path, options)
  return c.run("remove", absolute(path, "remove"), nil, options ~= nil and options.recursive == true)
end

--- Moves, within a file system.
function M.rename(from, to) return c.run("rename", absolute(from, "rename"), absolute(to, "rename")) end

--- Copies a file.
function M.copy(from, to) return c.run("copy", absolute(from, "copy"), absolute(to, "copy")) end

--- Makes a new folder for temporary files and gives its path; the caller removes it.
---@return string? path
---@return table? err
function M.temp_dir() return c.run("temp_dir", os.getenv("TMPDIR") or "/tmp") end

return M
