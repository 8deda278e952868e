-- SPDX-License-Identifier: MIT
-- What the command line says and how: data on stdout, talk on stderr, colour on terminals only.
local cli = require "orrery.c.cli"
local json = require "orrery.c.json"

local M = { EXIT = { ok = 0, failure = 1, usage = 2, not_found = 3, invalid = 4, run_failed = 5, conflict = 6, unreachable = 7 } }

local plain = false -- --no-color

--- Settings of this call.
function M.setup(values) plain = values.no_color == true end

local function quiet_terminal()
  local no_color = os.getenv("NO_COLOR")
  return plain or (no_color ~= nil and no_color ~= "") or os.getenv("TERM") == "dumb"
end

--- True if escape sequences may go to that descriptor.
function M.rich(fd) return cli.tty(fd) and not quiet_terminal() end

function M.columns() return cli.columns(2) or 80 end

function M.out(text) return cli.write(1, text) end
function M.err(text) return cli.write(2, text) end

local COLOURS = { red = "31", green = "32", yellow = "33", blue = "34", grey = "90", bold = "1" }

--- The text in a colour if `fd` shows colours.
function M.paint(fd, colour, text)
  if not M.rich(fd) then return text end
  return ("\27[%sm%s\27[0m"):format(COLOURS[colour], text)
end

--- An error on stderr (with --json also as an object on stdout); gives the exit code back.
---@param code integer
---@param message string
---@param options? { help?: string, json?: boolean }
function M.fail(code, message, options)
  options = options or {}
  M.err(M.paint(2, "red", "error") .. ": " .. message .. "\n")
  if options.help then M.err(M.paint(2, "bold", "help") .. ": " .. options.help .. "\n") end
  if options.json then
    M.out(json.encode { error = { message = message, help = options.help, exit_code = code } } .. "\n")
  end
  return code
end

return M
