---@meta
-- SPDX-License-Identifier: MIT
-- Options of declarations, for editors. Written by tests/lua/meta_options.lua from lua/orrery/options.lua.

---@class orrery.StepOptions
---@field after? string|string[] # the step, or the list of steps, that come before it (default: none)
---@field rule? "all_success"|"all_done"|"one_success"|"all_failed"|"none_failed" # which outcomes of the steps before it let it run (default: all_success)
---@field when? fun(ctx: orrery.Context): boolean # function(ctx) -> boolean; false skips the step (default: always)
---@field retry? integer|orrery.RetryOptions # how many attempts in all, or { attempts, delay, backoff, max_delay, jitter, on } (default: 1)
---@field timeout? orrery.Duration # of one attempt (default: none)
---@field queue? "default" # named line of steps; only "default" so far (default: default)
---@field priority? integer # 0 to 9, higher starts first (default: the pipeline's, else 5)
---@field cache? orrery.CacheOptions # { key, ttl }: take the recorded output of an equal step instead of running it (default: none)
---@field once? boolean # run at most once, even over a crash (default: false)
---@field undo? fun(ctx: orrery.Context, output: any) # function(ctx, output), run in reverse order after the run failed or was cancelled
---@field on_success? fun(ctx: orrery.Context) # function(ctx), after its success was recorded
---@field on_failure? fun(ctx: orrery.Context) # function(ctx), after its final failure was recorded
---@field on_retry? fun(ctx: orrery.Context) # function(ctx), after a failed attempt that will be tried again
---@field description? string # shown beside the step

---@class orrery.LuaOptions: orrery.StepOptions
---@field run fun(ctx: orrery.Context): any # function(ctx) -> output

---@class orrery.ShellOptions: orrery.StepOptions
---@field command string|any[]|fun(ctx: orrery.Context): any[] # text for /bin/sh, or a list of arguments
---@field stdin? any # written to its standard input; a table goes as JSON
---@field env? table<string, any>|orrery.Ref|fun(ctx: orrery.Context): any # more environment variables
---@field cwd? string|orrery.Ref|fun(ctx: orrery.Context): any # folder to run in (default: the project)
---@field ok_codes? integer|integer[] # exit codes that count as success (default: { 0 })
---@field parse? "text"|"lines"|"json" # what its standard output is (default: text)

---@class orrery.HttpOptions: orrery.StepOptions
---@field url string|orrery.Ref|fun(ctx: orrery.Context): any # absolute URL, http or https
---@field method? "GET"|"HEAD"|"POST"|"PUT"|"PATCH"|"DELETE"|"OPTIONS" # HTTP method (default: GET, or POST with a body)
---@field headers? table<string, any>|orrery.Ref|fun(ctx: orrery.Context): any # request headers
---@field query? table<string, any>|orrery.Ref|fun(ctx: orrery.Context): any # added to the URL, escaped
---@field body? string|orrery.Ref|fun(ctx: orrery.Context): any # request body as text
---@field json? any # request body, sent as JSON
---@field expect? integer|integer[]|fun(response: orrery.Response): boolean # statuses that count as success, or function(response) -> boolean (default: 200 to 299)
---@field max_bytes? integer # longest answer that is read, in bytes (default: 16 MiB, 1 GiB with to_file)
---@field to_file? string|orrery.Ref|fun(ctx: orrery.Context): any # file that takes the answer's body, whole or not at all
---@field redirects? integer # redirects that are followed (default: 5)
---@field guard? boolean # refuse addresses that are not public, on every redirect, too (default: false)
---@field proxy? string|orrery.Ref|fun(ctx: orrery.Context): any # http://, https://, socks5:// or socks5h:// proxy (default: none; the environment is not asked)
---@field http_version? "1.1"|"2"|"2-prior-knowledge" # what to speak (default: what TLS agrees on)

---@class orrery.RedisOptions: orrery.StepOptions
---@field command? any[]|fun(ctx: orrery.Context): any[] # a list such as { "GET", o.ref "input.key" }, or function(ctx) -> list
---@field pipeline? any[][]|fun(ctx: orrery.Context): any[][] # a list of commands that go out together, or function(ctx) -> list
---@field fn? fun(r: orrery.redis.Client, ctx: orrery.Context): any # function(r, ctx) -> output; r is a client
---@field url? string|orrery.Ref|fun(ctx: orrery.Context): any # redis://, redis+sentinel:// or redis+cluster:// (default: redis.url of orrery.lua)

---@class orrery.MapOptions: orrery.StepOptions
---@field over string|orrery.Ref|fun(ctx: orrery.Context): any # the list: path of a ref, o.ref or function(ctx) -> list
---@field run fun(ctx: orrery.Context, item: any): any # function(ctx, item) -> output
---@field parallel? integer # items at once (default: no limit of its own)

---@class orrery.SleepOptions: orrery.StepOptions
---@field duration? orrery.Duration|orrery.Ref|fun(ctx: orrery.Context): any # how long: a duration, o.ref or function(ctx)
---@field until_? string|orrery.Ref|fun(ctx: orrery.Context): any # until when: ISO 8601 time, o.ref or function(ctx)

---@class orrery.RunOptions: orrery.StepOptions
---@field pipeline string # name of the pipeline to run
---@field input? any # its input (default: {})
---@field wait? boolean # wait for its end; its output is then the step's (default: true)

---@class orrery.PipelineOptions
---@field description? string # one sentence about it
---@field input? table<string, orrery.Type>|orrery.Type # table of name = type (default: any input)
---@field output? orrery.Ref|fun(ctx: orrery.Context): any # function(ctx) or o.ref: the run's output (default: the last step's, or an object by last steps)
---@field concurrency? integer|orrery.ConcurrencyOptions # runs at once: a number, or { limit, key, when_full, hold } (default: no limit)
---@field timeout? orrery.Duration # of a whole run (default: none)
---@field tags? string|string[] # list of words
---@field priority? integer # 0 to 9, default of its steps (default: 5)

---@class orrery.RetryOptions
---@field attempts integer # attempts in all, the first included
---@field delay? orrery.Duration # before the second attempt (default: 0)
---@field backoff? number # factor for each further delay (default: 1)
---@field max_delay? orrery.Duration # longest delay (default: 1h)
---@field jitter? boolean # draw the delay from its half to its whole (default: false)
---@field on? string|string[]|fun(err: orrery.Error): boolean # which errors: a code, a list of codes, or function(err) -> boolean (default: all that are retryable)

---@class orrery.CacheOptions
---@field key string|number|any[]|orrery.Ref|fun(ctx: orrery.Context): any # text, a list, o.ref or function(ctx); equal keys share an output
---@field ttl? orrery.Duration # how long an output serves (default: 24h)

---@class orrery.ConcurrencyOptions
---@field limit integer # runs at once
---@field key? string|orrery.Ref|fun(ctx: orrery.Context): any # path below input, o.ref or function(ctx): the limit holds for each key (default: one key for all)
---@field when_full? "queue"|"skip"|"cancel_oldest" # what a further run does (default: queue)
---@field hold? "run"|"active" # which runs count (default: run)

---@class orrery.StringType
---@field default? any # taken when it is left out
---@field min_length? integer # in characters
---@field max_length? integer # in characters
---@field pattern? string # regular expression (PCRE2) that must match somewhere
---@field format? "date"|"date-time"|"email"|"uri"|"uuid"|"ipv4"|"duration" # what the text is
---@field title? string # short name for forms
---@field description? string # shown beside the field
---@field optional? boolean # may be left out (default: false, unless there is a default)

---@class orrery.NumberType
---@field default? any # taken when it is left out
---@field minimum? number # least
---@field maximum? number # greatest
---@field multiple_of? number # must be a multiple of it
---@field title? string # short name for forms
---@field description? string # shown beside the field
---@field optional? boolean # may be left out (default: false, unless there is a default)

---@class orrery.IntegerType
---@field default? any # taken when it is left out
---@field minimum? integer # least
---@field maximum? integer # greatest
---@field multiple_of? integer # must be a multiple of it
---@field title? string # short name for forms
---@field description? string # shown beside the field
---@field optional? boolean # may be left out (default: false, unless there is a default)

---@class orrery.BooleanType
---@field default? any # taken when it is left out
---@field title? string # short name for forms
---@field description? string # shown beside the field
---@field optional? boolean # may be left out (default: false, unless there is a default)

---@class orrery.ListType
---@field items? any # type of its items
---@field default? any # taken when it is left out
---@field min_items? integer # fewest
---@field max_items? integer # most
---@field unique? boolean # no two items equal (default: false)
---@field title? string # short name for forms
---@field description? string # shown beside the field
---@field optional? boolean # may be left out (default: false, unless there is a default)

---@class orrery.RecordType
---@field fields? any # table of name = type
---@field default? any # taken when it is left out
---@field title? string # short name for forms
---@field description? string # shown beside the field
---@field optional? boolean # may be left out (default: false, unless there is a default)

---@class orrery.EnumType
---@field values? any # list of the values
---@field default? any # taken when it is left out
---@field title? string # short name for forms
---@field description? string # shown beside the field
---@field optional? boolean # may be left out (default: false, unless there is a default)
