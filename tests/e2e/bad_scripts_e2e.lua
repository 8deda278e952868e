-- Every wrong script of tests/bad through the real binary: `orrery validate` must print the expected message and end 4.
-- The messages themselves are in tests/bad/expected; tests/unit/test_bad_scripts.c compares them whole at the loader.
package.path = "tests/support/?.lua;" .. package.path
local e2e = require "e2e"

local expected, name = {}, nil
for line in (e2e.read("tests/bad/expected") .. "\n"):gmatch("(.-)\n") do
  local head = line:match("^== (.+)$")
  if head then name = head; expected[name] = {} elseif name then table.insert(expected[name], line) end
end

local names = {}
for each in pairs(expected) do names[#names + 1] = each end
table.sort(names)
for _, each in ipairs(names) do
  e2e.test("validate refuses " .. each .. " with its message and exit code 4", function()
    local run = e2e.orrery({ "validate", "tests/bad/" .. each }, { env = { NO_COLOR = "1" } })
    e2e.equal(run.code, 4, "exit code: " .. run.err)
    for _, line in ipairs(expected[each]) do
      if line:find("^error%[") then e2e.contains(run.err .. run.out, line) end
    end
    local as_json = e2e.orrery({ "validate", "tests/bad/" .. each, "--json" })
    e2e.equal(as_json.code, 4, "exit code with --json")
    local decoded = e2e.json.decode(as_json.out)
    local first = decoded.problems and decoded.problems[1] or decoded[1]
    e2e.equal(type(first.code), "string", "the code of the first problem")
  end)
end
if #names < 30 then e2e.test("there are at least 30 wrong scripts", function() error("only " .. #names) end) end
e2e.finish()
