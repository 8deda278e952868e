-- Reading Debian's package database: paragraphs of "Field: value" lines, separated by empty lines.
local M = {}

-- One paragraph; lines that begin with a space continue the field before and are of no interest here.
local function parse_package(paragraph)
  local package = {}
  for field, value in ("\n" .. paragraph):gmatch("\n([%w-]+):[ \t]*([^\n]*)") do
    package[field] = value
  end
  local status = package.Status or ""
  if not package.Package or status:find("not%-installed$") then return nil end -- dpkg-query leaves those out too
  return {
    name = package.Package,
    section = (package.Section or "unknown"):match("([^/]+)$"), -- "contrib/net" is in "net"
    size_kb = math.tointeger(tonumber(package["Installed-Size"] or 0)) or 0,
    installed = status:find(" ok installed$") ~= nil,
  }
end

--- Parses a status file into counts and the installed packages of each section.
---@param text string
---@return { known: integer, installed: integer, sections: table[] }
function M.parse(text)
  local known, installed, by_section, names = 0, 0, {}, {}
  for paragraph in (text .. "\n\n"):gmatch("(.-)\n\n+") do
    local package = parse_package(paragraph)
    if package then
      known = known + 1
      local section = by_section[package.section]
      if not section then
        section = { name = package.section, packages = {} }
        by_section[package.section] = section
        names[#names + 1] = package.section
      end
      if package.installed then
        installed = installed + 1
        section.packages[#section.packages + 1] = { name = package.name, size_kb = package.size_kb }
      end
    end
  end
  table.sort(names)
  local sections = {}
  for i, name in ipairs(names) do sections[i] = by_section[name] end
  return { known = known, installed = installed, sections = sections }
end

--- Measures one section: the count, the size and the largest package of it.
function M.measure(section)
  local total, largest = 0, nil
  for _, package in ipairs(section.packages) do
    total = total + package.size_kb
    if not largest or package.size_kb > largest.size_kb then largest = package end
  end
  return { section = section.name, packages = #section.packages, size_kb = total, largest = largest and largest.name }
end

local ESCAPES = { ["&"] = "&amp;", ["<"] = "&lt;", [">"] = "&gt;", ['"'] = "&quot;" }
local function escape(value) return (tostring(value):gsub('[&<>"]', ESCAPES)) end

--- The report as a page of HTML.
---@param summary { known: integer, installed: integer, sha256: string, sections: table[] }
---@return string
function M.render(summary)
  local rows = {}
  for i, s in ipairs(summary.sections) do
    rows[i] = ("<tr><td>%s</td><td>%d</td><td>%.1f</td><td>%s</td></tr>")
      :format(escape(s.section), s.packages, s.size_kb / 1024, escape(s.largest or "–"))
  end
  return ([[<!doctype html>
<html lang="en"><meta charset="utf-8"><title>Packages</title>
<style>body{font:16px/1.5 system-ui,sans-serif;max-width:48rem;margin:2rem auto;padding:0 1rem}
table{border-collapse:collapse;width:100%%}td,th{padding:.2rem .6rem;border-bottom:1px solid #ccc;text-align:left}
td:nth-child(2),td:nth-child(3){text-align:right;font-variant-numeric:tabular-nums}</style>
<h1>Packages on this machine</h1>
<p>%d known, %d installed, in %d sections. Digest of the database: <code>%s</code></p>
<table><tr><th>Section</th><th>Packages</th><th>MiB</th><th>Largest</th></tr>
%s
</table></html>
]]):format(summary.known, summary.installed, #summary.sections, escape(summary.sha256), table.concat(rows, "\n"))
end

return M
