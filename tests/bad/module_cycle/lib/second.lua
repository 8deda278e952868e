require "first"
return {}
