-- A worker is alive. ARGV: 3 attempt, 4 lease in seconds, 5 progress or ''.
-- Returns 'mine', 'cancel' (stop it), or 'lost' (this attempt is no longer the one that counts).
if get('status') ~= 'processing' or get('attempt') ~= ARGV[3] then return 'lost' end
redis.call('ZADD', P .. 'processing', stamp(now() + tonumber(ARGV[4])), id)
if ARGV[5] ~= '' and ARGV[5] ~= get('progress') then
  redis.call('HSET', job, 'progress', ARGV[5])
  tell('progress', ARGV[5])
end
if get('cancel') then return 'cancel' end
return 'mine'
