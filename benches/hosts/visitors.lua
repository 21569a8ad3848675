-- wrk's script: asks for each request of a hand in its turn, the hand and the virtual host being those that visitors.py has chosen, and
-- counts. Its arguments: the file (the hand's number, path, Referer and User-Agent, by tabs), the page of memory shared with visitors.py,
-- the hosts' names.
local ffi = require("ffi")
ffi.cdef [[
  int open(const char *path, int flags);
  void *mmap(void *address, size_t length, int protection, int flags, int file, long offset);
]]
local READ_WRITE, SHARED, BYTES = 3, 1, 4096

local page, hands
local turn = 0

local function shared(path)
  local file = ffi.C.open(path, 2)
  local memory = ffi.C.mmap(nil, BYTES, READ_WRITE, SHARED, file, 0)
  if file < 0 or ffi.cast("intptr_t", memory) == -1 then
    error("cannot map " .. path)
  end
  return ffi.cast("volatile uint64_t *", memory)
end

function init(arguments)
  page = shared(arguments[2])
  hands = {}
  for line in io.lines(arguments[1]) do
    local hand, path, referer, agent = line:match("^(%d+)\t(.-)\t(.-)\t(.-)$")
    hand = tonumber(hand)
    hands[hand] = hands[hand] or {}
    local of_hosts = {}
    for host = 3, #arguments do
      of_hosts[host - 3] = wrk.format("GET", path, { ["Host"] = arguments[host], ["Referer"] = referer, ["User-Agent"] = agent })
    end
    table.insert(hands[hand], of_hosts)
  end
end

function request()
  page[0] = page[0] + 1
  local requests = hands[tonumber(page[2])]
  turn = turn % #requests + 1
  return requests[turn][tonumber(page[1])]
end
