-- A client no longer wants the job. Returns its status, 'cancelling' while a worker still has to stop, or nothing.
local status = get('status')
if status == 'queued' then
  conclude('queued', 'cancelled', '', '')
  return 'cancelled'
elseif status == 'processing' then
  if redis.call('HSETNX', job, 'cancel', '1') == 1 then tell_status('processing', tonumber(get('attempts')), true) end
  return 'cancelling'
end
return status
