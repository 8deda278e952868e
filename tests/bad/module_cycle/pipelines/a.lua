require "first"
