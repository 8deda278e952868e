-- SPDX-License-Identifier: MIT
-- The one table of verbs: parser, help and completion are made from it. An option is { names, arg = "NAME" (takes a
-- value), help, many = true (may stand several times), choices }; an argument is { name, help, optional, choices }.
local STATUSES = { "queued", "running", "waiting", "paused", "succeeded", "failed", "cancelled" }

local PROJECT = { names = { "-p", "--project" }, arg = "DIR", help = "folder of the project (default: this folder)", files = true }
local SERVER = { names = { "--server" }, arg = "URL",
                 help = "engine to talk to (default: $ORRERY_SERVER, the project's own, else http://127.0.0.1:8080)" }
local STORE = { names = { "--store" }, arg = "URL", help = "where data is kept (default: sqlite:PROJECT/.orrery/orrery.db)" }
local WORKERS = { names = { "--workers" }, arg = "N", help = "worker threads (default: one a core)", integer = { 1, 64 } }
local DURABILITY = { names = { "--durability" }, arg = "MODE", choices = { "full", "normal" },
                     help = "full: survives power loss (default); normal: survives a killed process" }
local LISTEN = { names = { "--listen" }, arg = "HOST:PORT", help = "loopback address to serve on (default: 127.0.0.1:8080)" }
local RUN_ID = { name = "id", help = "id of the run, 26 characters" }
local REASON = { names = { "--reason" }, arg = "TEXT", help = "kept in the run's journal" }

local M = {}

-- Options that every verb has.
M.common = {
  { names = { "--json" }, help = "print data as JSON on stdout" },
  { names = { "--no-color" }, help = "no colour and no progress bars (as does NO_COLOR)" },
  { names = { "-h", "--help" }, help = "show this help" },
}

M.verbs = {
  {
    name = "run", module = "orrery.cli.run", summary = "run a pipeline to its end, here",
    description = "Runs a pipeline to its end in this process and prints its output as JSON on stdout. The target is a\n" ..
      "script file, a folder, or the name of a pipeline of the project.",
    args = {
      { name = "target", help = "script file, project folder, or name of a pipeline", files = true },
      { name = "name", help = "name of the pipeline, if the script declares several", optional = true },
    },
    options = {
      { names = { "-i", "--input" }, arg = "JSON", help = "the run's input: JSON, @FILE, or - for stdin" },
      { names = { "-s", "--set" }, arg = "KEY=VALUE", many = true, help = "set one value of the input (JSON, else text)" },
      PROJECT, SERVER, STORE, WORKERS, DURABILITY,
      { names = { "-q", "--quiet" }, help = "say nothing on stderr but errors" },
    },
    examples = {
      "orrery run pipelines/report.lua",
      "orrery run report --project demo --input '{\"day\":\"monday\"}'",
      "orrery run report --set day=monday --set limit=10 --json",
      "orrery run report --input @input.json --server http://127.0.0.1:8080",
    },
    exits = { "0 succeeded", "2 wrong usage", "3 not found", "4 invalid script or input", "5 the run failed",
              "6 the store is in use", "130 interrupted" },
  },
  {
    name = "dev", module = "orrery.cli.serve", summary = "serve a project and reload its scripts as they change",
    description = "Serves a project on this machine for development: everything in one process, scripts are loaded anew\n" ..
      "when they are saved, mistakes are shown here and at /api/scripts.",
    args = { { name = "project", help = "folder of the project, or one script (default: this folder)", optional = true, files = true } },
    options = { LISTEN, STORE, WORKERS, DURABILITY },
    examples = { "orrery dev", "orrery dev demo --listen 127.0.0.1:9000" },
    exits = { "0 stopped by a signal", "2 wrong usage or address", "4 no script can be loaded", "6 port or store in use" },
  },
  {
    name = "serve", module = "orrery.cli.serve", summary = "serve a project",
    description = "Serves a project: runs its pipelines, answers HTTP, reloads scripts. Listens on loopback only, because\n" ..
      "there is no login yet.",
    args = { { name = "project", help = "folder of the project (default: this folder)", optional = true, files = true } },
    options = { LISTEN, STORE, WORKERS, DURABILITY },
    examples = { "orrery serve /srv/project", "orrery serve demo --listen 127.0.0.1:9000 --workers 4" },
    exits = { "0 stopped by a signal", "2 wrong usage or address", "4 no script can be loaded", "6 port or store in use" },
  },
  {
    name = "validate", module = "orrery.cli.validate", summary = "check scripts without running them",
    description = "Loads a script or a project and checks every declaration. Needs no engine and no store.",
    args = { { name = "path", help = "script or project folder (default: this folder)", optional = true, files = true } },
    options = {},
    examples = { "orrery validate", "orrery validate pipelines/report.lua --json" },
    exits = { "0 nothing wrong", "3 no such path", "4 mistakes found" },
  },
  {
    name = "runs", summary = "list, show and control the runs of a running engine",
    verbs = {
      {
        name = "list", module = "orrery.cli.runs", summary = "list runs, newest first",
        options = {
          { names = { "--status" }, arg = "STATUS", choices = STATUSES, help = "only runs of this status" },
          { names = { "--pipeline" }, arg = "NAME", help = "only runs of this pipeline" },
          { names = { "--limit" }, arg = "N", help = "at most so many (default 50)", integer = { 1, 500 } },
          { names = { "--cursor" }, arg = "CURSOR", help = "go on where the last page ended" },
          SERVER, PROJECT,
        },
        examples = { "orrery runs list", "orrery runs list --status failed --limit 10", "orrery runs list --pipeline report --json" },
      },
      {
        name = "show", module = "orrery.cli.runs", summary = "show a run and its steps",
        args = { RUN_ID }, options = { SERVER, PROJECT },
        examples = { "orrery runs show 01KAGE4Y6Y3M8J5XH2S9QZ7V0T" },
      },
      {
        name = "watch", module = "orrery.cli.runs", summary = "wait until a run has ended",
        description = "Waits until the run has ended; ends 0 if it succeeded, else 5.",
        args = { RUN_ID },
        options = { { names = { "--timeout" }, arg = "DURATION", help = "give up after this time (exit code 7)" }, SERVER, PROJECT },
        examples = { "orrery runs watch 01KAGE4Y6Y3M8J5XH2S9QZ7V0T", "orrery runs watch 01KAGE4Y6Y3M8J5XH2S9QZ7V0T --timeout 5m" },
      },
      {
        name = "cancel", module = "orrery.cli.runs", summary = "cancel a run", args = { RUN_ID },
        options = { REASON, SERVER, PROJECT },
        examples = { "orrery runs cancel 01KAGE4Y6Y3M8J5XH2S9QZ7V0T --reason 'wrong input'" },
      },
      {
        name = "pause", module = "orrery.cli.runs", summary = "start no more steps of a run", args = { RUN_ID },
        options = { REASON, SERVER, PROJECT }, examples = { "orrery runs pause 01KAGE4Y6Y3M8J5XH2S9QZ7V0T" },
      },
      {
        name = "resume", module = "orrery.cli.runs", summary = "let a paused run go on", args = { RUN_ID },
        options = { REASON, SERVER, PROJECT }, examples = { "orrery runs resume 01KAGE4Y6Y3M8J5XH2S9QZ7V0T" },
      },
      {
        name = "logs", module = "orrery.cli.runs", summary = "print the logs of a run",
        description = "Prints what the run's steps wrote: ctx.log, print and the output of commands. With --json one object\na line.",
        args = { RUN_ID },
        options = {
          { names = { "-f", "--follow" }, help = "go on until the run has ended" },
          { names = { "--step" }, arg = "NAME", help = "only of this step" },
          { names = { "--level" }, arg = "LEVEL", choices = { "debug", "info", "warn", "error" }, help = "at least this level" },
          SERVER, PROJECT,
        },
        examples = { "orrery runs logs 01KAGE4Y6Y3M8J5XH2S9QZ7V0T --follow",
                     "orrery runs logs 01KAGE4Y6Y3M8J5XH2S9QZ7V0T --step load --level warn" },
      },
    },
  },
  {
    name = "doctor", module = "orrery.cli.doctor", summary = "check this machine and the project's data",
    description = "Checks libraries, the disk, the store and its lock, and the port; says what to do about what is wrong.",
    options = { PROJECT }, examples = { "orrery doctor", "orrery doctor --project demo --json" },
    exits = { "0 all is well", "1 something is wrong" },
  },
  {
    name = "completion", module = "orrery.cli.completion", summary = "print a completion script for a shell",
    args = { { name = "shell", help = "bash, zsh or fish", choices = { "bash", "zsh", "fish" } } }, options = {},
    examples = { 'eval "$(orrery completion bash)"', "orrery completion fish > ~/.config/fish/completions/orrery.fish" },
  },
}

--- All options of a verb, common ones last.
function M.options(verb)
  local all = {}
  for _, option in ipairs(verb.options or {}) do all[#all + 1] = option end
  for _, option in ipairs(M.common) do all[#all + 1] = option end
  return all
end

--- The verb of that name in a list, or nil.
function M.find(list, name)
  for _, verb in ipairs(list) do
    if verb.name == name then return verb end
  end
end

function M.names(list)
  local names = {}
  for i, verb in ipairs(list) do names[i] = verb.name end
  return names
end

return M
