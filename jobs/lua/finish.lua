-- An attempt ends its job. ARGV: 3 attempt, 4 status, 5 error kind, 6 error message, 7… field, value.
-- Returns the status the job now has, 'gone' when there is no such job, or 'lost' when another attempt counts.
local status = get('status')
if not status then return 'gone' end
if status ~= 'processing' and status ~= 'queued' then return status end  -- also our own retry after a lost reply
if status == 'queued' or get('attempt') ~= ARGV[3] then return 'lost' end
if get('cancel') then
  conclude('processing', 'cancelled', '', '')
  return 'cancelled'
end
if #ARGV > 6 then redis.call('HSET', job, unpack(ARGV, 7)) end
conclude('processing', ARGV[4], ARGV[5], ARGV[6])
if ARGV[4] == 'complete' then  -- a moving average, for estimates
  local pipeline, took = get('pipeline'), now() - tonumber(get('claimed_at'))
  local usual = tonumber(redis.call('HGET', P .. 'usual', pipeline) or took)
  redis.call('HSET', P .. 'usual', pipeline, stamp(usual + 0.2 * (took - usual)))
  for stage, seconds in pairs(cjson.decode(get('timings') or '{}')) do
    observe('stage_seconds', pipeline .. '|' .. stage, seconds)
  end
end
return ARGV[4]
