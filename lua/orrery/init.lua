-- SPDX-License-Identifier: MIT
-- The `orrery` module: declarations, types, and the clients that steps use. Creates no globals. What steps use is
-- loaded at first touch, so that a script which only declares costs little.
local declare = require "orrery.declare"
local problem = require "orrery.problem"
local ref = require "orrery.ref"
local registry = require "orrery.registry"
local routes = require "orrery.routes_decl"
local schema = require "orrery.schema"
local suggest = require "orrery.suggest"

local o = {}

for _, name in ipairs { "pipeline", "step", "shell", "map", "sleep", "run" } do o[name] = declare[name] end
for _, name in ipairs { "get", "post", "put", "delete" } do o[name] = routes[name] end
for _, name in ipairs { "string", "number", "integer", "boolean", "list", "record", "enum" } do o[name] = schema[name] end
o.ref = ref.new
o.env = registry.env

-- o.http "name" { … } declares a step; o.http.get(url) is the client.
o.http = setmetatable({}, {
  orrery_name = "o.http",
  __call = function(_, name, given) return declare.http(name, given) end,
  __index = function(self, key)
    local value = require("orrery.http_client")[key]
    rawset(self, key, value)
    return value
  end,
})

-- o.redis "name" { … } declares a step; o.redis.open(url) is the client.
o.redis = setmetatable({}, {
  orrery_name = "o.redis",
  __call = function(_, name, given) return declare.redis(name, given) end,
  __index = function(self, key)
    local value = require("orrery.redis")[key]
    rawset(self, key, value)
    return value
  end,
})

local failure_mt = { __tostring = function(self) return self.message end }

--- Fails the attempt on purpose.
---@param message string
---@param options? { code?: string, retryable?: boolean }
function o.fail(message, options)
  options = options or {}
  if type(message) ~= "string" or type(options) ~= "table" then
    error("o.fail(message, { code, retryable }): message is a string, the rest a table", 2)
  end
  error(setmetatable({ message = message, code = options.code or "failed", retryable = options.retryable ~= false }, failure_mt), 0)
end

local CLIENTS = { -- loaded at first touch
  fs = "orrery.fs", process = "orrery.process", json = "orrery.json", base64 = "orrery.base64", time = "orrery.time",
  runs = "orrery.runs",
}
local LATER = { approval = true, signal = true, task = true, workflow = true, trigger = true, chain = true,
                cron = true, interval = true, at = true, event = true, webhook = true, file = true, outcome = true }

local function names()
  local list = { "http", "redis", "fail", "config" }
  for name in pairs(o) do list[#list + 1] = name end
  for name in pairs(CLIENTS) do list[#list + 1] = name end
  return list
end

setmetatable(o, {
  __index = function(self, key)
    if key == "config" then return registry.config() end
    local module = CLIENTS[key]
    if module then
      local value = require(module)
      rawset(self, key, value)
      return value
    end
    if LATER[key] then
      problem.raise { code = "E0190", message = ("o.%s is not available yet"):format(key), word = key }
    end
    problem.raise { code = "E0111", message = ("o.%s does not exist"):format(tostring(key)), word = tostring(key),
                    help = suggest.help(tostring(key), names(), "it has") }
  end,
})

-- What scripts get: read-only, so that no script changes what another sees.
return setmetatable({}, {
  __index = o,
  __pairs = function()
    for name in pairs(CLIENTS) do local _ = o[name] end
    return next, o, nil
  end,
  __newindex = function(_, key)
    problem.raise { code = "E0111", message = ("o.%s cannot be set: the orrery module is read-only"):format(tostring(key)),
                    word = tostring(key) }
  end,
})
