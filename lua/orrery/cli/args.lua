-- SPDX-License-Identifier: MIT
-- From words to a verb and its values. Top words are looked up in the verb table, the rest is parsed by argparse.
local argparse = require "argparse"
local suggest = require "orrery.suggest"
local verbs = require "orrery.cli.verbs"

local M = {}

local function usage_error(message, help, path)
  return { error = message, help = help, try = ("orrery %s--help"):format(path ~= "" and path .. " " or "") }
end

local function unknown_word(kind, word, names, path)
  local near = suggest.nearest(word, names)
  local help = near and ('did you mean "%s"?'):format(near) or ("there is: " .. table.concat(names, ", "))
  return usage_error(('unknown %s "%s"'):format(kind, word), help, path)
end

-- --- help texts ----------------------------------------------------------------------------------------------

local function rows(list, out)
  local width = 0
  for _, row in ipairs(list) do width = math.max(width, #row[1]) end
  for _, row in ipairs(list) do out[#out + 1] = ("  %-" .. width .. "s   %s"):format(row[1], row[2]) end
end

local function option_rows(verb)
  local list = {}
  for _, option in ipairs(verbs.options(verb)) do
    local names = table.concat(option.names, ", ")
    local choices = option.choices and (" (%s)"):format(table.concat(option.choices, ", ")) or ""
    list[#list + 1] = { names .. (option.arg and " " .. option.arg or ""), option.help .. choices }
  end
  return list
end

local function section(out, title, list)
  if #list == 0 then return end
  out[#out + 1] = ""
  out[#out + 1] = title
  rows(list, out)
end

--- The help text of a leaf or a group of verbs.
function M.help(verb, path)
  local out, words = {}, { "orrery " .. path }
  if verb.verbs then
    out[1] = ("usage: orrery %s VERB [options]"):format(path)
    out[2] = ""
    out[3] = verb.summary:sub(1, 1):upper() .. verb.summary:sub(2) .. "."
    local list, examples = {}, {}
    for _, sub in ipairs(verb.verbs) do list[#list + 1] = { sub.name, sub.summary } end
    section(out, "verbs:", list)
    for _, sub in ipairs(verb.verbs) do examples[#examples + 1] = { sub.examples[1], "" } end
    section(out, "examples:", examples)
  else
    local args = {}
    for _, arg in ipairs(verb.args or {}) do
      words[#words + 1] = arg.optional and ("[%s]"):format(arg.name:upper()) or arg.name:upper()
      args[#args + 1] = { arg.name:upper(), arg.help }
    end
    out[1] = ("usage: %s [options]"):format(table.concat(words, " "))
    out[2] = ""
    out[3] = verb.description or verb.summary:sub(1, 1):upper() .. verb.summary:sub(2) .. "."
    section(out, "arguments:", args)
    section(out, "options:", option_rows(verb))
    local examples, exits = {}, {}
    for _, text in ipairs(verb.examples or {}) do examples[#examples + 1] = { text, "" } end
    for _, text in ipairs(verb.exits or {}) do
      local code, meaning = text:match("^(%d+) (.*)$")
      exits[#exits + 1] = { code, meaning }
    end
    section(out, "examples:", examples)
    section(out, "exit codes:", exits)
  end
  for i, line in ipairs(out) do out[i] = line:gsub("%s+$", "") end
  return table.concat(out, "\n") .. "\n"
end

--- The help text of the whole.
function M.overview()
  local out, list = { "usage: orrery VERB [options]", "", "Runs pipelines written in Lua." }, {}
  for _, verb in ipairs(verbs.verbs) do list[#list + 1] = { verb.name, verb.summary } end
  list[#list + 1] = { "help", "show the help of a verb" }
  section(out, "verbs:", list)
  section(out, "options:", { { "-h, --help", "show this help" }, { "--version", "show the version" } })
  section(out, "examples:", { { "orrery run pipelines/report.lua", "" }, { "orrery dev", "" },
                              { "orrery runs list --status failed", "" }, { "orrery help run", "" } })
  for i, line in ipairs(out) do out[i] = line:gsub("%s+$", "") end
  return table.concat(out, "\n") .. "\n"
end

-- --- leaves ----------------------------------------------------------------------------------------------------

local function target_of(option)
  return (option.names[#option.names]:gsub("^%-+", ""):gsub("%-", "_"))
end

local function parser_of(verb, path)
  local parser = argparse("orrery " .. path):add_help(false)
  for _, arg in ipairs(verb.args or {}) do
    local made = parser:argument(arg.name)
    if arg.optional then made:args "?" end
  end
  for _, option in ipairs(verbs.options(verb)) do
    local names = table.concat(option.names, " ")
    if option.arg then
      local made = parser:option(names):target(target_of(option))
      if option.many then made:count "*" end
    else
      parser:flag(names):target(target_of(option))
    end
  end
  return parser
end

local function option_names(verb)
  local names = {}
  for _, option in ipairs(verbs.options(verb)) do
    for _, name in ipairs(option.names) do names[#names + 1] = name end
  end
  return names
end

local function parse_error(message, verb, path)
  message = message:gsub("\nDid you mean.*$", "")
  local word = message:match("^unknown option '(.-)'$")
  if word then
    local near = suggest.nearest(word, option_names(verb))
    return usage_error(('unknown option "%s"'):format(word), near and ('did you mean "%s"?'):format(near), path)
  end
  return usage_error((message:gsub("'", '"')), nil, path)
end

local function check_choice(what, value, choices, path)
  for _, choice in ipairs(choices) do
    if choice == value then return end
  end
  local near = suggest.nearest(value, choices)
  return usage_error(('%s takes %s, not "%s"'):format(what, table.concat(choices, ", "), value),
                     near and ('did you mean "%s"?'):format(near), path)
end

local function check_integer(name, text, range, path)
  local value = text:match("^%d+$") and math.tointeger(tonumber(text))
  if value and value >= range[1] and value <= range[2] then return nil, value end
  return usage_error(("%s takes a whole number from %d to %d"):format(name, range[1], range[2]), nil, path)
end

local function check_values(verb, values, path)
  for _, option in ipairs(verb.options or {}) do
    local target, name = target_of(option), option.names[#option.names]
    local value, wrong = values[target], nil
    if value and option.choices then wrong = check_choice(name, value, option.choices, path) end
    if value and option.integer then wrong, values[target] = check_integer(name, value, option.integer, path) end
    if wrong then return wrong end
  end
  for _, arg in ipairs(verb.args or {}) do
    local wrong = arg.choices and values[arg.name] and check_choice(arg.name:upper(), values[arg.name], arg.choices, path)
    if wrong then return wrong end
  end
end

local function wants_help(words)
  for _, word in ipairs(words) do
    if word == "--" then return false end
    if word == "-h" or word == "--help" then return true end
  end
  return false
end

local function parse_leaf(verb, path, words)
  if wants_help(words) then return { text = M.help(verb, path) } end
  local ok, values = parser_of(verb, path):pparse(words)
  if not ok then return parse_error(values, verb, path) end
  local wrong = check_values(verb, values, path)
  if wrong then return wrong end
  return { verb = verb, path = path, values = values }
end

-- --- the whole ---------------------------------------------------------------------------------------------------

local function help_of(words)
  local list, path, verb = verbs.verbs, {}, nil
  for _, word in ipairs(words) do
    if word:sub(1, 1) ~= "-" then
      verb = list and verbs.find(list, word)
      if not verb then return unknown_word("verb", word, verbs.names(list or verbs.verbs), table.concat(path, " ")) end
      path[#path + 1] = word
      list = verb.verbs
    end
  end
  if not verb then return { text = M.overview() } end
  return { text = M.help(verb, table.concat(path, " ")) }
end

--- What the words ask for.
---@param words string[]
---@return table   { verb, path, values } | { text } to print on stdout | { error, help, try } of wrong usage
function M.parse(words)
  local first = words[1]
  if not first then return usage_error("a verb is missing", nil, "") end
  if first == "-h" or first == "--help" then return { text = M.overview() } end
  if first == "--version" or first == "-V" then return { version = true } end
  if first == "help" then return help_of(table.move(words, 2, #words, 1, {})) end
  local verb = verbs.find(verbs.verbs, first)
  if not verb then
    local names = verbs.names(verbs.verbs)
    names[#names + 1] = "help"
    return unknown_word(first:sub(1, 1) == "-" and "option" or "verb", first, names, "")
  end
  local rest = table.move(words, 2, #words, 1, {})
  if not verb.verbs then return parse_leaf(verb, verb.name, rest) end
  local second = rest[1]
  if second == "-h" or second == "--help" then return { text = M.help(verb, verb.name) } end
  if not second then
    return usage_error(("%s needs a verb: %s"):format(verb.name, table.concat(verbs.names(verb.verbs), ", ")), nil, verb.name)
  end
  local sub = verbs.find(verb.verbs, second)
  if not sub then return unknown_word("verb", second, verbs.names(verb.verbs), verb.name) end
  return parse_leaf(sub, verb.name .. " " .. sub.name, table.move(rest, 2, #rest, 1, {}))
end

return M
