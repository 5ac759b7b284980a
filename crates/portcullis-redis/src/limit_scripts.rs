//! What counts: one script for all takes of a slot, so that nothing comes between.
//!
//! A key holds until when its time is taken up, in whole microseconds since 1970, rounded up. `ahead` is how far that is ahead of now, counted in so many parts of a
//! microsecond as make a unit a whole number of them: what is added up within a call is not rounded.

/// KEYS: one for each take; two may be the same. ARGV: for each what a unit takes up (so many parts, and how many are a microsecond), the burst, the needed units, the most,
/// and the patience in microseconds. Answers whether there was room for all, and for each its units and how many microseconds its time is taken up ahead.
pub(crate) const TAKE: &str = r"
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local kept = redis.call('MGET', unpack(KEYS))
local states, said, admitted = {}, { 1 }, true
for at, key in ipairs(KEYS) do
  local first = at * 6 - 5
  local unit, parts, burst = tonumber(ARGV[first]), tonumber(ARGV[first + 1]), tonumber(ARGV[first + 2])
  local needs, most, patience = tonumber(ARGV[first + 3]), tonumber(ARGV[first + 4]), tonumber(ARGV[first + 5])
  local full = burst * unit
  local state = states[key]
  if not state then
    local ahead = math.max((tonumber(kept[at]) or 0) - now, 0) * parts
    -- What is owed beyond two bursts, or beyond what waits, is let go, also where it is refused: a clock that was set back would block the key for as long as it was.
    local owed = full + math.max(full, patience * parts)
    state = { ahead = math.min(ahead, owed), parts = parts, is_changed = ahead > owed }
    state.before = math.ceil(state.ahead / parts)
    states[key] = state
  elseif state.parts ~= parts then
    state.ahead, state.parts = state.ahead / state.parts * parts, parts
  end
  local units, space = 0, full - state.ahead
  -- More than the burst is never taken, whatever the patience.
  if needs > burst or needs * unit - space > patience * parts then
    admitted = false
  else
    local room = math.floor(space / unit)
    if room * unit > space then room = room - 1 end
    units = math.min(most, math.max(needs, room))
    state.ahead = state.ahead + units * unit
  end
  said[at * 2], said[at * 2 + 1] = units, math.ceil(state.ahead / parts)
end
if not admitted then
  said[1] = 0
  for at, key in ipairs(KEYS) do said[at * 2], said[at * 2 + 1] = 0, states[key].before end
end
for key, state in pairs(states) do
  local ahead = admitted and math.ceil(state.ahead / state.parts) or state.before
  if (admitted or state.is_changed) and ahead > 0 then
    redis.call('SET', key, string.format('%.0f', now + ahead), 'PX', string.format('%.0f', math.ceil(ahead / 1000)))
  end
end
return said";

/// KEYS: one for each. ARGV: for each what a unit takes up, as above, the burst, and how many units more. Answers how many microseconds the time of each is taken up ahead.
pub(crate) const SETTLE: &str = r"
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local left, said = {}, {}
for at, key in ipairs(KEYS) do
  local first = at * 4 - 3
  local unit, parts, burst = tonumber(ARGV[first]), tonumber(ARGV[first + 1]), tonumber(ARGV[first + 2])
  local before = math.max((tonumber(redis.call('GET', key) or 0) or 0) - now, 0) * parts
  -- No more than two bursts are owed by it; what is owed already may be more, by what waits.
  local most = math.max(before, burst * unit * 2)
  local ahead = math.min(math.max(before + tonumber(ARGV[first + 3]) * unit, 0), most)
  ahead = math.ceil(ahead / parts)
  if ahead > 0 then
    redis.call('SET', key, string.format('%.0f', now + ahead), 'PX', string.format('%.0f', math.ceil(ahead / 1000)))
  else
    redis.call('DEL', key)
  end
  left[key] = ahead
end
for at, key in ipairs(KEYS) do said[at] = left[key] end
return said";
