-- A stream with a group of consumers: one step writes orders, three read them side by side, each order by one of them. A reader
-- waits in Redis without holding up its worker, acknowledges what it has done, and takes over what a dead one left. Needs a Redis.
local o = require "orrery"

local STREAM, GROUP = "orrery:demo:orders:%s", "billing"

local function check(value, err)
  if err then error(err, 0) end
  return value
end

local function bill(entry)
  local fields = entry.fields
  return tonumber(fields.pieces) * tonumber(fields.price)
end

-- What a consumer read a minute ago and never acknowledged, else what is new; nil when neither comes in half a second.
local function next_entries(r, stream, name)
  local claimed = check(r:xautoclaim(stream, GROUP, name, 60000, "0", "COUNT", 10))[2]
  if #claimed > 0 then return o.redis.entries { { stream, claimed } } end
  local reply = check(r:xreadgroup("GROUP", GROUP, name, "COUNT", 10, "BLOCK", 500, "STREAMS", stream, ">"))
  return reply and o.redis.entries(reply)
end

-- Reads until the last order has been seen by somebody.
local function consume(r, stream, name)
  local total, count = 0, 0
  while true do
    local entries = next_entries(r, stream, name)
    for _, entry in ipairs(entries or {}) do
      if entry.fields.last then
        check(r:set(stream .. ":done", 1, "EX", 60))
      else
        total, count = total + bill(entry), count + 1
      end
      check(r:xack(stream, GROUP, entry.id))
    end
    if not entries and check(r:exists(stream .. ":done")) == 1 then return { name = name, orders = count, total = total } end
  end
end

o.pipeline "redis_stream" {
  description = "Three consumers of a Redis stream share its orders.",
  input = {
    redis = o.string { default = "redis://127.0.0.1:6379", description = "URL of a Redis" },
    orders = o.integer { default = 200, minimum = 1, maximum = 100000 },
  },
  tags = { "demo", "redis" },
  timeout = "60s",

  o.redis "group" {
    url = o.ref "input.redis",
    fn = function(r, ctx)
      local stream = STREAM:format(ctx.run.id)
      check(r:xgroup("CREATE", stream, GROUP, "0", "MKSTREAM"))
      return { stream = stream, consumers = { "ann", "bob", "cid" } }
    end,
  },
  o.redis "write" {
    after = "group", url = o.ref "input.redis",
    fn = function(r, ctx)
      local commands = {}
      for i = 1, ctx.input.orders do
        commands[i] = { "XADD", ctx.results.group.stream, "*", "order", i, "pieces", i % 5 + 1, "price", i % 7 + 1 }
      end
      commands[#commands + 1] = { "XADD", ctx.results.group.stream, "*", "last", 1 }
      return #check(r:pipeline(commands)) - 1
    end,
  },
  o.map "consume" {
    after = "group", over = "group.consumers", timeout = "30s",
    run = function(ctx, name)
      local r <close> = check(o.redis.open(ctx.input.redis))
      return consume(r, ctx.results.group.stream, name)
    end,
  },
  o.step "summary" {
    after = { "write", "consume" },
    run = function(ctx)
      local r <close> = check(o.redis.open(ctx.input.redis))
      local stream = ctx.results.group.stream
      local orders, total = 0, 0
      for _, part in ipairs(ctx.results.consume) do orders, total = orders + part.orders, total + part.total end
      local pending = check(r:xpending(stream, GROUP))[1]
      check(r:del(stream, stream .. ":done"))
      return { written = ctx.results.write, orders = orders, total = total, pending = pending, consumers = ctx.results.consume }
    end,
  },
}
