-- A client no longer wants the job. Returns its status, 'cancelling' while a worker still has to stop, or nothing.
local status = get('status')
if status == 'queued' then
  conclude('queued', 'cancelled', '', '')
  return 'cancelled'
elseif status == 'processing' then
  redis.call('HSET', job, 'cancel', '1')
  return 'cancelling'
end
return status
