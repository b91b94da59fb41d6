-- ARGV: receipts. Forgets what they hold; answers with the positions of those that hold nothing.

local held, _, refused = held_from(1)
if #held > 0 then
  call('ZREM', leases, unpack(held))
  if call('ZREM', ready, unpack(held)) > 0 then
    tell()
  end
  call('HDEL', claims, unpack(held))
  call('HDEL', packages, unpack(held))
end
return refused
