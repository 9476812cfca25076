-- The reaper takes a job from a worker that is gone.
-- ARGV: 3 most attempts, 4 kind, 5 message, 6 the dead worker's name, or '' to go by the lease alone.
if get('status') ~= 'processing' then
  redis.call('ZREM', P .. 'processing', id)
  return 'lost'
end
if ARGV[6] ~= '' then
  if get('worker') ~= ARGV[6] then return 'alive' end
elseif tonumber(redis.call('ZSCORE', P .. 'processing', id) or 0) > now() then
  return 'alive'
end
return put_back(true, tonumber(ARGV[3]), ARGV[4], ARGV[5])
