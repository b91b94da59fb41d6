-- ARGV: a delay in milliseconds, 1 where an attempt has failed, receipts. Gives back what they
-- hold, to the front of its priority; answers with the positions of those that hold nothing.

local delay, failed = tonumber(ARGV[1]), tonumber(ARGV[2])
local held, records, refused = held_from(3)
if #held > 0 then
  local now = clock()
  local stored, ranked = {}, {}
  for i, number in ipairs(held) do
    local _, lapses, attempts, priority = parse(records[i])
    stored[2 * i - 1], stored[2 * i] = number, record_of('0', lapses, attempts + failed, priority)
    ranked[2 * i - 1] = delay > 0 and plain(now + delay) or rank(priority, now)
    ranked[2 * i] = number
  end
  call('ZREM', leases, unpack(held))
  call('ZREM', ready, unpack(held))
  call('HSET', claims, unpack(stored))
  call('ZADD', delay > 0 and delayed or ready, unpack(ranked))
  if delay < SOON then
    ring()
  end
end
return refused
