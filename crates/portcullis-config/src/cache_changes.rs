//! Whether more callers share what is kept than by another file.
use std::collections::BTreeSet;

use portcullis_cache::{Cached, Scope};
use portcullis_core::Route;
use serde_json::Value;

use crate::Gateway;
use crate::cache::{scope_of, word};

/// What lets more callers see, or do, something, and what fewer: a line each.
#[derive(Debug, Default)]
pub(crate) struct CacheChanges {
    pub(crate) widened: BTreeSet<String>,
    pub(crate) narrowed: BTreeSet<String>,
}

pub(crate) fn compare(before: &Gateway, after: &Gateway) -> CacheChanges {
    let mut changes = CacheChanges::default();
    let (was, is) = (is_rfc(before), is_rfc(after));
    if is && !was {
        let what = "cache.preset: answers for callers who are known may be shared where RFC 9111 allows it";
        changes.widened.insert(what.to_owned());
    } else if was && !is {
        let what = "cache.preset: answers for callers who are known are shared only where they say `public` or `s-maxage`";
        changes.narrowed.insert(what.to_owned());
    }
    if before.document.get("routes") == after.document.get("routes") {
        return changes;
    }
    let (old, new) = (before.table(), after.table());
    for route in new.routes().chain(old.routes()) {
        for example in route.examples() {
            let (then, now) = (old.route_of(&example), new.route_of(&example));
            let (Some(then), Some(now)) = (then, now) else { continue };
            compare_routes(route.template(), &then, &now, &mut changes);
        }
    }
    changes
}

fn compare_routes(place: &str, then: &Route, now: &Route, changes: &mut CacheChanges) {
    let (was, is) = (scope_of(then), scope_of(now));
    let what = format!("{place}: answers are kept for {}; before, for {}", whom(is), whom(was));
    if is_wider(was, is) {
        changes.widened.insert(what);
    } else if is_wider(is, was) {
        changes.narrowed.insert(what);
    }
    let purges = |route: &Route| route.options().get::<Cached>().is_some_and(Cached::lets_purge);
    match (purges(then), purges(now)) {
        (false, true) => changes.widened.insert(format!("{place}: whoever may call it may purge")),
        (true, false) => changes.narrowed.insert(format!("{place}: nobody may purge")),
        _ => false,
    };
}

/// Whether somebody's answers are shared among more. Those of a public route are nobody's.
fn is_wider(was: Option<Scope>, is: Option<Scope>) -> bool {
    matches!(
        (was, is),
        (None | Some(Scope::Identity), Some(Scope::Tenant))
            | (Some(Scope::Identity | Scope::Tenant), Some(Scope::Public))
    )
}

fn whom(scope: Option<Scope>) -> &'static str {
    scope.map_or("nobody", word)
}

fn is_rfc(gateway: &Gateway) -> bool {
    gateway.document.pointer("/cache/preset").and_then(Value::as_str) == Some("rfc")
}
