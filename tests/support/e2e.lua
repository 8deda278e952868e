-- Drives the real binary from tests: processes, HTTP, temporary projects, conditions with deadlines. TAP output.
-- Uses luv for processes and sockets; nothing here sleeps for a time, everything waits for a condition.
local uv = require "luv"
local cjson = require "cjson"

local M = { passed = 0, failed = 0, json = cjson }
M.root = assert(uv.cwd())
M.binary = os.getenv("ORRERY_BINARY") or (M.root .. "/build/orrery")
M.slow = tonumber(os.getenv("ORRERY_TEST_SLOWNESS") or "1") -- sanitizer builds need longer deadlines

-- A test's own server may write to a client that has gone: that is an error of the write (EPIPE), not the test's death.
local sigpipe = uv.new_signal()
sigpipe:start("sigpipe", function() end)
sigpipe:unref()

local started = {}

--- Runs the loop until `condition()` gives a true value, and returns that; nil after `seconds`.
function M.eventually(condition, seconds)
  local deadline = uv.hrtime() + (seconds or 10) * M.slow * 1e9
  local tick = uv.new_timer()
  tick:start(2, 2, function() end)
  local result
  repeat
    result = condition()
    if result then break end
    uv.run("once")
  until uv.hrtime() > deadline
  tick:close()
  return result
end

function M.must(condition, seconds, what)
  local result = M.eventually(condition, seconds)
  if not result then error("gave up waiting for " .. (what or "a condition"), 2) end
  return result
end

--- Starts a process. Returns { pid, out, err (text so far), code, signal (once it ended) }.
function M.start(argv, options)
  options = options or {}
  local process = { out = "", err = "" }
  local stdin, stdout, stderr = uv.new_pipe(), uv.new_pipe(), uv.new_pipe()
  local env
  if options.env then
    env = {}
    local merged = uv.os_environ()
    for k, v in pairs(options.env) do merged[k] = v end
    for k, v in pairs(merged) do env[#env + 1] = k .. "=" .. v end
  end
  local open = 2
  process.handle, process.pid = uv.spawn(argv[1], {
    args = { table.unpack(argv, 2) }, stdio = { stdin, stdout, stderr }, cwd = options.cwd, env = env,
  }, function(code, signal)
    process.code, process.signal = code, signal
    process.handle:close()
  end)
  if not process.handle then error("cannot start " .. argv[1] .. ": " .. tostring(process.pid), 2) end
  started[process.pid] = process
  local function collect(pipe, field)
    pipe:read_start(function(_, data)
      if data then process[field] = process[field] .. data else open = open - 1; pipe:close() end
    end)
  end
  collect(stdout, "out")
  collect(stderr, "err")
  if options.stdin then stdin:write(options.stdin) end
  stdin:shutdown(function() if not stdin:is_closing() then stdin:close() end end)
  function process.ended() return process.code ~= nil and open == 0 end
  function process.kill(signal) if process.code == nil then uv.kill(process.pid, signal or "sigterm") end end
  function process.wait(seconds)
    M.must(process.ended, seconds or 30, "the end of " .. table.concat(argv, " "))
    return process
  end
  return process
end

--- Runs `orrery` with arguments to its end.
function M.orrery(args, options)
  return M.start({ M.binary, table.unpack(args) }, options).wait(options and options.seconds or 60)
end

function M.temp()
  return assert(uv.fs_mkdtemp("/tmp/orrery-test-XXXXXX"))
end
function M.write(path, text)
  local folder = path:match("^(.*)/[^/]*$")
  local at = ""
  for part in folder:gmatch("[^/]+") do at = at .. "/" .. part; uv.fs_mkdir(at, 493) end
  local file = assert(io.open(path, "wb"))
  file:write(text)
  file:close()
end
function M.read(path)
  local file = io.open(path, "rb")
  if not file then return nil end
  local text = file:read("a")
  file:close()
  return text
end
function M.remove(folder) os.execute("rm -rf '" .. folder .. "'") end

--- A project in a new folder: files = { ["pipelines/a.lua"] = text }.
function M.project(files)
  local folder = M.temp()
  for path, text in pairs(files) do M.write(folder .. "/" .. path, text) end
  return folder
end

--- Starts `orrery serve` on a free port; returns the process with .port and .url once it answers.
function M.serve(project, args, options)
  local port = M.free_port()
  local argv = { M.binary, "serve", project, "--listen", "127.0.0.1:" .. port, table.unpack(args or {}) }
  local server = M.start(argv, options)
  server.port, server.url = port, "http://127.0.0.1:" .. port
  M.must(function()
    if server.code then error("serve ended with " .. tostring(server.code) .. ":\n" .. server.err, 0) end
    local status = M.http(port, "GET", "/readyz")
    return status == 200
  end, 20, "an answer of serve: " .. server.err)
  return server
end

function M.free_port()
  local socket = uv.new_tcp()
  assert(socket:bind("127.0.0.1", 0))
  local port = socket:getsockname().port
  socket:close()
  uv.run("nowait")
  return port
end

--- One HTTP request. Returns status, decoded body (JSON) or text, headers; nil when it could not be made.
function M.http(port, method, path, body, headers)
  local socket, data, done, failed = uv.new_tcp(), "", false, nil
  if type(body) == "table" then body = cjson.encode(body) end
  local lines = { method .. " " .. path .. " HTTP/1.1", "Host: 127.0.0.1:" .. port, "Connection: close" }
  local given = {}
  for k, v in pairs(headers or {}) do lines[#lines + 1] = k .. ": " .. v; given[k:lower()] = true end
  if body then
    if not given["content-type"] then lines[#lines + 1] = "Content-Type: application/json" end
    lines[#lines + 1] = "Content-Length: " .. #body
  end
  local request = table.concat(lines, "\r\n") .. "\r\n\r\n" .. (body or "")
  socket:connect("127.0.0.1", port, function(err)
    if err then failed = err; return end
    socket:write(request)
    socket:read_start(function(read_err, chunk)
      if read_err then failed = read_err elseif chunk then data = data .. chunk else done = true end
    end)
  end)
  M.eventually(function() return done or failed end, 30)
  socket:close()
  uv.run("nowait")
  if not done and data == "" then return nil, failed end
  local status = tonumber(data:match("^HTTP/1%.1 (%d+)"))
  local head, text = data:match("^(.-)\r\n\r\n(.*)$")
  local answered = {}
  for k, v in (head or ""):gmatch("\r\n([^:]+): ([^\r]*)") do answered[k:lower()] = v end
  if answered["transfer-encoding"] == "chunked" then text = M.unchunk(text) end
  if (answered["content-type"] or ""):find("json", 1, true) and text ~= "" then
    local ok, decoded = pcall(cjson.decode, text)
    if ok then return status, decoded, answered, text end
  end
  return status, text, answered, text
end
function M.unchunk(text)
  local parts, at = {}, 1
  while true do
    local from, to, size = text:find("^(%x+)[^\r\n]*\r\n", at)
    if not from or tonumber(size, 16) == 0 then return table.concat(parts) end
    parts[#parts + 1] = text:sub(to + 1, to + tonumber(size, 16))
    at = to + tonumber(size, 16) + 3
  end
end

--- Waits until a run over HTTP has one of the final statuses (or `status`); returns the run.
function M.run_end(port, id, seconds, status)
  local run
  M.must(function()
    local code, body = M.http(port, "GET", "/api/runs/" .. id)
    run = code == 200 and body or nil
    if not run then return false end
    if status then return run.status == status end
    return run.status == "succeeded" or run.status == "failed" or run.status == "cancelled"
  end, seconds or 20, "the end of run " .. id)
  return run
end

-- --- tests ----------------------------------------------------------------------------------------------

function M.test(sentence, body)
  if M.only and not sentence:find(M.only, 1, true) then return end
  local ok, err = xpcall(body, debug.traceback)
  if ok then M.passed = M.passed + 1 else M.failed = M.failed + 1 end
  print((ok and "ok - " or "not ok - ") .. sentence)
  if not ok then print("# " .. tostring(err):gsub("\n", "\n# ")) end
  for pid, process in pairs(started) do -- nothing a test started outlives it
    if process.code == nil then uv.kill(pid, "sigkill"); M.eventually(process.ended, 5) end
    started[pid] = nil
  end
  io.stdout:flush()
end
function M.equal(got, want, what)
  if got ~= want then
    error((what or "value") .. ": got " .. tostring(got) .. ", want " .. tostring(want), 2)
  end
end
function M.contains(text, part, what)
  if not tostring(text):find(part, 1, true) then
    error((what or "text") .. " lacks \"" .. part .. "\":\n" .. tostring(text), 2)
  end
end
function M.finish()
  print(("%d passed, %d failed"):format(M.passed, M.failed))
  io.stdout:flush()
  os.exit(M.failed == 0 and 0 or 1) -- without closing the state: luv may not outlive its loop
end
M.only = os.getenv("ORRERY_ONLY") -- part of a sentence: runs only those tests

return M
