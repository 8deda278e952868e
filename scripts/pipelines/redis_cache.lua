-- A cache in Redis, shared by all runs: the first run works something out and keeps it, later ones find it. Of two runs at the same
-- time one works and the other waits for it. Needs a Redis; says so when there is none.
local o = require "orrery"

local WAIT_MS, LOCK_MS = 10000, 5000

-- Something that takes its time: the sum of the primes below n.
local function work_out(n)
  local composite, sum = {}, 0
  for i = 2, n do
    if not composite[i] then
      sum = sum + i
      for multiple = i * i, n, i do composite[multiple] = true end
    end
  end
  return sum
end

-- The lock goes away with its owner: only who set this token may remove it.
local UNLOCK = 'if redis.call("GET", KEYS[1]) == ARGV[1] then return redis.call("DEL", KEYS[1]) end return 0'

local function check(value, err)
  if err then error(err, 0) end
  return value
end

local function cached(r, ctx, key, seconds, compute)
  local lock, waited = key .. ":lock", 0
  while waited < WAIT_MS do
    local found = check(r:get(key))
    if found then return o.json.decode(found), true end
    if check(r:set(lock, ctx.idempotency_key, "NX", "PX", LOCK_MS)) then
      local value = compute()
      check(r:set(key, o.json.encode(value), "EX", seconds))
      check(r:eval(UNLOCK, 1, lock, ctx.idempotency_key))
      return value, false
    end
    ctx.sleep("50ms") -- somebody else is at it
    waited = waited + 50
  end
  return o.fail("nobody finished " .. key)
end

o.pipeline "redis_cache" {
  description = "Works out a sum of primes once, and takes it from Redis afterwards.",
  input = {
    redis = o.string { default = "redis://127.0.0.1:6379", description = "URL of a Redis" },
    below = o.integer { default = 200000, minimum = 10, maximum = 5000000 },
  },
  tags = { "demo", "redis" },

  o.step "sum" {
    timeout = "30s", retry = { attempts = 3, delay = "200ms" },
    run = function(ctx)
      local r <close> = check(o.redis.open(ctx.input.redis))
      local key = "orrery:demo:primes:" .. ctx.input.below
      local sum, hit = cached(r, ctx, key, 60, function() return work_out(ctx.input.below) end)
      return { below = ctx.input.below, sum = sum, from_cache = hit, seconds_left = check(r:ttl(key)) }
    end,
  },
}
