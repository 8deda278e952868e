-- SPDX-License-Identifier: MIT
-- The source tree as a test subject: floors, foreign libraries, banned calls, file heads, leftovers. Run from
-- the root: lua5.4 tests/tidy/tidy.lua [BUILD]. Each rule prints one TAP line, with places when it is broken.

local build = arg and arg[1] or "build"

-- Words that this file itself must not contain in one piece.
local function word(...) return table.concat({ ... }) end

local FLOORS = { "base", "core", "io", "script", "server", "app" }
local HEIGHT = {}
for height, name in ipairs(FLOORS) do HEIGHT[name] = height end

-- Headers of the C library that need no permission.
local CORE_HEADERS = { ["stdlib.h"] = true, ["stdint.h"] = true, ["stdbool.h"] = true, ["stdarg.h"] = true,
  ["stddef.h"] = true, ["string.h"] = true, ["limits.h"] = true }

-- Foreign libraries: which headers are theirs, and which floors may include them.
local LIBRARIES = {
  { name = "libuv", headers = { "^uv%.h$" }, floors = { io = true, script = true, app = true } },
  { name = "SQLite", headers = { "^sqlite3%.h$" }, floors = { io = true } },
  { name = "libsodium", headers = { "^sodium" }, floors = { io = true } },
  { name = "PCRE2", headers = { "^pcre2%.h$" }, floors = { io = true } },
  { name = "libcurl", headers = { "^curl/" }, floors = { io = true } },
  { name = "hiredis", headers = { "^hiredis" }, floors = { io = true } },
  { name = "Lua", headers = { "^lua%.h$", "^lauxlib%.h$", "^lualib%.h$" }, floors = { script = true, app = true } },
  { name = "luv", headers = { "^luv/" }, floors = { script = true } },
  { name = "civetweb", headers = { "^civetweb%.h$" }, floors = { server = true } },
}
-- `orrery doctor` says the version of every library, so it alone knows them all.
local KNOWS_ALL = { ["src/app/doctor.c"] = true }

local BANNED = { "strcpy", "strcat", "sprintf", "vsprintf", "gets", "rand", "srand", "localtime", "gmtime",
  "asctime", "ctime", "strtok", "system", "tmpnam", "mktemp" }

-- What an object of the core may ask of the outside, besides the floor below.
local CORE_SYMBOLS = { "^orr_", "^mem%a+$", "^str%a+$", "^__stack_chk_fail$", "^free$", "^qsort$", "^qsort_r$",
  "^bsearch$", "^__mem%a+_chk$", "^_GLOBAL_OFFSET_TABLE_$", "^__asan", "^__ubsan", "^__tsan" }

local passed, failed = 0, 0
local function report(rule, places)
  if #places == 0 then
    passed = passed + 1
    print(("ok %d - %s"):format(passed + failed, rule))
    return
  end
  failed = failed + 1
  print(("not ok %d - %s"):format(passed + failed, rule))
  for i, place in ipairs(places) do
    if i > 40 then
      print(("#   and %d more"):format(#places - 40))
      break
    end
    print("#   " .. place)
  end
end

local function lines_of(command)
  local list = {}
  local pipe = assert(io.popen(command))
  for line in pipe:lines() do list[#list + 1] = line end
  pipe:close()
  return list
end

local function read(path)
  local file = io.open(path, "rb")
  if not file then return nil end
  local text = file:read("a")
  file:close()
  return text
end

-- C without comments and strings, so that words in them are not taken for code.
local function strip_c(text)
  local out, at = {}, 1
  while at <= #text do
    local from, _, what = text:find('([/"\'])', at)
    if not from then
      out[#out + 1] = text:sub(at)
      break
    end
    out[#out + 1] = text:sub(at, from - 1)
    local two, stop = text:sub(from, from + 1), nil
    if two == "//" then
      stop = (text:find("\n", from, true) or #text + 1) - 1
    elseif two == "/*" then
      stop = select(2, text:find("*/", from + 2, true)) or #text
    elseif what == "/" then
      out[#out + 1] = "/"
      stop = from
    else
      stop = from + 1
      while stop <= #text and text:sub(stop, stop) ~= what do
        stop = stop + (text:sub(stop, stop) == "\\" and 2 or 1)
      end
      out[#out + 1] = what .. what
    end
    local _, newlines = text:sub(from, stop):gsub("\n", "")
    out[#out + 1] = what == "/" and two ~= "//" and two ~= "/*" and "" or ("\n"):rep(newlines)
    at = stop + 1
  end
  return table.concat(out)
end

local function each_line(text)
  local n, at = 0, 1
  return function()
    if at > #text then return nil end
    local stop = text:find("\n", at, true) or #text + 1
    local line = text:sub(at, stop - 1)
    at, n = stop + 1, n + 1
    return n, line
  end
end

-- --- the tree --------------------------------------------------------------------------------------------

local files = lines_of("git ls-files -co --exclude-standard 2>/dev/null")
if #files == 0 then files = lines_of("find . -type f -not -path './build*' -not -path './.git/*' | sed 's|^[.]/||'") end

local sources, c_files, lua_files, texts = {}, {}, {}, {}
for _, path in ipairs(files) do
  local text = read(path)
  if text and not text:find("\0", 1, true) then
    texts[#texts + 1] = { path = path, text = text }
    if path:match("%.[ch]$") then
      local file = { path = path, text = text, code = strip_c(text), floor = path:match("^src/([^/]+)/") }
      c_files[#c_files + 1] = file
      if file.floor then sources[#sources + 1] = file end
    elseif path:match("%.lua$") then
      lua_files[#lua_files + 1] = { path = path, text = text }
    end
  end
end
assert(#sources > 0, "run me from the root of the tree")

-- --- floors ----------------------------------------------------------------------------------------------

do
  local upward, unknown, inner = {}, {}, {}
  for _, file in ipairs(sources) do
    for n, line in each_line(file.text) do
      local header = line:match('^%s*#%s*include%s+"([^"]+)"')
      local floor = header and header:match("^([^/]+)/")
      local place = header and ("%s:%d includes %s"):format(file.path, n, header)
      if header and not (floor and HEIGHT[floor]) then
        unknown[#unknown + 1] = place
      elseif header then
        if HEIGHT[floor] > (HEIGHT[file.floor] or 0) then upward[#upward + 1] = place end
        local private = header:match("_internal%.h$") or header:match("_parts%.h$")
        if private and floor ~= file.floor then inner[#inner + 1] = place end
      end
    end
  end
  report("includes point downward: base, core, io, script, server, app", upward)
  report("every own header is named by its floor", unknown)
  report("headers named _internal or _parts stay inside their floor", inner)
  local strays = {}
  for _, file in ipairs(sources) do
    if not HEIGHT[file.floor] then strays[#strays + 1] = file.path end
  end
  report("every source lies on a floor", strays)
end

do
  local world, foreign, crowded = {}, {}, {}
  for _, file in ipairs(sources) do
    local used = {}
    for n, line in each_line(file.text) do
      local header = line:match("^%s*#%s*include%s+<([^>]+)>")
      if header then
        local place = ("%s:%d includes <%s>"):format(file.path, n, header)
        if file.floor == "core" and not CORE_HEADERS[header] then world[#world + 1] = place end
        for _, library in ipairs(LIBRARIES) do
          for _, pattern in ipairs(library.headers) do
            if header:match(pattern) then
              used[library.name] = true
              if not library.floors[file.floor] and not KNOWS_ALL[file.path] then foreign[#foreign + 1] = place end
            end
          end
        end
      end
    end
    local names = {}
    for name in pairs(used) do names[#names + 1] = name end
    table.sort(names)
    if file.floor == "io" and #names > 1 then
      crowded[#crowded + 1] = ("%s: %s"):format(file.path, table.concat(names, " and "))
    end
  end
  report("the core includes nothing of the world", world)
  report("foreign libraries stay on the floors that may know them", foreign)
  report("one foreign library a file in src/io", crowded)
end

do
  local places = {}
  local archive = build .. "/liborr_core.a"
  if not read(archive) then
    places[1] = archive .. " is not built"
  else
    local seen = {}
    for _, line in ipairs(lines_of("nm -u " .. archive)) do
      local symbol = line:match("^%s+U%s+(%S+)")
      if symbol and not seen[symbol] then
        seen[symbol] = true
        local good = false
        for _, pattern in ipairs(CORE_SYMBOLS) do good = good or symbol:match(pattern) ~= nil end
        if not good then places[#places + 1] = "the core asks for " .. symbol end
      end
    end
    if next(seen) == nil then places[1] = "nm found no symbol in " .. archive end
  end
  report("the core links nothing of the world", places)
end

-- --- calls -----------------------------------------------------------------------------------------------

do
  local banned, prints = {}, {}
  local may_print = { ["src/base/check.c"] = true, ["src/base/log.c"] = true }
  for _, file in ipairs(c_files) do
    for n, line in each_line(file.code) do
      for _, name in ipairs(BANNED) do
        if file.floor and line:find("%f[%w_]" .. name .. "%s*%(") and not line:find("[%.>]" .. name .. "%s*%(") then
          banned[#banned + 1] = ("%s:%d calls %s"):format(file.path, n, name)
        end
      end
      if file.floor and file.floor ~= "app" and not may_print[file.path] then
        for _, name in ipairs { "printf", "puts", "putchar", "perror", "fprintf", "fputs" } do
          local stream = name:sub(1, 1) ~= "f" or line:find("stderr") or line:find("stdout")
          if stream and line:find("%f[%w_]" .. name .. "%s*%(") then
            prints[#prints + 1] = ("%s:%d calls %s"):format(file.path, n, name)
          end
        end
      end
    end
  end
  report("no banned call in the sources", banned)
  for _, file in ipairs(lua_files) do
    if file.path:match("^lua/orrery/") then
      for n, line in each_line(file.text) do
        if line:match("^%s*print%s*[%(\"']") or line:match("%f[%w_]debug%.debug%(") then
          prints[#prints + 1] = ("%s:%d prints"):format(file.path, n)
        end
      end
    end
  end
  report("no debug print below the application", prints)
end

-- --- file heads --------------------------------------------------------------------------------------------

do
  local license, purpose, modules, meta = {}, {}, {}, {}
  for _, file in ipairs(c_files) do
    local first, second = file.text:match("^([^\n]*)\n([^\n]*)")
    if first ~= "// SPDX-License-Identifier: MIT" then license[#license + 1] = file.path end
    if not (second and second:match("^// %u") or second and second:match("^// %S")) then
      purpose[#purpose + 1] = file.path
    end
  end
  for _, file in ipairs(lua_files) do
    local first = file.text:gsub("^#![^\n]*\n", ""):match("^([^\n]*)") or ""
    if file.path:match("^lua/meta/") then
      if first ~= "---@meta" and not first:match("^%-%-%-@meta ") then meta[#meta + 1] = file.path end
    elseif not file.path:match("^tests/bad/") and not first:match("^%-%-") then
      modules[#modules + 1] = file.path
    end
  end
  report("every C file begins with its licence", license)
  report("every C file says what it is", purpose)
  report("every Lua file begins with a comment", modules)
  report("definition files begin with ---@meta", meta)
end

-- --- leftovers ---------------------------------------------------------------------------------------------

do
  local words = { word("TO", "DO"), word("FIX", "ME"), word("XX", "X"), word("HA", "CK") }
  local leftovers, outside, blanks = {}, {}, {}
  local paths = { word("/wo", "rk") .. "%f[^%w_%-]", word("%.%./sha", "red") }
  for _, file in ipairs(texts) do
    for n, line in each_line(file.text) do
      for _, w in ipairs(words) do
        if line:find("%f[%w_]" .. w .. "%f[^%w_]") then
          leftovers[#leftovers + 1] = ("%s:%d has %s"):format(file.path, n, w)
        end
      end
      for _, pattern in ipairs(paths) do
        if line:find(pattern) then outside[#outside + 1] = ("%s:%d"):format(file.path, n) end
      end
    end
  end
  for _, file in ipairs(sources) do
    for n, line in each_line(file.text) do
      if line:find("%s$") or line:find("\t", 1, true) then
        blanks[#blanks + 1] = ("%s:%d has a tab or a blank at its end"):format(file.path, n)
      end
    end
  end
  report("no note of something left undone", leftovers)
  report("no path of the machine that it was made on", outside)
  report("no tab, no blank at the end of a line", blanks)
end

print(("%d passed, %d failed"):format(passed, failed))
os.exit(failed == 0)
