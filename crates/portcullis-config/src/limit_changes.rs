//! Which limits let more through than those of another file.
use std::collections::{BTreeMap, BTreeSet};

use ipnet::IpNet;
use portcullis_core::Route;
use portcullis_ratelimit::{Limits, OnFailure, Window};

use crate::Gateway;
use crate::limits::{Cost, Limit, Shared};

/// What lets more through, and what less: a line each.
#[derive(Debug, Default)]
pub(crate) struct LimitChanges {
    pub(crate) widened: Vec<String>,
    pub(crate) narrowed: Vec<String>,
}

/// Compares what the limits of both files let through, and which requests they count.
pub(crate) fn compare(before: &Gateway, after: &Gateway) -> LimitChanges {
    let mut changes = LimitChanges::default();
    let keys = ["limits", "routes"];
    if keys.iter().all(|key| before.document.get(key) == after.document.get(key)) {
        return changes;
    }
    let old: BTreeMap<_, _> = before.limits.iter().map(|it| (it.name.as_str(), it)).collect();
    let new: BTreeMap<_, _> = after.limits.iter().map(|it| (it.name.as_str(), it)).collect();
    for (name, limit) in &old {
        match new.get(name) {
            Some(now) => {
                let (more, less) = (loosened(limit, now), loosened(now, limit));
                if !more.is_empty() {
                    changes
                        .widened
                        .push(format!("limits.{name}: allows more: {}", more.join(", ")));
                }
                if !less.is_empty() {
                    let less = less.join(", ");
                    changes.narrowed.push(format!("limits.{name}: allows less: {less}"));
                }
            }
            None if limit.everywhere => {
                changes.widened.push(format!("limits.{name}: is gone, and counted everywhere"));
            }
            // What its routes say is told below.
            None => {}
        }
    }
    for (name, _) in new.iter().filter(|(name, limit)| limit.everywhere && !old.contains_key(*name))
    {
        changes.narrowed.push(format!("limits.{name}: counts everywhere"));
    }
    compare_routes(before, after, &mut changes);
    changes
}

/// Which requests no longer count against a limit.
fn compare_routes(before: &Gateway, after: &Gateway, changes: &mut LimitChanges) {
    let everywhere = |gateway: &Gateway| -> BTreeSet<String> {
        let all = gateway.limits.iter().filter(|limit| limit.everywhere);
        all.map(|limit| limit.name.clone()).collect()
    };
    let (before_all, after_all) = (everywhere(before), everywhere(after));
    let (old, new) = (before.table(), after.table());
    let (mut lost, mut gained) = (BTreeSet::new(), BTreeSet::new());
    for route in new.routes().chain(old.routes()) {
        for example in route.examples() {
            let (Some(then), Some(now)) = (old.route_of(&example), new.route_of(&example)) else {
                continue;
            };
            let (then, now) = (counted(&then, &before_all), counted(&now, &after_all));
            // Those that count everywhere, and are gone, are told above.
            for name in then.difference(&now).filter(|name| !before_all.contains(*name)) {
                lost.insert(format!("{}: no longer counts against `{name}`", route.template()));
            }
            for name in now.difference(&then).filter(|name| !after_all.contains(*name)) {
                gained.insert(format!("{}: counts against `{name}`", route.template()));
            }
        }
    }
    changes.widened.extend(lost);
    changes.narrowed.extend(gained);
}

fn counted(route: &Route, everywhere: &BTreeSet<String>) -> BTreeSet<String> {
    let named = route.options().get::<Limits>();
    let named = named.into_iter().flat_map(Limits::names).map(str::to_owned);
    named.chain(everywhere.iter().cloned()).collect()
}

/// By what a limit lets through more than it did, or may; nothing where it surely does not.
fn loosened(was: &Limit, is: &Limit) -> Vec<String> {
    let mut by = Vec::new();
    let mut tell = |is_looser: bool, what: &str| {
        if is_looser {
            by.push(what.to_owned());
        }
    };
    tell(allow_more(was.quota.bounds(None), is.quota.bounds(None)), "its bounds");
    let plans: BTreeSet<_> = was.plans.iter().chain(&is.plans).collect();
    for plan in plans {
        let (was, is) = (was.quota.bounds(Some(plan)), is.quota.bounds(Some(plan)));
        tell(allow_more(was, is), &format!("plan {plan}"));
    }
    // Who shares a count with whom cannot be compared.
    tell(was.by != is.by, "it counts by something else");
    tell(costs_less(&was.cost, &is.cost), "what a request costs");
    tell(is.shadow && !was.shadow, "it is on trial");
    tell(!are_in(&is.exempt, &was.exempt), "networks that are not counted");
    let has = |role: &String| was.exempt_roles.contains(role);
    tell(!is.exempt_roles.iter().all(has), "roles that are not counted");
    tell(was.everywhere && !is.everywhere, "it no longer counts everywhere");
    let (old, new) = (was.shared.as_ref(), is.shared.as_ref());
    tell(old.is_some() && new.is_none(), "each gateway counts for itself");
    if let (Some(old), Some(new)) = (old, new) {
        tell(new.leased && !old.leased, "leases");
        tell(is_laxer(old, new), "what happens without its store");
    }
    by
}

/// Whether one of the bounds is no longer kept to.
fn allow_more(was: &[Window], is: &[Window]) -> bool {
    let is_kept = |old: &Window| is.iter().any(|new| is_within(new, old));
    !was.iter().all(is_kept)
}

/// Whether whoever keeps to one bound keeps to the other.
fn is_within(inner: &Window, outer: &Window) -> bool {
    match (inner, outer) {
        (Window::Rate(inner), Window::Rate(outer)) => {
            let times = |units: u64, time: std::time::Duration| u128::from(units) * time.as_nanos();
            inner.at_once() <= outer.at_once()
                && times(inner.units(), outer.period()) <= times(outer.units(), inner.period())
        }
        (Window::AtOnce(inner), Window::AtOnce(outer)) => inner <= outer,
        _ => false,
    }
}

fn costs_less(was: &Cost, is: &Cost) -> bool {
    match (was, is) {
        (Cost::Units(was), Cost::Units(is)) => is < was,
        (Cost::Settled { header: old, first: was }, Cost::Settled { header: new, first: is }) => {
            old != new || is < was
        }
        (was, is) => was != is,
    }
}

fn are_in(inner: &[IpNet], outer: &[IpNet]) -> bool {
    inner.iter().all(|net| outer.iter().any(|wide| wide.contains(net)))
}

fn is_laxer(was: &Shared, is: &Shared) -> bool {
    match (was.on_failure, is.on_failure) {
        (_, OnFailure::Closed) | (OnFailure::Open, _) => false,
        (OnFailure::Local { replicas: was }, OnFailure::Local { replicas: is }) => is < was,
        _ => true,
    }
}
