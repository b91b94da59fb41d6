-- ARGV: the lease in milliseconds, receipts. Lets what they hold be theirs for so long, also what
-- has lapsed and nobody has taken; answers with the positions of those that hold nothing.

local held, _, refused = held_from(2)
if #held > 0 then
  local ends, until_then = {}, plain(clock() + tonumber(ARGV[1]))
  for i, number in ipairs(held) do
    ends[2 * i - 1], ends[2 * i] = until_then, number
  end
  if call('ZREM', ready, unpack(held)) > 0 then
    tell()
  end
  call('ZREM', leases, unpack(held))
  call('ZADD', leases, unpack(ends))
end
return refused
