-- There is a preview to look at, or a new one. Returns 1, or 0 when the job has no use for one any more.
local status = get('status')
if status ~= 'queued' and status ~= 'processing' then return 0 end
redis.call('HINCRBY', job, 'preview', 1)
tell('preview', '{}')
return 1
