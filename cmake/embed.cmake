# Embeds the Lua library: every lua/**/*.lua becomes bytecode (line information kept) in one generated C
# file. Debian's argparse module is embedded too, so that the binary needs no Lua files beside it.
find_program(LUAC NAMES luac5.4 REQUIRED)
find_file(ARGPARSE_LUA argparse.lua PATHS /usr/share/lua/5.4 /usr/share/lua/5.3 /usr/share/lua/5.1
          REQUIRED NO_DEFAULT_PATH)

function(orr_embed_lua target)
  file(GLOB_RECURSE modules CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/lua/*.lua)
  list(FILTER modules EXCLUDE REGEX "/meta/") # editor definitions are data of the tree, not code
  set(out ${CMAKE_BINARY_DIR}/embedded_lua.c)
  add_custom_command(
    OUTPUT ${out}
    COMMAND ${CMAKE_COMMAND} -E env LUAC=${LUAC}
            lua5.4 ${CMAKE_SOURCE_DIR}/cmake/embed.lua ${out} ${CMAKE_SOURCE_DIR}/lua
            ${ARGPARSE_LUA} ${modules}
    DEPENDS ${modules} ${ARGPARSE_LUA} ${CMAKE_SOURCE_DIR}/cmake/embed.lua
    COMMENT "Embedding the Lua library"
    VERBATIM)
  target_sources(${target} PRIVATE ${out})
endfunction()
