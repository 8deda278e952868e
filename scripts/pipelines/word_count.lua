-- A map: one step makes a list, every item is worked on in parallel, the results keep the list's order.
local o = require "orrery"

o.pipeline "word_count" {
  description = "Counts the words of some lines, four lines at a time.",
  input = { lines = o.list { items = o.string {}, default = { "the quick brown fox", "jumps over", "the lazy dog" } } },

  o.map "count" {
    over = "input.lines", parallel = 4,
    run = function(_, line)
      local words = 0
      for _ in line:gmatch("%S+") do words = words + 1 end
      return words
    end,
  },
  o.step "sum" {
    after = "count",
    run = function(ctx)
      local total = 0
      for _, words in ipairs(ctx.results.count) do total = total + words end
      return { lines = ctx.results.count, total = total }
    end,
  },
}
