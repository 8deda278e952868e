-- Fetches pages over HTTP from a server that it starts itself. Every page answers its first request with 503, so each
-- item of the map needs its retry: "serve" and "fetch" run side by side.
local o = require "orrery"
local page_server = require "page_server"

o.pipeline "fetch_pages" {
  description = "Fetches pages from a server of its own, with retries against injected failures.",
  input = { pages = o.integer { default = 12, minimum = 1, maximum = 200 } },
  tags = { "demo" },
  timeout = "60s",

  o.step "plan" {
    run = function(ctx)
      local pages = {}
      for i = 1, ctx.input.pages do pages[i] = i end
      return { port = page_server.free_port(), pages = pages }
    end,
  },
  o.step "serve" {
    after = "plan", timeout = "30s",
    run = function(ctx)
      local plan = ctx.results.plan
      local server = page_server.start(plan.port)
      while server.count < #plan.pages do ctx.sleep("20ms") end
      ctx.sleep("50ms") -- the last answer is on its way
      server.close()
      return { served = server.count, refused = server.refused }
    end,
  },
  o.map "fetch" {
    after = "plan", over = "plan.pages", parallel = 4, timeout = "5s",
    retry = { attempts = 8, delay = "50ms", backoff = 2, max_delay = "1s", jitter = true },
    run = function(ctx, page)
      local response, err = o.http.get(("http://127.0.0.1:%d/page/%d"):format(ctx.results.plan.port, page))
      if not response then return nil, err end -- refused: the server may not be up yet
      return { title = response:expect():json().title, attempts = ctx.attempt } -- anything but 2xx fails the attempt
    end,
  },
  o.step "summary" {
    after = { "serve", "fetch" },
    run = function(ctx)
      local titles, attempts = {}, 0
      for i, page in ipairs(ctx.results.fetch) do
        titles[i] = page.title
        attempts = attempts + page.attempts
      end
      return { pages = #titles, attempts = attempts, refused = ctx.results.serve.refused, titles = titles }
    end,
  },
}
