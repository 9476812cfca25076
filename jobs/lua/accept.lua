-- A submit becomes a queued job, once.
-- ARGV: 3 client, 4 queue, 5 most active jobs (0: any number), 6 idempotency key or '', 7 its seconds after the job's end, 8 the storage's identity
-- or '', 9… field, value
local client, queue, most, idempotency = ARGV[3], ARGV[4], tonumber(ARGV[5]), ARGV[6]
if redis.call('EXISTS', job) == 1 then return {'accepted', look(id)} end  -- our own retry after a lost reply
local idempotency_key = client_set(client, 'idempotency:' .. idempotency)
if idempotency ~= '' then
  local first = redis.call('GET', idempotency_key)
  if first then
    local known = look(first)
    if known then return {'exists', known} end
    return {'gone', first}
  end
end
local storage = redis.call('GET', P .. 'storage')
if storage and ARGV[8] ~= '' and storage ~= ARGV[8] then return {'stranger', storage} end
local active = redis.call('SCARD', client_set(client, 'waiting')) + redis.call('SCARD', client_set(client, 'processing'))
if most > 0 and active >= most then return {'busy', active} end
local seq = redis.call('INCR', P .. 'seq')
redis.call('HSET', job, 'id', id, 'client', client, 'queue', queue, 'seq', seq, 'status', 'queued',
  'created_at', stamp(now()), 'attempts', 0, unpack(ARGV, 9))
redis.call('ZADD', P .. 'waiting:' .. queue, seq, id)
redis.call('SADD', client_set(client, 'waiting'), id)
redis.call('ZADD', client_set(client, 'history'), seq, id)
redis.call('SADD', P .. 'trim', client)
if idempotency ~= '' then  -- the key lives as long as the job waits and runs, and for the retention after its end
  redis.call('SET', idempotency_key, id)
  redis.call('HSET', job, 'idempotency_key', idempotency_key, 'idempotency_ttl', ARGV[7])
end
redis.call('HINCRBY', P .. 'counted', 'accepted|' .. (get('pipeline') or ''), 1)
return {'accepted', look(id)}
