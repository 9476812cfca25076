-- There is a preview to look at. Returns 1, or 0 when the job has no use for one any more.
local status = get('status')
if status ~= 'queued' and status ~= 'processing' then return 0 end
if redis.call('HSETNX', job, 'preview', '1') == 1 then tell('preview', '{}') end
return 1
