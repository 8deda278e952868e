---@meta orrery
-- SPDX-License-Identifier: MIT
-- The `orrery` module, for editors (LuaLS). Checked against the real module by tests/lua/meta_spec.lua.

---A duration: "1500ms", "30s", "1h30m", "7d", or seconds as a number.
---@alias orrery.Duration string|number

---@class orrery.Ref
---@field path string

---@class orrery.Type
---@class orrery.Step
---@class orrery.Pipeline

---What a failure is: `local value, err = …`.
---@class orrery.Error
---@field code string
---@field message string
---@field retryable? boolean
---@field retry_after_ms? integer the next attempt waits at least so long

---@class orrery
---@field http orrery.http
---@field redis orrery.redis
---@field fs orrery.fs
---@field process orrery.process
---@field json orrery.json
---@field base64 orrery.base64
---@field time orrery.time
---@field runs orrery.runs
---@field config table what orrery.lua returned
local o = {}

---Declares a pipeline: `o.pipeline "name" { options, steps }`. Lists of steps among the steps are taken in their place.
---@param name string
---@return fun(options: orrery.PipelineOptions): orrery.Pipeline
function o.pipeline(name) end

---A step that runs a Lua function.
---@param name string
---@return fun(options: orrery.LuaOptions): orrery.Step
function o.step(name) end

---A step that runs a program; its output is what it printed.
---@param name string
---@return fun(options: orrery.ShellOptions): orrery.Step
function o.shell(name) end

---A step that runs a function for each item of a list; its output is the list of outputs, in the same order.
---@param name string
---@return fun(options: orrery.MapOptions): orrery.Step
function o.map(name) end

---A step that waits, without a thread.
---@param name string
---@return fun(options: orrery.SleepOptions): orrery.Step
function o.sleep(name) end

---A step that runs another pipeline.
---@param name string
---@return fun(options: orrery.RunOptions): orrery.Step
function o.run(name) end

---Points at `input.…`, `run.…` or a step's output: `o.ref "parse.sections"`.
---@param path string
---@return orrery.Ref
function o.ref(path) end

---Fails the attempt on purpose.
---@param message string
---@param options? { code?: string, retryable?: boolean }
function o.fail(message, options) end

---A variable of the environment, read when the scripts are loaded.
---@param name string
---@param default? any
---@return any
function o.env(name, default) end

---@param pattern string "/api/custom/{name}"
---@param run fun(req: orrery.Request): orrery.Answer
function o.get(pattern, run) end
---@param pattern string
---@param run fun(req: orrery.Request): orrery.Answer
function o.post(pattern, run) end
---@param pattern string
---@param run fun(req: orrery.Request): orrery.Answer
function o.put(pattern, run) end
---@param pattern string
---@param run fun(req: orrery.Request): orrery.Answer
function o.delete(pattern, run) end

---@param options? orrery.StringType
---@return orrery.Type
function o.string(options) end
---@param options? orrery.NumberType
---@return orrery.Type
function o.number(options) end
---@param options? orrery.IntegerType
---@return orrery.Type
function o.integer(options) end
---@param options? orrery.BooleanType
---@return orrery.Type
function o.boolean(options) end
---@param options? orrery.ListType|orrery.Type
---@return orrery.Type
function o.list(options) end
---@param options orrery.RecordType|table<string, orrery.Type>
---@return orrery.Type
function o.record(options) end
---@param values orrery.EnumType|(string|number|boolean)[]
---@return orrery.Type
function o.enum(values) end

---What a step's function gets.
---@class orrery.Context
---@field input any the run's input
---@field results table<string, any> outputs of the steps before this one, by name
---@field item any of a map: the item
---@field index integer of a map: its place, from 1
---@field run orrery.RunInfo
---@field attempt integer from 1
---@field idempotency_key string the same for all attempts
---@field log orrery.Log
---@field progress fun(fraction: number, text?: string)
---@field state table<string, any> the run's own data; assignments are recorded with the attempt's outcome
---@field secrets table<string, string> variables ORRERY_SECRET_<NAME> of the engine
---@field cancelled fun(): boolean
---@field sleep fun(duration: orrery.Duration)
---@field node string
---@field step string name of this step
---@field error orrery.Error in hooks and undo
---@field output any in hooks and undo

---@class orrery.RunInfo
---@field id string
---@field pipeline string
---@field version string
---@field trigger? any
---@field parent? string

---@class orrery.Log
---@overload fun(text: string, fields?: table)
---@field debug fun(text: string, fields?: table)
---@field info fun(text: string, fields?: table)
---@field warn fun(text: string, fields?: table)
---@field error fun(text: string, fields?: table)

---@class orrery.Request
---@field method string
---@field path string
---@field params table<string, string>
---@field query table<string, string>
---@field headers table<string, string> names in lower case
---@field body string
---@field json fun(self: orrery.Request): any

---@class orrery.Answer
---@field status? integer default 200
---@field json? any
---@field text? string
---@field headers? table<string, string>

return o
