require "second"
return {}
