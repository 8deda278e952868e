---@meta
-- SPDX-License-Identifier: MIT
-- o.redis, for editors. Straight code: a call suspends the step and never the worker. What the world refuses is returned as
-- nil, err; err.code is "connect", "timeout", "auth", "closed", "unknown_outcome", "protocol", "limit", "conflict", or the first word
-- of Redis' own error in lower case ("wrongtype").

---A handle of a URL, or a session. Every Redis command is a method in lower case: `r:set(key, value)`, `r:xadd(stream, "*", "f", "v")`.
---A nil reply is nil; inside lists it is o.json.null.
---@class orrery.redis.Client
---@field [string] fun(self: orrery.redis.Client, ...: string|number): any, orrery.Error?
local Client = {}
---Runs one command.
---@param name string
---@param ... string|number
---@return any reply
---@return orrery.Error? err
function Client:call(name, ...) end
---Sends all commands at once; an error reply stands in its place as an error table.
---@param commands (string|number)[][]
---@return any[]? replies
---@return orrery.Error? err
function Client:pipeline(commands) end
---MULTI and EXEC: all or none. With `watch`, `run` reads and returns the commands; it runs again when a watched key has changed.
---@param commands (string|number)[][]|{ watch: string|string[], run: fun(s: orrery.redis.Client): (string|number)[][]?, attempts?: integer }
---@return any[]? replies
---@return orrery.Error? err
function Client:transaction(commands) end
---A connection of one's own: `local s <close> = r:session()`.
---@param key? string on a Cluster: the node that serves it
---@return orrery.redis.Client? session
---@return orrery.Error? err
function Client:session(key) end
---`for channel, payload in r:subscribe("a") do … end`, or a function that ends it by returning false. Raises what goes wrong.
---@param channels string|string[]
---@param run? fun(message: orrery.redis.Message): boolean?
---@return orrery.redis.Subscription
function Client:subscribe(channels, run) end
---@param patterns string|string[]
---@param run? fun(message: orrery.redis.Message): boolean?
---@return orrery.redis.Subscription
function Client:psubscribe(patterns, run) end
---Shard channels of a Cluster.
---@param channels string|string[]
---@param run? fun(message: orrery.redis.Message): boolean?
---@return orrery.redis.Subscription
function Client:ssubscribe(channels, run) end
---Gives it back; a session's connection is closed, unless it is clean.
---@param clean? boolean
function Client:close(clean) end

---@class orrery.redis.Message
---@field channel string
---@field payload string
---@field pattern? string

---@class orrery.redis.Subscription
---@operator call: fun(): string, string, string?
local Subscription = {}
---The next message, when it comes; nil and an error with code "timeout" when none came in time.
---@param timeout? orrery.Duration
---@return string? channel
---@return string|orrery.Error payload
---@return string? pattern
function Subscription:next(timeout) end
function Subscription:close() end

---`o.redis "name" { … }` declares a step; `o.redis.open(url)` is the client; `o.redis.call` uses redis.url of orrery.lua.
---@class orrery.redis
---@overload fun(name: string): fun(options: orrery.RedisOptions): orrery.Step
local redis = {}
---@param url string "redis://user:password@host:6379/0", "redis+sentinel://h1,h2/master", "redis+cluster://h1,h2"
---@param options? { timeout?: orrery.Duration }
---@return orrery.redis.Client? client
---@return orrery.Error? err
function redis.open(url, options) end
---@param name string
---@param ... string|number
---@return any reply
---@return orrery.Error? err
function redis.call(name, ...) end
---@param commands (string|number)[][]
---@return any[]? replies
---@return orrery.Error? err
function redis.pipeline(commands) end
---@param commands (string|number)[][]|{ watch: string|string[], run: fun(s: orrery.redis.Client): (string|number)[][]?, attempts?: integer }
---@return any[]? replies
---@return orrery.Error? err
function redis.transaction(commands) end
---@param channels string|string[]
---@param run? fun(message: orrery.redis.Message): boolean?
---@return orrery.redis.Subscription
function redis.subscribe(channels, run) end
---@param key? string
---@return orrery.redis.Client? session
---@return orrery.Error? err
function redis.session(key) end
---The client of a URL, or of the project; raises a bad URL. Steps of kind redis use it.
---@param url? string
---@return orrery.redis.Client
function redis.client_for(url) end
---`{ "a", "1" }` as `{ a = "1" }`.
---@param list any[]
---@return table<string, any>
function redis.fields(list) end
---Entries of XREAD and XREADGROUP as a list.
---@param reply any[]?
---@return { stream: string, id: string, fields: table<string, string>? }[]
function redis.entries(reply) end
