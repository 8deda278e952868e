-- The guide and the README as a test subject: every Lua block that names its file (`-- file: PATH`) is written into a
-- project of its page and validated; every shell block marked `# run` is run there, against the binary. A `text` block
-- right after such a shell block is what it prints: each of its lines must be in the output, "…" standing for anything.
package.path = "tests/support/?.lua;" .. package.path
local e2e = require "e2e"
local uv = require "luv"

local BINARY = assert(uv.fs_realpath(e2e.binary))

-- The fenced blocks of a page in order: { kind, text, line, after = is right below the block before }.
local function blocks_of(page)
  local blocks, block, blank, number = {}, nil, true, 0
  for line in (page .. "\n"):gmatch("(.-)\n") do
    number = number + 1
    if block and line == "```" then
      blocks[#blocks + 1] = block
      block, blank = nil, true
    elseif block then
      block.text = block.text .. line .. "\n"
    elseif line:find("^```") then
      block = { kind = line:sub(4), text = "", line = number, after = blank }
    elseif line ~= "" then
      blank = false
    end
  end
  assert(not block, "a block is not closed")
  return blocks
end

local function validate(folder, where)
  local check = e2e.orrery { "validate", folder }
  if check.code ~= 0 then error(where .. ":\n" .. check.err, 0) end
end

local function pattern_of(line)
  return (line:gsub("[%^%$%(%)%%%.%[%]%*%+%-%?]", "%%%0"):gsub("…", ".*"))
end

local function expect_lines(text, output, where)
  for line in text:gmatch("[^\n]+") do
    if not output:find(pattern_of(line)) then error(("%s: nothing like %q in:\n%s"):format(where, line, output), 0) end
  end
end

-- Runs a shell block; one that talks to port 8080 or lists runs gets a server of its page.
local function run_block(page, block, where)
  local text = block.text
  if text:find("127.0.0.1:8080", 1, true) or text:find("orrery runs", 1, true) then
    page.server = page.server or e2e.serve(page.folder)
    text = text:gsub("127%.0%.0%.1:8080", "127.0.0.1:" .. page.server.port)
  end
  local env = { PATH = page.bin .. ":" .. os.getenv("PATH"), NO_COLOR = "1",
                ORRERY_SERVER = page.server and page.server.url or "" }
  local done = e2e.start({ "/bin/sh", "-ec", text }, { cwd = page.folder, env = env }).wait(60)
  if done.code ~= 0 then error(("%s: exit status %s\n%s%s"):format(where, done.code, done.out, done.err), 0) end
  return done.out .. done.err
end

local function load_state(page)
  local _, scripts = e2e.http(page.server.port, "GET", "/api/scripts")
  return scripts and tostring(scripts.generation) .. tostring(scripts.problems_at)
end

-- Writes a file of the page's project; a running server has taken notice of it on return.
local function write_file(page, file, text)
  local before = page.server and load_state(page)
  e2e.write(page.folder .. "/" .. file, text)
  if page.server then e2e.must(function() return load_state(page) ~= before end, 10, "the reload of " .. file) end
end

local function check_page(path)
  local page = { folder = e2e.temp(), bin = e2e.temp() }
  assert(uv.fs_symlink(BINARY, page.bin .. "/orrery"))
  local written, output = {}, nil
  local checked = 0
  for _, block in ipairs(blocks_of(e2e.read(path))) do
    local where = path .. ":" .. block.line
    local file = block.kind == "lua" and block.text:match("^%-%- file: (%S+)")
    if file then
      if written[file] then validate(page.folder, where) end
      write_file(page, file, block.text)
      written[file], checked = true, checked + 1
    elseif block.kind == "sh" and block.text:find("^# run\n") then
      output, checked = run_block(page, block, where), checked + 1
    elseif block.kind == "text" and block.after and output then
      expect_lines(block.text, output, where)
      output = nil
    else
      output = nil
    end
  end
  if next(written) then validate(page.folder, path) end
  e2e.remove(page.folder)
  e2e.remove(page.bin)
  return checked
end

local pages = { "README.md" }
for name in uv.fs_scandir_next, assert(uv.fs_scandir("docs/guide")) do
  if name:find("%.md$") then pages[#pages + 1] = "docs/guide/" .. name end
end
table.sort(pages)

local total = 0
for _, path in ipairs(pages) do
  e2e.test("what " .. path .. " shows is valid and runs as written", function() total = total + check_page(path) end)
end
if not e2e.only then
  e2e.test("the guide shows files and commands at all", function() assert(total >= 30, "only " .. total .. " blocks") end)
end
e2e.finish()
