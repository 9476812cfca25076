-- Shared by every script. ARGV[1] is the key prefix, ARGV[2] the job's id.
-- A job is in exactly one of: waiting:<queue>, processing, ended.
local P, id = ARGV[1], ARGV[2]
local job = P .. 'job:' .. id

local function now()
  local t = redis.call('TIME')
  return tonumber(t[1]) + tonumber(t[2]) / 1000000
end

local function get(field) return redis.call('HGET', job, field) or false end

local function client_set(client, name) return P .. 'client:' .. client .. ':' .. name end

local function stamp(t) return string.format('%.6f', t) end

-- Writes down what happened, for those who follow the job, and wakes them. Its id orders it among the job's events.
local function tell(event, data)
  local key = P .. 'events:' .. id
  local told = redis.call('XADD', key, 'MAXLEN', '~', 500, '*', 'event', event, 'data', data)
  redis.call('PUBLISH', P .. 'changes', event .. ' ' .. id)
  return told
end

local function tell_status(status, attempts, cancelling)
  tell('status', cjson.encode({status = status, attempts = attempts, cancelling = cancelling or nil}))
end

-- One more observation in a histogram of the counters: its bucket and its sum.
local function observe(name, pipeline, value)
  local counted, bucket = P .. 'counted', '+Inf'
  for _, bound in ipairs(BOUNDS) do
    if value <= tonumber(bound) then bucket = bound break end
  end
  redis.call('HINCRBY', counted, name .. '|' .. pipeline .. '|' .. bucket, 1)
  redis.call('HINCRBYFLOAT', counted, name .. '|' .. pipeline .. '|sum', stamp(value))
end

-- Takes the job out of the place it is in.
local function leave(status, client)
  if status == 'queued' then
    redis.call('ZREM', P .. 'waiting:' .. get('queue'), id)
    redis.call('SREM', client_set(client, 'waiting'), id)
  elseif status == 'processing' then
    redis.call('ZREM', P .. 'processing', id)
    redis.call('SREM', client_set(client, 'processing'), id)
  end
end

-- An ended job in the counters: for ever, and in its minute.
local function count(to, kind, t)
  local pipeline, created, begun = get('pipeline') or '', tonumber(get('created_at')), get('claimed_at')
  local minute = P .. 'minute:' .. math.floor(t / 60)
  redis.call('HINCRBY', P .. 'counted', 'ended|' .. pipeline .. '|' .. to, 1)
  if to == 'error' then redis.call('HINCRBY', P .. 'counted', 'failures|' .. pipeline .. '|' .. kind, 1) end
  redis.call('HINCRBY', minute, to, 1)
  if begun and to == 'complete' then
    local started = tonumber(get('started_at'))
    observe('wait_seconds', pipeline, started - created)
    observe('run_seconds', pipeline, t - tonumber(begun))
    redis.call('HINCRBYFLOAT', minute, 'wait_s', stamp(started - created))
    redis.call('HINCRBYFLOAT', minute, 'run_s', stamp(t - tonumber(begun)))
  end
  redis.call('EXPIRE', minute, 3900)
end

-- A job's one and only end.
local function conclude(from, to, kind, message)
  local client, t = get('client'), now()
  leave(from, client)
  redis.call('HSET', job, 'status', to, 'ended_at', stamp(t))
  if message ~= '' then redis.call('HSET', job, 'error', message, 'error_kind', kind) end
  redis.call('ZADD', P .. 'ended', stamp(t), id)
  redis.call('SADD', P .. 'trim', client)
  redis.call('HSET', job, 'last_event', tell('end', '{}'))
  redis.call('EXPIRE', P .. 'events:' .. id, 300)  -- later a follower is told the end alone
  if get('webhook') then redis.call('ZADD', P .. 'webhooks', stamp(t), id) end
  count(to, kind, t)
  if get('idempotency_key') then redis.call('EXPIRE', get('idempotency_key'), get('idempotency_ttl')) end
end

-- Back to its old place in the queue, which is the front, or to its end when it has had its tries.
local function put_back(counted, max_attempts, kind, message)
  if get('cancel') then
    conclude('processing', 'cancelled', '', '')
    return 'cancelled'
  end
  local attempts = tonumber(get('attempts'))
  if not counted then
    attempts = attempts - 1
    redis.call('HSET', job, 'attempts', attempts)
  elseif attempts >= max_attempts then
    conclude('processing', 'error', kind, message .. ' (attempt ' .. attempts .. ' of ' .. max_attempts .. ')')
    return 'error'
  end
  if counted then redis.call('HINCRBY', P .. 'counted', 'retries|' .. (get('pipeline') or '') .. '|' .. kind, 1) end
  local client = get('client')
  leave('processing', client)
  redis.call('HSET', job, 'status', 'queued')
  redis.call('HDEL', job, 'attempt', 'worker', 'progress')
  redis.call('ZADD', P .. 'waiting:' .. get('queue'), get('seq'), id)
  redis.call('SADD', client_set(client, 'waiting'), id)
  tell_status('queued', attempts)
  return 'queued'
end

-- What a client wants to know of a job: record, place in the queue (0: not waiting), the time, usual seconds.
local function look(which)
  local key = P .. 'job:' .. which
  local values = redis.call('HGETALL', key)
  if #values == 0 then return false end
  local about = redis.call('HMGET', key, 'status', 'queue', 'pipeline')
  local rank = about[1] == 'queued' and about[2] and redis.call('ZRANK', P .. 'waiting:' .. about[2], which)
  local usual = about[3] and redis.call('HGET', P .. 'usual', about[3]) or ''
  return {values, rank and rank + 1 or 0, stamp(now()), usual}
end
