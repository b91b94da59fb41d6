-- Answers with the number of packages that can be claimed now, and of those that are claimed or
-- delayed.

local now = plain(clock())
local waiting = call('LLEN', list) + call('ZCARD', ready)
local locked = 0
for _, key in ipairs({delayed, leases}) do
  local due = call('ZCOUNT', key, '-inf', now)
  waiting = waiting + due
  locked = locked + call('ZCARD', key) - due
end
return {waiting, locked}
