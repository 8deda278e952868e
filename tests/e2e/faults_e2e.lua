-- The disk fails under the real binary: full file system, failing fsync. It must stop with a clear reason, and keep
-- everything that it acknowledged.
package.path = "tests/support/?.lua;" .. package.path
local e2e = require "e2e"

local SCRIPT = [[
local o = require "orrery"
o.pipeline "big" { input = { text = o.string { default = "" } }, o.step "s" { run = function(ctx) return #ctx.input.text end } }
]]

-- Starts an engine through `wrap`, feeds it until it stops by itself, and checks what it had acknowledged.
local function feed_until_it_stops(project, wrap, text)
  local port = e2e.free_port()
  local command = ("%s %s serve %s --listen 127.0.0.1:%d"):format(wrap, e2e.binary, project, port)
  local server = e2e.start { "sh", "-c", command }
  e2e.must(function() return server.code or e2e.http(port, "GET", "/readyz") == 200 end, 30, "the start")
  local acknowledged = {}
  e2e.must(function()
    if server.code then return true end
    local status, body = e2e.http(port, "POST", "/api/pipelines/big/execute", { input = { text = text } })
    if status == 202 then acknowledged[#acknowledged + 1] = body.id end
    return false
  end, 60, "the engine's stop")
  server.wait()
  e2e.equal(server.code, 1, "exit code: " .. server.err)
  e2e.contains(server.err, "stopped:")
  local again = e2e.serve(project)
  for _, id in ipairs(acknowledged) do e2e.equal(e2e.run_end(again.port, id).status, "succeeded", "run " .. id) end
  again.kill()
  again.wait()
  return #acknowledged
end

e2e.test("a full disk stops the engine with its reason; what was acknowledged is kept", function()
  local project = e2e.project { ["pipelines/big.lua"] = SCRIPT }
  local kept = feed_until_it_stops(project, "ulimit -f 6000; exec", ("x"):rep(200000)) -- 512-byte blocks
  if kept == 0 then error("nothing was acknowledged before the disk was full") end
  e2e.remove(project)
end)

e2e.test("a failing fsync stops the engine; nothing is acknowledged that is not kept", function()
  local project = e2e.project { ["pipelines/big.lua"] = SCRIPT }
  feed_until_it_stops(project, "exec strace -f -qq -o /dev/null -e trace=fdatasync -e inject=fdatasync:error=EIO:when=60+", "")
  e2e.remove(project)
end)

e2e.finish()
