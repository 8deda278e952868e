-- SPDX-License-Identifier: MIT
-- Every option of every declaration, in one table: name, type, default, what it means. Validation, messages, the
-- guide and the check of the editor definitions come from it. Pure.
--
-- A spec: { name, type, doc, default = text for people, required = true, min =, max =, values = {…}, later = true }.
-- `later`: named in the design, not built yet: refused, never accepted without effect.
local duration = require "orrery.duration"
local problem = require "orrery.problem"
local ref = require "orrery.ref"
local suggest = require "orrery.suggest"

local M = {}

local function S(name, kind, doc, more)
  local spec = more or {}
  spec.name, spec.type, spec.doc = name, kind, doc
  return spec
end

-- --- the tables -----------------------------------------------------------------------------------------------------

M.step = { -- of every step
  S("after", "names", "the step, or the list of steps, that come before it", { default = "none" }),
  S("rule", "enum", "which outcomes of the steps before it let it run",
    { values = { "all_success", "all_done", "one_success", "all_failed", "none_failed" }, default = "all_success" }),
  S("when", "function", "function(ctx) -> boolean; false skips the step", { default = "always" }),
  S("retry", "retry", "how many attempts in all, or { attempts, delay, backoff, max_delay, jitter, on }", { default = "1" }),
  S("timeout", "duration", "of one attempt", { default = "none" }),
  S("queue", "queue", "named line of steps; only \"default\" so far", { default = "default" }),
  S("priority", "integer", "0 to 9, higher starts first", { min = 0, max = 9, default = "the pipeline's, else 5" }),
  S("cache", "cache", "{ key, ttl }: take the recorded output of an equal step instead of running it", { default = "none" }),
  S("once", "boolean", "run at most once, even over a crash", { default = "false" }),
  S("undo", "function", "function(ctx, output), run in reverse order after the run failed or was cancelled"),
  S("sandbox", "any", "run in a sandboxed process", { later = true }),
  S("on_success", "function", "function(ctx), after its success was recorded"),
  S("on_failure", "function", "function(ctx), after its final failure was recorded"),
  S("on_retry", "function", "function(ctx), after a failed attempt that will be tried again"),
  S("description", "string", "shown beside the step"),
}

M.kinds = { -- each kind's own options
  lua = { S("run", "function", "function(ctx) -> output", { required = true }) },
  shell = {
    S("command", "command", "text for /bin/sh, or a list of arguments", { required = true }),
    S("stdin", "value", "written to its standard input; a table goes as JSON"),
    S("env", "fields", "more environment variables"),
    S("cwd", "text", "folder to run in", { default = "the project" }),
    S("ok_codes", "codes", "exit codes that count as success", { default = "{ 0 }" }),
    S("parse", "enum", "what its standard output is", { values = { "text", "lines", "json" }, default = "text" }),
  },
  http = {
    S("url", "text", "absolute URL, http or https", { required = true }),
    S("method", "enum", "HTTP method", { values = { "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS" },
                                         default = "GET, or POST with a body" }),
    S("headers", "fields", "request headers"),
    S("query", "fields", "added to the URL, escaped"),
    S("body", "text", "request body as text"),
    S("json", "value", "request body, sent as JSON"),
    S("expect", "expect", "statuses that count as success, or function(response) -> boolean", { default = "200 to 299" }),
    S("max_bytes", "integer", "longest answer that is read, in bytes",
      { min = 1, max = 1 << 40, default = "16 MiB, 1 GiB with to_file" }),
    S("to_file", "text", "file that takes the answer's body, whole or not at all"),
    S("redirects", "integer", "redirects that are followed", { min = 0, max = 10, default = "5" }),
    S("guard", "boolean", "refuse addresses that are not public, on every redirect, too", { default = "false" }),
    S("proxy", "text", "http://, https://, socks5:// or socks5h:// proxy", { default = "none; the environment is not asked" }),
    S("http_version", "enum", "what to speak", { values = { "1.1", "2", "2-prior-knowledge" }, default = "what TLS agrees on" }),
  },
  map = {
    S("over", "over", "the list: path of a ref, o.ref or function(ctx) -> list", { required = true }),
    S("run", "function", "function(ctx, item) -> output", { required = true }),
    S("parallel", "integer", "items at once", { min = 1, max = 1000000, default = "no limit of its own" }),
  },
  sleep = {
    S("duration", "duration_or", "how long: a duration, o.ref or function(ctx)"),
    S("until_", "text", "until when: ISO 8601 time, o.ref or function(ctx)"),
  },
  redis = {
    S("command", "redis_command", "a list such as { \"GET\", o.ref \"input.key\" }, or function(ctx) -> list"),
    S("pipeline", "redis_pipeline", "a list of commands that go out together, or function(ctx) -> list"),
    S("fn", "function", "function(r, ctx) -> output; r is a client"),
    S("url", "text", "redis://, redis+sentinel:// or redis+cluster://", { default = "redis.url of orrery.lua" }),
  },
  pipeline = {
    S("pipeline", "name", "name of the pipeline to run", { required = true }),
    S("input", "value", "its input", { default = "{}" }),
    S("wait", "boolean", "wait for its end; its output is then the step's", { default = "true" }),
  },
}

M.pipeline = {
  S("description", "string", "one sentence about it"),
  S("input", "schema", "table of name = type", { default = "any input" }),
  S("output", "output", "function(ctx) or o.ref: the run's output", { default = "the last step's, or an object by last steps" }),
  S("concurrency", "concurrency", "runs at once: a number, or { limit, key, when_full, hold }", { default = "no limit" }),
  S("timeout", "duration", "of a whole run", { default = "none" }),
  S("tags", "tags", "list of words"),
  S("priority", "integer", "0 to 9, default of its steps", { min = 0, max = 9, default = "5" }),
  S("rate", "any", "runs a time", { later = true }),
  S("schedule", "any", "cron expression", { later = true }),
  S("notify", "any", "whom to tell", { later = true }),
}

M.retry = {
  S("attempts", "integer", "attempts in all, the first included", { min = 1, max = 1000, required = true }),
  S("delay", "duration", "before the second attempt", { default = "0" }),
  S("backoff", "number", "factor for each further delay", { min = 1, max = 1000, default = "1" }),
  S("max_delay", "duration", "longest delay", { default = "1h" }),
  S("jitter", "boolean", "draw the delay from its half to its whole", { default = "false" }),
  S("on", "retry_on", "which errors: a code, a list of codes, or function(err) -> boolean", { default = "all that are retryable" }),
}
M.cache = {
  S("key", "key", "text, a list, o.ref or function(ctx); equal keys share an output", { required = true }),
  S("ttl", "duration", "how long an output serves", { default = "24h" }),
}
M.concurrency = {
  S("limit", "integer", "runs at once", { min = 1, max = 1000000, required = true }),
  S("key", "over", "path below input, o.ref or function(ctx): the limit holds for each key", { default = "one key for all" }),
  S("when_full", "enum", "what a further run does", { values = { "queue", "skip", "cancel_oldest" }, default = "queue" }),
  S("hold", "enum", "which runs count", { values = { "run", "active" }, default = "run" }),
}

local function described(list)
  list[#list + 1] = S("title", "string", "short name for forms")
  list[#list + 1] = S("description", "string", "shown beside the field")
  list[#list + 1] = S("optional", "boolean", "may be left out", { default = "false, unless there is a default" })
  return list
end
local LONGEST = math.maxinteger
M.types = {
  string = described {
    S("default", "any", "taken when it is left out"),
    S("min_length", "integer", "in characters", { min = 0, max = LONGEST }),
    S("max_length", "integer", "in characters", { min = 0, max = LONGEST }),
    S("pattern", "string", "regular expression (PCRE2) that must match somewhere"),
    S("format", "enum", "what the text is",
      { values = { "date", "date-time", "email", "uri", "uuid", "ipv4", "duration" } }),
  },
  number = described {
    S("default", "any", "taken when it is left out"), S("minimum", "number", "least"), S("maximum", "number", "greatest"),
    S("multiple_of", "number", "must be a multiple of it"),
  },
  integer = described {
    S("default", "any", "taken when it is left out"), S("minimum", "integer", "least"), S("maximum", "integer", "greatest"),
    S("multiple_of", "integer", "must be a multiple of it"),
  },
  boolean = described { S("default", "any", "taken when it is left out") },
  list = described {
    S("items", "type", "type of its items"), S("default", "any", "taken when it is left out"),
    S("min_items", "integer", "fewest", { min = 0, max = LONGEST }), S("max_items", "integer", "most", { min = 0, max = LONGEST }),
    S("unique", "boolean", "no two items equal", { default = "false" }),
  },
  record = described { S("fields", "type", "table of name = type"), S("default", "any", "taken when it is left out") },
  enum = described { S("values", "type", "list of the values"), S("default", "any", "taken when it is left out") },
}

-- --- checks by type: function(value, spec) -> normalised value, or nil and what is expected ---------------------------

local function is_dynamic(value) return type(value) == "function" or ref.is(value) end

local function of_type(name, expected)
  return function(value)
    if type(value) == name then return value end
    return nil, expected
  end
end

local function plain_list(value)
  if type(value) ~= "table" or getmetatable(value) then return false end
  local n = 0
  for key in pairs(value) do
    if math.type(key) ~= "integer" then return false end
    n = n + 1
  end
  return n == #value
end

local function valid_name(value)
  return type(value) == "string" and #value <= 64 and value:find("^[%w_.-]+$") ~= nil
end
M.valid_name = valid_name

local function whole(value)
  if math.type(value) == "integer" then return value end
  return math.type(value) == "float" and math.tointeger(value) or nil
end

local function list_of(value, convert)
  if not plain_list(value) then value = { value } end
  local out = {}
  for i, item in ipairs(value) do
    out[i] = convert(item)
    if out[i] == nil then return nil end
  end
  return out
end

local C = {}
M.checks = C

C.any = function(value) return value end
C.type = C.any
C.string = of_type("string", "a string")
C.boolean = of_type("boolean", "true or false")
C["function"] = of_type("function", "a function")

C.integer = function(value, spec)
  local n = whole(value)
  local expected = spec.min and spec.max and spec.max < LONGEST
    and ("an integer from %d to %d"):format(spec.min, spec.max) or "an integer"
  if not n then return nil, expected end
  if (spec.min and n < spec.min) or (spec.max and n > spec.max) then return nil, expected, "E0306" end
  return n
end

C.number = function(value, spec)
  local expected = spec.min and ("a number from %s to %s"):format(spec.min, spec.max) or "a number"
  if type(value) ~= "number" then return nil, expected end
  if value ~= value or (spec.min and value < spec.min) or (spec.max and value > spec.max) then
    return nil, expected, "E0306"
  end
  return value
end

C.enum = function(value, spec)
  for _, allowed in ipairs(spec.values) do
    if value == allowed then return value end
  end
  local near = type(value) == "string" and suggest.nearest(value, spec.values)
  return nil, ('one of "%s"'):format(table.concat(spec.values, '", "')), "E0303", near and ('did you mean "%s"?'):format(near)
end

local DURATION = 'a duration such as "1500ms", "30s", "1h30m" or a number of seconds'
C.duration = function(value)
  local ms, err = duration.parse(value)
  if ms then return ms end
  if type(value) == "string" or type(value) == "number" then return nil, DURATION, "E0305", err ~= "not a duration" and err or nil end
  return nil, DURATION
end
C.duration_or = function(value, spec)
  if is_dynamic(value) then return value end
  return C.duration(value, spec)
end

C.names = function(value)
  local out = list_of(value, function(item) return type(item) == "string" and item or nil end)
  if not out then return nil, "a step's name or a list of names" end
  return out
end

C.name = function(value)
  if valid_name(value) then return value end
  return nil, "the name of a pipeline"
end

C.tags = function(value)
  local out = list_of(value, function(item) return valid_name(item) and item or nil end)
  if not out then return nil, 'a list of words (letters, digits, "_", "-", "."; at most 64)' end
  return out
end

C.queue = function(value)
  if value == "default" then return value end
  if type(value) == "string" then return nil, 'queues other than "default" are not available yet', "E0190" end
  return nil, 'the name of a queue; only "default" so far'
end

C.codes = function(value)
  local out = list_of(value, function(item)
    local n = whole(item)
    return n and n >= 0 and n <= 999 and n or nil
  end)
  if not out then return nil, "a code or a list of codes, such as { 0, 3 }" end
  return out
end

C.expect = function(value)
  if type(value) == "function" then return value end
  local out = C.codes(value)
  if not out then return nil, "a status, a list of statuses, or a function of the response" end
  return out
end

C.text = function(value)
  if type(value) == "string" or is_dynamic(value) then return value end
  return nil, "a string, an o.ref or a function of ctx"
end

C.over = function(value)
  if type(value) == "string" then return ref.new(value) end
  if is_dynamic(value) then return value end
  return nil, 'a path such as "parse.sections", an o.ref or a function of ctx'
end

C.output = function(value)
  if is_dynamic(value) then return value end
  local help = type(value) == "string" and ('write output = o.ref "%s"'):format(value) or nil
  return nil, "a function of ctx or an o.ref", nil, help
end

C.command = function(value)
  if type(value) == "string" and value ~= "" or type(value) == "function" then return value end
  local expected = 'a text for the shell, or a list of arguments such as { "sha256sum", o.ref "input.file" }'
  if ref.is(value) then return nil, expected, nil, "data goes in as an argument, env or stdin, never into the text" end
  if not plain_list(value) or #value == 0 then return nil, expected end
  for i, item in ipairs(value) do
    if type(item) ~= "string" and type(item) ~= "number" and not is_dynamic(item) then
      return nil, ("an argument that is a string, number, o.ref or function (number %d is a %s)"):format(i, type(item))
    end
  end
  return value
end

C.redis_command = function(value)
  if type(value) == "function" then return value end
  local expected = 'a list such as { "GET", o.ref "input.key" }, or a function of ctx'
  if ref.is(value) or not plain_list(value) or type(value[1]) ~= "string" or value[1] == "" then return nil, expected end
  return value
end

C.redis_pipeline = function(value)
  if type(value) == "function" then return value end
  local expected = 'a list of commands such as { { "GET", key }, { "DEL", key } }, or a function of ctx'
  if ref.is(value) or not plain_list(value) or #value == 0 then return nil, expected end
  for i, command in ipairs(value) do
    if not C.redis_command(command) then return nil, ("%s (number %d is none)"):format(expected, i) end
  end
  return value
end

C.fields = function(value)
  if is_dynamic(value) then return value end
  local expected = "a table of name = text"
  if type(value) ~= "table" then return nil, expected end
  for name, item in pairs(value) do
    if type(name) ~= "string" or name == "" then return nil, expected end
    if type(item) == "table" and not ref.is(item) then return nil, expected .. (" (%s is a table)"):format(name) end
  end
  return value
end

-- Any value that JSON can hold, with refs and functions inside. Returns the path of what cannot be.
local function bad_value(value, path, depth)
  local kind = type(value)
  if kind == "thread" or (kind == "userdata" and tostring(value) ~= "userdata: (nil)" and tostring(value) ~= "userdata: NULL") then
    return path
  end
  if kind ~= "table" or ref.is(value) then return nil end
  if depth > 100 then return path end
  for key, item in pairs(value) do
    local bad = bad_value(item, path .. "." .. tostring(key), depth + 1)
    if bad then return bad end
  end
  return nil
end
C.value = function(value, spec)
  local bad = bad_value(value, spec.name, 0)
  if bad then return nil, ("a value that JSON can hold (%s is none)"):format(bad) end
  return value
end

C.key = function(value, spec)
  if type(value) == "string" or type(value) == "number" or is_dynamic(value) then return value end
  if plain_list(value) then return C.value(value, spec) end
  return nil, "a text, a list, an o.ref or a function of ctx"
end

C.retry_on = function(value)
  if type(value) == "function" then return value end
  local out = list_of(value, function(item) return type(item) == "string" and item or nil end)
  if not out then return nil, "an error's code, a list of codes, or a function of the error" end
  return out
end

C.retry = function(value, _, what)
  if math.type(value) == "integer" then value = { attempts = value } end
  if type(value) ~= "table" or getmetatable(value) then
    return nil, "a number of attempts or { attempts, delay, backoff, max_delay, jitter, on }"
  end
  local r = M.take(what .. ": retry", value, M.retry)
  return { attempts = r.attempts, delay_ms = r.delay or 0, backoff_permille = math.floor((r.backoff or 1) * 1000 + 0.5),
           max_delay_ms = r.max_delay or math.max(3600000, r.delay or 0), jitter = r.jitter or false, on = r.on }
end

C.cache = function(value, _, what)
  if type(value) ~= "table" or getmetatable(value) then return nil, "{ key = …, ttl = … }" end
  local c = M.take(what .. ": cache", value, M.cache)
  return { key = c.key, ttl_ms = c.ttl or 86400000 }
end

C.concurrency = function(value, _, what)
  if math.type(value) == "integer" then value = { limit = value } end
  if type(value) ~= "table" or getmetatable(value) then return nil, "a number of runs or { limit, key, when_full, hold }" end
  local c = M.take(what .. ": concurrency", value, M.concurrency)
  if ref.is(c.key) and not c.key.path:find("^input%.") then
    problem.raise { code = "E0307", message = what .. ": concurrency: key is a path below input, such as \"input.customer\", given "
                      .. ("%q"):format(c.key.path), word = c.key.path }
  end
  return { limit = c.limit, key = c.key, when_full = c.when_full or "queue", hold = c.hold or "run" }
end

-- --- applying them --------------------------------------------------------------------------------------------------

local function refuse(what, spec, value, expected, code, help)
  if code == "E0190" then
    problem.raise { code = code, message = ("%s: %s"):format(what, expected), word = type(value) == "string" and value or spec.name }
  end
  problem.raise {
    code = code or "E0302", help = help,
    message = ("%s: %s takes %s, %s"):format(what, spec.name, expected, problem.given(value)),
    word = (code == "E0303" or code == "E0305") and type(value) == "string" and value or spec.name,
  }
end

--- Checks one option; raises a problem, or returns its normalised value.
---@param what string  whose it is, for the message: 'step "load"'
function M.check(what, spec, value)
  if spec.later then
    problem.raise { code = "E0190", message = ("%s: the option %s is not available yet"):format(what, spec.name), word = spec.name }
  end
  local out, expected, code, help = C[spec.type](value, spec, what)
  if out == nil then refuse(what, spec, value, expected, code, help) end
  return out
end

local index_of = setmetatable({}, { __mode = "k" }) -- list of specs -> name -> spec

local function index(specs)
  local by_name = index_of[specs]
  if not by_name then
    by_name = {}
    for _, spec in ipairs(specs) do by_name[spec.name] = spec end
    index_of[specs] = by_name
  end
  return by_name
end

local function names_of(specs, more)
  local names = {}
  for _, list in ipairs { specs, more } do
    for _, spec in ipairs(list) do names[#names + 1] = spec.name end
  end
  return names
end

-- The least of the keys that no spec names, so that the message is the same each time.
local function refuse_unknown(what, given, specs, more, hint)
  local unknown
  for key in pairs(given) do
    if type(key) == "string" and not index(specs)[key] and not (more and index(more)[key])
      and (not unknown or key < unknown) then
      unknown = key
    end
  end
  if unknown then
    problem.raise { code = "E0301", message = ('%s has no option "%s"'):format(what, unknown), word = unknown,
                    help = suggest.help(unknown, names_of(specs, more), "options") }
  end
  for key, value in pairs(given) do
    if type(key) ~= "string" then
      problem.raise { code = "E0301", message = ("%s has a value without a name (%s)"):format(what, problem.given(value)),
                      help = hint or "write option = value" }
    end
  end
end

local function take_from(what, given, specs, out)
  for i = 1, #specs do
    local spec = specs[i]
    local value = given[spec.name]
    if value ~= nil then
      out[spec.name] = M.check(what, spec, value)
    elseif spec.required then
      problem.raise { code = "E0304", message = ("%s needs %s: %s"):format(what, spec.name, spec.doc),
                      word = what:match('"(.-)"') }
    end
  end
end

--- Checks a table of options against one or two lists of specs and returns the normalised values (durations in
--- milliseconds). Raises the first problem, in the order of the specs; unknown options come first.
---@param what string
---@param given table
---@param specs table
---@param more? table
---@param hint? string  help for a value without a name
---@return table
function M.take(what, given, specs, more, hint)
  local out = {}
  local known = 0
  local a, b = index(specs), more and index(more)
  for key in next, given do
    if type(key) == "string" and (a[key] or (b and b[key])) then known = known + 1 else known = -1 break end
  end
  if known < 0 then refuse_unknown(what, given, specs, more, hint) end
  take_from(what, given, specs, out)
  if more then take_from(what, given, more, out) end
  return out
end

return M
