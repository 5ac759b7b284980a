//! What changes sessions: one script each, so that nothing comes between.
use redis::Script;

pub(crate) struct Scripts {
    pub(crate) put: Script,
    pub(crate) write: Script,
    pub(crate) end: Script,
    pub(crate) end_all: Script,
    pub(crate) touch: Script,
}

impl Scripts {
    pub(crate) fn new() -> Self {
        Self {
            put: Script::new(PUT),
            write: Script::new(WRITE),
            end: Script::new(END),
            end_all: Script::new(END_ALL),
            touch: Script::new(TOUCH),
        }
    }
}

/// Puts a session there, in the place of another one where there is one. KEYS: the session, the one whose place it takes, its owner's set; the first one again where there is none.
/// ARGV: whether it takes a place, whether it keeps what is kept there, whether it has an owner; its name and that of the other one; when it ends, and how long its owner's set is kept
/// at least; data, version, and the names and values of the other fields. `0` where the other one is not there.
const PUT: &str = r"
local data, version = ARGV[8], ARGV[9]
if ARGV[1] == '1' then
  local kept = redis.call('HMGET', KEYS[2], 'data', 'version', 'set')
  if not kept[2] then return 0 end
  redis.call('DEL', KEYS[2])
  if kept[3] then redis.call('SREM', kept[3], ARGV[5]) end
  if ARGV[2] == '1' then data, version = kept[1], kept[2] end
end
redis.call('HSET', KEYS[1], 'data', data, 'version', version)
for at = 10, #ARGV, 2 do redis.call('HSET', KEYS[1], ARGV[at], ARGV[at + 1]) end
redis.call('EXPIREAT', KEYS[1], ARGV[6])
if ARGV[3] == '1' then
  redis.call('HSET', KEYS[1], 'set', KEYS[3])
  redis.call('SADD', KEYS[3], ARGV[4])
  if redis.call('TTL', KEYS[3]) < tonumber(ARGV[7]) then redis.call('EXPIRE', KEYS[3], ARGV[7]) end
end
return 1";

/// Changes what is kept, where it has this version.
const WRITE: &str = r"
if redis.call('HGET', KEYS[1], 'version') ~= ARGV[1] then return 0 end
redis.call('HSET', KEYS[1], 'data', ARGV[2])
redis.call('HINCRBY', KEYS[1], 'version', 1)
return 1";

/// Takes a session away. ARGV: its name.
const END: &str = r"
local set = redis.call('HGET', KEYS[1], 'set')
if set then redis.call('SREM', set, ARGV[1]) end
return redis.call('DEL', KEYS[1])";

/// Takes all sessions of an owner away but one. KEYS: the owner's set. ARGV: what the keys of sessions begin with, the owner, the name of the one that stays. Their keys have the slot of
/// the set.
const END_ALL: &str = r"
local ended = {}
for _, name in ipairs(redis.call('SMEMBERS', KEYS[1])) do
  if name ~= ARGV[3] then
    local key = ARGV[1] .. name
    if redis.call('HGET', key, 'owner') == ARGV[2] then
      redis.call('DEL', key)
      ended[#ended + 1] = name
    end
    redis.call('SREM', KEYS[1], name)
  end
end
return ended";

/// Marks a session as used, where it is there, and was not used later.
const TOUCH: &str = r"
local used = redis.call('HGET', KEYS[1], 'used')
if used and tonumber(used) < tonumber(ARGV[1]) then redis.call('HSET', KEYS[1], 'used', ARGV[1]) end
return 1";
