//! What looks up and changes what is stored: one script each, so that nothing comes between.
//!
//! - `…:cache:log` is a sorted set: `!mark`, the number of the last purge; `!floor`, up to which everything was purged; `!soft`, the last soft purge of everything; for each URL, tag or group
//!   `h` or `s` (hard or soft) and a digest, with the number of its last purge; for each prefix `H` or `S` and its text, with that number below zero. One key, so that a
//!   server which throws something away to make room throws away all of it: then all that is stored counts as purged.
//! - `…:cache:r:` and the digest of a key is a hash: `k` is the key, and each variant a field that begins with `v`. See [`VARIANT`] for what is in it.
//! - `…:cache:b:` and a body's name, with `:` and a number, is a piece of a body.
use redis::Script;

pub(super) struct Scripts {
    pub(super) find: Script,
    pub(super) mark: Script,
    pub(super) put: Script,
    pub(super) refresh: Script,
    pub(super) remove: Script,
    pub(super) purge: Script,
}

impl Scripts {
    pub(super) fn new() -> Self {
        let script = |parts: &[&str]| Script::new(&parts.concat());
        Self {
            find: script(&[LOG, VARIANT, FIND]),
            mark: script(&[LOG, MARK]),
            put: script(&[LOG, VARIANT, PUT]),
            refresh: script(&[LOG, VARIANT, REFRESH]),
            remove: script(&[VARIANT, REMOVE]),
            purge: script(&[LOG, PURGE]),
        }
    }
}

/// The log of purges. Numbers begin with the time in microseconds: a log that was lost goes on with larger ones, and what was stored before it counts as purged. KEYS: the log, which is kept a day longer than
/// whatever is stored.
const LOG: &str = r"
local log = KEYS[1]
local function number(value) return string.format('%.0f', value) end
local function score(member) return tonumber(redis.call('ZSCORE', log, member) or '0') end
local function keep() redis.call('PEXPIRE', log, 2678400000) end
local function begin()
  local time = redis.call('TIME')
  local mark = tonumber(time[1]) * 1000000 + tonumber(time[2])
  redis.call('ZADD', log, number(mark), '!mark', number(mark), '!floor')
  keep()
  return mark
end
local mark = score('!mark')
if mark == 0 then mark = begin() end
";

/// A variant: when it was stored, until when it is kept (both in microseconds), at which purge it was asked for, the name of its body, how many bytes and pieces that has, and by how
/// many digests it can be purged; then these, and its head. KEYS: the log, the key's record. `bodies` is what the names of bodies begin with.
const VARIANT: &str = r"
local record = KEYS[2]
local FORM, LEN = '<I8I8I8c16I8I4I2', 54
local function read(value)
  if #value < LEN then return nil end
  local it = {}
  it.stored, it.expires, it.mark, it.body, it.len, it.pieces, it.names = struct.unpack(FORM, value)
  it.head = LEN + 16 * it.names + 1
  -- What is none of ours must not keep the server busy.
  if #value < it.head or it.pieces > 65536 or it.pieces ~= math.ceil(it.len / 262144) then return nil end
  return it
end
local function now()
  local time = redis.call('TIME')
  return tonumber(time[1]) * 1000000 + tonumber(time[2])
end
local function made(rest, lasting)
  local time = now()
  return struct.pack('<I8I8', time, time + 1000 * lasting) .. rest
end
local function piece(bodies, it, at) return bodies .. it.body .. ':' .. at end
local function drop(bodies, field, value)
  local it = read(value)
  if it then
    -- Whoever reads it goes on.
    local grace = 60000
    if it.pieces == 1 and it.len <= 65536 then grace = 2000 end
    for at = 0, it.pieces - 1 do redis.call('PEXPIRE', piece(bodies, it, at), grace) end
  end
  redis.call('HDEL', record, field)
end
-- The last purges, hard and soft, of a URL: by its digest, by a prefix, with everything. Purges of prefixes before `since` do not matter.
local function purges(name, url, since)
  local hard = math.max(score('!floor'), score('h' .. name))
  local soft = math.max(score('!soft'), score('s' .. name))
  local found = redis.call('ZRANGEBYSCORE', log, '-inf', '(' .. number(-since), 'WITHSCORES')
  for at = 1, #found, 2 do
    local prefix, when = string.sub(found[at], 2), -tonumber(found[at + 1])
    if string.sub(url, 1, #prefix) == prefix then
      if string.sub(found[at], 1, 1) == 'H' then hard = math.max(hard, when) else soft = math.max(soft, when) end
    end
  end
  return hard, soft
end
-- The same, of a variant.
local function purged(it, value, hard, soft)
  for at = 0, it.names - 1 do
    local name = string.sub(value, LEN + 16 * at + 1, LEN + 16 * at + 16)
    hard = math.max(hard, score('h' .. name))
    soft = math.max(soft, score('s' .. name))
  end
  return hard > it.mark, soft > it.mark
end
-- What `…:cache:r:` keeps is there as long as the longest of it.
local function lasts(time)
  if redis.call('PTTL', record) < time then redis.call('PEXPIRE', record, time) end
end
";

/// Looks a key up, and throws away what is of no use any longer. ARGV: the key, the digest of its URL, its URL, what the names of bodies begin with, how many bytes of bodies of one piece are answered with it.
/// The mark; and each variant, with whether it was made stale, and its body or nothing.
const FIND: &str = r"
local raw = redis.pcall('HGETALL', record)
if raw.err then
  redis.call('DEL', record)
  return {mark}
end
local key, all, since = nil, {}, mark
for at = 1, #raw, 2 do
  local field, value = raw[at], raw[at + 1]
  if field == 'k' then
    key = value
  else
    local it = read(value)
    if it then
      all[#all + 1] = {field, value, it}
      since = math.min(since, it.mark)
    end
  end
end
if key ~= ARGV[1] then return {mark} end
table.sort(all, function(one, other) return one[3].stored > other[3].stored end)
local hard, soft = purges(ARGV[2], ARGV[3], since)
local time, room, answer = now(), tonumber(ARGV[5]), {mark}
for _, each in ipairs(all) do
  local field, value, it = each[1], each[2], each[3]
  local gone, stale = purged(it, value, hard, soft)
  local body = false
  if not gone and it.expires > time and it.pieces == 1 and it.len <= room then
    body = redis.call('GET', piece(ARGV[4], it, 0))
    if body then room = room - it.len else gone = true end
  end
  if gone or it.expires <= time then
    drop(ARGV[4], field, value)
  else
    answer[#answer + 1] = value
    answer[#answer + 1] = stale and 1 or 0
    answer[#answer + 1] = body
  end
end
return answer";

/// How far purges have got. ARGV: how far they had got when this was asked for the last time: a server that has gone back to an older state has forgotten some.
const MARK: &str = r"
if mark < tonumber(ARGV[1]) then
  redis.call('DEL', log)
  mark = begin()
  if mark <= tonumber(ARGV[1]) then
    mark = tonumber(ARGV[1]) + 1
    redis.call('ZADD', log, number(mark), '!mark', number(mark), '!floor')
  end
end
return mark";

/// Stores a variant whose body is complete. ARGV: the key, the digest of its URL, its URL, what the names of bodies begin with, the variant's field, the variant but for its times, for how many milliseconds it is kept, how many variants there are at most, whether
/// its body comes with it, its body. `0` where it was purged since it was asked for, or its body is not there.
const PUT: &str = r"
local bodies, field, lasting = ARGV[4], ARGV[5], tonumber(ARGV[7])
local value = made(ARGV[6], lasting)
local it = read(value)
local hard, soft = purges(ARGV[2], ARGV[3], it.mark)
local complete = not purged(it, value, hard, soft) and it.mark <= mark
if ARGV[9] == '1' then
  if not complete then return 0 end
  redis.call('SET', piece(bodies, it, 0), ARGV[10], 'PX', lasting)
else
  for at = 0, it.pieces - 1 do
    if complete and redis.call('PEXPIRE', piece(bodies, it, at), lasting) == 0 then complete = false end
  end
  if not complete then
    for at = 0, it.pieces - 1 do redis.call('UNLINK', piece(bodies, it, at)) end
    return 0
  end
end
local raw, count, oldest = redis.call('HGETALL', record), 0, nil
for at = 1, #raw, 2 do
  if raw[at] == 'k' and raw[at + 1] ~= ARGV[1] then
    for at = 1, #raw, 2 do
      if raw[at] ~= 'k' then drop(bodies, raw[at], raw[at + 1]) end
    end
    count, oldest = 0, nil
    break
  elseif raw[at] == field then
    drop(bodies, raw[at], raw[at + 1])
  elseif raw[at] ~= 'k' then
    count = count + 1
    local other = read(raw[at + 1])
    local stored = other and other.stored or 0
    if not oldest or stored < oldest.stored then oldest = {stored = stored, field = raw[at], value = raw[at + 1]} end
  end
end
if count >= tonumber(ARGV[8]) then drop(bodies, oldest.field, oldest.value) end
redis.call('HSET', record, 'k', ARGV[1], field, value)
lasts(lasting)
keep()
return 1";

/// Gives a variant another head. ARGV: as [`PUT`] up to how long it is kept, where its body is that of the one before; its field before, and its head then. `0` where that is not there.
const REFRESH: &str = r"
local bodies, lasting = ARGV[4], tonumber(ARGV[7])
local old = redis.call('HGET', record, ARGV[8])
local it = old and redis.call('HGET', record, 'k') == ARGV[1] and read(old)
if not it or string.sub(old, it.head) ~= ARGV[9] then return 0 end
local value = made(string.sub(ARGV[6], 1, 8) .. string.sub(old, 25, 52) .. string.sub(ARGV[6], 37), lasting)
local new = read(value)
local hard, soft = purges(ARGV[2], ARGV[3], new.mark)
if purged(new, value, hard, soft) or new.mark > mark then
  drop(bodies, ARGV[8], old)
  return 0
end
for at = 0, it.pieces - 1 do
  local name = piece(bodies, it, at)
  local left = redis.call('PTTL', name)
  if left == -2 then
    drop(bodies, ARGV[8], old)
    return 0
  end
  if left < lasting then redis.call('PEXPIRE', name, lasting) end
end
if ARGV[5] ~= ARGV[8] then
  local other = redis.call('HGET', record, ARGV[5])
  if other then drop(bodies, ARGV[5], other) end
  redis.call('HDEL', record, ARGV[8])
end
redis.call('HSET', record, 'k', ARGV[1], ARGV[5], value)
lasts(lasting)
keep()
return 1";

/// Takes a variant out. ARGV: what the names of bodies begin with, its field, its head.
const REMOVE: &str = r"
local old = redis.call('HGET', record, ARGV[2])
local it = old and read(old)
if not it or string.sub(old, it.head) ~= ARGV[3] then return 0 end
drop(ARGV[1], ARGV[2], old)
return 1";

/// Purges. ARGV: `*` for everything, `p` for a prefix, or anything else; whether it is soft; the digest or the prefix; the channel where it is told; what is told besides its number; how many names and how many
/// prefixes are remembered: where there are more, everything up to the oldest of them counts as purged.
const PURGE: &str = r"
mark = tonumber(redis.call('ZINCRBY', log, 1, '!mark'))
local soft = ARGV[2] == '1'
local function forget(member, when)
  redis.call('ZREM', log, member)
  if when > score('!floor') then redis.call('ZADD', log, number(when), '!floor') end
end
if ARGV[1] == '*' then
  if soft then
    redis.call('ZADD', log, number(mark), '!soft')
  else
    redis.call('DEL', log)
    redis.call('ZADD', log, number(mark), '!mark', number(mark), '!floor')
  end
elseif ARGV[1] == 'p' then
  redis.call('ZADD', log, number(-mark), (soft and 'S' or 'H') .. ARGV[3])
  if redis.call('ZCOUNT', log, '-inf', '(0') > tonumber(ARGV[7]) then
    local oldest = redis.call('ZREVRANGEBYSCORE', log, '(0', '-inf', 'WITHSCORES', 'LIMIT', 0, 1)
    forget(oldest[1], -tonumber(oldest[2]))
  end
else
  redis.call('ZADD', log, number(mark), (soft and 's' or 'h') .. ARGV[3])
  if redis.call('ZCOUNT', log, '(0', '+inf') > tonumber(ARGV[6]) + 3 then
    local oldest = redis.call('ZRANGEBYSCORE', log, '(0', '+inf', 'WITHSCORES', 'LIMIT', 0, 4)
    for at = 1, #oldest, 2 do
      if string.sub(oldest[at], 1, 1) ~= '!' then
        forget(oldest[at], tonumber(oldest[at + 1]))
        break
      end
    end
  end
end
keep()
redis.call('PUBLISH', ARGV[4], number(mark) .. ARGV[5])
return mark";
