-- The next call that is due, for one courier alone. ARGV: 3 seconds after which it is due again, should the courier die.
local due = redis.call('ZRANGEBYSCORE', P .. 'webhooks', '-inf', stamp(now()), 'LIMIT', 0, 1)[1]
if not due then return false end
redis.call('ZADD', P .. 'webhooks', stamp(now() + tonumber(ARGV[3])), due)
return due
