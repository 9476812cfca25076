-- A worker begins an attempt. ARGV: 3 attempt, 4 worker, 5 lease in seconds, 6… the pipelines it offers, if not any.
-- Returns the whole record; 'elsewhere' when the worker does not offer the job's pipeline; else nothing.
local status = get('status')
if status == 'processing' and get('attempt') == ARGV[3] then return redis.call('HGETALL', job) end  -- a lost reply
if status ~= 'queued' then return false end
local wanted, offered = get('pipeline'), #ARGV < 6
for index = 6, #ARGV do offered = offered or ARGV[index] == wanted end
if not offered then return 'elsewhere' end
local t, client = now(), get('client')
leave('queued', client)
local attempts = redis.call('HINCRBY', job, 'attempts', 1)
redis.call('HSET', job, 'status', 'processing', 'attempt', ARGV[3], 'worker', ARGV[4], 'claimed_at', stamp(t))
redis.call('HSETNX', job, 'started_at', stamp(t))
redis.call('ZADD', P .. 'processing', stamp(t + tonumber(ARGV[5])), id)
redis.call('SADD', client_set(client, 'processing'), id)
tell_status('processing', attempts)
return redis.call('HGETALL', job)
