-- SPDX-License-Identifier: MIT
-- References into a run: o.ref "parse.sections". The head is "input", "run" or a step; the rest are keys of
-- objects or numbers (from 1) into lists. Checked against a pipeline's steps when it is declared.
local problem = require "orrery.problem"
local suggest = require "orrery.suggest"

local M = {}

M.mt = {
  orrery_name = "an o.ref",
  __tostring = function(self) return ('o.ref "%s"'):format(self.path) end,
}
M.RUN_FIELDS = { "id", "pipeline", "version" }

--- True if `value` was made by o.ref.
---@param value any
---@return boolean
function M.is(value) return getmetatable(value) == M.mt end

-- Names contain dots, so a head may be a prefix of the path that ends before a dot: longest known name wins.
local function well_formed(path)
  return path ~= "" and not path:find("^%.") and not path:find("%.$") and not path:find("..", 1, true)
    and not path:find("[%c%s]")
end

--- Makes a reference.
---@param path string  "input.file", "run.id", "parse.sections.1"
---@return orrery.Ref
function M.new(path)
  if type(path) ~= "string" then
    problem.raise { code = "E0212", message = "o.ref takes a path such as \"parse.sections\", " .. problem.given(path) }
  end
  if not well_formed(path) then
    problem.raise { code = "E0212", message = ("o.ref %q is not a path"):format(path), word = path,
                    help = 'a path is a step\'s name, input or run, then keys, each after a dot: "parse.sections"' }
  end
  local script, line = problem.place()
  return setmetatable({ path = path, script = script, line = line }, M.mt)
end

--- Splits a path into its head and the rest, given which heads exist. A step's name may hold dots.
---@param path string
---@param exists fun(head: string): any
---@return string? head  nil when no prefix is known
---@return string rest   "" when the path is the head alone; else the first part when head is nil
function M.split(path, exists)
  local stop = #path
  while true do
    local head = path:sub(1, stop)
    if exists(head) then return head, path:sub(stop + 2) end
    local cut
    for i = stop, 1, -1 do
      if path:byte(i) == 46 then cut = i break end
    end
    if not cut then return nil, head end
    stop = cut - 1
  end
end

-- Is `name` reachable from `step` over `after`? Breadth first: what a ref names is mostly near.
local function is_ancestor(pipeline, step, name)
  local seen, queue, at = {}, { step }, 1
  while queue[at] do
    for _, before in ipairs(queue[at].after) do
      if before == name then return true end
      local next_step = pipeline.by_name[before]
      if next_step and not seen[before] then
        seen[before] = true
        queue[#queue + 1] = next_step
      end
    end
    at = at + 1
  end
  return false
end

local function heads(pipeline)
  local names = { "input", "run" }
  for _, step in ipairs(pipeline.steps) do names[#names + 1] = step.name end
  return names
end

local function check_run(ref, rest)
  for _, field in ipairs(M.RUN_FIELDS) do
    if rest == field then return nil end
  end
  return { code = "E0211", message = ('o.ref "%s": run has no such field'):format(ref.path), word = ref.path,
           help = "run has id, pipeline and version" }
end

local function check_input(ref, rest, pipeline)
  local schema = pipeline.input
  local fields = schema and schema.fields
  local first = rest:match("^[^.]*")
  if rest == "" then return nil end
  if not schema then
    return { code = "E0213", message = ('o.ref "%s": pipeline "%s" declares no input'):format(ref.path, pipeline.name),
             word = ref.path, help = ("declare it: input = { %s = o.string {} }"):format(first) }
  end
  if fields and not fields[first] then
    local names = {}
    for name in pairs(fields) do names[#names + 1] = name end
    return { code = "E0213", message = ('o.ref "%s": the input has no "%s"'):format(ref.path, first),
             word = ref.path, help = suggest.help(first, names, "inputs") }
  end
  return nil
end

--- Checks one reference of `step` (nil: of the pipeline's output, which may point at any step).
---@return table? problem  fields of a problem, or nil
function M.check(ref, pipeline, step)
  local head, rest = M.split(ref.path, function(name)
    return name == "input" or name == "run" or pipeline.by_name[name]
  end)
  if head == "input" then return check_input(ref, rest, pipeline) end
  if head == "run" then return check_run(ref, rest) end
  local where = step and ('step "%s": '):format(step.name) or "output: "
  if not head then
    local help = suggest.nearest(rest, heads(pipeline))
    return { code = "E0211", message = ('%so.ref "%s" points at unknown step "%s"'):format(where, ref.path, rest),
             word = ref.path, help = help and ('did you mean "%s"?'):format(help) or nil }
  end
  if not step or is_ancestor(pipeline, step, head) then return nil end
  if head == step.name then
    return { code = "E0210", message = ('%so.ref "%s" points at the step itself'):format(where, ref.path), word = ref.path }
  end
  return { code = "E0210", message = ('%so.ref "%s" to a non-ancestor: "%s" does not run before it')
             :format(where, ref.path, head),
           word = ref.path, help = ('add it: after = "%s"'):format(head) }
end

return M
