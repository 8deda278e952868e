-- SPDX-License-Identifier: MIT
-- o.get, o.post, o.put, o.delete: routes of the project, registered in order. Pure.
local problem = require "orrery.problem"
local registry = require "orrery.registry"

local M = {}

local function refuse(call, message, word, help)
  problem.raise { code = "E0330", message = call .. ": " .. message, word = word, help = help }
end

local HELP = 'such as "/api/custom/sections" or "/api/custom/{name}"'

local function check_pattern(call, pattern)
  if type(pattern) ~= "string" then refuse(call, "takes a path, " .. problem.given(pattern), nil, HELP) end
  if pattern:sub(1, 1) ~= "/" then refuse(call, ("path %q does not begin with a slash"):format(pattern), pattern, HELP) end
  local seen = {}
  for segment in (pattern .. "/"):sub(2):gmatch("([^/]*)/") do
    local name = segment:match("^{([%a_][%w_]*)}$")
    if name and seen[name] then refuse(call, ("path %q has the parameter {%s} twice"):format(pattern, name), pattern) end
    if name then seen[name] = true end
    if not name and (segment == "" and pattern ~= "/" or segment:find("[^%w_.~-]") or segment == ".." or segment == ".") then
      refuse(call, ("path %q has the segment %q"):format(pattern, segment), pattern,
             'segments are letters, digits, "_", "-", ".", "~", or one {parameter}')
    end
  end
end

local function route(method, call)
  return function(pattern, run)
    check_pattern(call, pattern)
    if type(run) ~= "function" then
      refuse(call, ("%q takes a function of the request, %s"):format(pattern, problem.given(run)), pattern,
             ('write %s("%s", function(req) return { json = … } end)'):format(call, pattern))
    end
    local script, line = problem.place()
    registry.add_route { method = method, pattern = pattern, run = run, file = script,
                         script = registry.current_script or script, line = line }
  end
end

M.get = route("GET", "o.get")
M.post = route("POST", "o.post")
M.put = route("PUT", "o.put")
M.delete = route("DELETE", "o.delete")

return M
