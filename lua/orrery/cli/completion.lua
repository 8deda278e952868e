-- SPDX-License-Identifier: MIT
-- Completion scripts for shells, made from the verb table.
local ui = require "orrery.cli.ui"
local verbs = require "orrery.cli.verbs"

local M = {}

-- Every leaf and group: { path = "runs list", words = what may follow, files = true }
local function nodes()
  local list = {}
  local function words_of(verb)
    local words = {}
    for _, sub in ipairs(verb.verbs or {}) do words[#words + 1] = sub.name end
    for _, arg in ipairs(verb.args or {}) do
      for _, choice in ipairs(arg.choices or {}) do words[#words + 1] = choice end
    end
    for _, option in ipairs(verb.verbs and verbs.common or verbs.options(verb)) do
      for _, name in ipairs(option.names) do words[#words + 1] = name end
    end
    return words
  end
  local function takes_files(verb)
    for _, arg in ipairs(verb.args or {}) do
      if arg.files then return true end
    end
    return false
  end
  for _, verb in ipairs(verbs.verbs) do
    list[#list + 1] = { path = verb.name, verb = verb, words = words_of(verb), files = takes_files(verb) }
    for _, sub in ipairs(verb.verbs or {}) do
      list[#list + 1] = { path = verb.name .. " " .. sub.name, verb = sub, words = words_of(sub), files = takes_files(sub) }
    end
  end
  return list
end

local function top_words()
  local words = verbs.names(verbs.verbs)
  words[#words + 1] = "help"
  return words
end

-- { ["--status"] = { "queued", … } }: the same option takes the same choices everywhere.
local function option_choices()
  local list = {}
  for _, node in ipairs(nodes()) do
    for _, option in ipairs(node.verb.options or {}) do
      if option.choices then list[option.names[#option.names]] = option.choices end
    end
  end
  local names = {}
  for name in pairs(list) do names[#names + 1] = name end
  table.sort(names)
  return names, list
end

function M.bash()
  local out = { "# bash completion of orrery; made by: orrery completion bash", "_orrery() {",
                '  local cur="${COMP_WORDS[COMP_CWORD]}" prev="${COMP_WORDS[COMP_CWORD-1]}" path="${COMP_WORDS[1]}" words="" files=""',
                '  if [ "$COMP_CWORD" -le 1 ]; then COMPREPLY=($(compgen -W "' .. table.concat(top_words(), " ") .. ' --help --version" -- "$cur")); return; fi',
                '  if [ "$path" = help ]; then COMPREPLY=($(compgen -W "' .. table.concat(verbs.names(verbs.verbs), " ") .. '" -- "$cur")); return; fi',
                '  case "$path" in' }
  for _, verb in ipairs(verbs.verbs) do
    if verb.verbs then out[#out + 1] = ('    %s) [ "$COMP_CWORD" -gt 2 ] && path="%s ${COMP_WORDS[2]}" ;;'):format(verb.name, verb.name) end
  end
  out[#out + 1] = "  esac"
  out[#out + 1] = '  case "$prev" in'
  local names, choices = option_choices()
  for _, name in ipairs(names) do
    out[#out + 1] = ('    %s) COMPREPLY=($(compgen -W "%s" -- "$cur")); return ;;'):format(name, table.concat(choices[name], " "))
  end
  out[#out + 1] = '    --project|-p) COMPREPLY=($(compgen -d -- "$cur")); return ;;'
  out[#out + 1] = "  esac"
  out[#out + 1] = '  case "$path" in'
  for _, node in ipairs(nodes()) do
    out[#out + 1] = ('    "%s") words="%s"%s ;;'):format(node.path, table.concat(node.words, " "), node.files and " files=1" or "")
  end
  out[#out + 1] = "  esac"
  out[#out + 1] = '  COMPREPLY=($(compgen -W "$words" -- "$cur"))'
  out[#out + 1] = '  [ -n "$files" ] && COMPREPLY+=($(compgen -f -- "$cur"))'
  out[#out + 1] = "}"
  out[#out + 1] = "complete -o filenames -F _orrery orrery"
  return table.concat(out, "\n") .. "\n"
end

local function quoted(text) return "'" .. text:gsub("'", "'\\''") .. "'" end
local function zsh_words(list)
  local out = {}
  for _, verb in ipairs(list) do out[#out + 1] = quoted(verb.name .. ":" .. verb.summary) end
  return table.concat(out, " ")
end

function M.zsh()
  local out = { "#compdef orrery", "# zsh completion of orrery; made by: orrery completion zsh", "_orrery() {",
                '  local path_="${words[2]}"', "  local -a verbs_", "  if (( CURRENT == 2 )); then",
                ("    verbs_=(%s 'help:show the help of a verb')"):format(zsh_words(verbs.verbs)),
                "    _describe 'verb' verbs_; return", "  fi" }
  for _, verb in ipairs(verbs.verbs) do
    if verb.verbs then
      out[#out + 1] = ('  if [[ "$path_" == %s ]]; then'):format(verb.name)
      out[#out + 1] = ("    if (( CURRENT == 3 )); then verbs_=(%s); _describe 'verb' verbs_; return; fi"):format(zsh_words(verb.verbs))
      out[#out + 1] = ('    path_="%s ${words[3]}"'):format(verb.name)
      out[#out + 1] = "  fi"
    end
  end
  out[#out + 1] = '  case "${words[CURRENT-1]}" in'
  local names, choices = option_choices()
  for _, name in ipairs(names) do out[#out + 1] = ("    %s) compadd -- %s; return ;;"):format(name, table.concat(choices[name], " ")) end
  out[#out + 1] = "    --project|-p) _files -/; return ;;"
  out[#out + 1] = "  esac"
  out[#out + 1] = '  case "$path_" in'
  for _, node in ipairs(nodes()) do
    out[#out + 1] = ('    "%s") compadd -- %s%s ;;'):format(node.path, table.concat(node.words, " "), node.files and "; _files" or "")
  end
  out[#out + 1] = "  esac"
  out[#out + 1] = "}"
  out[#out + 1] = "compdef _orrery orrery"
  return table.concat(out, "\n") .. "\n"
end

local function fish_option(condition, option)
  local parts = { "complete -c orrery", condition and "-n " .. quoted(condition) or "" }
  for _, name in ipairs(option.names) do
    parts[#parts + 1] = name:sub(1, 2) == "--" and "-l " .. name:sub(3) or "-s " .. name:sub(2)
  end
  if option.arg then parts[#parts + 1] = option.choices and "-xa " .. quoted(table.concat(option.choices, " ")) or "-r" end
  parts[#parts + 1] = "-d " .. quoted(option.help)
  return (table.concat(parts, " "):gsub("%s+", " "))
end

function M.fish()
  local out = { "# fish completion of orrery; made by: orrery completion fish", "complete -c orrery -f" }
  local function verb_line(condition, verb)
    out[#out + 1] = ("complete -c orrery -n %s -a %s -d %s"):format(quoted(condition), verb.name, quoted(verb.summary))
  end
  for _, verb in ipairs(verbs.verbs) do verb_line("__fish_use_subcommand", verb) end
  verb_line("__fish_use_subcommand", { name = "help", summary = "show the help of a verb" })
  for _, verb in ipairs(verbs.verbs) do
    local seen = "__fish_seen_subcommand_from " .. verb.name
    for _, sub in ipairs(verb.verbs or {}) do
      verb_line(seen .. "; and not __fish_seen_subcommand_from " .. table.concat(verbs.names(verb.verbs), " "), sub)
      for _, option in ipairs(verbs.options(sub)) do
        out[#out + 1] = fish_option(seen .. "; and __fish_seen_subcommand_from " .. sub.name, option)
      end
    end
    if not verb.verbs then
      for _, option in ipairs(verbs.options(verb)) do out[#out + 1] = fish_option(seen, option) end
    end
    for _, arg in ipairs(verb.args or {}) do
      if arg.files then out[#out + 1] = ("complete -c orrery -n %s -F"):format(quoted(seen)) end
      if arg.choices then
        out[#out + 1] = ("complete -c orrery -n %s -a %s"):format(quoted(seen), quoted(table.concat(arg.choices, " ")))
      end
    end
  end
  return table.concat(out, "\n") .. "\n"
end

function M.main(values)
  return ui.out(M[values.shell]()) and ui.EXIT.ok or ui.EXIT.failure
end

return M
