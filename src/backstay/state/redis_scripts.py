"""What Redis does in one piece, in Lua: the value, and what has to be known about it.

Three kinds of Redis keys: a string for every value, which Redis itself expires; a set for every
scope, of the keys in it; and one sorted set of what expires when, so that keys of values that
are gone are forgotten. ``KEYS`` are always these three; ``ARGV[1]`` is the key within the scope,
``ARGV[2]`` its name in the sorted set.
"""

__all__ = ["ADD", "CLEAR", "KEYS", "REMOVE", "SWAP", "SWEEP", "WRITE"]

# A millisecond late: in the one of its end Redis may not have dropped a value yet.
_NOTE = """
local function note(px)
    redis.call('SADD', KEYS[2], ARGV[1])
    if px then
        local now = redis.call('TIME')
        local at = now[1] * 1000 + math.floor(now[2] / 1000) + px + 1
        redis.call('ZADD', KEYS[3], string.format('%.0f', at), ARGV[2])
    else
        redis.call('ZREM', KEYS[3], ARGV[2])
    end
end
local function put(value, px)
    if px then
        redis.call('SET', KEYS[1], value, 'PX', string.format('%.0f', px))
    else
        redis.call('SET', KEYS[1], value)
    end
    note(px)
end
"""

# ARGV: key, name, value, milliseconds or nothing.
WRITE = _NOTE + "put(ARGV[3], tonumber(ARGV[4])) return 1"

# ARGV: key, name.
REMOVE = """
redis.call('SREM', KEYS[2], ARGV[1])
redis.call('ZREM', KEYS[3], ARGV[2])
return redis.call('DEL', KEYS[1])
"""

# ARGV: key, name, by, milliseconds or nothing. The sum is fetched as a text: as a number of Lua
# it would be a float. INCRBY changes nothing if it cannot: no integer, or beyond 64 bits.
ADD = (
    _NOTE
    + """
local px = tonumber(ARGV[4])
if redis.call('EXISTS', KEYS[1]) == 0 then
    put(ARGV[3], px)
    return ARGV[3]
end
local done = redis.pcall('INCRBY', KEYS[1], ARGV[3])
if type(done) == 'table' and done.err then
    return false
end
if px then
    redis.call('PEXPIRE', KEYS[1], ARGV[4])
    note(px)
end
return redis.call('GET', KEYS[1])
"""
)

# ARGV: key, name, value, milliseconds or nothing, whether to keep the expiry (1), whether a value
# is expected (1), that value.
SWAP = (
    _NOTE
    + """
local found = redis.call('GET', KEYS[1])
if ARGV[6] == '1' then
    if found ~= ARGV[7] then
        return 0
    end
elseif found then
    return 0
end
if ARGV[5] == '1' and found then
    redis.call('SET', KEYS[1], ARGV[3], 'KEEPTTL')
else
    put(ARGV[3], tonumber(ARGV[4]))
end
return 1
"""
)

# KEYS: the scope's set, the sorted set. ARGV: what the names of the scope's values begin with, in
# Redis and in the sorted set.
CLEAR = """
local count = 0
for _, key in ipairs(redis.call('SMEMBERS', KEYS[1])) do
    count = count + redis.call('DEL', ARGV[1] .. key)
    redis.call('ZREM', KEYS[2], ARGV[2] .. key)
end
redis.call('DEL', KEYS[1])
return count
"""

# KEYS: the scope's set. ARGV: as for CLEAR, and what the keys begin with.
KEYS = """
local found = {}
for _, key in ipairs(redis.call('SMEMBERS', KEYS[1])) do
    if string.sub(key, 1, #ARGV[2]) == ARGV[2] and redis.call('EXISTS', ARGV[1] .. key) == 1 then
        found[#found + 1] = key
    end
end
return found
"""

# KEYS: the sorted set. ARGV: what Redis's names begin with, for values and for scopes; how many.
SWEEP = """
local now = redis.call('TIME')
local at = now[1] * 1000 + math.floor(now[2] / 1000)
local due = redis.call(
    'ZRANGEBYSCORE', KEYS[1], '-inf', string.format('%.0f', at), 'LIMIT', 0, ARGV[3]
)
local swept = 0
for _, name in ipairs(due) do
    if redis.call('EXISTS', ARGV[1] .. name) == 0 then
        local colon = string.find(name, ':', 1, true)
        local length = tonumber(string.sub(name, 1, colon - 1))
        local scope = string.sub(name, colon + 1, colon + length)
        redis.call('SREM', ARGV[2] .. scope, string.sub(name, colon + length + 1))
        redis.call('ZREM', KEYS[1], name)
        swept = swept + 1
    end
end
return swept
"""
