-- SPDX-License-Identifier: MIT
-- Kind pipeline: a child run. The worker finds the newest definition and checks the input against it.
local context = require "orrery.ctx"

return {
  run = function(ctx, pipeline, step)
    local input = step.options.input
    if input ~= nil then input = context.plain(context.resolve(ctx, input, pipeline)) end
    return "child", step.options.pipeline, input == nil and {} or input
  end,
}
