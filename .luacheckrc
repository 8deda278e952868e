std = "lua54"
max_line_length = 175
files["tests/lua"].std = "lua54+busted"
files["lua/meta"].ignore = { "211", "212", "213", "111", "112", "113", "131", "231", "241" } -- definitions, never run
files["tests/bad"].ignore = { "." }
