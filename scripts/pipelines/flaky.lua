-- Retries with a growing, jittered delay. `ctx.attempt` starts at 1; `on` limits which errors are tried again.
local o = require "orrery"

o.pipeline "flaky" {
  description = "Fails twice and then succeeds.",
  input = { failures = o.integer { default = 2, minimum = 0, maximum = 4 } },

  o.step "call" {
    retry = { attempts = 5, delay = "50ms", backoff = 2, max_delay = "1s", jitter = true, on = "busy" },
    timeout = "5s",
    run = function(ctx)
      if ctx.attempt <= ctx.input.failures then o.fail("the other side is busy", { code = "busy" }) end
      return { attempts = ctx.attempt }
    end,
  },
}
