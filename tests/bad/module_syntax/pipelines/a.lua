local m = require "helper"
