-- An attempt gives its job back. ARGV: 3 attempt, 4 '1' when the attempt counts, 5 most attempts, 6 kind, 7 message.
if get('status') ~= 'processing' or get('attempt') ~= ARGV[3] then return 'lost' end
return put_back(ARGV[4] == '1', tonumber(ARGV[5]), ARGV[6], ARGV[7])
