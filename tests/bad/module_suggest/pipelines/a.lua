local m = require "packagse"
