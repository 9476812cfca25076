-- What a follower of the job needs. ARGV: 3 the last event it has seen, or ''.
-- Returns the job as look does, the id of its last event, and the events since; nothing when there is no such job.
local found = look(id)
if not found then return false end
local key = P .. 'events:' .. id
local last = redis.call('XREVRANGE', key, '+', '-', 'COUNT', 1)
local since = ARGV[3] ~= '' and redis.call('XRANGE', key, '(' .. ARGV[3], '+') or {}
return {found, last[1] and last[1][1] or get('last_event') or '0-0', since}
