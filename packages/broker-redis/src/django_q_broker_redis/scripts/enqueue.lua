-- ARGV: a mark that no other call has, the priority, when available (0: at once), the packages.
-- Answers with their numbers. What has neither priority nor delay needs no script.

local mark, priority, available = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local now = clock()
local numbers = new_numbers(#ARGV - 3, mark)
local stored, records, ranked = {}, {}, {}
local is_ready = available <= now
for i, number in ipairs(numbers) do
  stored[2 * i - 1], stored[2 * i] = number, ARGV[i + 3]
  records[2 * i - 1], records[2 * i] = number, record_of('0', 0, 0, priority)
  ranked[2 * i - 1] = is_ready and rank(priority, now) or plain(available)
  ranked[2 * i] = number
end
call('HSET', packages, unpack(stored))
call('HSET', claims, unpack(records))
call('ZADD', is_ready and ready or delayed, unpack(ranked))
if available - now < SOON then
  ring()
end
return numbers
