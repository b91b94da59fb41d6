-- What every script begins with: the queue's keys, the time, and what a claim is.
--
-- list      packages that nobody has claimed yet, undelayed and of priority 0: Django Q2's list
-- ready     numbers of other packages that can be claimed now, by rank
-- delayed   numbers of packages that become ready later, by time
-- leases    numbers of claimed packages, by the end of their lease
-- claims    number -> "claim lapses attempts priority"; the claim of nobody is 0
-- packages  number -> package, of all that is not in the list
-- counter   the last number
-- wake      has one element while something is in `ready` or soon due, for those who wait for that
--
-- Times are the server's, in milliseconds. What is out of memory refuses a script that adds before
-- it has taken something away: so whatever makes room is done first, and a full server can be
-- worked empty.

local list, ready, delayed, leases, claims, packages, counter, wake = unpack(KEYS)
local call = redis.call

-- Who waits asks again at least so often, and need not be told of what is due later.
local SOON = 6000

local function clock()
  local time = call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

-- Numbers beyond 2^31 in full: Lua would write them with an exponent.
local function plain(number)
  return string.format('%.0f', number)
end

-- Higher priorities first, then what became available first. 42 bits hold the time until 2109,
-- and with the 201 priorities all stays within a double's 53.
local function rank(priority, available)
  return plain((100 - priority) * 2 ^ 42 + available)
end

-- The first rank of what comes after the list.
local BELOW_LIST = rank(-1, 0)

local function parse(record)
  local claim, lapses, attempts, priority = string.match(record, '^(%S+) (%S+) (%S+) (%S+)$')
  return claim, tonumber(lapses), tonumber(attempts), tonumber(priority)
end

local function record_of(claim, lapses, attempts, priority)
  return table.concat({claim, plain(lapses), plain(attempts), plain(priority)}, ' ')
end

-- Unique also where a replica that takes over has not heard of the last numbers.
local function new_numbers(count, mark)
  local last = call('INCRBY', counter, count)
  local numbers = {}
  for i = 1, count do
    numbers[i] = string.format('%012.0f-%s', last - count + i, mark)
  end
  return numbers
end

local function ring()
  if call('EXISTS', wake) == 0 then
    call('RPUSH', wake, '1')
  end
end

-- When `ready` has changed: those who wait are woken as long as there is something, and no longer.
local function tell()
  if call('EXISTS', ready) == 1 then
    ring()
  else
    call('DEL', wake)
  end
end

-- Of receipts `number.claim` in ARGV from `first` on: the numbers of those that still hold their
-- package, their records, and the positions of those that were superseded or are gone.
local function held_from(first)
  local numbers, marks = {}, {}
  for i = first, #ARGV do
    local receipt = ARGV[i]
    local dot = string.find(receipt, '.', 1, true) or #receipt + 1
    numbers[i - first + 1] = string.sub(receipt, 1, dot - 1)
    marks[i - first + 1] = string.sub(receipt, dot + 1) .. ' '
  end
  local held, records, refused = {}, {}, {}
  if #numbers == 0 then
    return held, records, refused
  end
  local found = call('HMGET', claims, unpack(numbers))
  for i, number in ipairs(numbers) do
    local record = found[i]
    if record and string.sub(record, 1, #marks[i]) == marks[i] then
      held[#held + 1] = number
      records[#records + 1] = record
    else
      refused[#refused + 1] = i - 1
    end
  end
  return held, records, refused
end
