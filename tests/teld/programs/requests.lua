-- For wrk: requests of /PREFIX<0..CLIENTS-1>/<thread>-<number>, each number once. Arguments: PREFIX CLIENTS
local threads = 0

function setup(thread)
  thread:set("thread", threads)
  threads = threads + 1
end

function init(arguments)
  prefix, clients, number = arguments[1], tonumber(arguments[2]), 0
end

function request()
  number = number + 1
  return wrk.format("GET", string.format("/%s%d/%d-%d", prefix, number % clients, thread, number))
end
