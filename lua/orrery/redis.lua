-- SPDX-License-Identifier: MIT
-- o.redis: Redis as straight code. A handle is a URL; its connections belong to the worker and are shared by everything that uses
-- this URL. What the world refuses is returned as nil, { code, message, retryable }; a subscription raises it instead.
local c = require "orrery.c.redis"
local c_time = require "orrery.c.time"
local registry = require "orrery.registry"

local M = {}

local WATCH_ATTEMPTS = 5

local function duration_ms(value, what)
  if value == nil then return 0 end
  local ms = (type(value) == "string" or type(value) == "number") and c_time.duration(value)
  if not ms then error(("%s takes a duration such as \"2s\""):format(what), 3) end
  return ms
end

-- --- clients ---------------------------------------------------------------------------------------------------------

local Client = {} -- of handles and sessions
local command_names = {} -- method -> function, made when first called

local client_mt = {
  __name = "orrery.redis",
  __index = function(_, key)
    local known = Client[key] or command_names[key]
    if known or type(key) ~= "string" or not key:find("^[a-z][a-z0-9_]*$") then return known end
    local name = key:upper()
    local function command(self, ...) return c.call(self.box, self.timeout_ms, name, ...) end
    command_names[key] = command
    return command
  end,
  __close = function(self) self:close() end,
  __tostring = function(self) return self.in_session and "a Redis session" or "a Redis handle" end,
}

--- Runs one command.
---@param name string
---@param ... string|number
---@return any reply  nil for a nil reply; inside lists it is o.json.null
---@return table? err
function Client:call(name, ...) return c.call(self.box, self.timeout_ms, name, ...) end

--- Sends all commands at once. An error reply stands in its place as an error table; nil replies are o.json.null.
---@param commands table[]
---@return any[]? replies
---@return table? err
function Client:pipeline(commands) return c.pipeline(self.box, self.timeout_ms, commands) end

local function keys_of(watch)
  if watch == nil then return nil end
  if type(watch) == "string" then watch = { watch } end
  if type(watch) ~= "table" or type(watch[1]) ~= "string" then
    error("r:transaction: watch takes a key or a list of keys", 3)
  end
  return watch
end

-- One go: WATCH, the function that reads and decides, then MULTI ... EXEC.
local function watched(self, keys, run)
  local session <close>, err = self:session(keys[1])
  if not session then return nil, err end
  local ok
  ok, err = session:call("WATCH", table.unpack(keys))
  if not ok then return nil, err end
  local commands, refused = run(session)
  if commands == nil then return nil, refused end
  local replies
  replies, err = c.transaction(session.box, session.timeout_ms, commands)
  session:close(true)
  return replies, err
end

--- MULTI and EXEC around a list of commands: all or none. With `watch`, `run` reads through its session and returns the commands; if a
--- watched key changes meanwhile, it is run again.
---@param given table  list of commands, or { watch = key or keys, run = function(session) -> commands, attempts = 5 }
---@return any[]? replies
---@return table? err  code "conflict" when watched keys kept changing
function Client:transaction(given)
  if type(given) ~= "table" then error("r:transaction takes a list of commands or { watch, run }", 2) end
  local keys = keys_of(given.watch)
  if not keys then return c.transaction(self.box, self.timeout_ms, given) end
  if type(given.run) ~= "function" then error("r:transaction with watch needs run = function(session) … end", 2) end
  local replies, err
  for _ = 1, given.attempts or WATCH_ATTEMPTS do
    replies, err = watched(self, keys, given.run)
    if replies or not err or err.code ~= "conflict" then break end
  end
  return replies, err
end

--- A connection of one's own, for SELECT, WATCH, CLIENT REPLY … It is closed afterwards: write `local s <close> = r:session()`.
---@param key? string  on a Cluster: the node that serves it
---@return table? session  a client like this one
---@return table? err
function Client:session(key)
  if self.in_session then error("a session has no sessions", 2) end
  local box, err = c.session(self.box, key)
  if not box then return nil, err end
  return setmetatable({ box = box, timeout_ms = self.timeout_ms, in_session = true }, client_mt)
end

--- Gives it back. Connections that others share stay; a session's own is closed.
---@param clean? boolean  of a session: its connection is as it was and may serve others
function Client:close(clean)
  if self.in_session then c.session_close(self.box, clean) else c.close(self.box) end
end

-- --- subscriptions ---------------------------------------------------------------------------------------------------

local Subscription = {}

--- The next message, when it comes.
---@param timeout? string|number
---@return string? channel
---@return any payload  the payload; an error table if there is no channel (code "timeout")
---@return string? pattern
function Subscription:next(timeout)
  return c.next(self.box, timeout ~= nil and duration_ms(timeout, "next") or nil)
end

function Subscription:close() c.unsubscribe(self.box) end

local subscription_mt = {
  __name = "orrery.redis.subscription",
  __index = Subscription,
  __close = Subscription.close,
  __call = function(self) -- of a generic for
    local channel, payload, pattern = c.next(self.box)
    if channel == nil then error(payload, 0) end
    return channel, payload, pattern
  end,
}

local function handle(self, kind, channels, run)
  if type(channels) == "string" then channels = { channels } end
  if type(channels) ~= "table" then error(("r:%s takes a channel or a list of channels"):format(kind), 3) end
  if self.in_session then error(("r:%s: a subscription has a connection of its own, not a session's"):format(kind), 3) end
  local box, err = c.subscribe(self.box, kind, channels)
  if not box then error(err, 0) end
  local subscription = setmetatable({ box = box }, subscription_mt)
  if not run then return subscription, nil, nil, subscription end
  local open <close> = subscription
  for channel, payload, pattern in open do
    if run { channel = channel, payload = payload, pattern = pattern } == false then return end
  end
end

--- Hears channels: `for channel, payload in r:subscribe("a") do … end`, or a function that gets { channel, payload } and ends it by
--- returning false. Alone it gives a subscription with :next(timeout) and :close(). Raises what goes wrong.
---@param channels string|string[]
---@param run? fun(message: table): boolean?
function Client:subscribe(channels, run) return handle(self, "subscribe", channels, run) end
--- The same for patterns ("news.*"); messages carry the pattern too.
function Client:psubscribe(patterns, run) return handle(self, "psubscribe", patterns, run) end
--- The same for shard channels of a Cluster.
function Client:ssubscribe(channels, run) return handle(self, "ssubscribe", channels, run) end

-- --- the module ------------------------------------------------------------------------------------------------------

local OPTIONS = { timeout = true }

--- A handle. No connection is made before the first command.
---@param url string  "redis://user:password@host:6379/0"; also redis+sentinel:// and redis+cluster://
---@param options? { timeout?: string|number }  of a command's answer; block times are added
---@return table? client
---@return table? err  code "invalid_url"
function M.open(url, options)
  if type(url) ~= "string" then error("o.redis.open takes a URL such as \"redis://127.0.0.1:6379\"", 2) end
  for name in pairs(options or {}) do
    if not OPTIONS[name] then error(('o.redis.open has no option "%s"'):format(tostring(name)), 2) end
  end
  local timeout_ms = duration_ms(options and options.timeout, "timeout")
  local box, err = c.open(url)
  if not box then return nil, err end
  return setmetatable({ box = box, timeout_ms = timeout_ms, in_session = false }, client_mt) -- all fields: others are commands
end

local project -- the handle of the project's own URL

local function default()
  if project then return project end
  local config = registry.config().redis
  local url = type(config) == "table" and config.url or nil
  if type(url) ~= "string" then
    error('o.redis has no URL: let orrery.lua return { redis = { url = "redis://127.0.0.1:6379" } }, or use o.redis.open', 3)
  end
  local client, err = M.open(url, { timeout = config.timeout })
  if not client then error(err, 0) end
  project = client
  return project
end

--- One command on the project's Redis (redis.url of orrery.lua).
---@param name string
---@param ... string|number
---@return any reply
---@return table? err
function M.call(name, ...)
  local client = default()
  return c.call(client.box, client.timeout_ms, name, ...)
end

--- As r:pipeline, on the project's Redis.
function M.pipeline(commands) return default():pipeline(commands) end
--- As r:transaction, on the project's Redis.
function M.transaction(given) return default():transaction(given) end
--- As r:subscribe, on the project's Redis.
function M.subscribe(channels, run) return default():subscribe(channels, run) end
--- As r:session, on the project's Redis.
function M.session(key) return default():session(key) end

--- { "a", "1", "b", "2" } as { a = "1", b = "2" }: replies of HGETALL, CONFIG GET, fields of stream entries.
---@param list any[]
---@return table<string, any>
function M.fields(list)
  local out = {}
  for i = 1, #list, 2 do out[list[i]] = list[i + 1] end
  return out
end

--- The entries of XREAD and XREADGROUP as a list of { stream, id, fields }; empty for nil (nothing came in time).
---@param reply any[]?
---@return table[]
function M.entries(reply)
  local out = {}
  for _, stream in ipairs(reply or {}) do
    for _, entry in ipairs(stream[2]) do
      local fields = type(entry[2]) == "table" and M.fields(entry[2]) or nil -- nil: deleted meanwhile
      out[#out + 1] = { stream = stream[1], id = entry[1], fields = fields }
    end
  end
  return out
end

--- A client for a step: of this URL, or the project's.
function M.client_for(url)
  if url == nil then return default() end
  local client, err = M.open(url)
  if not client then error(err, 0) end
  return client
end

return M
