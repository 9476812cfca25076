-- An attempt is about to keep a result for those after it. ARGV: 3 attempt.
-- Returns 1, or 0 when another attempt counts or the job is to end anyway.
if get('status') ~= 'processing' or get('attempt') ~= ARGV[3] or get('cancel') then return 0 end
redis.call('HSET', job, 'kept', '1')
return 1
