---@meta
-- SPDX-License-Identifier: MIT
-- What steps use: o.fs, o.process, o.http, o.json, o.base64, o.time, o.runs, for editors. Straight code: a call suspends the
-- step and never the worker. What the world refuses is returned as nil, err.

---@class orrery.fs
local fs = {}
---@param path string
---@return string? bytes
---@return orrery.Error? err
function fs.read(path) end
---Replaces the file at once: others see the old or the new one.
---@param path string
---@param text string
---@param options? { sync?: boolean }
---@return boolean? ok
---@return orrery.Error? err
function fs.write(path, text, options) end
---@param path string
---@param text string
---@return boolean? ok
---@return orrery.Error? err
function fs.append(path, text) end
---@param path string
---@return { is_dir: boolean, size: integer, modified_ms: integer }|false|nil stat false if nothing is there
---@return orrery.Error? err
function fs.stat(path) end
---@param path string
---@return boolean? exists
---@return orrery.Error? err
function fs.exists(path) end
---@param path? string
---@return { name: string, is_dir: boolean, size: integer, modified_ms: integer }[]? entries
---@return orrery.Error? err
function fs.list(path) end
---@param path string
---@return boolean? ok
---@return orrery.Error? err
function fs.mkdir(path) end
---@param path string
---@param options? { recursive?: boolean }
---@return boolean? ok
---@return orrery.Error? err
function fs.remove(path, options) end
---@param from string
---@param to string
---@return boolean? ok
---@return orrery.Error? err
function fs.rename(from, to) end
---@param from string
---@param to string
---@return boolean? ok
---@return orrery.Error? err
function fs.copy(from, to) end
---@return string? path
---@return orrery.Error? err
function fs.temp_dir() end

---@class orrery.process
local process = {}
---Runs a program to its end; any exit code is an answer.
---@param argv string[]|string
---@param options? { env?: table<string, any>, cwd?: string, stdin?: string, max_bytes?: integer, log_stdout?: boolean }
---@return { ok: boolean, code: integer, signal: integer, stdout: string, stderr: string, truncated: boolean }? result
---@return orrery.Error? err
function process.run(argv, options) end
---@param more? table<string, any>
---@return string[]
function process.environment(more) end

---@class orrery.Response
---@field status integer
---@field ok boolean 200 to 299
---@field headers table<string, string> names in lower case; repeated ones joined by ", "
---@field body string
---@field file? string to_file, once it is there
---@field url string after redirects
---@field seconds number
---@field http_version? "1.0"|"1.1"|"2"
---@field json fun(self: orrery.Response): any, orrery.Error?
---@field expect fun(self: orrery.Response, wanted?: integer|integer[]): orrery.Response

---An answer whose body comes by pieces. Closed with the attempt at the latest: `local res <close> = …`.
---@class orrery.StreamResponse
---@field status integer
---@field ok boolean 200 to 299
---@field headers table<string, string>
---@field url string
---@field read fun(self: orrery.StreamResponse): string?, orrery.Error? next piece; nil at the end
---@field chunks fun(self: orrery.StreamResponse): fun(): string? for a loop, which closes the stream; raises if it breaks off
---@field lines fun(self: orrery.StreamResponse, max_bytes?: integer): fun(): string? the same by lines
---@field expect fun(self: orrery.StreamResponse, wanted?: integer|integer[]): orrery.StreamResponse
---@field close fun(self: orrery.StreamResponse)

---@class orrery.Part
---@field name string
---@field data? string
---@field file? string path; sent from disk by pieces
---@field filename? string
---@field type? string Content-Type

---@class orrery.TransferOptions
---@field headers? table<string, any>
---@field timeout? orrery.Duration of the whole request (default: 30 s; none for streams and bodies by pieces)
---@field connect_timeout? orrery.Duration (default: 10 s)
---@field idle_timeout? orrery.Duration ends it when nothing moves for so long (default: 60 s for streams and bodies by pieces)
---@field min_speed? integer bytes a second below which it counts as idle (default: 1)
---@field redirects? integer (default: 5; at most 10)
---@field max_bytes? integer of the answer (default: 16 MiB; 1 GiB with to_file; streams: none)
---@field guard? boolean refuse addresses that are not public, on every redirect, too
---@field proxy? string http://, https://, socks5:// or socks5h://; not together with guard
---@field http_version? "1.1"|"2"|"2-prior-knowledge" (default: what TLS agrees on; streams: 1.1)
---@field ca_file? string PEM file of the authorities to trust, in place of the system's

---@class orrery.RequestOptions: orrery.TransferOptions
---@field method? string
---@field query? table<string, any>
---@field body? string|fun(): string? text, or a function that gives the next piece, asked when there is room
---@field json? any
---@field multipart? orrery.Part[]
---@field from_file? string path; sent from disk by pieces
---@field to_file? string path that takes the body of a 2xx answer, whole or not at all

---@class orrery.SessionOptions: orrery.TransferOptions
---@field base_url? string requests give paths below it
---@field cookies? boolean keep cookies between requests

---`local s <close> = o.http.session { … }`
---@class orrery.Session
---@field request fun(self: orrery.Session, url: string, options?: orrery.RequestOptions): orrery.Response?, orrery.Error?
---@field get fun(self: orrery.Session, url: string, options?: orrery.RequestOptions): orrery.Response?, orrery.Error?
---@field head fun(self: orrery.Session, url: string, options?: orrery.RequestOptions): orrery.Response?, orrery.Error?
---@field post fun(self: orrery.Session, url: string, options?: orrery.RequestOptions): orrery.Response?, orrery.Error?
---@field put fun(self: orrery.Session, url: string, options?: orrery.RequestOptions): orrery.Response?, orrery.Error?
---@field patch fun(self: orrery.Session, url: string, options?: orrery.RequestOptions): orrery.Response?, orrery.Error?
---@field delete fun(self: orrery.Session, url: string, options?: orrery.RequestOptions): orrery.Response?, orrery.Error?
---@field options fun(self: orrery.Session, url: string, options?: orrery.RequestOptions): orrery.Response?, orrery.Error?
---@field stream fun(self: orrery.Session, url: string, options?: orrery.RequestOptions): orrery.StreamResponse?, orrery.Error?
---@field close fun(self: orrery.Session)

---@class orrery.SignOptions
---@field secret string|string[] text, or "whsec_" and base64; several: several signatures
---@field id? string (default: a random one)
---@field timestamp? integer seconds since 1970 (default: now)
---@field form? "standard"|"github"

---@class orrery.VerifyOptions
---@field secret string|string[] any of them will do
---@field tolerance? orrery.Duration how old the message may be (default: "5m")
---@field form? "standard"|"github"

---`o.http "name" { … }` declares a step; `o.http.get(url)` is the client.
---@class orrery.http
---@overload fun(name: string): fun(options: orrery.HttpOptions): orrery.Step
local http = {}
---@param url string
---@param options? orrery.RequestOptions
---@return orrery.Response? response
---@return orrery.Error? err
function http.request(url, options) end
---@param url string
---@param options? orrery.RequestOptions
---@return orrery.Response? response
---@return orrery.Error? err
function http.get(url, options) end
---@param url string
---@param options? orrery.RequestOptions
---@return orrery.Response? response
---@return orrery.Error? err
function http.head(url, options) end
---@param url string
---@param options? orrery.RequestOptions
---@return orrery.Response? response
---@return orrery.Error? err
function http.post(url, options) end
---@param url string
---@param options? orrery.RequestOptions
---@return orrery.Response? response
---@return orrery.Error? err
function http.put(url, options) end
---@param url string
---@param options? orrery.RequestOptions
---@return orrery.Response? response
---@return orrery.Error? err
function http.patch(url, options) end
---@param url string
---@param options? orrery.RequestOptions
---@return orrery.Response? response
---@return orrery.Error? err
function http.delete(url, options) end
---@param url string
---@param options? orrery.RequestOptions
---@return orrery.Response? response
---@return orrery.Error? err
function http.options(url, options) end
---@param url string
---@param options? orrery.RequestOptions
---@return orrery.StreamResponse? response
---@return orrery.Error? err
function http.stream(url, options) end
---@param options? orrery.SessionOptions
---@return orrery.Session
function http.session(options) end
---Headers that sign a web-hook: the Standard Webhooks form, or GitHub's.
---@param body string
---@param options orrery.SignOptions
---@return table<string, string> headers
function http.sign(body, options) end
---@param headers table<string, string>
---@param body string as it was received
---@param options orrery.VerifyOptions
---@return true? ok
---@return orrery.Error? err signature_missing, signature_mismatch, timestamp_invalid, timestamp_tolerance
function http.verify(headers, body, options) end
---@param url string
---@param query? table<string, any>
---@return string
function http.with_query(url, query) end
---@param response orrery.Response
---@return orrery.Error
function http.status_error(response) end

---@class orrery.json
---@field null any JSON null
local json = {}
---@param value any
---@return string? text
---@return orrery.Error? err
function json.encode(value) end
---@param text string
---@return any value
---@return orrery.Error? err
function json.decode(text) end
---Marks a list as an array, also an empty one.
---@param list? any[]
---@return any[]
function json.array(list) end

---@class orrery.base64
local base64 = {}
---@param bytes string
---@param url? boolean
---@return string
function base64.encode(bytes, url) end
---@param text string
---@return string? bytes
---@return orrery.Error? err
function base64.decode(text) end

---@class orrery.time
local time = {}
---@return integer ms since 1970-01-01T00:00:00Z
function time.now() end
---@return number ms of a clock that never goes back
function time.mono() end
---@param ms? integer
---@return string
function time.iso(ms) end
---@param text string
---@return integer? ms
---@return orrery.Error? err
function time.parse(text) end
---@param value orrery.Duration
---@return integer? ms
---@return orrery.Error? err
function time.duration(value) end
---@param duration orrery.Duration
function time.sleep(duration) end

---@class orrery.runs
local runs = {}
---The newest succeeded run of a pipeline (or of another status); nil if there is none.
---@param pipeline string
---@param status? string default "succeeded"
---@return table? run
---@return orrery.Error? err
function runs.latest(pipeline, status) end
---A run: id, pipeline, status, input, output, error, steps …
---@param id string
---@return table? run
---@return orrery.Error? err
function runs.get(id) end
---Runs, newest first, as { items, next }.
---@param query? { status?: string, pipeline?: string, limit?: integer, cursor?: string }
---@return { items: table[], next: string? }? page
---@return orrery.Error? err
function runs.list(query) end
---Starts runs of a pipeline, one for each input; does not wait for them.
---@param name string
---@param inputs? any[] default: one run without input
---@param key? string idempotency key, with one input
---@return string[]? ids
---@return boolean|orrery.Error existing whether the key was known; or the error
function runs.execute(name, inputs, key) end
---@param action "cancel"|"pause"|"resume"
---@param id string
---@param reason? string
---@return boolean? ok
---@return orrery.Error? err
function runs.control(action, id, reason) end
---As JSON text, for routes.
---@param id string
---@param options? { steps_max?: integer }
---@return string? text
---@return orrery.Error? err
function runs.get_json(id, options) end
---@param query? { status?: string, pipeline?: string, limit?: integer, cursor?: string }
---@return string? text
---@return orrery.Error? err
function runs.list_json(query) end
---@param id string
---@param options? { after?: integer, limit?: integer }
---@return string? text
---@return orrery.Error? err
function runs.steps_json(id, options) end
---@param id string
---@return string? text
---@return orrery.Error? err
function runs.journal_json(id) end
---@param id string
---@param options? { after?: integer, limit?: integer, step?: string, level?: string }
---@return string? text
---@return orrery.Error? err
function runs.logs_json(id, options) end

return runs
