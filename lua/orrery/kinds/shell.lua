-- SPDX-License-Identifier: MIT
-- Kind shell: a text of the author's for /bin/sh, or a list of arguments. Data goes in as argv, env or stdin, never into
-- the text. Its standard error goes to the log line by line; its standard output, parsed, is the step's output.
local c_json = require "orrery.c.json"
local context = require "orrery.ctx"
local log = require "orrery.log"
local process_c = require "orrery.c.process"
local process = require "orrery.process"
local task = require "orrery.c.task"

local M = {}

local TAIL = 600 -- bytes of standard error in the message

local function fail(code, message, retryable) error({ code = code, message = message, retryable = retryable }, 0) end

-- A value as one argument: texts as they are, anything else as JSON text.
local function as_text(value, what)
  if type(value) == "string" then return value end
  if value == nil then fail("invalid", what .. " is nil", false) end
  local text, err = c_json.encode(context.plain(value), what)
  if not text then fail("not_serialisable", err, false) end
  return text
end

local function argv_of(ctx, command, pipeline)
  if type(command) == "function" then command = command(ctx) end
  if type(command) == "string" then return { "/bin/sh", "-c", command } end
  local argv = {}
  for i, item in ipairs(command) do
    argv[i] = as_text(context.resolve(ctx, item, pipeline), ("command[%d]"):format(i))
  end
  return argv
end

local function env_of(ctx, options, pipeline)
  local env = {}
  local given = context.resolve(ctx, options.env or {}, pipeline)
  for name, value in pairs(given) do env[name] = as_text(value, "env." .. name) end
  env.ORRERY_RUN_ID, env.ORRERY_STEP = ctx.run.id, ctx.step
  env.ORRERY_ATTEMPT, env.ORRERY_IDEMPOTENCY_KEY = tostring(ctx.attempt), ctx.idempotency_key
  return process.environment(env)
end

local function folder(ctx, options, pipeline)
  local cwd = options.cwd and context.resolve(ctx, options.cwd, pipeline) or task.root()
  return cwd:sub(1, 1) == "/" and cwd or task.root() .. "/" .. cwd
end

local function is_ok(code, ok_codes)
  for _, good in ipairs(ok_codes or { 0 }) do
    if good == code then return true end
  end
  return false
end

local function check_exit(result, ok_codes)
  local how
  if result.signal then how = ("ended by signal %d"):format(result.signal)
  elseif not is_ok(result.code, ok_codes) then how = ("exit status %d"):format(result.code)
  else return end
  local tail = process_c.repair(result.stderr:sub(-TAIL)):gsub("%s+$", "")
  fail("exit", tail ~= "" and how .. ": " .. tail or how, true)
end

local parsers = {}

function parsers.text(text)
  local clean, repaired = process_c.repair(text)
  if repaired then log.warn("the output was not UTF-8; invalid bytes were replaced by U+FFFD") end
  return clean
end

function parsers.lines(text)
  local list = setmetatable({}, c_json.array_mt)
  for line in (parsers.text(text):gsub("\n$", "") .. "\n"):gmatch("([^\n]*)\n") do list[#list + 1] = line end
  if text == "" then list[1] = nil end
  return list
end

function parsers.json(text)
  local value, err = c_json.decode(text)
  if err then fail("invalid_output", "the output is no JSON: " .. err, true) end
  return value
end

function M.run(ctx, pipeline, step)
  local options = step.options
  local stdin = options.stdin ~= nil and context.resolve(ctx, options.stdin, pipeline) or nil
  if stdin ~= nil then stdin = as_text(stdin, "stdin") end
  local argv = argv_of(ctx, options.command, pipeline)
  local result, err = process_c.run(argv, env_of(ctx, options, pipeline), folder(ctx, options, pipeline), stdin, true)
  if not result then fail(err.code, argv[1] .. " " .. err.message, false) end
  check_exit(result, options.ok_codes)
  if result.truncated then fail("too_large", "its output is larger than 16 MiB", false) end
  return "ok", parsers[options.parse or "text"](result.stdout)
end

return M
