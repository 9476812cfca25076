-- A courier has tried. ARGV: 3 'delivered', 'again' or 'failed', 4 seconds to the next try, 5 what happened.
if ARGV[3] ~= 'again' or not get('status') then
  redis.call('ZREM', P .. 'webhooks', id)
else
  redis.call('ZADD', P .. 'webhooks', stamp(now() + tonumber(ARGV[4])), id)
end
if not get('status') then return 0 end
redis.call('HINCRBY', job, 'webhook_tries', 1)
redis.call('HSET', job, 'webhook_state', ARGV[3], 'webhook_note', ARGV[5])
redis.call('HINCRBY', P .. 'counted', 'webhooks|' .. ARGV[3], 1)
if ARGV[3] ~= 'again' then redis.call('SADD', P .. 'trim', get('client')) end  -- it was kept for this alone, perhaps
return 1
