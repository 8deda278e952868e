-- SPDX-License-Identifier: MIT
-- The command line's front door: words in, exit code out. Verbs live in orrery.cli.*, what they do in C.
local app = require "orrery.c.app"
local args = require "orrery.cli.args"
local ui = require "orrery.cli.ui"

local M = {}

--- Runs one call of the command line.
---@param words string[]  without the program's name
---@return integer exit_code
function M.main(words)
  local call = args.parse(words)
  if call.error then
    local json = false
    for _, word in ipairs(words) do json = json or word == "--json" end
    local code = ui.fail(ui.EXIT.usage, call.error, { help = call.help, json = json })
    ui.err("try: " .. call.try .. "\n")
    return code
  end
  if call.text then return ui.out(call.text) and ui.EXIT.ok or ui.EXIT.failure end
  if call.version then return ui.out("orrery " .. app.version() .. "\n") and ui.EXIT.ok or ui.EXIT.failure end
  ui.setup(call.values)
  return require(call.verb.module).main(call.values, call.verb, call.path)
end

return M
