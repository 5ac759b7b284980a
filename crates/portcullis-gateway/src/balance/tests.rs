//! The choice of a server, against models, under times that the tests make up.
use std::collections::HashMap;

use proptest::prelude::*;

use super::*;
use crate::address::Origin;
use crate::health::{HealthCheck, Outliers, failed};
use crate::pool::{Pool, PoolLimits};
use crate::server::{Server, Spec, fingerprint};

const SECOND: Duration = Duration::from_secs(1);

fn servers(weights: &[(u32, u32)]) -> Vec<Arc<Server>> {
    let limits = PoolLimits { connections: 10, idle: SECOND };
    let server = |(at, (weight, priority)): (usize, &(u32, u32))| {
        let origin = Origin::parse(&format!("http://10.0.0.{}:80", at + 1)).unwrap();
        let spec = Spec { origin, weight: *weight, priority: *priority };
        Server::new(&spec, Pool::new(limits), Duration::ZERO)
    };
    weights.iter().enumerate().map(server).collect()
}

fn equal(count: usize) -> Vec<Arc<Server>> {
    servers(&vec![(1, 0); count])
}

fn rules(balance: Balance) -> Rules {
    Rules { balance, slow_start: Duration::ZERO, panic_threshold: 0.0, turn: AtomicUsize::new(0) }
}

/// How often each server is chosen.
fn shares(rules: &Rules, servers: &[Arc<Server>], now: Duration, rounds: u32) -> Vec<f64> {
    let mut counts: HashMap<u64, u32> = HashMap::new();
    for _ in 0..rounds {
        let chosen = rules.choose(servers, Wish::default(), now).unwrap();
        *counts.entry(chosen.id).or_default() += 1;
    }
    let share = |server: &Arc<Server>| {
        f64::from(counts.get(&server.id).copied().unwrap_or(0)) / f64::from(rounds)
    };
    servers.iter().map(share).collect()
}

fn assert_near(shares: &[f64], want: &[f64], by: f64) {
    for (share, want) in shares.iter().zip(want) {
        assert!((share - want).abs() <= by, "{shares:?}, not {want:?}");
    }
}

/// Not well from now on.
fn sicken(server: &Server) {
    let check = HealthCheck::tcp().fall(1);
    server.probed.shown(false, &check);
    assert!(!server.probed.is_well());
}

#[test]
fn a_way_to_balance_is_written_and_read() {
    for text in [
        "p2c",
        "round_robin",
        "least_requests",
        "hash:header:x-user",
        "hash:address",
        "hash:identity",
        "sticky:where",
    ] {
        assert_eq!(text.parse::<Balance>().unwrap().to_string(), text);
    }
    for text in ["", "random", "hash", "hash:header:", "hash:header:a b", "sticky:", "sticky:a=b"] {
        assert!(text.parse::<Balance>().is_err(), "{text}");
    }
}

#[test]
fn in_turn_each_gets_its_weight() {
    let rules = rules(Balance::RoundRobin);
    assert_near(&shares(&rules, &equal(3), SECOND, 300), &[1.0 / 3.0; 3], 0.0001);
    let weighted = servers(&[(1, 0), (2, 0), (5, 0)]);
    assert_near(&shares(&rules, &weighted, SECOND, 8_000), &[0.125, 0.25, 0.625], 0.01);
    // No run of the same server that its weight does not explain.
    let order: Vec<_> =
        (0..64).map(|_| rules.choose(&weighted, Wish::default(), SECOND).unwrap().id).collect();
    let longest = order.chunk_by(|one, other| one == other).map(<[u64]>::len).max().unwrap();
    assert!(longest <= 3, "{longest}");
}

#[test]
fn the_fewest_requests_in_flight_get_the_next() {
    let rules = rules(Balance::LeastRequests);
    let all = servers(&[(1, 0), (1, 0), (3, 0)]);
    let mut held = Vec::new();
    for _ in 0..50 {
        let chosen = rules.choose(&all, Wish::default(), SECOND).unwrap();
        held.push(InFlight::new(Arc::clone(chosen)));
    }
    let in_flight: Vec<_> = all.iter().map(|server| server.load.in_flight()).collect();
    assert_eq!(in_flight, [10, 10, 30]);
    drop(held);
    assert!(all.iter().all(|server| server.load.in_flight() == 0));
}

#[test]
fn of_two_the_quicker_is_chosen_and_a_peak_is_forgotten() {
    let rules = rules(Balance::PeakEwma);
    let all = equal(2);
    let millis = Duration::from_millis;
    for server in &all {
        server.load.took(millis(10), SECOND);
    }
    all[0].load.took(millis(500), SECOND);
    let soon = SECOND + millis(1);
    assert_near(&shares(&rules, &all, soon, 1_000), &[0.0, 1.0], 0.0);
    // The slow one is better than the quick one with very much to do.
    let busy: Vec<_> = (0..60).map(|_| InFlight::new(Arc::clone(&all[1]))).collect();
    assert_near(&shares(&rules, &all, soon, 1_000), &[1.0, 0.0], 0.0);
    drop(busy);
    // It answers quickly again: after a while it gets its half.
    let mut now = SECOND;
    for _ in 0..60 {
        now += SECOND;
        for server in &all {
            server.load.took(millis(10), now);
        }
    }
    let costs: Vec<_> = all.iter().map(|server| server.load.cost(now)).collect();
    assert!((costs[0] - costs[1]).abs() < 2e6, "{costs:?} ns");
}

#[test]
fn one_that_hangs_is_avoided_before_it_has_answered_at_all() {
    let rules = rules(Balance::PeakEwma);
    let all = equal(3);
    let mut held: Vec<_> = vec![InFlight::new(Arc::clone(&all[0]))];
    let mut to_it = 0;
    for round in 1..300_u64 {
        let now = SECOND + Duration::from_millis(round);
        let chosen = Arc::clone(rules.choose(&all, Wish::default(), now).unwrap());
        if Arc::ptr_eq(&chosen, &all[0]) {
            to_it += 1;
            held.push(InFlight::new(chosen));
        } else {
            chosen.load.took(Duration::from_millis(5), now);
        }
    }
    assert!(to_it <= 2, "{to_it} of 300");
}

#[test]
fn a_request_that_was_given_up_counts_as_slow() {
    let server = &equal(1)[0];
    server.load.took(Duration::from_millis(10), SECOND);
    let before = server.load.cost(SECOND);
    server.load.gave_up(Duration::from_millis(1), SECOND);
    assert!((server.load.cost(SECOND) - before).abs() < 1.0, "quickly given up says nothing");
    server.load.gave_up(SECOND, SECOND);
    assert!(server.load.cost(SECOND) > 50.0 * before);
}

#[test]
fn a_new_server_gets_its_share_little_by_little() {
    let slow_start = Duration::from_secs(10);
    let rules = Rules { slow_start, ..rules(Balance::RoundRobin) };
    let all = equal(2);
    let later = Duration::from_secs(100);
    all[1].load.begins(later);
    for (age, want) in [(0, 0.1 / 1.1), (5, 0.5 / 1.5), (10, 0.5), (60, 0.5)] {
        let now = later + Duration::from_secs(age);
        let share = shares(&rules, &all, now, 5_000)[1];
        assert!((share - want).abs() < 0.01, "{share}, not {want}, after {age} s");
    }
}

#[test]
fn the_first_priority_is_asked_as_long_as_it_has_anybody() {
    let rules = rules(Balance::RoundRobin);
    let all = servers(&[(1, 0), (1, 0), (1, 1), (1, 1)]);
    assert_near(&shares(&rules, &all, SECOND, 100), &[0.5, 0.5, 0.0, 0.0], 0.0);
    sicken(&all[0]);
    assert_near(&shares(&rules, &all, SECOND, 100), &[0.0, 1.0, 0.0, 0.0], 0.0);
    sicken(&all[1]);
    assert_near(&shares(&rules, &all, SECOND, 100), &[0.0, 0.0, 0.5, 0.5], 0.0);
    sicken(&all[2]);
    sicken(&all[3]);
    // Nobody is well: rather the first than nobody.
    assert_near(&shares(&rules, &all, SECOND, 100), &[0.5, 0.5, 0.0, 0.0], 0.0);
}

#[test]
fn too_few_that_are_well_are_not_believed() {
    for balance in [Balance::RoundRobin, Balance::PeakEwma, Balance::LeastRequests] {
        let rules = Rules { panic_threshold: 0.5, ..rules(balance.clone()) };
        let all = equal(4);
        sicken(&all[0]);
        sicken(&all[1]);
        let healthy = shares(&rules, &all, SECOND, 400);
        assert!(healthy[0] + healthy[1] < f64::EPSILON, "{balance:?}: {healthy:?}");
        sicken(&all[2]);
        let panicking = shares(&rules, &all, SECOND, 400);
        assert!(panicking.iter().all(|share| *share > 0.1), "{balance:?}: {panicking:?}");
    }
}

#[test]
fn who_keeps_failing_is_left_alone_longer_each_time_but_never_too_many() {
    let rules = Outliers::new().failures(3).base(SECOND).longest(3 * SECOND).most(0.5);
    let all = equal(4);
    let fail = |server: &Arc<Server>, now| failed(server, &all, &rules, false, now);
    let mut now = 10 * SECOND;
    for want in [1, 2, 3, 3] {
        assert_eq!((fail(&all[0], now), fail(&all[0], now)), (None, None));
        assert_eq!(fail(&all[0], now), Some(want * SECOND));
        assert!(
            !all[0].is_available(now) && !all[0].is_available(now + want * SECOND.mul_f64(0.9))
        );
        now += want * SECOND;
        assert!(all[0].is_available(now));
    }
    // One success, and it begins anew.
    all[0].ejection.succeeded();
    assert_eq!((fail(&all[0], now), fail(&all[0], now)), (None, None));
    assert_eq!(fail(&all[0], now), Some(SECOND));
    // A second one may go; a third would be more than half.
    let hard = |server: &Arc<Server>| failed(server, &all, &rules, true, now);
    assert_eq!((hard(&all[1]), hard(&all[2]), hard(&all[3])), (Some(SECOND), None, None));
    // A health check that reaches it ends what it began; not what it knows nothing of.
    assert!(!all[1].is_available(now) && all[1].ejection.reached() && all[1].is_available(now));
    assert!(!all[0].ejection.reached() && !all[0].is_available(now));
    // The only one of all is never left alone.
    let one = equal(1);
    assert_eq!(failed(&one[0], &one, &rules, true, now), None);
    // Turned off, nobody is.
    let off = Outliers::new().failures(0);
    assert_eq!(failed(&all[2], &all, &off, true, now + 60 * SECOND), None);
}

#[test]
fn one_that_was_tried_is_not_tried_again() {
    for balance in [Balance::PeakEwma, Balance::RoundRobin, Balance::Hash(HashKey::Address)] {
        let rules = rules(balance);
        let all = equal(3);
        let mut tried = Vec::new();
        while let Some(server) =
            rules.choose(&all, Wish { key: Some(7), server: None, not: &tried }, SECOND)
        {
            assert!(!tried.contains(&server.id));
            tried.push(server.id);
        }
        assert_eq!(tried.len(), 3);
    }
}

#[test]
fn a_cookie_leads_back_unless_the_server_is_not_well() {
    let rules = rules(Balance::StickyCookie("where".into()));
    let all = equal(5);
    let wish = Wish { server: Some(all[3].id), ..Wish::default() };
    for _ in 0..50 {
        assert_eq!(rules.choose(&all, wish, SECOND).unwrap().id, all[3].id);
    }
    sicken(&all[3]);
    assert_ne!(rules.choose(&all, wish, SECOND).unwrap().id, all[3].id);
}

/// Where each of many keys leads.
fn homes(rules: &Rules, servers: &[Arc<Server>]) -> Vec<u64> {
    let home = |key: u64| {
        let wish = Wish { key: Some(fingerprint(&key.to_string())), ..Wish::default() };
        rules.choose(servers, wish, SECOND).unwrap().id
    };
    (0..4_000).map(home).collect()
}

#[test]
fn a_key_stays_with_its_server_when_others_come_and_go() {
    let rules = rules(Balance::Hash(HashKey::Address));
    let all = equal(10);
    let before = homes(&rules, &all);
    assert_eq!(before, homes(&rules, &all), "always the same");
    let fewer = &all[..9];
    let gone = all[9].id;
    let after = homes(&rules, fewer);
    for (before, after) in before.iter().zip(&after) {
        assert!(before == after || *before == gone, "only the keys of the one that left move");
    }
    let moved = before.iter().zip(&after).filter(|(before, after)| before != after).count();
    assert!((250..550).contains(&moved), "about a tenth: {moved}");
    // By weight, too.
    let weighted = servers(&[(1, 0), (3, 0)]);
    let first = homes(&rules, &weighted).iter().filter(|id| **id == weighted[0].id).count();
    assert!((850..1_150).contains(&first), "about a quarter: {first}");
}

proptest! {
    /// Consistent hashing with bounded loads: nobody has more than 1.25 times its share, and one more.
    #[test]
    fn no_server_is_overloaded_however_the_keys_fall(
        count in 2_usize..8,
        keys in proptest::collection::vec(0_u64..4, 1..200),
    ) {
        let rules = rules(Balance::Hash(HashKey::Address));
        let all = equal(count);
        let mut held = Vec::new();
        for key in keys {
            let wish = Wish { key: Some(key), ..Wish::default() };
            held.push(InFlight::new(Arc::clone(rules.choose(&all, wish, SECOND).unwrap())));
            let most = all.iter().map(|server| server.load.in_flight()).max().unwrap();
            prop_assert!(most <= (held.len() * 5).div_ceil(count * 4), "{most} of {}", held.len());
        }
    }

    /// Whatever is not available gets nothing, as long as anybody of the first priority is.
    #[test]
    fn only_who_is_available_is_chosen(
        states in proptest::collection::vec((any::<bool>(), any::<bool>()), 2..10),
        balance in 0_usize..4,
    ) {
        let balances = [
            Balance::PeakEwma,
            Balance::RoundRobin,
            Balance::LeastRequests,
            Balance::Hash(HashKey::Address),
        ];
        let rules = rules(balances[balance].clone());
        let all = equal(states.len());
        let outliers = Outliers::new().most(1.0);
        for ((well, ejected), server) in states.iter().zip(&all) {
            if !well {
                sicken(server);
            }
            if *ejected {
                failed(server, &all, &outliers, true, SECOND);
            }
        }
        let now = 2 * SECOND;
        let anybody = all.iter().any(|server| server.is_available(now));
        for key in 0..20 {
            let wish = Wish { key: Some(key), ..Wish::default() };
            let chosen = rules.choose(&all, wish, now);
            prop_assert!(chosen.is_some());
            prop_assert!(!anybody || chosen.unwrap().is_available(now));
        }
    }

    /// Two at random: under equal loads the requests spread evenly.
    #[test]
    fn two_at_random_spread_evenly(count in 2_usize..12) {
        let rules = rules(Balance::PeakEwma);
        let all = equal(count);
        let mut held = Vec::new();
        for server in &all {
            server.load.took(Duration::from_millis(10), SECOND);
        }
        for _ in 0..count * 50 {
            held.push(InFlight::new(Arc::clone(rules.choose(&all, Wish::default(), SECOND).unwrap())));
        }
        let (least, most) = all.iter().map(|server| server.load.in_flight()).fold(
            (usize::MAX, 0),
            |(least, most), count| (least.min(count), most.max(count)),
        );
        // The gap between the fullest and the mean is O(log log n) with two choices.
        prop_assert!(most - least <= 8, "{least} to {most}");
    }
}
