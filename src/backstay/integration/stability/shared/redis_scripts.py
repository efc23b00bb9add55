"""What Redis does in one piece, in Lua.

``ARGV[1]`` is the time in microseconds, empty for the server's own. All numbers are whole and below
2^53, so that they survive Lua's floats; they are written as texts, for Redis would cut them off.
Circuits are hashes of three fields, ``-`` in ``opened_until`` being closed; a bucket is a number.
"""

from typing import Final

__all__ = ["GIVE_BACK", "LEASE", "LOOK", "RENEW", "SETTLE", "TAKE", "TRIP"]

_NOW: Final = """
local now = tonumber(ARGV[1])
if not now then
    local time = redis.call('TIME')
    now = time[1] * 1000000 + time[2]
end
local function whole(number)
    return string.format('%.0f', number)
end
"""

# A day after the last change, or after the circuit may be tried, nobody remembers.
_CIRCUIT: Final = (
    _NOW
    + """
local function read(key)
    local found = redis.call('HMGET', key, 'epoch', 'opened_until', 'leased_until')
    return tonumber(found[1] or 0), tonumber(found[2] or '-'), tonumber(found[3] or 0), found[1]
end
local function told(epoch, opened_until, leased_until)
    return {whole(epoch), opened_until and whole(opened_until) or '', whole(leased_until),
            whole(now)}
end
local function put(key, epoch, opened_until, leased_until)
    redis.call('HSET', key, 'epoch', whole(epoch),
               'opened_until', opened_until and whole(opened_until) or '-',
               'leased_until', whole(leased_until))
    local left = math.max(0, (opened_until or now) - now)
    redis.call('PEXPIRE', key, whole(math.ceil(left / 1000) + 86400000))
    return told(epoch, opened_until, leased_until)
end
"""
)

# KEYS: circuits.
LOOK: Final = (
    _CIRCUIT
    + """
local found = {}
for index, key in ipairs(KEYS) do
    local epoch, opened_until, leased_until = read(key)
    found[index] = told(epoch, opened_until, leased_until)
end
return found
"""
)

# KEYS: the circuit. ARGV: now, the epoch heard of, microseconds until a call may try.
TRIP: Final = (
    _CIRCUIT
    + """
local epoch, opened_until, leased_until = read(KEYS[1])
if opened_until or epoch > tonumber(ARGV[2]) then
    return told(epoch, opened_until, leased_until)
end
return put(KEYS[1], math.max(epoch + 1, now), now + tonumber(ARGV[3]), 0)
"""
)

# KEYS: the circuit. ARGV: now, microseconds.
LEASE: Final = (
    _CIRCUIT
    + """
local epoch, opened_until, leased_until, known = read(KEYS[1])
if not known then
    opened_until = now
end
if not opened_until or opened_until > now or leased_until > now then
    return {0, told(epoch, opened_until, leased_until)}
end
return {1, put(KEYS[1], math.max(epoch + 1, now), opened_until, now + tonumber(ARGV[2]))}
"""
)

# KEYS: the circuit. ARGV: now, the epoch, microseconds.
RENEW: Final = (
    _CIRCUIT
    + """
local epoch, opened_until, leased_until = read(KEYS[1])
if epoch ~= tonumber(ARGV[2]) or leased_until <= now then
    return 0
end
put(KEYS[1], epoch, opened_until, now + tonumber(ARGV[3]))
return 1
"""
)

# KEYS: the circuit. ARGV: now, the epoch, how it ended, microseconds until the next may try.
SETTLE: Final = (
    _CIRCUIT
    + """
local epoch, opened_until, leased_until = read(KEYS[1])
if epoch ~= tonumber(ARGV[2]) or leased_until <= now then
    return told(epoch, opened_until, leased_until)
end
if ARGV[3] == 'success' then
    opened_until = nil
elseif ARGV[3] == 'failure' then
    opened_until = now + tonumber(ARGV[4])
end
return put(KEYS[1], math.max(epoch + 1, now), opened_until, 0)
"""
)

# KEYS: the bucket. ARGV: now, how many, microseconds between two, and those that there is room for.
# A minute longer than needed: the time may be somebody else's than Redis's.
TAKE: Final = (
    _NOW
    + """
local each = tonumber(ARGV[3])
local full_at = math.max(tonumber(redis.call('GET', KEYS[1]) or 0), now)
local room = tonumber(ARGV[4]) + now - full_at
local granted = 0
if room >= 0 then
    granted = math.min(tonumber(ARGV[2]), math.floor(room / each) + 1)
    full_at = full_at + granted * each
    redis.call('SET', KEYS[1], whole(full_at), 'PX', whole(math.ceil((full_at - now) / 1000) + 60000))
end
return {whole(full_at), granted, whole(now)}
"""
)

# KEYS: the bucket. ARGV: the mark, microseconds between two.
GIVE_BACK: Final = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then
    return 0
end
redis.call('SET', KEYS[1], string.format('%.0f', ARGV[1] - ARGV[2]), 'KEEPTTL')
return 1
"""
