-- SPDX-License-Identifier: MIT
-- Kind map: one item. (The list itself is the runtime's op "expand".)
return { run = function(ctx, _, step) return "ok", step.run(ctx, ctx.item) end }
