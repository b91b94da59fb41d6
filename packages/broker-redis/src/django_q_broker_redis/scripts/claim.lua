-- ARGV: how many at most, the lease in milliseconds, the claim, and whether lapsed work is taken.
-- Answers with the milliseconds until there may be something (-1: nobody knows), and then four
-- values a package: number, package, lapses, attempts.

local limit, lease, claim = tonumber(ARGV[1]), tonumber(ARGV[2]), ARGV[3]
local takes_lapsed = ARGV[4] == '1'
local now = clock()
local answer = {-1}

-- Of a package whose record is gone: somebody removed or evicted keys of the queue.
local UNKNOWN = record_of('0', 0, 0, 0)

-- What is due becomes ready; what has lapsed too, with a claim on it that tells.
local function promote(from)
  local due = call('ZRANGEBYSCORE', from, '-inf', plain(now), 'WITHSCORES', 'LIMIT', 0, 1000)
  if #due == 0 then
    return
  end
  local numbers, ranked = {}, {}
  for i = 1, #due, 2 do
    numbers[#numbers + 1] = due[i]
  end
  call('ZREM', from, unpack(numbers))
  local records = call('HMGET', claims, unpack(numbers))
  for i = 1, #numbers do
    local _, _, _, priority = parse(records[i] or UNKNOWN)
    ranked[2 * i - 1] = rank(priority, tonumber(due[2 * i]))
    ranked[2 * i] = numbers[i]
  end
  call('ZADD', ready, unpack(ranked))
end

-- `counts` has lapses and attempts of each package in turn; new ones have neither.
local function lease_out(numbers, bodies, records, counts)
  local stored, ends, lease_end = {}, {}, plain(now + lease)
  local place = #answer
  for i, number in ipairs(numbers) do
    stored[2 * i - 1], stored[2 * i] = number, records[i]
    ends[2 * i - 1], ends[2 * i] = lease_end, number
    answer[place + 1], answer[place + 2] = number, bodies[i]
    answer[place + 3] = counts and counts[2 * i - 1] or 0
    answer[place + 4] = counts and counts[2 * i] or 0
    place = place + 4
  end
  call('HSET', claims, unpack(stored))
  call('ZADD', leases, unpack(ends))
end

local function take_ready(low, high, count)
  if count <= 0 then
    return 0
  end
  local numbers = call('ZRANGEBYSCORE', ready, low, high, 'LIMIT', 0, count)
  if #numbers == 0 then
    return 0
  end
  call('ZREM', ready, unpack(numbers))
  local records = call('HMGET', claims, unpack(numbers))
  local bodies = call('HMGET', packages, unpack(numbers))
  local found, found_bodies, found_records, counts, lost = {}, {}, {}, {}, {}
  for i, number in ipairs(numbers) do
    if bodies[i] then
      local earlier, lapses, attempts, priority = parse(records[i] or UNKNOWN)
      lapses = lapses + (earlier == '0' and 0 or 1)
      local n = #found + 1
      found[n], found_bodies[n] = number, bodies[i]
      found_records[n] = record_of(claim, lapses, attempts, priority)
      counts[2 * n - 1], counts[2 * n] = lapses, attempts
    else
      lost[#lost + 1] = number
    end
  end
  if #lost > 0 then
    call('HDEL', claims, unpack(lost))
  end
  if #found > 0 then
    lease_out(found, found_bodies, found_records, counts)
  end
  return #found
end

local function take_new(count)
  local bodies = count > 0 and call('LPOP', list, count) or {}
  if #bodies == 0 then
    return 0
  end
  local numbers = new_numbers(#bodies, string.sub(claim, 1, 8))
  local stored, records, record = {}, {}, record_of(claim, 0, 0, 0)
  for i, body in ipairs(bodies) do
    stored[2 * i - 1], stored[2 * i] = numbers[i], body
    records[i] = record
  end
  call('HSET', packages, unpack(stored))
  lease_out(numbers, bodies, records)
  return #bodies
end

local function wait_for(key)
  local first = call('ZRANGE', key, 0, 0, 'WITHSCORES')
  if #first > 0 then
    local left = math.max(tonumber(first[2]) - now, 0)
    if answer[1] < 0 or left < answer[1] then
      answer[1] = left
    end
  end
end

promote(delayed)
if takes_lapsed then
  promote(leases)
end
local taken = take_ready('-inf', '(' .. BELOW_LIST, limit)
taken = taken + take_new(limit - taken)
taken = taken + take_ready(BELOW_LIST, '+inf', limit - taken)
tell()
if taken == 0 then
  wait_for(delayed)
  if takes_lapsed then
    wait_for(leases)
  end
end
return answer
