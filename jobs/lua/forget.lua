-- Removes the record of an ended job. Returns 1 when it did.
local status = get('status')
if not status or status == 'queued' or status == 'processing' then return 0 end
redis.call('ZREM', P .. 'ended', id)
redis.call('ZREM', client_set(get('client'), 'history'), id)
redis.call('ZREM', P .. 'webhooks', id)
redis.call('DEL', job, P .. 'events:' .. id)
return 1
