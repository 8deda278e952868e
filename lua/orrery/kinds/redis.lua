-- SPDX-License-Identifier: MIT
-- Kind redis: one command, a pipeline, or a function of a client. An error reply fails the step.
local context = require "orrery.ctx"
local json = require "orrery.c.json"
local redis = require "orrery.redis"

local M = {}

-- Texts and numbers as they are, anything else as JSON text.
local function as_argument(value, what)
  if type(value) == "string" or type(value) == "number" then return value end
  if value == nil then error({ code = "invalid", message = what .. " is nil", retryable = false }, 0) end
  local text, err = json.encode(context.plain(value), what)
  if not text then error({ code = "not_serialisable", message = err, retryable = false }, 0) end
  return text
end

local function command_of(ctx, command, pipeline, what)
  if type(command) == "function" then command = command(ctx) end
  if type(command) ~= "table" then
    error({ code = "invalid", message = what .. " gave no list such as { \"GET\", key }", retryable = false }, 0)
  end
  local out = {}
  for i, item in ipairs(command) do
    out[i] = as_argument(context.resolve(ctx, item, pipeline), ("%s[%d]"):format(what, i))
  end
  return out
end

local function commands_of(ctx, list, pipeline)
  if type(list) == "function" then list = list(ctx) end
  local out = {}
  for i, command in ipairs(list) do out[i] = command_of(ctx, command, pipeline, ("pipeline[%d]"):format(i)) end
  return out
end

local function raise_first(replies)
  for i, reply in ipairs(replies) do
    if type(reply) == "table" and reply.code and reply.message then
      error({ code = reply.code, message = ("command %d: %s"):format(i, reply.message), retryable = reply.retryable }, 0)
    end
  end
end

function M.run(ctx, pipeline, step)
  local options = step.options
  local url = options.url and context.resolve(ctx, options.url, pipeline) or nil
  local client = redis.client_for(url)
  if options.fn then return "ok", options.fn(client, ctx) end
  if options.command then
    local reply, err = client:call(table.unpack(command_of(ctx, options.command, pipeline, "command")))
    if err then error(err, 0) end
    return "ok", reply
  end
  local replies, err = client:pipeline(commands_of(ctx, options.pipeline, pipeline))
  if not replies then error(err, 0) end
  raise_first(replies)
  return "ok", replies
end

return M
