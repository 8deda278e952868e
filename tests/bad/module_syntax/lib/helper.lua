local M = {}
function M.x( end
return M
