//! How decisions are timed, ours and those of others alike: the programs beside us compile this file too.
use std::hint::black_box;
use std::sync::Barrier;
use std::time::{Duration, Instant};

/// How many rules there are. A rule is one permission of one role; a role has ten.
pub const RULES: [usize; 4] = [10, 100, 1_000, 10_000];
/// How many permissions a role has.
pub const EACH: usize = 10;
/// How many keys there are that are counted.
pub const KEYS: [usize; 2] = [1, 1_000_000];
/// How long something is repeated.
const LONG: Duration = Duration::from_millis(30);

/// What a decision costs.
#[derive(Clone, Copy, Debug)]
pub struct Figures {
    /// Nanoseconds of one of them, with one thread and with two at once.
    pub nanos: [f64; 2],
    /// How often it allocates.
    pub allocations: f64,
}

impl Figures {
    /// Of what `begin` makes for each thread, which does something so often and says how long that took. `allocated` tells how often the thread has allocated so far.
    pub fn of<F: FnMut(u32) -> Duration>(
        begin: impl Fn() -> F + Sync,
        allocated: impl Fn() -> u64,
    ) -> Self {
        let mut one = begin();
        // What is made once, is made now.
        one(1);
        let mut count = 1;
        while one(count) < LONG / 2 && count < u32::MAX / 2 {
            count *= 2;
        }
        let before = allocated();
        let first = one(count);
        let allocations = allocated() - before;
        let two = in_two_threads(&begin, count);
        let each = |took: Duration| took.as_secs_f64() * 1e9 / f64::from(count);
        #[expect(clippy::cast_precision_loss, reason = "there are not that many")]
        let allocations = allocations as f64 / f64::from(count);
        Self { nanos: [each(first), each(two)], allocations }
    }
    /// As a line for the command that runs this program.
    pub fn line(self, name: &str, rules: usize) -> String {
        let Self { nanos: [one, two], allocations } = self;
        format!("{name}: {rules} rules, {one:.1} ns, {two:.1} ns, {allocations:.2} allocations")
    }
}

/// How long it took, of two that do it at once.
fn in_two_threads<F: FnMut(u32) -> Duration>(
    begin: &(impl Fn() -> F + Sync),
    count: u32,
) -> Duration {
    let start = Barrier::new(2);
    std::thread::scope(|scope| {
        let threads = [(); 2].map(|()| {
            scope.spawn(|| {
                let mut one = begin();
                one(1);
                start.wait();
                one(count)
            })
        });
        let took = threads.map(|thread| thread.join().unwrap_or_default());
        took.iter().sum::<Duration>() / 2
    })
}

/// Does with each of these in turn what can be right or wrong, until it was done so often. `now` tells the time.
///
/// # Panics
/// It was wrong.
pub fn in_turn<T>(
    all: &[T],
    now: impl Fn() -> Instant,
    is_right: impl Fn(&T) -> bool,
) -> impl FnMut(u32) -> Duration {
    move |count| {
        let mut right = 0;
        let since = now();
        for one in all.iter().cycle().take(count as usize) {
            right += u32::from(is_right(black_box(one)));
        }
        let took = now() - since;
        assert_eq!(right, count, "the benchmark measures what is right");
        took
    }
}

/// The numbers below `count`, in an order that no cache foresees.
pub fn mixed(count: usize) -> impl Iterator<Item = usize> {
    // Below 2^32 and prime, so that no number comes twice.
    (0..count).map(move |at| at.wrapping_mul(2_654_435_761) % count)
}
