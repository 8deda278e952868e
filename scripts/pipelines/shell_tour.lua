-- Shell steps: a list of arguments or a text for the shell; data goes in as arguments, environment or stdin.
local o = require "orrery"

o.pipeline "shell_tour" {
  description = "Three ways to run a program.",
  input = { who = o.string { default = "it's me" } },

  o.shell "argv" { command = { "printf", "%s\n", o.ref "input.who" } }, -- no quoting to get wrong
  o.shell "text" { command = 'tr a-z A-Z; echo "from $PLACE" >&2', stdin = o.ref "input.who", env = { PLACE = "stderr" } },
  o.shell "json" { command = { "printf", '{"load": [1, 2.5]}' }, parse = "json", timeout = "5s" },
  o.shell "codes" { command = "exit 3", ok_codes = { 0, 3 } },
}
