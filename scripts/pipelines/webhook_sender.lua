-- Sends signed web-hooks (standardwebhooks.com) to a receiver that it starts itself. The receiver verifies each signature, is
-- busy at first (503 with Retry-After), and drops what comes twice: a message keeps its id over all attempts.
local o = require "orrery"
local hook_receiver = require "hook_receiver"

local SECRET = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"

-- One message. A session keeps the connection open and sends the same headers each time.
local function deliver(session, id, event)
  local body = o.json.encode(event)
  for attempt = 1, 5 do
    local headers = o.http.sign(body, { secret = SECRET, id = id })
    headers["Content-Type"] = "application/json"
    local res, err = session:post("", { body = body, headers = headers })
    if not res then return nil, err end
    if res.ok then return { id = id, attempts = attempt } end
    local failure = o.http.status_error(res)
    if not failure.retryable then return nil, failure end
    o.time.sleep((failure.retry_after_ms or 200) / 1000)
  end
  return nil, { code = "gave_up", message = "the receiver stays busy" }
end

o.pipeline "webhook_sender" {
  description = "Signed web-hooks to a receiver of its own, which verifies them.",
  input = { messages = o.integer { default = 5, minimum = 1, maximum = 100 } },
  tags = { "demo" },

  o.step "send" {
    timeout = "30s",
    run = function(ctx)
      local receiver = hook_receiver.start({ "whsec_b2xkIHNlY3JldCBvZiBsYXN0IHllYXI=", SECRET }, 1)
      local session <close> = o.http.session { base_url = receiver.url, timeout = "5s", headers = { ["User-Agent"] = "orrery-demo" } }
      local deliveries = {}
      for i = 1, ctx.input.messages do
        local sent, err = deliver(session, ("msg_%s_%d"):format(ctx.run.id, i), { type = "invoice.paid", data = { number = i } })
        if not sent then return nil, err end
        deliveries[i] = sent
      end
      local forged = session:post("", { body = "{}", headers = o.http.sign("{}", { secret = "guessed" }) })
      receiver.close()
      return { deliveries = deliveries, accepted = receiver.accepted, forged = forged.status, refused = receiver.refused }
    end,
  },
  o.step "report" {
    after = "send",
    run = function(ctx)
      local send = ctx.results.send
      return { accepted = #send.accepted, first_needed = send.deliveries[1].attempts, forged = send.forged, because = send.refused[1] }
    end,
  },
}
