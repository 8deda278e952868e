-- Hooks run after an outcome is recorded; a failing hook is logged and changes nothing. A pause holds no worker.
local o = require "orrery"

o.pipeline "hooks" {
  description = "Tells about its outcome.",

  o.sleep "pause" { duration = "250ms" },
  o.step "work" {
    after = "pause", retry = 2,
    run = function(ctx)
      if ctx.attempt == 1 then error("not yet") end
      ctx.progress(1, "done")
      return 42
    end,
    on_retry = function(ctx) ctx.log.warn("trying again", { error = ctx.error.message }) end,
    on_success = function(ctx) ctx.log.info("the answer is " .. ctx.output) end,
    on_failure = function(ctx) ctx.log.error("gave up", { error = ctx.error.message }) end,
  },
}
