//! Who waits, and who is next.
use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use super::codel::Codel;
use super::pace::Pace;
use super::priority::{LEVELS, Priority};
use super::reason::Reason;

/// A queue for requests that find no room: bounded in length and in time, and short when it stands for long (`CoDel`,
/// RFC 8289).
///
/// The more important go first; with [`fair`](crate::OverloadLayer::fair), tenants of one priority take turns.
///
/// ```
/// use std::time::Duration;
/// use portcullis_ratelimit::Queue;
/// let queue = Queue::new(100).target(Duration::from_millis(20)).at_most(Duration::from_secs(1));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Queue {
    pub(super) length: usize,
    pub(super) target: Duration,
    pub(super) interval: Duration,
    pub(super) at_most: Duration,
}

impl Queue {
    /// So many wait at most, at least 1. One more is shed at once, unless it is more important than one that waits, or that one's tenant
    /// has more waiting: then that one is.
    pub fn new(length: usize) -> Self {
        Self {
            length: length.max(1),
            target: Duration::from_millis(5),
            interval: Duration::from_millis(100),
            at_most: Duration::from_millis(500),
        }
    }
    /// How long a wait is good. Default: 5 ms.
    #[must_use]
    pub fn target(self, target: Duration) -> Self {
        Self { target, ..self }
    }
    /// How long all waits may be longer than the target before requests are dropped from the queue. Default: 100 ms. Critical requests are
    /// not dropped.
    #[must_use]
    pub fn interval(self, interval: Duration) -> Self {
        Self { interval, ..self }
    }
    /// How long anybody waits at most; less where the request's deadline is nearer. Default: 500 ms.
    #[must_use]
    pub fn at_most(self, at_most: Duration) -> Self {
        Self { at_most, ..self }
    }
    fn codel(self) -> Codel {
        Codel::new(self.target, self.interval)
    }
}

/// Where a request waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) priority: Priority,
    /// 0 where all stand in one line.
    pub(super) tenant: u128,
}

/// Those who wait: by priority, and within it a line for each tenant. Time is passed in.
#[derive(Debug)]
pub(super) struct Lines<T> {
    settings: Queue,
    levels: [Level<T>; LEVELS],
    next_id: u64,
    pace: Pace,
}

#[derive(Debug)]
struct Level<T> {
    lines: HashMap<u128, Line<T>>,
    /// Whose turn it is. Invariant: each line once.
    turns: VecDeque<u128>,
    waiting: usize,
    /// Looks at all lines together: many short ones are a long one.
    codel: Codel,
}

#[derive(Debug)]
struct Line<T> {
    waiting: VecDeque<Waiter<T>>,
    /// Looks at one line: a long one does not hide behind short ones.
    codel: Codel,
}

#[derive(Debug)]
struct Waiter<T> {
    /// Invariant: they rise within a line.
    id: u64,
    since: Instant,
    item: T,
}

/// Who is next, and what becomes of it.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next<T> {
    Serve(T),
    Drop(T),
}

/// How many turns are looked at to find a tenant that has less than its share.
const LOOK: usize = 16;

impl<T> Lines<T> {
    pub(super) fn new(settings: Queue) -> Self {
        let level = |_| Level {
            lines: HashMap::new(),
            turns: VecDeque::new(),
            waiting: 0,
            codel: settings.codel(),
        };
        Self { settings, levels: std::array::from_fn(level), next_id: 0, pace: Pace::default() }
    }
    /// Goes on with other settings.
    pub(super) fn adopt(&mut self, settings: Queue) {
        if self.settings == settings {
            return;
        }
        self.settings = settings;
        for level in &mut self.levels {
            level.codel = settings.codel();
            level.lines.values_mut().for_each(|line| line.codel = settings.codel());
        }
    }
    /// How many wait, by rank.
    pub(super) fn waiting(&self) -> [usize; LEVELS] {
        self.levels.each_ref().map(|level| level.waiting)
    }
    fn len(&self) -> usize {
        self.levels.iter().map(|level| level.waiting).sum()
    }
    /// The highest priority that somebody waits with.
    pub(super) fn first(&self) -> Option<Priority> {
        let waits = |priority: &Priority| self.level(*priority).waiting > 0;
        Priority::ALL.into_iter().find(waits)
    }

    #[expect(clippy::indexing_slicing, reason = "there is a level for each priority")]
    fn level(&self, priority: Priority) -> &Level<T> {
        &self.levels[priority.rank()]
    }
    #[expect(clippy::indexing_slicing, reason = "there is a level for each priority")]
    fn level_mut(&mut self, priority: Priority) -> &mut Level<T> {
        &mut self.levels[priority.rank()]
    }

    /// Lets somebody wait who has no longer than `longest`. The answer has its number, and who has to go for it; an error is why
    /// it cannot wait.
    pub(super) fn push(
        &mut self,
        place: Place,
        since: Instant,
        longest: Duration,
        make: impl FnOnce() -> T,
    ) -> Result<(u64, Option<(T, Reason)>), Reason> {
        // The first waits in any case: how quickly it gets on says what the next can expect.
        let ahead = self.ahead_of(place);
        if ahead > 0 && self.pace.wait(ahead) > longest {
            return Err(Reason::Deadline);
        }
        let evicted =
            if self.len() < self.settings.length { None } else { Some(self.evict_for(place)?) };
        let id = self.next_id;
        self.next_id += 1;
        let codel = self.settings.codel();
        let level = self.level_mut(place.priority);
        level.waiting += 1;
        let line = level.lines.entry(place.tenant).or_insert_with(|| {
            level.turns.push_back(place.tenant);
            Line { waiting: VecDeque::new(), codel }
        });
        line.waiting.push_back(Waiter { id, since, item: make() });
        Ok((id, evicted))
    }

    /// How many will be served before one that comes now, if nobody more important comes.
    fn ahead_of(&self, place: Place) -> usize {
        let before = self.levels.iter().take(place.priority.rank());
        let before: usize = before.map(|level| level.waiting).sum();
        let level = self.level(place.priority);
        let own = level.lines.get(&place.tenant).map_or(0, |line| line.waiting.len());
        // In each of its turns each other line has one.
        before + level.waiting.min((own + 1) * level.lines.len())
    }

    /// Takes one out so that another can wait in its place: of the least important the newest of the longest line.
    fn evict_for(&mut self, place: Place) -> Result<(T, Reason), Reason> {
        let lowest = Priority::ALL.into_iter().rev().find(|low| self.level(*low).waiting > 0);
        let lowest = lowest.filter(|low| low.rank() >= place.priority.rank());
        let Some(lowest) = lowest else { return Err(Reason::QueueFull) };
        let level = self.level_mut(lowest);
        let longest = level.lines.iter().max_by_key(|(_, line)| line.waiting.len());
        let Some((tenant, longest)) = longest.map(|(tenant, line)| (*tenant, line.waiting.len()))
        else {
            return Err(Reason::QueueFull);
        };
        let reason = if lowest == place.priority {
            let own = level.lines.get(&place.tenant).map_or(0, |line| line.waiting.len());
            if longest <= own + 1 {
                let among_others = level.lines.len() > 1 && own == longest;
                return Err(if among_others { Reason::Fairness } else { Reason::QueueFull });
            }
            Reason::Fairness
        } else {
            Reason::Priority
        };
        let newest = level.lines.get_mut(&tenant).and_then(|line| line.waiting.pop_back());
        let Some(newest) = newest else { return Err(Reason::QueueFull) };
        level.waiting -= 1;
        level.forget_if_empty(tenant);
        Ok((newest.item, reason))
    }

    /// Somebody no longer waits.
    pub(super) fn remove(&mut self, place: Place, id: u64) -> Option<T> {
        let level = self.level_mut(place.priority);
        let line = level.lines.get_mut(&place.tenant)?;
        let at = line.waiting.binary_search_by_key(&id, |waiter| waiter.id).ok()?;
        let waiter = line.waiting.remove(at)?;
        level.waiting -= 1;
        level.forget_if_empty(place.tenant);
        Some(waiter.item)
    }

    /// Takes out who is next of this priority: whose turn it is, but first who has less than its share.
    pub(super) fn take(
        &mut self,
        priority: Priority,
        now: impl FnOnce(&T) -> Instant,
        has_less: impl Fn(u128) -> bool,
    ) -> Option<Next<T>> {
        let level = self.level_mut(priority);
        let poorest = level.turns.iter().take(LOOK).position(|tenant| has_less(*tenant));
        let tenant = level.turns.remove(poorest.unwrap_or(0))?;
        level.turns.push_back(tenant);
        let several = level.lines.len() > 1;
        let line = level.lines.get_mut(&tenant)?;
        let waiter = line.waiting.pop_front()?;
        let now = now(&waiter.item);
        let sojourn = now.saturating_duration_since(waiter.since);
        let too_long = line.codel.drops(now, sojourn, !line.waiting.is_empty());
        level.waiting -= 1;
        let all_too_long = level.codel.drops(now, sojourn, level.waiting > 0) && several;
        if priority != Priority::Critical {
            if all_too_long
                && !too_long
                && let Some(longer) = level.longer_than(tenant)
            {
                // Not whoever has the turn makes all of them stand.
                level.give_back(tenant, waiter);
                return level.drop_first(longer).map(Next::Drop);
            }
            if too_long || all_too_long {
                level.forget_if_empty(tenant);
                return Some(Next::Drop(waiter.item));
            }
        }
        level.forget_if_empty(tenant);
        self.pace.served(waiter.since, now);
        Some(Next::Serve(waiter.item))
    }
}

impl<T> Level<T> {
    /// The longest line, where it is longer than that of this tenant with the one who has just left it.
    fn longer_than(&self, tenant: u128) -> Option<u128> {
        let own = self.lines.get(&tenant).map_or(0, |line| line.waiting.len()) + 1;
        let (longest, line) = self.lines.iter().max_by_key(|(_, line)| line.waiting.len())?;
        (line.waiting.len() > own).then_some(*longest)
    }
    /// One who has just left the line of this tenant is first again, and its turn is next.
    fn give_back(&mut self, tenant: u128, waiter: Waiter<T>) {
        if let Some(line) = self.lines.get_mut(&tenant) {
            line.waiting.push_front(waiter);
            self.waiting += 1;
            self.turns.retain(|other| *other != tenant);
            self.turns.push_front(tenant);
        }
    }
    /// Takes out who has waited longest of this tenant.
    fn drop_first(&mut self, tenant: u128) -> Option<T> {
        let first = self.lines.get_mut(&tenant)?.waiting.pop_front()?;
        self.waiting -= 1;
        self.forget_if_empty(tenant);
        Some(first.item)
    }
    fn forget_if_empty(&mut self, tenant: u128) {
        if self.lines.get(&tenant).is_some_and(|line| line.waiting.is_empty()) {
            self.lines.remove(&tenant);
            self.turns.retain(|other| *other != tenant);
        }
    }
}

#[cfg(test)]
mod tests {
    use portcullis_core::Clock;

    use super::*;

    const A: u128 = 1;
    const B: u128 = 2;
    const C: u128 = 3;
    const LONG: Duration = Duration::from_secs(100);

    struct Line {
        lines: Lines<&'static str>,
        now: Instant,
    }

    fn line(length: usize) -> Line {
        Line { lines: Lines::new(Queue::new(length)), now: Clock::system().now() }
    }

    impl Line {
        fn push(
            &mut self,
            priority: Priority,
            tenant: u128,
            item: &'static str,
        ) -> Result<Option<(&'static str, Reason)>, Reason> {
            let place = Place { priority, tenant };
            self.lines.push(place, self.now, LONG, || item).map(|(_, evicted)| evicted)
        }
        fn next(&mut self, has_less: impl Fn(u128) -> bool) -> Option<Next<&'static str>> {
            let priority = self.lines.first()?;
            self.lines.take(priority, |_| self.now, has_less)
        }
        /// All that are still there, in their order.
        fn rest(&mut self) -> Vec<&'static str> {
            let mut rest = Vec::new();
            while let Some(Next::Serve(item)) = self.next(|_| false) {
                rest.push(item);
            }
            let kept: usize =
                self.lines.levels.iter().map(|level| level.lines.len() + level.turns.len()).sum();
            assert_eq!((kept, self.lines.len()), (0, 0), "an empty queue keeps nothing");
            rest
        }
    }

    #[test]
    fn the_more_important_go_first_and_tenants_take_turns() {
        let mut line = line(100);
        for (priority, tenant, item) in [
            (Priority::Low, A, "low"),
            (Priority::Normal, A, "a1"),
            (Priority::Normal, A, "a2"),
            (Priority::Normal, A, "a3"),
            (Priority::Normal, B, "b1"),
            (Priority::Normal, C, "c1"),
            (Priority::Normal, B, "b2"),
            (Priority::Critical, C, "critical"),
            (Priority::High, A, "high"),
        ] {
            assert_eq!(line.push(priority, tenant, item), Ok(None));
        }
        let order = ["critical", "high", "a1", "b1", "c1", "a2", "b2", "a3", "low"];
        assert_eq!(line.rest(), order);
    }

    #[test]
    fn who_has_less_than_its_share_goes_first() {
        let mut line = line(100);
        for (tenant, item) in [(A, "a1"), (A, "a2"), (B, "b1"), (B, "b2")] {
            line.push(Priority::Normal, tenant, item).unwrap();
        }
        assert_eq!(line.next(|tenant| tenant == B), Some(Next::Serve("b1")));
        assert_eq!(line.next(|tenant| tenant == B), Some(Next::Serve("b2")));
        assert_eq!(line.rest(), ["a1", "a2"]);
    }

    #[test]
    fn a_full_queue_sheds_the_least_important_and_the_longest_line() {
        let mut line = line(3);
        for item in ["a1", "a2", "a3"] {
            line.push(Priority::Low, A, item).unwrap();
        }
        for (priority, tenant, item, want) in [
            (Priority::Low, A, "a4", Err(Reason::QueueFull)),
            (Priority::Low, B, "b1", Ok(Some(("a3", Reason::Fairness)))),
            (Priority::Low, A, "a5", Err(Reason::Fairness)),
            // It would change nothing but who waits.
            (Priority::Low, B, "b2", Err(Reason::QueueFull)),
            (Priority::High, A, "high", Ok(Some(("a2", Reason::Priority)))),
            (Priority::High, B, "high", Ok(Some(("?", Reason::Priority)))),
            (Priority::High, B, "high", Ok(Some(("?", Reason::Priority)))),
            (Priority::Low, C, "c1", Err(Reason::QueueFull)),
        ] {
            // Of two lines of the same length either may be the longest.
            let got = line.push(priority, tenant, item);
            let got = got.map(|evicted| {
                evicted.map(|(who, why)| (if who == "a2" || who == "a3" { who } else { "?" }, why))
            });
            assert_eq!(got, want, "{item} of {tenant}");
        }
        assert_eq!(line.rest(), ["high"; 3]);
    }

    #[test]
    fn whoever_leaves_is_gone() {
        let mut line = line(3);
        let place = Place { priority: Priority::Low, tenant: A };
        let (first, _) = line.lines.push(place, line.now, LONG, || "a1").unwrap();
        line.push(Priority::Low, A, "a2").unwrap();
        assert_eq!(line.lines.remove(place, first), Some("a1"));
        assert_eq!(line.lines.remove(place, first), None);
        assert_eq!(line.rest(), ["a2"]);
    }

    /// Feeds a queue that is asked every millisecond and never becomes empty; how many of each tenant were dropped.
    fn dropped(priority: Priority, tenants: impl Fn(u64) -> u128) -> HashMap<u128, usize> {
        let mut dropped = HashMap::new();
        let mut lines: Lines<u128> = Lines::new(Queue::new(1_000));
        let mut now = Clock::system().now();
        for at in 0..1_000 {
            for more in 0..2 {
                let tenant = tenants(at * 2 + more);
                let _ = lines.push(Place { priority, tenant }, now, LONG, || tenant);
            }
            now += Duration::from_millis(1);
            if let Some(Next::Drop(tenant)) = lines.take(priority, |_| now, |_| false) {
                *dropped.entry(tenant).or_default() += 1;
            }
        }
        dropped
    }

    #[test]
    fn a_queue_that_stands_drops_those_who_make_it_stand() {
        // All in one line, each in its own, and one with a long line beside one that comes now and then.
        assert!(dropped(Priority::Normal, |_| A)[&A] >= 10);
        assert!(dropped(Priority::Normal, u128::from).len() >= 10);
        let two = dropped(Priority::Normal, |at| if at % 20 == 0 { B } else { A });
        assert!(two[&A] >= 10 && !two.contains_key(&B), "{two:?}");
        assert!(dropped(Priority::Critical, |_| A).is_empty(), "critical ones are kept");
    }

    #[test]
    fn of_all_lines_the_longest_pays_whoever_has_the_turn() {
        // One is served in a millisecond. Two of A come meanwhile, and of each of four others one in six: all wait for longer than the target,
        // but none of the others ever has two in line.
        let mut dropped: HashMap<u128, usize> = HashMap::new();
        let mut lines: Lines<u128> = Lines::new(Queue::new(100).target(Duration::from_millis(1)));
        let mut now = Clock::system().now();
        for at in 0..2_000 {
            let other = (at % 6 < 4).then_some(B + at % 6);
            for tenant in [A, A].into_iter().chain(other) {
                let place = Place { priority: Priority::Normal, tenant };
                let _ = lines.push(place, now, LONG, || tenant);
            }
            now += Duration::from_millis(1);
            if let Some(Next::Drop(tenant)) = lines.take(Priority::Normal, |_| now, |_| false) {
                *dropped.entry(tenant).or_default() += 1;
            }
        }
        assert!(dropped[&A] >= 10 && dropped.len() == 1, "{dropped:?}");
    }
}
