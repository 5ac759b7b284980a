//! Asking the stores of quotas, and waiting.
use std::sync::Arc;
use std::time::Duration;

use portcullis_core::{Clock, Problem};
use tokio::sync::OwnedMutexGuard;
use tokio::time::timeout;

use crate::admitted::{Admitted, Held, Place};
use crate::leases::{Drawn, Lease};
use crate::limiter::{Counts, Limiter, Named, Refusal, Why, store_units};
use crate::memory::{Left, Now, Span, rates};
use crate::quota::Windows;
use crate::rate::{Full, Rate, nanos};
use crate::shared::SharedCounts;
use crate::store::{Take, Taken};

/// What a request waits for: its quotas have let it through, or one has not.
pub(crate) async fn decide(mut admitted: Admitted) -> Result<Admitted, Problem> {
    let limiter = Arc::clone(admitted.limiter());
    if let Err(refusal) = ask(&limiter, &mut admitted).await {
        return Err(limiter.refused(&[refusal], &admitted));
    }
    wait(&limiter, admitted).await
}

/// Waits until all quotas have room, if that is not too long.
async fn wait(limiter: &Arc<Limiter>, admitted: Admitted) -> Result<Admitted, Problem> {
    let Some(last) = admitted.held.iter().max_by_key(|held| held.early) else {
        return Ok(admitted);
    };
    let early = last.early;
    if early == 0 {
        return Ok(admitted);
    }
    let (quota, left) = (last.quota, last.none_left(early));
    let context = &admitted.context;
    let rest = context.deadline().remaining(context.clock().now());
    if rest.is_some_and(|rest| nanos(rest) <= early) {
        let refusal = Refusal { quota, why: Why::Early(early), left, degraded: false };
        return Err(limiter.refused(&[refusal], &admitted));
    }
    if let Some(named) = limiter.quotas.get(quota) {
        named.counts.stats.waited.more();
    }
    let wait = Duration::from_nanos(early);
    context.note("limit", || format!("waits for {wait:?}"));
    tokio::time::sleep(wait).await;
    Ok(admitted)
}

/// Asks the stores about what has not been asked.
async fn ask(limiter: &Arc<Limiter>, admitted: &mut Admitted) -> Result<(), Refusal> {
    while let Some(first) = admitted.held.iter().position(|held| held.place == Place::Unasked) {
        let Some(named) = admitted.held.get(first).and_then(|held| limiter.quotas.get(held.quota))
        else {
            return Ok(());
        };
        let Some(shared) = &named.quota.shared else { return Ok(()) };
        let outcome = if shared.is_leased() {
            let held = admitted.held.remove(first);
            let (clock, own) = (admitted.context.clock().clone(), held.quota);
            let held = lease(named, shared, held, Now { at: clock.now(), clock: &clock }).await;
            held.map(|held| admitted.held.push(held)).map_err(|refusal| (own, refusal))
        } else {
            exact(limiter, admitted, shared, named.quota.shadow).await
        };
        match outcome {
            Ok(()) => {}
            Err((_, refusal)) if named.quota.shadow => {
                limiter.would_refuse(refusal, &admitted.context);
            }
            Err((_, refusal)) => return Err(refusal),
        }
    }
    Ok(())
}

/// Counts everything that belongs to one store, in one step.
async fn exact(
    limiter: &Arc<Limiter>,
    admitted: &mut Admitted,
    shared: &SharedCounts,
    shadow: bool,
) -> Result<(), (usize, Refusal)> {
    let clock = admitted.context.clock().clone();
    let now = Now { at: clock.now(), clock: &clock };
    let is_its = |held: &Held| {
        let named = limiter.quotas.get(held.quota);
        held.place == Place::Unasked
            && named.is_some_and(|named| {
                named.quota.shadow == shadow
                    && named.quota.shared.as_ref().is_some_and(|other| {
                        !other.is_leased() && Arc::ptr_eq(other.store(), shared.store())
                    })
            })
    };
    // One on trial must not keep others from being counted, so it is asked about by itself.
    let most = if shadow { 1 } else { usize::MAX };
    let its: Vec<usize> = (0..admitted.held.len())
        .filter(|at| admitted.held.get(*at).is_some_and(is_its))
        .take(most)
        .collect();
    let named = |at: &usize| limiter.quotas.get(admitted.held.get(*at)?.quota);
    let stats = its.first().and_then(named).map(|named| &named.counts.stats);
    let mut asked = Vec::new();
    for at in &its {
        if let (Some(named), Some(held)) = (named(at), admitted.held.get(*at)) {
            asked.extend(named.takes(held, store_units(held.price)));
        }
    }
    if let Some(stats) = stats {
        stats.asked.more();
    }
    let taken = shared.store().take(&asked, now.at).await;
    let now = Now { at: clock.now(), clock: &clock };
    let Ok(taken) = taken else {
        if let Some(stats) = stats {
            stats.failed.more();
        }
        return without(limiter, admitted, &its, now);
    };
    let mut taken = taken.as_slice();
    let (mut refused, mut another) = (None::<(usize, Refusal)>, None);
    for at in its.iter().rev() {
        // From the end, since one that is refused is taken out.
        let Some(held) = admitted.held.get(*at) else { continue };
        let Some(named) = limiter.quotas.get(held.quota) else { continue };
        let before = taken.len().saturating_sub(rates(&held.windows).count());
        let (others, own) = taken.split_at(before);
        taken = others;
        let mut held = admitted.held.remove(*at);
        match named.judge(&mut held, own, now) {
            Ok(()) => {
                held.place = Place::Store;
                admitted.held.insert(*at, held);
            }
            Err(Some(refusal)) => {
                let worst = |known: &(usize, Refusal)| known.1.how_long() > refusal.how_long();
                refused = refused.filter(worst).or(Some((held.quota, refusal)));
            }
            // Another of the same step has no room.
            Err(None) => {
                let refusal = held.refusal(Full::Early(1), held.none_left(1));
                another = Some((held.quota, refusal));
            }
        }
    }
    refused.or(another).map_or(Ok(()), Err)
}

/// Decides about these while their store cannot answer.
fn without(
    limiter: &Arc<Limiter>,
    admitted: &mut Admitted,
    its: &[usize],
    now: Now<'_>,
) -> Result<(), (usize, Refusal)> {
    for at in its.iter().rev() {
        if *at >= admitted.held.len() {
            continue;
        }
        let held = admitted.held.remove(*at);
        let quota = held.quota;
        let Some(named) = limiter.quotas.get(quota) else { continue };
        let Some(shared) = &named.quota.shared else { continue };
        let held = named.without_store(shared, held, now).map_err(|refusal| (quota, refusal))?;
        admitted.held.push(held);
    }
    Ok(())
}

/// Takes units ahead, unless another request has done so in the meantime.
async fn lease(
    named: &Named,
    shared: &SharedCounts,
    mut held: Held,
    now: Now<'_>,
) -> Result<Held, Refusal> {
    let lease = named.counts.leases.of(held.who);
    let failures = lease.failures();
    // Whoever waits for others to ask waits no longer than for the store.
    let turn = Arc::clone(&lease.asking).lock_owned();
    let Ok(turn) = timeout(shared.store().patience(), turn).await else {
        let now = Now { at: now.clock.now(), clock: now.clock };
        return named.without_store(shared, held, now);
    };
    let now = Now { at: now.clock.now(), clock: now.clock };
    let needs = held.price.needs;
    let own = store_units(held.price);
    match lease.draw(needs, own, named.counts.memory.time(now.at)) {
        Drawn::Yes(left) => {
            (held.place, held.units) = (Place::Lease, own);
            held.leaves(Left { remaining: left.min(held.none_left(0).limit), ..held.none_left(0) });
            return Ok(held);
        }
        Drawn::No(wait) => {
            let left = held.none_left(wait);
            return Err(held.refusal(Full::Early(wait), left));
        }
        Drawn::Ask if lease.failures() != failures => {
            // Whoever asked before has waited in vain already.
            return named.without_store(shared, held, now);
        }
        Drawn::Ask => {}
    }
    let size = lease_size(&held.windows);
    named.counts.stats.asked.more();
    let filling = Filling {
        asked: named.takes(&held, size.max(needs)).collect(),
        shared: shared.clone(),
        counts: Arc::clone(&named.counts),
        windows: Arc::clone(&held.windows),
        lease,
        size,
        units: (needs, own),
        clock: now.clock.clone(),
        turn,
    };
    // In a task of its own: what the store gives is there for the next, also where whoever asked has gone.
    let filled = tokio::spawn(filling.run()).await.unwrap_or(Filled::Failed);
    let now = Now { at: now.clock.now(), clock: now.clock };
    match filled {
        Filled::Yes(left) => {
            (held.place, held.units) = (Place::Lease, own);
            held.leaves_of_lease(left);
            Ok(held)
        }
        Filled::No(full) => {
            let wait = if let Full::Early(wait) = full { wait } else { 0 };
            Err(held.refusal(full, held.none_left(wait)))
        }
        Filled::Failed => {
            named.counts.stats.failed.more();
            named.without_store(shared, held, now)
        }
    }
}

/// What comes of filling a lease.
enum Filled {
    /// The units that were needed are drawn; so many are left.
    Yes(u64),
    No(Full),
    Failed,
}

/// A lease that is being filled, by one request for all.
struct Filling {
    asked: Vec<Take>,
    shared: SharedCounts,
    counts: Arc<Counts>,
    windows: Windows,
    lease: Arc<Lease>,
    /// How many units it has when it is full.
    size: u64,
    /// How many there must be, and how many are drawn.
    units: (u64, u64),
    clock: Clock,
    turn: OwnedMutexGuard<()>,
}

impl Filling {
    async fn run(self) -> Filled {
        let taken = self.shared.store().take(&self.asked, self.clock.now()).await;
        let time = self.counts.memory.time(self.clock.now());
        let Ok(taken) = taken else {
            self.lease.failed();
            return Filled::Failed;
        };
        let filled = self.fill(&taken, time);
        // Only now is it another's turn.
        drop(self.turn);
        filled
    }

    fn fill(&self, taken: &[Taken], time: u64) -> Filled {
        let bounds = || rates(&self.windows).zip(taken);
        if !taken.iter().all(|taken| taken.admitted) {
            let full = bounds().filter_map(|((_, rate), taken)| {
                full(rate, self.units.0, taken.ahead, Duration::ZERO)
            });
            // Whoever finds nothing asks again when a whole lease has come in.
            let pause = rates(&self.windows).map(|(_, rate)| rate.nanos_of(self.size)).min();
            let pause = pause.unwrap_or(0);
            return match full.max() {
                Some(Full::Never) => Filled::No(Full::Never),
                Some(Full::Early(wait)) => self.pauses(time, wait.max(pause)),
                None => self.pauses(time, pause),
            };
        }
        // Who is not given a whole lease asks again when one has come in, later the less there was: others ask too.
        let pause = |rate: Rate, units: u64| match self.size.checked_sub(units) {
            None | Some(0) => 0,
            Some(_) => {
                let times = (self.size / units.max(1)).clamp(1, 4);
                rate.nanos_of(self.size).saturating_mul(times)
            }
        };
        let units = taken.iter().map(|taken| taken.units).min().unwrap_or(0);
        let beyond = bounds().map(|((_, rate), taken)| rate.room(nanos(taken.ahead))).min();
        let pauses = bounds().map(|((_, rate), taken)| pause(rate, taken.units));
        let not_before = time.saturating_add(pauses.max().unwrap_or(0));
        self.lease.add(units, beyond.unwrap_or(0), not_before);
        match self.lease.draw(self.units.0, self.units.1, time) {
            Drawn::Yes(left) => Filled::Yes(left),
            // Others were quicker.
            Drawn::No(wait) => Filled::No(Full::Early(wait)),
            Drawn::Ask => Filled::No(Full::Early(1)),
        }
    }

    fn pauses(&self, time: u64, wait: u64) -> Filled {
        self.lease.add(0, 0, time.saturating_add(wait));
        Filled::No(Full::Early(wait))
    }
}

/// How many units are taken ahead: a tenth of the smallest burst.
pub(crate) fn lease_size(windows: &Windows) -> u64 {
    let bursts = rates(windows).map(|(_, rate)| rate.at_once());
    (bursts.min().unwrap_or(1) / 10).max(1)
}

impl Named {
    /// What is asked of the store: so many units at most.
    fn takes<'a>(&'a self, held: &'a Held, most: u64) -> impl Iterator<Item = Take> + 'a {
        rates(&held.windows).filter_map(move |(window, rate)| {
            let quota = Arc::clone(self.in_store.get(window)?);
            let mut take = Take::new(quota, held.digest, rate, held.price.needs);
            (take.most, take.patience) = (most, self.quota.patience);
            Some(take)
        })
    }

    /// What the answers of a store mean; the refusal where there is no room, and nothing where there is none elsewhere.
    fn judge(&self, held: &mut Held, taken: &[Taken], now: Now<'_>) -> Result<(), Option<Refusal>> {
        let windows = Arc::clone(&held.windows);
        if taken.iter().all(|taken| taken.admitted) {
            held.units = store_units(held.price);
            for ((window, rate), taken) in rates(&windows).zip(taken) {
                let ahead = nanos(taken.ahead);
                let until = self.counts.memory.time(now.at).saturating_add(ahead);
                held.spans.push(Span { until, time: rate.nanos_of(held.units) });
                held.leaves(Left::of(window, rate, ahead));
                held.early = held.early.max(ahead.saturating_sub(nanos(rate.capacity())));
            }
            return Ok(());
        }
        let full = rates(&windows).zip(taken).filter_map(|(bound, taken)| {
            Some((
                full(bound.1, held.price.needs, taken.ahead, self.quota.patience)?,
                bound,
                taken.ahead,
            ))
        });
        let worst = full.max_by_key(|(full, ..)| *full);
        let Some((full, (window, rate), ahead)) = worst else { return Err(None) };
        if let Full::Early(wait) = full
            && held.price.needs == 1
        {
            self.counts.remember(held.who, self.counts.memory.time(now.at), wait);
        }
        Err(Some(held.refusal(full, Left::of(window, rate, nanos(ahead)))))
    }
}

/// Why units do not go on that find the time taken up so far ahead.
fn full(rate: Rate, needs: u64, ahead: Duration, patience: Duration) -> Option<Full> {
    let time = rate.nanos_of(needs);
    let capacity = nanos(rate.capacity());
    if time > capacity {
        return Some(Full::Never);
    }
    let over = nanos(ahead).saturating_add(time).saturating_sub(capacity);
    (over > nanos(patience)).then_some(Full::Early(over))
}
