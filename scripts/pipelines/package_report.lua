-- The main demo: reads this machine's package database, measures every section in parallel, writes report.html.
local o = require "orrery"
local packages = require "packages"

o.pipeline "package_report" {
  description = "What is installed on this machine, by section.",
  input = {
    status_file = o.string { default = "/var/lib/dpkg/status", description = "dpkg's database" },
    report = o.string { default = "report.html", description = "where the report goes, from the project's folder" },
  },
  tags = { "demo" },
  output = function(ctx)
    local parsed = ctx.results.parse
    return {
      packages_known = parsed.known,
      packages_installed = parsed.installed,
      sections = #parsed.sections,
      sha256 = ctx.results.digest:match("^%x+"),
      report = ctx.input.report,
    }
  end,

  o.step "parse" {
    run = function(ctx)
      local text, err = o.fs.read(ctx.input.status_file)
      if not text then return nil, err end
      return packages.parse(text)
    end,
  },
  o.map "measure" {
    after = "parse", over = "parse.sections", parallel = 8,
    run = function(_, section) return packages.measure(section) end,
  },
  o.shell "digest" { command = { "sha256sum", o.ref "input.status_file" }, timeout = "10s" },
  o.step "report" {
    after = { "parse", "measure", "digest" },
    retry = { attempts = 3, delay = "1s", backoff = 2, jitter = true },
    run = function(ctx)
      local parsed = ctx.results.parse
      local page = packages.render {
        known = parsed.known, installed = parsed.installed,
        sections = ctx.results.measure, sha256 = ctx.results.digest:match("^%x+"),
      }
      local _, err = o.fs.write(ctx.input.report, page) -- atomic: a reader sees the old report or the new one
      if err then return nil, err end
      return { path = ctx.input.report, bytes = #page }
    end,
  },
}
